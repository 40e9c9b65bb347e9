// Logging in.

import { h } from "./dom.js";
import { form } from "./dialogs.js";
import { logIn } from "./server.js";

export function logInDialog() {
  return form({
    title: "Log in",
    text: "As a user of this NATS server. What you may see and change here is what that user may.",
    fields: [
      { name: "user", label: "User", input: h("input", { autocomplete: "username", autofocus: true, spellcheck: "false" }) },
      { name: "password", label: "Password", input: h("input", { type: "password", autocomplete: "current-password" }) },
      { name: "token", label: "Or a token", input: h("input", { type: "password", autocomplete: "off" }) },
    ],
    accept: "Log in",
    done: logIn,
  });
}

// Questions before something is changed: what it would do is asked of the server first, and said.

import { fill, h } from "./dom.js";
import { ask } from "./server.js";

/** A form in a dialog; `done(values)` may refuse by throwing, in words. Gives what `done` gave, or null when it was cancelled. */
export function form({ title, text, fields, accept, danger = false, done, preview = null }) {
  return new Promise((resolve) => {
    const failure = h("p", { class: "failure", role: "alert" });
    const shown = h("div", { "aria-live": "polite" });
    const inputs = fields.map((field) => h("label", {}, field.label, field.input));
    const button = h("button", { class: danger ? "danger" : "main", type: "submit" }, accept);
    const values = () => Object.fromEntries(fields.map(({ name, input }) => [name, input.type === "checkbox" ? input.checked : input.value]));
    const look = h("button", { type: "button", click: () => attempt(async () => fill(shown, await preview(values()))) }, "What would it do?");
    const dialog = h("dialog", { "aria-label": title, close: () => { dialog.remove(); resolve(dialog.outcome ?? null); } },
      h("form", {
        submit: (event) => {
          event.preventDefault();
          attempt(async () => {
            dialog.outcome = (await done(values())) ?? true;
            dialog.close();
          });
        },
      },
      h("h2", {}, title), text && h("p", {}, text), inputs, shown, failure,
      h("div", { class: "bar" }, h("button", { type: "button", click: () => dialog.close() }, "Cancel"), preview && look, button)));

    async function attempt(work) {
      failure.textContent = "";
      for (const one of [button, look]) one.disabled = true;
      try {
        await work();
      } catch (error) {
        failure.textContent = error.message;
      } finally {
        for (const one of [button, look]) one.disabled = false;
      }
    }

    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A change of the administration with `dry_run` first. `question(values)` gives the request, `words(answer)` what comes, or came, of it. */
export function change({ operation, title, text, fields = [], accept, danger = true, question, words }) {
  return form({
    title, text, fields, accept, danger,
    preview: async (values) => h("p", {}, words(await ask(operation, { ...question(values), dry_run: true }), true)),
    done: async (values) => words(await ask(operation, question(values)), false),
  });
}

/** Says what came of a change. */
export function tell(element, outcome) {
  fill(element, outcome ? h("p", { class: "outcome", role: "status" }, outcome) : null);
}

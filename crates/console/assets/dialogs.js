// Questions before something is changed: what it would do is asked of the server first, and said.

import { fill, h } from "./dom.js";
import { ask } from "./server.js";
import { of } from "./words.js";

/** A form in a dialog; `done(values)` may refuse by throwing, in words. Gives what `done` gave, or null when it was cancelled. */
export function form({ title, text, fields, accept, danger = false, done, preview = null }) {
  return new Promise((resolve) => {
    const failure = h("p", { class: "failure", role: "alert" });
    const shown = h("div", { "aria-live": "polite" });
    const inputs = fields.map((field) => h("label", {}, field.label, field.input));
    const values = () => Object.fromEntries(fields.map(({ name, input }) => [name, input.type === "checkbox" ? input.checked : input.value]));
    const accepting = () => attempt(async () => {
      dialog.outcome = (await done(values())) ?? true;
      dialog.close();
    });
    // With something to look at first, that is what Enter does; what was looked at can be accepted as long as it stays the same.
    const button = h("button", { class: danger ? "danger" : "main", type: preview ? "button" : "submit", disabled: Boolean(preview), click: preview && accepting }, accept);
    const looking = () => attempt(async () => {
      const looked = JSON.stringify(values());
      fill(shown, await preview(values()));
      isLooked = looked === JSON.stringify(values());
    });
    const look = preview && h("button", { type: "submit" }, "What would it do?");
    let isLooked = !preview;
    const dialog = h("dialog", { "aria-label": title, close: () => { dialog.remove(); resolve(dialog.outcome ?? null); } },
      h("form", {
        input: () => {
          isLooked = !preview;
          button.disabled = !isLooked;
          if (preview) fill(shown);
        },
        submit: (event) => {
          event.preventDefault();
          if (preview) looking();
          else accepting();
        },
      },
      h("h2", {}, title), text && h("p", {}, text), inputs, shown, failure,
      h("div", { class: "bar" }, h("button", { type: "button", click: () => dialog.close() }, "Cancel"), look, button)));

    async function attempt(work) {
      failure.textContent = "";
      for (const one of [button, look].filter(Boolean)) one.disabled = true;
      try {
        await work();
      } catch (error) {
        failure.textContent = error.message;
      } finally {
        button.disabled = !isLooked;
        if (look) look.disabled = false;
        if (look && document.activeElement === document.body) look.focus();
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

/** Pauses a subscription, or lets it go on: by durable, group, or client and inbox of one without names. */
export function pauseOrResume({ channel, durable, queue, client, inbox }, isPaused) {
  const known = Object.entries({ durable, queue, client, inbox }).filter(([, value]) => value);
  const whom = queue ? "The group, with whoever joins it," : "It";
  return change({
    operation: isPaused ? "change.resume" : "change.pause", title: isPaused ? "Resume" : "Pause", accept: isPaused ? "Resume" : "Pause", danger: !isPaused,
    text: isPaused ? `${whom} goes on where it was; what was not acknowledged in time is sent again first.`
      : `${whom} is sent nothing before it is resumed, also after a restart. Acks are taken, and nothing is lost but what limits remove.`,
    question: () => ({ channel, ...Object.fromEntries(known) }),
    words: ({ members, pending_count: pending }, isDry) => `${of(members, "active subscription")} with ${of(pending, "unacknowledged message")} ${isDry ? "would be" : members === 1 ? "is" : "are"} ${isPaused ? "resumed" : "paused"}.`,
  });
}

/** Says what came of a change. */
export function tell(element, outcome) {
  fill(element, outcome ? h("p", { class: "outcome", role: "status" }, outcome) : null);
}

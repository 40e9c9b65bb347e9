// One durable or queue group: why it is, or is not, receiving, what it holds, and what can be done about that.

import { badge, facts, fill, h, link, say } from "./dom.js";
import { change, pauseOrResume, tell } from "./dialogs.js";
import { look, session } from "./server.js";
import { Table } from "./tables.js";
import { count, of, when, whole } from "./words.js";

const GOOD = new Set(["nothing_new", "catching_up", "waiting_for_acks", "waiting_for_disk", "starting"]);
const BAD = new Set(["stalled", "read_failing", "messages_damaged", "journal_poisoned", "bus_down", "connection_congested", "client_failing"]);

export function page(main, [channel = ""], parameters, signal) {
  const [durable, queue, client] = ["durable", "queue", "client"].map((name) => parameters.get(name) ?? "");
  const title = [durable && `Durable ${durable}`, queue && `Group ${queue}`].filter(Boolean).join(", ") || "Subscription";
  const outcome = h("div");
  const why = h("div");
  const question = { channel, durable, queue, client };
  const pausing = h("button", { type: "button", disabled: true }, "Pause");
  let isPaused = false;
  pausing.addEventListener("click", () => pauseOrResume(question, isPaused).then((said) => said && tell(outcome, said)));
  const changes = actions(question, outcome, pausing);
  fill(main, h("h1", {}, title), h("p", {}, "of ", link(["channel", channel], channel), client && [", client ", link(["client", client], client)]),
    outcome, why, changes);

  const shownNow = new Map();
  const rest = h("p", { class: "soft" });

  async function refresh() {
    const answer = await look("why", { ...question, limit: 100 }, signal);
    // Whoever has marked something goes on reading.
    if (!getSelection().isCollapsed && why.contains(getSelection().anchorNode)) return;
    isPaused = answer.subscriptions.some((one) => one.facts.paused_by !== undefined);
    pausing.disabled = false;
    say(pausing, isPaused ? "Resume" : "Pause");
    const keys = answer.subscriptions.map((one) => one.inbox || one.client_id);
    for (const [key, { element }] of shownNow) {
      if (!keys.includes(key)) {
        element.remove();
        shownNow.delete(key);
      }
    }
    answer.subscriptions.forEach((one, index) => {
      const key = keys[index];
      if (!shownNow.has(key)) {
        shownNow.set(key, described(question, outcome));
        why.append(shownNow.get(key).element);
      }
      shownNow.get(key).show(one, answer.subscriptions.length > 1);
    });
    why.append(rest);
    say(rest, answer.total > answer.count ? `The first ${count(answer.count)} of ${count(answer.total)} are shown.` : "");
  }

  return { title, refresh };
}

/** One subscription; its elements stay while what they say changes. */
function described(question, outcome) {
  const [head, badges, words, advice, numbers] = [h("h2"), h("p"), h("p"), h("p", { class: "soft" }), h("div")];
  const table = pendingTable(question, outcome);
  const element = h("section", {}, head, badges, words, advice, table.element,
    h("details", {}, h("summary", {}, "Numbers behind it"), numbers));
  function show(one, isOneOfMany) {
    const kind = GOOD.has(one.verdict) ? "" : BAD.has(one.verdict) ? "bad" : "warn";
    const { unacknowledged, ...rest } = split(one.facts);
    element.setAttribute("aria-label", one.client_id || "subscription");
    [head.hidden, advice.hidden, table.element.hidden] = [!isOneOfMany, !one.advice, !unacknowledged?.length];
    say(head, one.client_id || "no client");
    fill(badges, badge(one.verdict.replaceAll("_", " "), kind), one.also.map((verdict) => [" ", badge(verdict.replaceAll("_", " "), "plain")]));
    say(words, one.words);
    say(advice, one.advice);
    table.show(unacknowledged ?? [], "What it holds, oldest first");
    fill(numbers, facts(Object.entries(rest).map(([name, value]) => [name.replaceAll("_", " "), shown(value)])));
  }
  return { element, show };
}

/** Sequences that are pending apart from the rest. */
function split(all) {
  const rest = {};
  let unacknowledged = null;
  for (const [name, value] of Object.entries(all)) {
    if (Array.isArray(value) && value.some((one) => one?.first !== undefined)) unacknowledged = value;
    else rest[name] = value;
  }
  return { unacknowledged, ...rest };
}

function shown(value) {
  if (Array.isArray(value)) return value.join(", ") || "none";
  if (typeof value === "number") return count(value);
  return typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value) ? when(value) : String(value);
}

function pendingTable(question, outcome) {
  return new Table([
    { key: "first", title: "Unacknowledged", cell: ({ first, last }) => (first === last ? count(first) : `${count(first)} to ${count(last)}`) },
    { key: "again", title: "Sent again", number: true, cell: (row) => count(row.redeliveries) },
    { key: "due", title: "Due again", cell: (row) => (row.due ? when(row.due) : "–") },
    {
      key: "do", title: "", cell: ({ first }) => session.user !== null && [
        h("button", { type: "button", click: () => one("change.ack", first, question, outcome) }, `Acknowledge ${first}`), " ",
        h("button", { type: "button", click: () => one("change.redeliver", first, question, outcome) }, `Send ${first} again`)],
    },
  ], { rowKey: ({ first }) => first });
}

function target({ channel, durable, queue, client }) {
  return { channel, ...(durable && { durable }), ...(queue ? { queue } : client && { client }) };
}

async function one(operation, sequence, question, outcome) {
  const isAck = operation === "change.ack";
  const said = await change({
    operation, accept: isAck ? "Acknowledge" : "Send again",
    title: isAck ? `Acknowledge message ${sequence}` : `Send message ${sequence} again`,
    text: isAck ? "It counts as handled, whoever holds it, and is not sent again." : "It is sent at once to whom it would be sent when it is due.",
    question: () => ({ ...target(question), sequence }),
    words: ({ pending_count: left }, isDry) => `${of(left, "message")} ${isDry ? "would be" : "are"} pending then.`,
  });
  tell(outcome, said);
}

function actions(question, outcome, pausing) {
  if (session.user === null || !(question.durable || question.queue)) return null;
  const run = (work) => () => work().then((said) => said && tell(outcome, said));
  return [h("h2", {}, "Changes"), h("div", { class: "bar" }, pausing,
    h("button", {
      type: "button", click: run(() => change({
        operation: "change.move", title: "Move", accept: "Move",
        text: "What is delivered next from now on. What was pending is not pending any more.",
        fields: [{ name: "to", label: "To a sequence, a time (2026-01-31T18:30:00Z), start or end", input: h("input", { required: true, autofocus: true, spellcheck: "false" }) }],
        question: ({ to }) => ({ ...target(question), to: /^[\d.,\s]+$/.test(to) ? whole(to, "The sequence") : to.trim() }),
        words: ({ from_seq: from, to_seq: to, pending_count: pending }, isDry) => `${isDry ? "Would move" : "Moved"} from ${count(from)} to ${count(to)}; ${of(pending, "message")} ${isDry ? "would not be" : "are not"} pending any more.`,
      })),
    }, "Move"),
    h("button", {
      type: "button", class: "danger", click: run(() => change({
        operation: "change.remove", title: "Remove", accept: "Remove",
        text: "Its position and what it holds are forgotten. Whoever subscribes again begins anew.",
        fields: [{ name: "force", label: "Also when somebody subscribes through it", input: h("input", { type: "checkbox" }) }],
        question: ({ force }) => ({ ...target(question), force }),
        words: ({ members, pending_count: pending }, isDry) => `${of(members, "active member")} and ${of(pending, "pending message")} ${isDry ? "would go" : "went"}.`,
      })),
    }, "Remove"))];
}

// One channel: what it holds, who reads it and how far, and what can be done with it.

import { badge, facts, fill, h, link, say } from "./dom.js";
import { Counter, spark } from "./charts.js";
import { change, form, pauseOrResume, tell } from "./dialogs.js";
import { browser } from "./messages.js";
import { look, publish, session } from "./server.js";
import { Table } from "./tables.js";
import { bytes, count, limit, of, rate, span, when, whole } from "./words.js";

const SECOND = 1e9;

export function page(main, [name = ""], parameters, signal) {
  const outcome = h("div");
  const summary = h("div");
  const limits = h("div");
  const counter = new Counter();
  const note = h("p", { class: "soft" });
  let last = 0;
  const table = new Table([
    { key: "who", title: "Subscription", class: "name", cell: (row) => who(name, row), sort: (row) => row.durable_name || row.queue_name || row.client_id },
    { key: "client", title: "Client", class: "name", cell: (row) => row.client_id && link(["client", row.client_id], row.client_id), sort: (row) => row.client_id },
    { key: "state", title: "State", cell: state, sort: (row) => Number(row.is_stalled) - Number(row.is_offline) },
    { key: "lag", title: "Behind", number: true, cell: (row) => count(lag(row)), sort: lag },
    { key: "sent", title: "Last sent", number: true, cell: (row) => count(row.last_sent), sort: (row) => row.last_sent },
    { key: "pending", title: "Unacknowledged", number: true, cell: (row) => `${count(row.pending_count)} of ${count(row.max_inflight)}`, sort: (row) => row.pending_count },
    { key: "wait", title: "AckWait", number: true, cell: (row) => span(row.ack_wait) },
    { key: "do", title: "", cell: (row) => session.user !== null && pauseButton(row) },
  ], { rowKey: (row) => row.inbox || `${row.client_id} ${row.durable_name} ${row.queue_name}`, empty: "Nobody subscribes, and there is no durable.", key: "lag", isDescending: true });
  function pauseButton(row) {
    const [durable, queue] = names(row);
    const question = { channel: name, durable, queue, client: queue ? "" : row.client_id, inbox: durable || queue ? "" : row.inbox };
    const work = () => pauseOrResume(question, Boolean(row.paused_by)).then((said) => said && tell(outcome, said));
    return h("button", { type: "button", click: work }, row.paused_by ? "Resume" : "Pause");
  }
  const lag_of = (row) => Math.max(0, last - row.last_sent);
  function lag(row) {
    return lag_of(row);
  }
  const browsing = h("div");
  const changes = actions(name, outcome);
  fill(main, h("h1", {}, name), changes && h("p", {}, h("button", { type: "button", class: "link", click: () => toChanges(changes) }, "Changes ↓")), outcome, summary, h("h2", {}, "Subscriptions"), table.element, note, h("h2", {}, "Messages"), browsing,
    h("h2", {}, "Limits"), limits, changes);
  showBrowser(browsing, name);

  async function refresh() {
    const channel = await look("channel", { channel: name, limit: 500 }, signal);
    last = channel.last_seq;
    const now = counter.take(channel.last_seq);
    fill(summary, h("dl", { class: "tiles" },
      [["Messages", count(channel.msgs), bytes(channel.bytes)],
        ["Sequences", channel.msgs ? `${count(channel.first_seq)} – ${count(channel.last_seq)}` : "none", channel.msgs ? null : `the next is ${count(channel.last_seq + 1)}`],
        ["Published", rate(now), null, counter.rates],
        ["Subscriptions", count(channel.subs_count), null],
      ].map(([title, value, small, rates]) => h("div", { class: "tile" }, h("dt", {}, title),
        h("dd", {}, value, small && h("small", {}, small), rates?.length > 1 ? spark(rates, `${title} over the last minutes`) : null)))));
    table.show(channel.subscriptions, "");
    say(note, channel.total > channel.count ? `The first ${count(channel.count)} of ${count(channel.total)} are shown.` : "");
    showLimits(limits, channel);
  }

  return { title: name, refresh };
}

function who(channel, row) {
  const [durable, queue] = names(row);
  if (!durable && !queue) return "plain";
  const text = [durable && `durable ${durable}`, queue && `group ${queue}`].filter(Boolean).join(", ");
  return link(["durable", channel], text, { durable, queue, client: queue ? "" : row.client_id });
}

/** Durable and group of a subscription: a durable group is called `durable:group`. */
function names(row) {
  const group = row.queue_name ?? "";
  if (!group) return [row.durable_name ?? "", ""];
  const at = row.is_durable ? group.indexOf(":") : -1;
  return at < 0 ? ["", group] : [group.slice(0, at), group.slice(at + 1)];
}

function state(row) {
  if (row.paused_by) return h("span", { title: `by ${row.paused_by} since ${when(row.paused_since)}` }, badge("paused", "warn"));
  if (row.is_offline) return badge("offline", "warn");
  return row.is_stalled ? badge("stalled", "bad") : badge("receiving");
}

function showLimits(element, { limits, limits_set: set }) {
  const seconds = (nanoseconds) => span(nanoseconds / SECOND);
  const line = (key, title, words) => [title, [limit(limits[key], words), set[key] !== undefined ? " – set by an operator" : ""].join("")];
  fill(element, facts([
    line("max_msgs", "Messages", count), line("max_bytes", "Bytes", bytes), line("max_age", "Age", seconds),
    line("max_subscriptions", "Subscriptions", count), line("max_inactivity", "Without use", seconds),
  ]));
}

function showBrowser(element, name) {
  if (session.user === null) {
    fill(element, h("p", { class: "soft" }, session.obstacle
      ? `Messages are shown to who is logged in. ${session.obstacle}` : "Log in to see messages."));
  } else {
    fill(element, browser(name));
  }
}

function actions(name, outcome) {
  if (session.user === null) return null;
  const run = (work) => () => work().then((said) => said && tell(outcome, said));
  const input = (attributes = {}) => h("input", { spellcheck: "false", ...attributes });
  return [h("h2", { tabindex: "-1" }, "Changes"), h("div", { class: "bar" },
    h("button", { type: "button", click: run(() => publishDialog(name)) }, "Publish a message"),
    h("button", { type: "button", click: run(() => limitDialog(name)) }, "Set limits"),
    h("button", {
      type: "button", class: "danger", click: run(() => change({
        operation: "change.purge", title: `Purge ${name}`, accept: "Purge",
        text: "The oldest messages go, for everybody and for ever. The sequence goes on behind the last one.",
        fields: [
          { name: "up_to", label: "Up to sequence (empty: all)", input: input({ inputmode: "numeric" }) },
          { name: "before", label: "Or from before (a time such as 2026-01-31T18:30:00Z)", input: input() },
        ],
        question: ({ up_to: upTo, before }) => ({ channel: name, ...(upTo.trim() && { up_to: whole(upTo, "The sequence") }), ...(before.trim() && { before: before.trim() }) }),
        words: ({ msgs, first_seq: first, last_seq: last }, isDry) => `${of(msgs, "message")} ${isDry ? "would go" : "went"}; the channel ${isDry ? "would begin" : "begins"} at ${count(first)} and its last sequence is ${count(last)}.`,
      })),
    }, "Purge"),
    h("button", {
      type: "button", class: "danger", click: run(() => change({
        operation: "change.delete", title: `Delete ${name}`, accept: "Delete",
        text: "The channel goes with its messages, durables and groups. Whoever publishes to it makes it anew.",
        fields: [{ name: "force", label: "Also when somebody subscribes", input: input({ type: "checkbox" }) }],
        question: ({ force }) => ({ channel: name, force }),
        words: ({ msgs, subs_count: subscriptions }, isDry) => `${of(msgs, "message")} and ${of(subscriptions, "subscription")} ${isDry ? "would go" : "went"}.`,
      })),
    }, "Delete"))];
}

/** They stand below messages and subscriptions, of which there may be many. */
function toChanges([head]) {
  head.scrollIntoView();
  head.focus({ preventScroll: true });
}

function publishDialog(name) {
  return form({
    title: `Publish to ${name}`, accept: "Publish",
    text: "Everybody who subscribes gets it, like any other message.",
    fields: [{ name: "text", label: "Message", input: h("textarea", { rows: "8", autofocus: true }) }],
    done: async ({ text }) => {
      await publish(name, text);
      return "Published, and on the disk.";
    },
  });
}

function limitDialog(name) {
  const number = () => h("input", { inputmode: "numeric", placeholder: "as it is" });
  const fields = [["max_msgs", "Messages"], ["max_bytes", "Bytes"], ["max_age", "Age in seconds"], ["max_subscriptions", "Subscriptions"], ["max_inactivity", "Seconds without use"]];
  return change({
    operation: "change.limit", title: `Limits of ${name}`, accept: "Set",
    text: "They count before those of the configuration until they are reset. 0 is unlimited; what is left empty stays as it is.",
    fields: [...fields.map(([key, label]) => ({ name: key, label, input: number() })),
      { name: "reset", label: "Reset all to those of the configuration", input: h("input", { type: "checkbox" }) }],
    question: (values) => {
      if (values.reset) return { channel: name, reset: true };
      const set = fields.filter(([key]) => values[key].trim() !== "");
      if (!set.length) throw new Error("Nothing is set: fill in what is to be another limit.");
      const scaled = ([key, label]) => [key, whole(values[key], label) * (["max_age", "max_inactivity"].includes(key) ? SECOND : 1)];
      return { channel: name, ...Object.fromEntries(set.map(scaled)) };
    },
    words: ({ surplus_msgs: surplus }, isDry) => `${isDry ? "Would be set" : "Set"}. ${surplus ? `${of(surplus, "message")} too many: the oldest ${isDry ? "would go" : "go"}.` : "No message is too many."}`,
  });
}

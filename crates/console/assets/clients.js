// Streaming clients, and one of them with its subscriptions.

import { badge, facts, fill, h, link } from "./dom.js";
import { change, tell } from "./dialogs.js";
import { look, session } from "./server.js";
import { Pager, Table } from "./tables.js";
import { count, of } from "./words.js";

const SHOWN = 200;

export function page(main, words, parameters, signal) {
  return words.length && words[0] ? one(main, words[0], signal) : all(main, signal);
}

function all(main, signal) {
  let offset = 0;
  const table = new Table([
    { key: "id", title: "Client", class: "name", cell: (row) => link(["client", row.id], row.id), sort: (row) => row.id },
    { key: "subs", title: "Subscriptions", number: true, cell: (row) => count(row.subs_count), sort: (row) => row.subs_count },
    { key: "inbox", title: "Heartbeats go to", class: "wrap", cell: (row) => row.hb_inbox },
  ], { rowKey: (row) => row.id, empty: "No streaming client is connected." });
  const pager = new Pager(SHOWN, (by) => {
    offset = Math.max(0, offset + by);
    refresh().catch(() => {});
  });
  fill(main, h("h1", {}, "Clients"), h("div", { class: "bar" }, pager.elements), table.element);

  async function refresh() {
    const part = await look("clients", { offset, limit: SHOWN }, signal);
    if (offset >= part.total) offset = 0;
    table.show(part.clients, "");
    pager.show(part.offset, part.count, part.total);
  }

  return { title: "Clients", refresh };
}

function one(main, id, signal) {
  const outcome = h("div");
  const about = h("div");
  const table = new Table([
    { key: "channel", title: "Channel", class: "name", cell: (row) => link(["channel", row.channel], row.channel), sort: (row) => row.channel },
    { key: "name", title: "Durable or group", class: "name", cell: (row) => row.durable_name || row.queue_name || "plain" },
    { key: "state", title: "State", cell: (row) => (row.paused_by ? badge("paused", "warn") : row.is_stalled ? badge("stalled", "bad") : badge("receiving")), sort: (row) => Number(row.is_stalled) },
    { key: "sent", title: "Last sent", number: true, cell: (row) => count(row.last_sent), sort: (row) => row.last_sent },
    { key: "pending", title: "Unacknowledged", number: true, cell: (row) => `${count(row.pending_count)} of ${count(row.max_inflight)}`, sort: (row) => row.pending_count },
  ], { empty: "It has no subscription." });
  const disconnect = () => change({
    operation: "change.disconnect", title: `Disconnect ${id}`, accept: "Disconnect",
    text: "It is closed as if its heartbeats had failed: subscriptions end, durables are kept.",
    question: () => ({ client: id }),
    words: ({ subs_count: subscriptions }, isDry) => `${of(subscriptions, "subscription")} ${isDry ? "would end" : "ended"}.`,
  }).then((said) => said && tell(outcome, said));
  fill(main, h("h1", {}, id), outcome, about, h("h2", {}, "Subscriptions"), table.element,
    session.user !== null && h("div", { class: "bar" }, h("button", { type: "button", class: "danger", click: disconnect }, "Disconnect")));

  async function refresh() {
    const client = await look("client", { client: id }, signal);
    fill(about, facts([["Heartbeats go to", client.hb_inbox], ["Subscriptions", count(client.subs_count)]]));
    const rows = Object.entries(client.subscriptions ?? {}).flatMap(([channel, subscriptions]) => subscriptions.map((row) => ({ ...row, channel })));
    table.show(rows, "");
  }

  return { title: id, refresh };
}

// Connections of NATS clients to the broker.

import { fill, h } from "./dom.js";
import { change, tell } from "./dialogs.js";
import { monitoring, session } from "./server.js";
import { Pager, Table } from "./tables.js";
import { bytes, count } from "./words.js";

const SHOWN = 100;
const ORDERS = [["cid", "number"], ["pending", "bytes that wait"], ["msgs_to", "messages sent to it"], ["msgs_from", "messages from it"], ["subs", "subscriptions"], ["idle", "time without a word"]];

export function page(main, words, parameters, signal) {
  const outcome = h("div");
  const order = h("select", {}, ORDERS.map(([value, title]) => h("option", { value }, title)));
  const state = h("select", {}, ["open", "closed"].map((name) => h("option", { value: name }, name)));
  let offset = 0;
  const end = (row) => change({
    operation: "change.disconnect", title: `Close connection ${row.cid}`, accept: "Close",
    text: "Most clients connect again at once.",
    question: () => ({ cid: row.cid }),
    words: (answer, isDry) => (isDry ? "It would be closed." : "It was closed."),
  }).then((said) => said && tell(outcome, said));
  const table = new Table([
    { key: "cid", title: "Number", number: true, cell: (row) => String(row.cid) },
    { key: "name", title: "Name", class: "name", cell: (row) => row.name ?? "" },
    { key: "from", title: "From", cell: (row) => `${row.ip}:${row.port}` },
    { key: "client", title: "Library", cell: (row) => [row.lang, row.version].filter(Boolean).join(" ") },
    { key: "up", title: "Up for", cell: (row) => row.uptime },
    { key: "idle", title: "Idle", cell: (row) => row.idle },
    { key: "rtt", title: "Round trip", cell: (row) => row.rtt ?? "" },
    { key: "subs", title: "Subscriptions", number: true, cell: (row) => count(row.subscriptions) },
    { key: "in", title: "From it", number: true, cell: (row) => count(row.in_msgs) },
    { key: "out", title: "To it", number: true, cell: (row) => count(row.out_msgs) },
    { key: "pending", title: "Waiting", number: true, cell: (row) => bytes(row.pending_bytes) },
    { key: "reason", title: "", cell: (row) => row.reason ?? (session.user !== null && h("button", { type: "button", class: "danger", click: () => end(row) }, "Close")) },
  ], { rowKey: (row) => row.cid, empty: "There is no connection." });
  const again = () => refresh().catch(() => {});
  const pager = new Pager(SHOWN, (by) => {
    offset = Math.max(0, offset + by);
    again();
  });
  for (const select of [order, state]) select.addEventListener("change", () => { offset = 0; again(); });
  fill(main, h("h1", {}, "Connections"), outcome, h("div", { class: "bar" }, h("label", {}, "Ordered by", order), h("label", {}, "State", state),
    pager.elements), table.element);

  async function refresh() {
    const part = await monitoring("connz", { sort: order.value, state: state.value, offset, limit: SHOWN }, signal);
    if (offset >= part.total) offset = 0;
    table.show(part.connections, "");
    pager.show(part.offset, part.num_connections, part.total);
  }

  return { title: "Connections", refresh };
}

// Who else there is: the group that takes over from each other, and the brokers that are connected.

import { facts, fill, h } from "./dom.js";
import { form, tell } from "./dialogs.js";
import { ask, look, monitoring, session } from "./server.js";
import { Table } from "./tables.js";
import { bytes, count, span } from "./words.js";

export function page(main, words, parameters, signal) {
  const outcome = h("div");
  const group = h("div");
  const hand = h("div", { class: "bar" });
  const routes = new Table([
    { key: "name", title: "Server", class: "name", cell: (row) => row.remote_name || row.remote_id, sort: (row) => row.remote_name },
    { key: "at", title: "Address", cell: (row) => `${row.ip}:${row.port}` },
    { key: "who", title: "Made by", cell: (row) => (row.did_solicit ? "this server" : "the other") },
    { key: "up", title: "Up for", cell: (row) => row.uptime },
    { key: "rtt", title: "Round trip", cell: (row) => row.rtt ?? "" },
    { key: "subs", title: "Subscriptions", number: true, cell: (row) => count(row.subscriptions), sort: (row) => row.subscriptions },
    { key: "in", title: "From it", number: true, cell: (row) => count(row.in_msgs), sort: (row) => row.in_msgs },
    { key: "out", title: "To it", number: true, cell: (row) => count(row.out_msgs), sort: (row) => row.out_msgs },
    { key: "pending", title: "Waiting", number: true, cell: (row) => bytes(row.pending_size), sort: (row) => row.pending_size },
  ], { rowKey: (row) => row.rid, empty: "No other broker is connected." });
  fill(main, h("h1", {}, "Members"), outcome, h("h2", {}, "Fault tolerance"), group, hand, h("h2", {}, "Routes to other brokers"), routes.element);

  async function refresh() {
    const [server, routez] = await Promise.all([look("server", {}, signal), monitoring("routez", {}, signal)]);
    const membership = server.fault_tolerance;
    fill(group, membership
      ? facts([["Group", membership.group], ["This server", server.state.toLowerCase().replace("_", " ")],
        membership.active && ["Serving", membership.active], ["Since", span(membership.seconds)], ["Changes", count(membership.changes)], ["Why", membership.reason]])
      : h("p", { class: "soft" }, "This server is in no group: nobody takes over from it."));
    const isOffered = session.user !== null && membership && server.state === "FT_ACTIVE";
    if (isOffered !== hand.hasChildNodes()) fill(hand, isOffered && h("button", { type: "button", class: "danger", click: handOver }, "Hand over"));
    routes.show(routez.routes, "");
  }

  async function handOver() {
    const said = await form({
      title: "Hand over", accept: "Hand over", danger: true, fields: [],
      text: "Another member of the group serves from now on, and this one stands by. Clients wait for a moment.",
      done: async () => `Tenure ${(await ask("change.failover")).tenure} ends.`,
    });
    if (said) tell(outcome, said);
  }

  return { title: "Members", refresh };
}

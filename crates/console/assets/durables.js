// Durables and queue groups of all channels.

import { badge, fill, h, link } from "./dom.js";
import { look } from "./server.js";
import { Pager, Table } from "./tables.js";
import { count } from "./words.js";

const SHOWN = 200;

export function page(main, words, parameters, signal) {
  const channel = h("input", { type: "search", placeholder: "all", value: parameters.get("channel") ?? "" });
  let offset = 0;
  const table = new Table([
    { key: "channel", title: "Channel", class: "name", cell: (row) => link(["channel", row.channel], row.channel) },
    {
      key: "name", title: "Durable or group", class: "name",
      cell: (row) => link(["durable", row.channel], [row.name, row.queue && `group ${row.queue}`].filter(Boolean).join(", "),
        { durable: row.name, queue: row.queue, client: row.queue ? "" : row.client_id }),
      sort: (row) => row.name || row.queue,
    },
    { key: "client", title: "Client", class: "name", cell: (row) => row.client_id && link(["client", row.client_id], row.client_id), sort: (row) => row.client_id },
    { key: "members", title: "Members", number: true, cell: (row) => count(row.members), sort: (row) => row.members },
    { key: "state", title: "State", cell: state, sort: (row) => Number(row.is_stalled) - Number(row.is_online) },
    { key: "sent", title: "Last sent", number: true, cell: (row) => count(row.last_sent), sort: (row) => row.last_sent },
    { key: "pending", title: "Unacknowledged", number: true, cell: (row) => count(row.pending_count), sort: (row) => row.pending_count },
  ], { rowKey: (row) => JSON.stringify([row.channel, row.name, row.queue, row.client_id]), empty: "There is no durable and no queue group." });
  const again = () => refresh().catch(() => {});
  const pager = new Pager(SHOWN, (by) => {
    offset = Math.max(0, offset + by);
    again();
  });
  channel.addEventListener("change", () => {
    offset = 0;
    again();
  });
  fill(main, h("h1", {}, "Durables and queue groups"),
    h("div", { class: "bar" }, h("label", {}, "Channel", channel),
      pager.elements),
    table.element);

  async function refresh() {
    const part = await look("durables", { channel: channel.value.trim() || undefined, offset, limit: SHOWN }, signal);
    if (offset >= part.total) offset = 0;
    table.show(part.durables, "");
    pager.show(part.offset, part.count, part.total);
  }

  return { title: "Durables", refresh };
}

function state(row) {
  if (row.paused_by) return badge("paused", "warn");
  if (!row.is_online) return badge("offline", "warn");
  return row.is_stalled ? badge("stalled", "bad") : badge("receiving");
}

// All channels: found by the beginning of their names, page by page.

import { fill, h, link } from "./dom.js";
import { Counter, spark } from "./charts.js";
import { look } from "./server.js";
import { Pager, Table } from "./tables.js";
import { bytes, count, rate } from "./words.js";

const SHOWN = 100;
/** What is fetched to be ordered by something else than names. */
const ORDERED_MAX = 4_000;
const PART = 1_000;
/** How often all of it is fetched. */
const ALL_EVERY = 5;

export function page(main, words, parameters, signal) {
  const search = h("input", { type: "search", value: parameters.get("prefix") ?? "", placeholder: "orders." });
  const note = h("p", { class: "soft" });
  let offset = 0;
  let turns = 0;
  let known = { rows: [], total: 0, isWhole: false };
  const counters = new Map();
  const table = new Table([
    { key: "name", title: "Channel", class: "name", cell: (row) => link(["channel", row.name], row.name), sort: (row) => row.name },
    { key: "msgs", title: "Messages", number: true, cell: (row) => count(row.msgs), sort: (row) => row.msgs },
    { key: "bytes", title: "Size", number: true, cell: (row) => bytes(row.bytes), sort: (row) => row.bytes },
    { key: "first", title: "First", number: true, cell: (row) => (row.msgs ? count(row.first_seq) : "–") },
    { key: "last", title: "Last", number: true, cell: (row) => count(row.last_seq), sort: (row) => row.last_seq },
    { key: "rate", title: "Rate", number: true, cell: (row) => rate(row.rate), sort: (row) => row.rate ?? 0 },
    { key: "spark", title: "", cell: (row) => (row.rates.length > 1 ? spark(row.rates, `Rate of ${row.name}`) : "") },
    { key: "subs", title: "Subscriptions", number: true, cell: (row) => count(row.subs_count), sort: (row) => row.subs_count },
  ], { rowKey: (row) => row.name, key: "name", empty: "No channel has a name that begins so.", onSort: () => { offset = 0; turns = 0; refresh().catch(() => {}); } });
  const pager = new Pager(SHOWN, (by) => {
    offset = Math.max(0, offset + by);
    turns = 0;
    refresh().catch(() => {});
  });
  search.addEventListener("input", () => {
    [offset, turns] = [0, 0];
    history.replaceState(null, "", `#/channels${search.value ? `?${new URLSearchParams({ prefix: search.value })}` : ""}`);
    refresh().catch(() => {});
  });
  fill(main, h("h1", {}, "Channels"),
    h("div", { class: "bar" }, h("label", {}, "Name begins with", search),
      pager.elements),
    table.element, note);

  const isByName = () => table.key === "name" && !table.isDescending;

  async function refresh() {
    const prefix = search.value;
    if (isByName()) {
      const part = await look("channels", { prefix, offset, limit: SHOWN }, signal);
      known = { rows: part.channels, total: part.total, isWhole: false };
    } else if (turns % ALL_EVERY === 0) {
      known = await all(prefix);
    }
    turns += 1;
    if (prefix !== search.value) return;
    show();
  }

  async function all(prefix) {
    const rows = [];
    for (;;) {
      const part = await look("channels", { prefix, offset: rows.length, limit: PART }, signal);
      if (part.total > ORDERED_MAX) return { rows: part.channels, total: part.total, isWhole: false };
      rows.push(...part.channels);
      if (!part.channels.length || rows.length >= part.total) return { rows, total: part.total, isWhole: true };
    }
  }

  function show() {
    const { rows, total, isWhole } = known;
    if (offset >= total && offset > 0) offset = Math.max(0, total - SHOWN);
    for (const row of rows) {
      if (!counters.has(row.name)) counters.set(row.name, new Counter());
      const counter = counters.get(row.name);
      if (row.rate === undefined) row.rate = counter.take(row.last_seq);
      row.rates = counter.rates;
    }
    // What is shown no more is remembered no more.
    if (counters.size > 2 * ORDERED_MAX) counters.clear();
    table.show(rows, "", isWhole ? { shown: SHOWN, skipped: offset } : {});
    pager.show(offset, Math.min(SHOWN, total - offset), total);
    note.textContent = !isByName() && !isWhole && total > ORDERED_MAX
      ? `Only names are ordered among more than ${count(ORDERED_MAX)} channels: these are the first ${count(rows.length)}. Search for fewer to order them.`
      : "";
  }

  return { title: "Channels", refresh };
}

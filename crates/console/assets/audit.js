// Who changed what, and when: the newest changes that operators have made.

import { fill, h } from "./dom.js";
import { look } from "./server.js";
import { Pager, Table } from "./tables.js";
import { when } from "./words.js";

const SHOWN = 100;

export function page(main, words, parameters, signal) {
  const who = h("input", { type: "search", placeholder: "everybody", value: parameters.get("who") ?? "" });
  let offset = 0;
  const table = new Table([
    { key: "time", title: "When", cell: (row) => h("time", { datetime: row.time, title: row.time }, when(row.time)) },
    { key: "by", title: "Who", class: "wrap", cell: (row) => row.by },
    { key: "change", title: "What", class: "wrap", cell: (row) => row.change },
  ], { rowKey: (row) => row.number, empty: "No change is remembered." });
  const again = () => refresh().catch(() => {});
  const pager = new Pager(SHOWN, (by) => {
    offset = Math.max(0, offset + by);
    again();
  });
  who.addEventListener("input", () => {
    offset = 0;
    again();
  });
  fill(main, h("h1", {}, "Changes"), h("p", { class: "soft" }, "What operators have changed, the newest 1,000 changes, kept over restarts and take-overs."),
    h("div", { class: "bar" }, h("label", {}, "Who", who), pager.elements), table.element);

  async function refresh() {
    const asked = who.value.trim();
    const part = await look("audit", { who: asked, offset, limit: SHOWN }, signal);
    if (asked !== who.value.trim()) return;
    if (offset >= part.total) offset = 0;
    table.show(part.changes, "");
    pager.show(part.offset, part.count, part.total);
  }

  return { title: "Changes", refresh };
}

// Tables that keep their order and the focus while their rows change.

import { fill, h, say } from "./dom.js";
import { count } from "./words.js";

/**
 * A table. Columns: `{ key, title, number, cell(row), sort(row) }`; `sort` gives what rows are ordered by, and makes the title a button.
 * `onSort()` is told of a choice and may fetch other rows; without it those that are there are ordered. `rowKey(row)` tells rows apart: who has
 * the focus in one keeps it there, and loses it when the row is gone.
 */
export class Table {
  #columns;
  #body = h("tbody");
  #heads = new Map();
  #caption = h("caption");
  #rows = [];
  #empty;
  #rowKey;
  key = null;
  isDescending = false;

  constructor(columns, { rowKey = null, empty = "There is nothing here.", key = null, isDescending = false, onSort = null } = {}) {
    this.#columns = columns;
    this.#empty = empty;
    this.#rowKey = rowKey;
    this.key = key;
    this.isDescending = isDescending;
    const heads = columns.map((column) => {
      const sorts = () => {
        this.isDescending = this.key === column.key ? !this.isDescending : Boolean(column.number);
        this.key = column.key;
        this.#mark();
        if (onSort) onSort();
        else this.show(this.#rows, this.#caption.textContent);
      };
      const head = h("th", { scope: "col", class: column.number ? "number" : "" },
        column.sort ? h("button", { type: "button", click: sorts }, column.title) : column.title);
      this.#heads.set(column.key, head);
      return head;
    });
    this.element = h("div", { class: "scroll" }, h("table", {}, this.#caption, h("thead", {}, h("tr", {}, heads)), this.#body));
    this.#mark();
  }

  #mark() {
    for (const [key, head] of this.#heads) {
      if (key === this.key) head.setAttribute("aria-sort", this.isDescending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }

  #ordered(rows) {
    const column = this.#columns.find(({ key }) => key === this.key);
    if (!column?.sort) return rows;
    const sign = this.isDescending ? -1 : 1;
    const keyed = rows.map((row) => [column.sort(row), row]);
    keyed.sort(([a], [b]) => sign * (a < b ? -1 : a > b ? 1 : 0));
    return keyed.map(([, row]) => row);
  }

  /** Shows these rows, at most `shown` of them behind `skipped`. */
  show(rows, caption, { shown = Infinity, skipped = 0 } = {}) {
    this.#rows = rows;
    this.#caption.textContent = caption ?? "";
    // A press that is under way is for what is there now.
    if (this.#body.querySelector("button:active, a:active")) return;
    const part = this.#ordered(rows).slice(skipped, skipped + shown);
    const focused = document.activeElement;
    const place = this.#body.contains(focused) ? placeOf(focused) : null;
    fill(this.#body, part.length
      ? part.map((row, index) => h("tr", { "data-key": String(this.#rowKey ? this.#rowKey(row) : index) }, this.#columns.map((column) =>
        h("td", { class: `${column.number ? "number" : ""} ${column.class ?? ""}` }, column.cell(row)))))
      : h("tr", {}, h("td", { colspan: this.#columns.length, class: "soft" }, this.#empty)));
    if (place) atPlace(place, this.#body)?.focus({ preventScroll: true });
  }
}

/** Buttons for the parts of a list; `go(by)` moves by so many entries. At an end the button that leads nowhere says so. */
export class Pager {
  #place = h("span", { "aria-live": "polite" });
  #previous;
  #next;

  constructor(size, go) {
    this.#previous = h("button", { type: "button", disabled: true, click: () => go(-size) }, "Previous");
    this.#next = h("button", { type: "button", disabled: true, click: () => go(size) }, "Next");
    this.elements = [this.#previous, this.#next, this.#place];
  }

  /** So many entries behind `offset` are shown of `total`. */
  show(offset, shown, total) {
    say(this.#place, total ? `${count(offset + 1)} to ${count(offset + shown)} of ${count(total)}` : "none");
    this.#previous.disabled = offset <= 0;
    this.#next.disabled = offset + shown >= total;
  }
}

function placeOf(element) {
  const row = element.closest("tr");
  return { key: row.dataset.key, index: focusable(row).indexOf(element) };
}

function atPlace({ key, index }, body) {
  const row = [...body.rows].find((one) => one.dataset.key === key);
  return row && focusable(row)[index];
}

function focusable(row) {
  return [...row.querySelectorAll("a[href], button, input, select")];
}

// What changes over time, as far as this page has seen it.

import { drawing } from "./dom.js";

const REMEMBERED = 120;

/** A counter that is looked at now and then; gives rates. */
export class Counter {
  #last = null;
  rates = [];

  /** Takes what the counter says now; the rate since the last time, or null. */
  take(value, now = performance.now()) {
    const last = this.#last;
    this.#last = { value, now };
    // A counter that falls belongs to a server that was started anew.
    if (!last || now <= last.now || value < last.value) return null;
    const rate = ((value - last.value) * 1000) / (now - last.now);
    this.rates.push(rate);
    if (this.rates.length > REMEMBERED) this.rates.shift();
    return rate;
  }
}

/** A line over values, from zero to the largest. */
export function spark(values, label) {
  const [width, height] = [120, 32];
  const top = Math.max(...values, 0) || 1;
  const x = (index) => ((index / Math.max(values.length - 1, 1)) * width).toFixed(1);
  const y = (value) => (height - 1 - (value / top) * (height - 2)).toFixed(1);
  const path = values.map((value, index) => `${index ? "L" : "M"}${x(index)} ${y(value)}`).join("");
  return drawing("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    drawing("path", { d: path || "M0 0" }));
}

/** The value that this share of a histogram is not above; buckets are [bound, values up to it]. */
export function quantile({ buckets, count: total }, share) {
  if (!total) return null;
  const found = buckets.find(([, below]) => below >= total * share);
  return found ? found[0] : buckets.at(-1)?.[0] ?? null;
}

/** What came to a histogram between two looks at it. */
export function between(before, after) {
  if (!before || before.count > after.count) return after;
  const of = new Map(before.buckets);
  return {
    count: after.count - before.count,
    sum: after.sum - before.sum,
    buckets: after.buckets.map(([bound, below]) => [bound, below - (of.get(bound) ?? 0)]),
  };
}

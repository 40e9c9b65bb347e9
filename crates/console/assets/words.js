// Numbers and times for people.

const counts = new Intl.NumberFormat();
const few = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });

export function count(number) {
  return counts.format(number ?? 0);
}

export function rate(number) {
  return number === null ? "–" : `${number < 10 ? few.format(number) : counts.format(Math.round(number))}/s`;
}

/** Bytes in the unit that gives few digits. */
export function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = number ?? 0;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1];
  return `${unit === 0 ? counts.format(value) : few.format(value)} ${units[unit]}`;
}

export function nanoseconds(number) {
  if (number < 1e3) return `${Math.round(number)} ns`;
  if (number < 1e6) return `${few.format(number / 1e3)} µs`;
  if (number < 1e9) return `${few.format(number / 1e6)} ms`;
  return `${few.format(number / 1e9)} s`;
}

/** Days, hours, minutes and seconds, the two largest of them. */
export function span(seconds) {
  const parts = [[86_400, "d"], [3_600, "h"], [60, "m"], [1, "s"]];
  let rest = Math.max(0, Math.round(seconds));
  const words = [];
  for (const [size, unit] of parts) {
    const whole = Math.floor(rest / size);
    rest -= whole * size;
    if (whole || (unit === "s" && !words.length)) words.push(`${whole}${unit}`);
  }
  return words.slice(0, 2).join(" ");
}

export function when(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? String(time) : date.toLocaleString();
}

/** The whole number that somebody typed; nothing else is guessed at. */
export function whole(text, name) {
  const digits = text.trim();
  if (!/^\d+$/.test(digits) || !Number.isSafeInteger(Number(digits))) {
    throw new Error(`${name}: ${JSON.stringify(text)} is no whole number. Type digits alone, without points, commas or blanks.`);
  }
  return Number(digits);
}

/** A limit: 0 is none. */
export function limit(number, words = count) {
  return number ? words(number) : "unlimited";
}

/** How many of something, in words. */
export function of(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

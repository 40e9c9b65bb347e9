// Messages of a channel, browsed without a subscription: nobody is delayed, and no durable moves.

import { fill, h } from "./dom.js";
import { messages, payloadAddress } from "./server.js";
import { bytes, count, when, whole } from "./words.js";

const COUNT = 20;
/** How far a search for a time goes. */
const STEPS_MAX = 64;

export function browser(channel) {
  const from = h("input", { inputmode: "numeric", placeholder: "the last ones", size: "12" });
  const time = h("input", { type: "datetime-local", step: "1" });
  const form_of = h("select", {}, ["fitting", "text", "JSON", "hex"].map((name) => h("option", {}, name)));
  const list = h("div", { "aria-live": "polite" });
  const place = h("span", { class: "soft" });
  let seen = { first: 0, last: 0, messages: [] };

  async function show(start) {
    fill(list, h("p", { class: "soft" }, "…"));
    try {
      seen = await messages({ channel, from: start, count: COUNT });
      draw();
    } catch (error) {
      fill(list, h("p", { class: "failure" }, error.message));
    }
  }

  function draw() {
    const there = seen.messages;
    const isAtFirst = !seen.last || (there[0]?.sequence ?? seen.first) <= seen.first;
    const isAtLast = !seen.last || (there.at(-1)?.sequence ?? seen.last) >= seen.last;
    [toFirst.disabled, older.disabled, newer.disabled] = [isAtFirst, isAtFirst, isAtLast];
    place.textContent = seen.last ? `sequences ${count(seen.first)} to ${count(seen.last)} are there` : "";
    fill(list, seen.damaged && h("p", { class: "failure" }, `Damaged in the store, and left out: ${seen.damaged}`),
      seen.messages.length ? seen.messages.map((message) => shown(channel, message, form_of.value)) : h("p", { class: "soft" }, "No message is there."));
  }

  /** The first message that is not older than a time: halves what is in question, with one look each. */
  async function seek() {
    const wanted = new Date(time.value).getTime();
    if (Number.isNaN(wanted)) return;
    fill(list, h("p", { class: "soft" }, "Looking for that time …"));
    try {
      const whole = await messages({ channel, count: 1 });
      let [low, high] = [whole.first, whole.last + 1];
      for (let step = 0; low < high && step < STEPS_MAX; step += 1) {
        const middle = low + Math.floor((high - low) / 2);
        const found = (await messages({ channel, from: middle, count: 1 })).messages[0];
        // What is gone or damaged is not older than what comes before it.
        if (!found || new Date(found.time).getTime() >= wanted) high = middle;
        else low = found.sequence + 1;
      }
      from.value = low > whole.last ? "" : String(low);
      await show(from.value || undefined);
    } catch (error) {
      fill(list, h("p", { class: "failure" }, error.message));
    }
  }

  function attempt(work) {
    try {
      work();
    } catch (error) {
      fill(list, h("p", { class: "failure" }, error.message));
    }
  }

  const first = () => seen.messages[0]?.sequence ?? seen.first;
  const go = (start) => show(Math.max(1, start));
  const toFirst = h("button", { type: "button", click: () => go(seen.first) }, "First");
  const older = h("button", { type: "button", click: () => go(first() - COUNT) }, "Older");
  const newer = h("button", { type: "button", click: () => go((seen.messages.at(-1)?.sequence ?? seen.last) + 1) }, "Newer");
  form_of.addEventListener("change", draw);
  show();
  return [
    h("form", { class: "bar", submit: (event) => { event.preventDefault(); attempt(() => show(from.value.trim() ? whole(from.value, "The sequence") : undefined)); } },
      h("label", {}, "From sequence", from), h("button", { class: "main" }, "Show"),
      h("label", {}, "Or from a time", time), h("button", { type: "button", click: seek }, "Find"),
      h("label", {}, "Shown as", form_of)),
    h("div", { class: "bar" },
      // What is published meanwhile comes with it: it always leads somewhere.
      toFirst, older, newer, h("button", { type: "button", click: () => show() }, "Last"), place),
    list,
  ];
}

function shown(channel, message, form) {
  const payload = Uint8Array.from(atob(message.base64), (character) => character.charCodeAt(0));
  const isCut = payload.length < message.bytes;
  return h("article", { class: "message", "aria-label": `Message ${message.sequence}` },
    h("header", {}, h("strong", {}, `#${message.sequence}`), h("time", { datetime: message.time, title: message.time }, when(message.time)),
      h("span", {}, bytes(message.bytes)), message.reply && h("span", {}, `reply to ${message.reply}`),
      h("a", { href: payloadAddress(channel, message.sequence), download: "" }, "Download")),
    h("pre", { tabindex: "0" }, inForm(payload, form, isCut)), isCut && h("p", { class: "soft" }, `The first ${bytes(payload.length)} are shown.`));
}

/** Whether bytes are a text, which may be cut in the middle of a letter. */
function isText(payload, isCut) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(payload, { stream: isCut });
    return !/[\u0000-\u0008\u000e-\u001f\u007f]/.test(text);
  } catch {
    return false;
  }
}

function inForm(payload, form, isCut) {
  if (form === "hex" || (form === "fitting" && !isText(payload, isCut))) return hexadecimal(payload);
  const text = new TextDecoder().decode(payload);
  if (form === "JSON") {
    try {
      JSON.parse(text);
      return indented(text);
    } catch {
      return text;
    }
  }
  return text;
}

/** JSON with its words on lines of their own. Each word stays as it was sent: numbers may have more digits than this page can count with. */
function indented(text) {
  const words = text.match(/"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s{}[\]:,"]+/g) ?? [];
  const line = (depth) => `\n${"  ".repeat(depth)}`;
  let [depth, out] = [0, ""];
  words.forEach((word, index) => {
    const isEmpty = "{[".includes(words[index - 1] ?? " ") && "}]".includes(word);
    if ("{[".includes(word)) {
      depth += 1;
      out += word + ("}]".includes(words[index + 1] ?? " ") ? "" : line(depth));
    } else if ("}]".includes(word)) {
      depth -= 1;
      out += (isEmpty ? "" : line(depth)) + word;
    } else if (word === ",") {
      out += word + line(depth);
    } else {
      out += word === ":" ? ": " : word;
    }
  });
  return out;
}

function hexadecimal(payload) {
  const lines = [];
  for (let at = 0; at < payload.length; at += 16) {
    const part = [...payload.subarray(at, at + 16)];
    const digits = part.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const letters = part.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${digits.padEnd(47)}  ${letters}`);
  }
  return lines.join("\n");
}

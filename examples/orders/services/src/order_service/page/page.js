// The live page of the order service: a board of orders, the channel's log beside it, and a form.
//
// Two sources feed the board. The log says at once that an order has changed; the read model, a moment later, says what the
// order is. The higher version wins, so they may arrive in any order and any number of times. Everything that users typed goes
// through textContent or setAttribute: none of it is ever markup.

"use strict";

const STATUS_OF_EVENT = {
  OrderCreated: "created",
  OrderApproved: "approved",
  OrderRejected: "rejected",
  OrderPaymentDebited: "paid",
};

// What the page holds at most: the newest orders, cards in a column, rows of the log.
const ORDERS_MAX = 2000;
const CARDS_MAX = 50;
const LOG_ROWS_MAX = 200;

// Orders often take their whole way faster than anybody can see; a card stays so long in a column at least, in milliseconds.
const STAY = 450;

// The board is redrawn at most this often, and the read model asked at most this often, for some orders and for many, in
// milliseconds.
const DRAW_EVERY = 120;
const LOAD_SINGLY_EVERY = 250;
const LOAD_EVERY = 1000;
const LOAD_COUNT = 200;
const LOAD_SINGLY_MAX = 8;
const RECONNECT_AFTER = 2000;

const find = (selector, within = document) => within.querySelector(selector);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const money = (cents) => (cents / 100).toFixed(2);
const shortId = (id) => id.slice(0, 8);

function clock(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? "" : date.toLocaleTimeString([], { hourCycle: "h23" });
}

// ------------------------------------------------------------------------------------------------ orders

// id -> { id, version, details, card, shown, path, movedAt }. `version` is the highest that was heard of, `details` the read
// model's row, `shown` the column of the card, and `path` the columns it has yet to go through.
const orders = new Map();
const changed = new Set();
let drawing = false;

function orderOf(id) {
  let order = orders.get(id);
  if (!order) {
    order = { id, version: 0, details: null, card: null, shown: null, path: [], movedAt: 0 };
    orders.set(id, order);
    if (orders.size > ORDERS_MAX) forgetOldest();
  }
  return order;
}

function forgetOldest() {
  const [id, order] = orders.entries().next().value;
  order.card?.remove();
  orders.delete(id);
  changed.delete(order);
}

// The log tells every step, so the card takes them one by one.
function step(order, version, status) {
  if (!status || version <= order.version) return;
  order.version = version;
  order.path.push(status);
  markChanged(order);
}

// The read model tells only where the order has arrived.
function jump(order, version, status) {
  if (version <= order.version) return;
  order.version = version;
  order.path = [status];
  markChanged(order);
}

function takeRow(row) {
  const order = orderOf(row.id);
  if (!order.details || row.version > order.details.version) {
    order.details = row;
    markChanged(order);
  }
  jump(order, row.version, row.status);
}

function markChanged(order) {
  changed.add(order);
  if (drawing) return;
  drawing = true;
  setTimeout(draw, DRAW_EVERY);
}

// Cards are moved, never made anew, and only those of orders that changed are touched.
function draw() {
  drawing = false;
  const now = Date.now();
  const columns = new Set();
  const before = Array.from(changed);
  changed.clear();
  for (const order of before) {
    if (order.path.length > 0 && now - order.movedAt >= STAY) columns.add(move(order, now));
    if (order.card) fillCard(order);
    if (order.path.length > 0) markChanged(order);
  }
  for (const list of columns) {
    while (list.children.length > CARDS_MAX) list.lastElementChild.remove();
  }
  showCounts();
  if (columns.size > 0 && undescribed().length > 0) load();
}

// Moves the card to its next column, which is returned.
function move(order, now) {
  const status = order.path.shift();
  const list = find(`.column[data-status="${status}"] ol`);
  if (order.shown === status) return list;
  order.card ??= newCard(order);
  order.shown = status;
  order.movedAt = now;
  list.prepend(order.card);
  return list;
}

function newCard(order) {
  const card = find("#card-template").content.firstElementChild.cloneNode(true);
  find(".id", card).textContent = shortId(order.id);
  find("button", card).addEventListener("click", () => showDetails(order.id));
  return card;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function fillCard(order) {
  const { card, details } = order;
  setText(find(".customer", card), details ? details.customer : "…");
  if (details) find(".customer", card).title = details.customer;
  setText(find(".restaurant", card), details ? details.restaurant : "");
  setText(find(".amount", card), details ? money(details.amount_cents) : "");
  setText(find(".reason", card), order.shown === "rejected" && details ? details.rejection_reason : "");
}

// The read model's numbers, with orders whose cards are still on their way counted where the cards are.
let counts = {};

function showCounts() {
  const shown = { ...counts };
  for (const order of changed) {
    if (order.path.length === 0 || !order.shown) continue;
    shown[order.path.at(-1)] -= 1;
    shown[order.shown] += 1;
  }
  for (const column of document.querySelectorAll(".column")) {
    setText(find(".count", column), String(Math.max(0, shown[column.dataset.status] ?? 0)));
  }
}

// ------------------------------------------------------------------------------------------------ the read model

let loading = false;

// Asks for the newest orders when the page opens or many cards are not described, and for single orders when few are. A call
// while one is under way is left out: whoever is still not described then is asked for after it.
async function load(opening) {
  if (loading) return;
  loading = true;
  const many = opening || undescribed().length > LOAD_SINGLY_MAX;
  try {
    if (many) await loadNewest();
    for (const order of undescribed().slice(0, LOAD_SINGLY_MAX)) {
      // One that the read model does not know yet must not keep the others waiting.
      const row = await getJson(`/api/orders/${encodeURIComponent(order.id)}`).catch(() => null);
      if (row) takeRow(row);
    }
  } catch {
    // The read model is away; the log goes on, and what is missing is asked for again.
  }
  setTimeout(() => {
    loading = false;
    if (undescribed().length > 0) load();
  }, many ? LOAD_EVERY : LOAD_SINGLY_EVERY);
}

async function loadNewest() {
  const answer = await getJson(`/api/orders?limit=${LOAD_COUNT}`);
  // Newest first; the board wants the newest on top, so the oldest is taken first.
  for (const row of answer.orders.reverse()) takeRow(row);
  counts = answer.counts;
  showCounts();
}

// Orders that have a card on the board and nothing to write on it, or were rejected and do not say why yet.
function undescribed() {
  const lacks = ({ details, shown, version }) => !details || (shown === "rejected" && details.version < version);
  return Array.from(orders.values()).filter((order) => order.card?.isConnected && lacks(order));
}

async function getJson(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

async function showDetails(id) {
  const dialog = find("#details");
  let order;
  try {
    order = await getJson(`/api/orders/${encodeURIComponent(id)}`);
  } catch {
    announce("The read model does not know this order yet. Try again in a moment.", "failed");
    return;
  }
  find("#details-title").textContent = `Order ${shortId(order.id)}`;
  const facts = [
    ["id", order.id],
    ["customer", order.customer],
    ["restaurant", order.restaurant],
    ["status", order.status],
    ["amount", money(order.amount_cents)],
  ];
  if (order.rejection_reason) facts.push(["rejected because", order.rejection_reason]);
  find("dl", dialog).replaceChildren(...facts.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  const row = (cells) => {
    const made = element("tr");
    made.append(...cells.map((cell) => element("td", String(cell))));
    return made;
  };
  const items = order.items.map((item) => row([`${item.code} ${item.name}`, money(item.unit_price_cents), item.quantity]));
  find(".items tbody", dialog).replaceChildren(...items);
  const history = order.history.map((event) => row([event.version, event.event_type, clock(event.at)]));
  find(".history tbody", dialog).replaceChildren(...history);
  dialog.showModal();
}

// ------------------------------------------------------------------------------------------------ the channel's log

// Sequence -> timestamp of the rows that are shown, and the order's versions that were seen, to tell what came twice.
const logRows = new Map();
const seenVersions = new Set();
let lastSequence = 0;

function takeLogEntry(entry) {
  if (logRows.get(entry.sequence) === entry.timestamp) return;
  const version = `${entry.order_id}/${entry.version}`;
  const repeated = seenVersions.has(version);
  seenVersions.add(version);
  if (seenVersions.size > 4 * ORDERS_MAX) seenVersions.delete(seenVersions.values().next().value);
  addLogRow(entry, repeated);
  step(orderOf(entry.order_id), entry.version, STATUS_OF_EVENT[entry.event_type]);
}

function addLogRow(entry, repeated) {
  const body = find("#log tbody");
  if (lastSequence && entry.sequence > lastSequence + 1) {
    const gap = element("tr", undefined, "gap");
    const cell = element("td", `${entry.sequence - lastSequence - 1} not shown`);
    cell.colSpan = 4;
    gap.append(cell);
    body.prepend(gap);
  }
  lastSequence = entry.sequence;
  const row = element("tr", undefined, repeated ? "repeated" : undefined);
  row.dataset.sequence = entry.sequence;
  const event = element("td", entry.event_type, `event ${STATUS_OF_EVENT[entry.event_type] ?? ""}`);
  if (repeated) event.append(" ", element("small", "again"));
  const order = element("td");
  order.append(element("code", shortId(entry.order_id)), ` v${entry.version}`);
  row.append(element("td", String(entry.sequence)), element("td", clock(entry.timestamp)), event, order);
  body.prepend(row);
  logRows.set(entry.sequence, entry.timestamp);
  while (body.children.length > LOG_ROWS_MAX) {
    const old = body.lastElementChild;
    logRows.delete(Number(old.dataset.sequence));
    old.remove();
  }
  setText(find("#log-last"), String(entry.sequence));
}

function showConnection(state, text) {
  const shown = find("#connection");
  if (shown.dataset.state === state) return;
  shown.dataset.state = state;
  shown.textContent = text;
}

function follow() {
  const source = new EventSource("/api/live");
  source.addEventListener("open", () => {
    showConnection("live", "live");
    load(true);
  });
  source.addEventListener("log", (event) => takeLogEntry(JSON.parse(event.data)));
  source.addEventListener("counts", (event) => {
    counts = JSON.parse(event.data);
    showCounts();
  });
  source.addEventListener("error", () => {
    showConnection("away", "reconnecting");
    // The browser tries again by itself after a lost connection, but not after an answer that is an error.
    if (source.readyState !== EventSource.CLOSED) return;
    source.close();
    setTimeout(follow, RECONNECT_AFTER);
  });
}

// ------------------------------------------------------------------------------------------------ the form

// One key for one order: sending it again after a lost answer gives the same order.
let idempotencyKey = null;

function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function addItem() {
  const item = find("#item-template").content.firstElementChild.cloneNode(true);
  find(".remove", item).addEventListener("click", () => {
    item.remove();
    nameItems();
  });
  find("#items").append(item);
  nameItems();
}

// The names of the inputs are those by which the server speaks of a field.
function nameItems() {
  const items = document.querySelectorAll("#items .item");
  items.forEach((item, index) => {
    find("legend", item).textContent = `Item ${index + 1}`;
    find(".remove", item).hidden = items.length === 1;
    for (const input of item.querySelectorAll("input")) input.dataset.field = `items[${index}].${input.dataset.part}`;
  });
}

// What the form holds, or a field and what is wrong with it. Only what JSON cannot carry is checked here; the server judges.
function readForm() {
  const items = [];
  for (const item of document.querySelectorAll("#items .item")) {
    const input = (part) => find(`[data-part="${part}"]`, item);
    const price = /^\d{1,9}([.,]\d{1,2})?$/.test(input("unit_price_cents").value.trim());
    if (!price) return { field: input("unit_price_cents").dataset.field, message: "a price like 4.50 is needed" };
    if (!/^-?\d{1,9}$/.test(input("quantity").value.trim())) {
      return { field: input("quantity").dataset.field, message: "a whole number is needed" };
    }
    items.push({
      code: input("code").value,
      name: input("name").value,
      unit_price_cents: Math.round(Number(input("unit_price_cents").value.replace(",", ".")) * 100),
      quantity: Number(input("quantity").value),
    });
  }
  return { order: { customer: find("#customer").value, restaurant: find("#restaurant").value, items } };
}

function announce(text, state) {
  const outcome = find("#outcome");
  outcome.textContent = text;
  outcome.dataset.state = state;
}

function clearErrors() {
  announce("", "");
  for (const message of document.querySelectorAll("#place .error")) message.remove();
  for (const input of document.querySelectorAll("#place [aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  }
}

function showError(field, text) {
  const inputs = Array.from(document.querySelectorAll("#place [data-field]"));
  const input = inputs.find((candidate) => candidate.dataset.field === field);
  if (!input) {
    announce(field ? `${field}: ${text}` : text, "failed");
    return;
  }
  const message = element("span", text, "error");
  message.id = "field-error";
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", message.id);
  input.closest(".field").append(message);
  input.focus();
}

async function placeOrder(event) {
  event.preventDefault();
  clearErrors();
  const { order, field, message } = readForm();
  if (!order) {
    showError(field, message);
    return;
  }
  idempotencyKey ??= newKey();
  find("#submit").disabled = true;
  try {
    const response = await fetch("/api/orders", {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": idempotencyKey },
      body: JSON.stringify(order),
    });
    await showAnswer(response);
  } catch {
    announce("The order service does not answer. Press again: the order is placed only once.", "failed");
  } finally {
    find("#submit").disabled = false;
  }
}

async function showAnswer(response) {
  const answer = await response.json().catch(() => ({}));
  if (response.status === 201 || response.status === 200) {
    idempotencyKey = null;
    announce(`Order ${shortId(answer.id)} is ${answer.status}, ${money(answer.amount_cents)}.`, "done");
    return;
  }
  const error = answer.error ?? {};
  showError(error.field, error.message ?? `the order service answered ${response.status}`);
}

// ------------------------------------------------------------------------------------------------ start

find("#add-item").addEventListener("click", addItem);
find("#place").addEventListener("submit", placeOrder);
// A changed order is another order.
find("#place").addEventListener("input", () => {
  idempotencyKey = null;
});
addItem();
follow();

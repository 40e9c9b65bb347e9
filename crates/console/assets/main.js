// Which page is shown, and when it asks again.

import { fill, h } from "./dom.js";
import { look, lookAtSession, logOut, onSession, session } from "./server.js";
import { logInDialog } from "./login.js";
import * as overview from "./overview.js";
import * as channels from "./channels.js";
import * as channel from "./channel.js";
import * as durables from "./durables.js";
import * as subscription from "./subscription.js";
import * as clients from "./clients.js";
import * as connections from "./connections.js";
import * as members from "./members.js";
import * as audit from "./audit.js";

const PAGES = { "": overview, channels, channel, durables, durable: subscription, clients, client: clients, connections, members, audit };
const NEAREST = { channel: "channels", durable: "durables", client: "clients" };
/** Milliseconds between the answer to one question and the next question. */
const PAUSE = 1_000;
const PAUSE_AFTER_TROUBLE = 3_000;
/** Looks after which it is asked again who is logged in. */
const SESSION_EVERY = 20;

const content = document.getElementById("content");
const trouble = document.getElementById("trouble");
const person = document.getElementById("person");
let [hadTrouble, sinceSession] = [false, 0];
let shown = 0;
/** Ends what the page that is shown has asked for. */
let leave = () => {};
/** The address of the page that is shown. */
let address = "#/";

function wanted() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  try {
    return { words: path.split("/").map(decodeURIComponent), parameters: new URLSearchParams(query) };
  } catch {
    return { words: [""], parameters: new URLSearchParams() };
  }
}

async function show() {
  // The way past the navigation is no page.
  if (location.hash && !location.hash.startsWith("#/")) {
    history.replaceState(null, "", address);
    content.focus();
    return;
  }
  address = location.hash || "#/";
  const turn = ++shown;
  const { words, parameters } = wanted();
  const page = Object.hasOwn(PAGES, words[0]) ? PAGES[words[0]] : overview;
  for (const anchor of document.querySelectorAll("nav a")) {
    const own = anchor.getAttribute("href").replace(/^#\//, "");
    if (own === (NEAREST[words[0]] ?? words[0])) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  fill(content);
  const leaving = new AbortController();
  leave();
  leave = () => leaving.abort();
  const { title, refresh } = page.page(content, words.slice(1), parameters, leaving.signal);
  document.title = title ? `${title} – Seaway` : "Seaway";
  if (document.activeElement === document.body || content.contains(document.activeElement)) content.focus({ preventScroll: true });
  while (turn === shown) {
    let pause = PAUSE;
    if (!document.hidden) {
      try {
        // A session may have ended without a word.
        if ((hadTrouble || sinceSession >= SESSION_EVERY) && session.user !== null) {
          await lookAtSession();
          sinceSession = 0;
        }
        await refresh();
        sinceSession += 1;
        hadTrouble = false;
        if (turn === shown) trouble.hidden = true;
      } catch (error) {
        if (turn !== shown) return;
        hadTrouble = true;
        [trouble.textContent, trouble.hidden] = [error.message, false];
        pause = PAUSE_AFTER_TROUBLE;
      }
    }
    await new Promise((done) => setTimeout(done, pause));
  }
}

function showPerson() {
  if (session.user !== null) {
    fill(person, h("span", {}, session.user), h("button", { type: "button", click: () => logOut().catch(say) }, "Log out"));
  } else if (session.obstacle) {
    fill(person, h("span", { class: "soft", title: session.obstacle }, "Look only"));
  } else {
    fill(person, h("button", { type: "button", click: logInDialog }, "Log in"));
  }
}

function say(error) {
  [trouble.textContent, trouble.hidden] = [error.message, false];
}

async function name() {
  try {
    const { cluster_id: cluster } = await look("server");
    document.getElementById("cluster").textContent = cluster;
  } catch {
    // The page says what is wrong.
  }
}

addEventListener("hashchange", show);
onSession(() => {
  showPerson();
  show();
});
await lookAtSession().catch(say);
showPerson();
name();
show();

// What is asked of the server. Looks are free for all; the rest needs a login.

/** Milliseconds that a look may take, and anything else. */
const [LOOK_PATIENCE, PATIENCE] = [8_000, 40_000];

/** What the server refuses, in its words. */
export class Refusal extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, {
      ...options,
      headers: { "x-seaway-console": "1", ...options.headers },
      credentials: "same-origin",
      redirect: "error",
      signal: AbortSignal.any([options.signal, AbortSignal.timeout(options.patience ?? PATIENCE)].filter(Boolean)),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const words = error.name === "TimeoutError" ? "The server does not answer: what is shown is old." : "The server cannot be reached: what is shown is old.";
    throw new Refusal(0, `${words} This page goes on trying.`);
  }
  const text = await response.text();
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    // An answer of another program, or of the monitoring.
  }
  if (!response.ok) {
    const failed = new Refusal(response.status, answer?.error ?? (text.trim() || `The server answers with ${response.status}.`));
    if (response.status === 401) changed({ ...session, user: null });
    throw failed;
  }
  return answer;
}

function query(parameters) {
  const known = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return known.length ? `?${new URLSearchParams(known)}` : "";
}

/** A look at the streaming server. */
export function look(name, parameters = {}, signal) {
  return request(`data/${name}${query(parameters)}`, { signal, patience: LOOK_PATIENCE });
}

/** An endpoint of the broker's monitoring. */
export function monitoring(name, parameters = {}, signal) {
  return request(`../${name}${query(parameters)}`, { signal, patience: LOOK_PATIENCE });
}

/** An operation of the administration, as the user who is logged in. */
export function ask(operation, question = {}) {
  return request(`ask/${operation}`, { method: "POST", body: JSON.stringify(question) });
}

export function messages(parameters) {
  return request(`messages${query(parameters)}`);
}

export function payloadAddress(channel, sequence) {
  return `payload${query({ channel, sequence })}`;
}

export function publish(channel, text) {
  return request("publish", { method: "POST", body: JSON.stringify({ channel, text }) });
}

/** Who is logged in, and why nobody can be. */
export let session = { user: null, obstacle: null };
const listeners = new Set();

export function onSession(listener) {
  listeners.add(listener);
}

function changed(now) {
  const isOther = now.user !== session.user || now.obstacle !== session.obstacle;
  session = now;
  if (isOther) for (const listener of listeners) listener();
}

export async function lookAtSession() {
  changed(await request("session", { patience: LOOK_PATIENCE }));
}

export async function logIn(credentials) {
  const { user } = await request("session", { method: "POST", body: JSON.stringify(credentials) });
  changed({ ...session, user });
}

export async function logOut() {
  await request("session", { method: "DELETE" });
  changed({ ...session, user: null });
}

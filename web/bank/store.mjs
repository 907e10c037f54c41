// Sessions as the server has them, fetched once for all panels that show them.
import { api } from "../../../scripts/api.js";
import { ROUTES, getJson } from "../shared/server.mjs";

const QUIET_MS = 300;
const REST_MS = 150; // between the parts of a large session that is opened for the first time
// Another number with every new fact of a card: a browser keeps the cards of an unchanged session by
// their address, also those that an earlier version of the pack made.
const FACTS = 2;
const RUN_EVENTS = ["executed", "execution_success", "execution_error", "execution_interrupted"];

// By session: { listeners, content, error }.
const banks = new Map();
const listListeners = new Set();
let listed = null;
let waiting = null;

// `listener({ content, error })` now, if known, and at every change. Returns a function that stops.
export function watchBank(session, listener) {
  const bank = banks.get(session) ?? { listeners: new Set(), content: null, error: null, text: "" };
  banks.set(session, bank);
  bank.listeners.add(listener);
  if (bank.content || bank.error) {
    listener(bank);
  }
  loadBank(session);
  return () => {
    bank.listeners.delete(listener);
    if (!bank.listeners.size) {
      banks.delete(session);
    }
  };
}

// `listener(sessions)` with facts of all sessions, the newest first.
export function watchSessions(listener) {
  listListeners.add(listener);
  if (listed) {
    listener(listed);
  }
  loadSessions();
  return () => listListeners.delete(listener);
}

export async function loadSessions() {
  try {
    listed = (await getJson("/sessions")).sessions;
  } catch {
    // A server that does not answer is shown by ComfyUI itself; the names on screen stay.
    return listed ?? [];
  }
  for (const listener of listListeners) {
    listener(listed);
  }
  return listed;
}

async function loadBank(session) {
  let content = null;
  let error = null;
  try {
    content = await getJson(`/sessions/${encodeURIComponent(session)}?facts=${FACTS}`);
  } catch (failure) {
    error = failure;
  }
  const bank = banks.get(session);
  if (!bank) {
    return;
  }
  // Most looks after a run find nothing new, and redrawing would end what a user points at.
  const text = JSON.stringify(content) + String(error ?? "");
  if (text === bank.text) {
    return;
  }
  Object.assign(bank, { content, error, text });
  for (const listener of bank.listeners) {
    listener(bank);
  }
  if (content?.cards.some((card) => card.camera_waits)) {
    setTimeout(() => banks.has(session) && loadBank(session), REST_MS);
  }
}

// After a change: every session on screen, and the list.
export async function refresh() {
  clearTimeout(waiting);
  waiting = null;
  const looks = [...banks.keys()].map(loadBank);
  if (listListeners.size) {
    looks.push(loadSessions());
  }
  await Promise.all(looks);
}

function refreshSoon() {
  if (banks.size || listListeners.size) {
    waiting ??= setTimeout(refresh, QUIET_MS);
  }
}

export function followRuns() {
  for (const name of RUN_EVENTS) {
    api.addEventListener(name, refreshSoon);
  }
  api.addEventListener("memory_v2v.progress", ({ detail }) => {
    if (detail?.tile) {
      refreshSoon(); // a piece was saved
    }
  });
}

export function pictureUrl(session, card) {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches ? "?still" : "";
  return api.apiURL(`${ROUTES}/sessions/${encodeURIComponent(session)}/${card.id}/picture${calm}`);
}

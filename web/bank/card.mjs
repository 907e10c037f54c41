// One card of the Memory Bank: a turn or a segment.
import { element } from "../shared/dom.mjs";
import { t } from "../shared/texts.mjs";
import { icon } from "./icons.mjs";
import { pictureUrl } from "./store.mjs";
import { allWords, cameraWords, nameOf, seenWords, whenWords } from "./words.mjs";

// An empty card. `act(name)` is called when a button is pressed.
export function newCard(actions, act) {
  const parts = {
    picture: element("img", { className: "memv2v-card-picture", alt: "", draggable: false }),
    name: element("span", { className: "memv2v-card-name" }),
    badges: element("span", { className: "memv2v-card-badges" }),
    words: element("div", { className: "memv2v-card-words" }),
    when: element("span", { className: "memv2v-card-when" }),
    buttons: new Map(actions.map((name) => [name, button(name, () => act(name))])),
  };
  const head = element("div", { className: "memv2v-card-head" }, parts.name, parts.badges);
  const foot = element("div", { className: "memv2v-card-foot" }, ...parts.buttons.values(), parts.when);
  const body = element("div", { className: "memv2v-card-body" }, head, parts.words, foot);
  const frame = element("div", { className: "memv2v-card-frame" }, parts.picture);
  const card = element(
    "div",
    { className: "memv2v-card", attributes: { role: "listitem", tabindex: "-1" } },
    frame,
    body,
  );
  // A model without preview colours gives no picture, and a forgotten one is gone.
  parts.picture.addEventListener("error", () => parts.picture.removeAttribute("src"));
  return { element: card, parts };
}

// Show the facts of `card` in an element of `newCard`.
// redo: of `Redo.of`.
export function fillCard({ element: made, parts }, session, card, { redo, busy }) {
  const words = allWords(card);
  made.title = words;
  made.setAttribute("aria-label", words.replaceAll("\n", ", "));
  made.dataset.entry = card.id;
  made.classList.toggle("memv2v-card-busy", busy);
  const url = card.picture ? pictureUrl(session, card) : "";
  // The same address again would start the loop anew.
  if (parts.picture.dataset.url !== url) {
    parts.picture.dataset.url = url;
    if (url) {
      parts.picture.src = url;
    } else {
      parts.picture.removeAttribute("src");
    }
  }
  parts.name.textContent = nameOf(card);
  parts.words.textContent = [cameraWords(card.camera), card.prompt].filter(Boolean).join(" · ");
  parts.when.textContent = whenWords(card.created_s);
  parts.badges.replaceChildren(...badgesOf(card, redo));
  setLabels(parts.buttons, card, redo);
}

function badgesOf(card, redo) {
  const found = [];
  if (card.pinned) {
    found.push(badge("pinned", t("pinned")));
  }
  if (card.stale) {
    found.push(badge("stale", t("stale")));
  }
  if (redo?.isPending) {
    found.push(badge("redo", t("redo")));
  }
  const seen = seenWords(card);
  if (seen) {
    found.push(badge(card.used_last ? "seen-now" : "seen", seen));
  }
  return found;
}

function badge(kind, text) {
  return element("span", { className: `memv2v-badge memv2v-badge-${kind}` }, text);
}

function button(name, onclick) {
  return element(
    "button",
    { type: "button", className: "memv2v-icon-button", tabIndex: -1, onclick, dataset: { action: name } },
    icon(name),
  );
}

function setLabels(buttons, card, redo) {
  const isPending = Boolean(redo?.isPending);
  const labels = {
    pin: card.pinned ? t("Unpin") : t("Pin: always retrieve it"),
    forget: t("Forget: delete it from the session"),
    branch: t("Branch: continue from here in a new session"),
    redo: redo?.reason || (isPending ? t("Do not make it again") : t("Redo: make it again in the next run")),
    source: t("Take over as source of the next edit"),
  };
  for (const [name, made] of buttons) {
    made.title = labels[name];
    made.setAttribute("aria-label", `${labels[name]} (${nameOf(card)})`);
  }
  for (const [name, isOn] of [["pin", card.pinned], ["redo", isPending]]) {
    buttons.get(name).setAttribute("aria-pressed", String(isOn));
  }
  buttons.get("redo").hidden = !redo;
  // Without `disabled` the keyboard reaches it, and hears the reason.
  buttons.get("redo").setAttribute("aria-disabled", String(Boolean(redo?.reason)));
}

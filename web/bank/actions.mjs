// What the buttons of a card do. Pin, forget and branch are on disk when they return.
import { app } from "../../../scripts/app.js";
import { postJson } from "../shared/server.mjs";
import { t } from "../shared/texts.mjs";
import { refresh } from "./store.mjs";
import { nameOf, numberOf } from "./words.mjs";

function post(session, action, body) {
  return postJson(`/sessions/${encodeURIComponent(session)}/${action}`, body);
}

function tell(summary, detail, severity = "success") {
  app.extensionManager.toast.add({ severity, summary, detail, life: 6000 });
}

function tellNotes(summary, { notes }) {
  if (notes?.length) {
    tell(summary, notes.join("\n"), "warn");
  }
}

export async function pin(session, card) {
  const done = await post(session, "pin", { entry: card.id, pinned: !card.pinned });
  tellNotes(t("Saved, with notes"), done);
  await refresh();
}

export async function forget(session, card) {
  const name = nameOf(card);
  const isSure = await app.extensionManager.dialog.confirm({
    title: t("Forget {name}?", { name }),
    message: t(
      "{name} of session {session} is deleted from the disk. Results that saw it stay and are marked stale. This cannot be undone.",
      { name, session },
    ),
    type: "delete",
  });
  if (!isSure) {
    return;
  }
  tellNotes(t("Forgotten, with notes"), await post(session, "forget", { entry: card.id }));
  await refresh();
}

// The name of the new session, or null where the user changed his mind.
export async function branch(session, card) {
  const name = await app.extensionManager.dialog.prompt({
    title: t("Branch after {name}", { name: nameOf(card) }),
    message: t("Name of the new session. It holds everything up to {name}; session {session} stays as it is.", {
      name: nameOf(card),
      session,
    }),
    defaultValue: `${session}_b${numberOf(card)}`.slice(0, 64),
  });
  if (!name?.trim()) {
    return null;
  }
  const wanted = name.trim();
  tellNotes(t("Saved, with notes"), await post(session, "branch", { entry: card.id, name: wanted }));
  tell(t("Branch {name} is saved", { name: wanted }), t("Runs that use it continue after {name}.", { name: nameOf(card) }));
  await refresh();
  return wanted;
}

export function setWidget(node, widget, value) {
  setWidgets([[{ node, widget }, value]]);
}

// Several, as one step of undo.
export function setWidgets(changes) {
  for (const [{ node }] of changes) {
    node.graph?.beforeChange?.();
  }
  for (const [{ node, widget }, value] of changes) {
    widget.value = value;
    widget.callback?.(value, app.canvas, node);
  }
  for (const [{ node }] of changes) {
    node.graph?.afterChange?.();
    node.setDirtyCanvas?.(true, true);
  }
}

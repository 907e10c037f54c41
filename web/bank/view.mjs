// The Memory Bank of one session: a line about it, and its cards.
import { element, useStyles } from "../shared/dom.mjs";
import { showError } from "../shared/server.mjs";
import { t } from "../shared/texts.mjs";
import { branch, forget, pin } from "./actions.mjs";
import { fillCard, newCard } from "./card.mjs";
import { Grid } from "./grid.mjs";
import { icon } from "./icons.mjs";
import { Redo, watchMakers } from "./redo/makers.mjs";
import { refresh, watchBank } from "./store.mjs";
import { takeOver } from "./takeover.mjs";
import { turnsWords } from "./words.mjs";

const ACTIONS = ["pin", "redo", "branch", "source", "forget"];

useStyles(new URL("./bank.css", import.meta.url));

// node: the node that holds the view; null in the sidebar. onBranch(name): after a branch was made.
export class BankView {
  constructor(node, onBranch) {
    this.node = node;
    this.onBranch = onBranch;
    this.session = null;
    this.cards = [];
    this.busy = new Set();
    this.redo = this.redoNow();
    this.stopRedo = watchMakers(() => this.redraw());
    this.grid = new Grid(() => this.newCard(), (made, card) => this.fill(made, card), t("Memory Bank"));
    this.status = element("span", { className: "memv2v-bank-status", attributes: { "aria-live": "polite" } });
    this.notes = element("span", { className: "memv2v-bank-notes" });
    const again = element(
      "button",
      { type: "button", className: "memv2v-icon-button", title: t("Look again"), onclick: refresh },
      icon("refresh"),
    );
    again.setAttribute("aria-label", t("Look again"));
    this.message = element("div", { className: "memv2v-bank-message" });
    this.element = element(
      "div",
      { className: "memv2v-bank" },
      element("div", { className: "memv2v-bank-bar" }, this.status, this.notes, again),
      this.message,
      this.grid.element,
    );
    this.say("");
  }

  // Show a session; with an empty name the message alone.
  show(session, message = "") {
    if (session !== this.session) {
      this.stop?.();
      this.stop = null;
      this.session = session;
      this.grid.scrollTo(0);
      this.update([], "");
      if (session) {
        this.stop = watchBank(session, (bank) => this.loaded(bank));
      }
    }
    if (!session) {
      this.say(message);
    }
  }

  loaded({ content, error }) {
    if (error) {
      this.update([], error.message);
      this.status.textContent = this.session;
      return;
    }
    const { cards, notes, exists } = content;
    const empty = exists
      ? t("Session {session} holds no turns.", { session: this.session })
      : t("Session {session} is new. Its turns appear here as they are made.", { session: this.session });
    this.update(cards, cards.length ? "" : empty);
    this.status.textContent = `${this.session} · ${turnsWords(cards.length)}`;
    this.notes.textContent = notes.length ? t("{count} notes", { count: notes.length }) : "";
    this.notes.title = notes.join("\n");
  }

  update(cards, message) {
    this.cards = cards;
    this.redo = this.redoNow();
    this.status.textContent = "";
    this.notes.textContent = "";
    this.grid.setItems(cards);
    this.say(message);
  }

  redoNow() {
    return new Redo(this.session, this.node, this.cards);
  }

  // After a node that makes cards again changed.
  redraw() {
    this.redo = this.redoNow();
    this.grid.draw(true);
  }

  say(message) {
    this.message.textContent = message;
    this.message.hidden = !message;
    this.grid.element.hidden = Boolean(message);
  }

  newCard() {
    const made = newCard(ACTIONS, (action) => this.act(action, made));
    return made;
  }

  fill(made, card) {
    fillCard(made, this.session, card, { redo: this.redo.of(card), busy: this.busy.has(card.id) });
  }

  async act(action, made) {
    const card = this.cards[this.grid.indexOf(made)];
    if (!card || this.busy.has(card.id)) {
      return;
    }
    if (action === "redo") {
      this.redoNow().press(card);
      this.redraw();
      return;
    }
    if (action === "source") {
      takeOver(this.node, this.session, card);
      return;
    }
    await this.onDisk(action, card);
  }

  async onDisk(action, card) {
    const session = this.session;
    this.busy.add(card.id);
    this.grid.draw(true);
    try {
      if (action === "branch") {
        const name = await branch(session, card);
        if (name) {
          this.onBranch(name);
        }
      } else {
        await (action === "pin" ? pin : forget)(session, card);
      }
    } catch (error) {
      showError(t("The session was not changed"), error);
    } finally {
      this.busy.delete(card.id);
      this.grid.draw(true);
    }
  }

  remove() {
    this.stop?.();
    this.stopRedo();
    this.grid.remove();
  }
}

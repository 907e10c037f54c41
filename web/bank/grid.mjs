// A scrolling grid that draws only what is in view, so that a thousand cards scroll smoothly.
import { element } from "../shared/dom.mjs";

const CARD_HEIGHT = 66; // px, gap included; bank.css has the same
const LEAST_CARD_WIDTH = 220;
const ROWS_AROUND = 1;
const MOST_CARDS = 60;

export class Grid {
  // `make()` returns { element, ... }; `fill(made, item)` shows an item in it.
  constructor(make, fill, label) {
    this.make = make;
    this.fill = fill;
    this.items = [];
    this.shown = new Map(); // index -> made
    this.spare = [];
    this.current = 0;
    this.top = 0; // where the reader is, in px
    this.columns = 1;
    this.content = element("div", { className: "memv2v-grid-content" });
    this.element = element(
      "div",
      { className: "memv2v-grid", attributes: { role: "list", "aria-label": label } },
      this.content,
    );
    this.element.addEventListener("scroll", () => this.scrolled(), { passive: true });
    // ComfyUI takes a node's elements out of the page and puts them back, which loses the place.
    this.element.addEventListener("animationstart", () => this.draw());
    this.element.addEventListener("keydown", (event) => this.pressed(event));
    this.element.addEventListener("focusin", (event) => this.focused(event));
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.element);
  }

  // Show these items. A reader stays where he is; at the end he follows new ones.
  setItems(items) {
    const { scrollTop, scrollHeight, clientHeight } = this.element;
    const wasAtEnd = scrollTop > 0 && scrollTop + clientHeight >= scrollHeight - CARD_HEIGHT;
    const grew = items.length > this.items.length;
    this.items = items;
    this.current = Math.min(this.current, Math.max(0, items.length - 1));
    this.draw(true);
    if (wasAtEnd && grew) {
      this.scrollTo(this.element.scrollHeight);
    }
  }

  scrolled() {
    if (this.element.clientHeight) {
      this.top = this.element.scrollTop;
    }
    this.drawSoon();
  }

  scrollTo(top) {
    this.element.scrollTop = top;
    this.top = this.element.scrollTop;
  }

  indexOf(made) {
    return [...this.shown].find(([, held]) => held === made)?.[0];
  }

  drawSoon() {
    this.waiting ??= requestAnimationFrame(() => this.draw());
  }

  draw(isNew = false) {
    cancelAnimationFrame(this.waiting);
    this.waiting = null;
    const width = this.element.clientWidth;
    const height = this.element.clientHeight;
    if (!width || !height) {
      return;
    }
    const columns = Math.max(1, Math.floor(width / LEAST_CARD_WIDTH));
    const refills = isNew || columns !== this.columns;
    this.columns = columns;
    this.content.style.height = `${Math.ceil(this.items.length / columns) * CARD_HEIGHT}px`;
    if (this.element.scrollTop !== this.top) {
      this.scrollTo(this.top);
    }
    const wanted = this.inView(height);
    this.giveBack(wanted);
    for (const index of wanted) {
      this.place(index, refills);
    }
  }

  // Indices in view, and the one that has the focus, which must not vanish under the user.
  inView(height) {
    const first = Math.floor(this.element.scrollTop / CARD_HEIGHT) - ROWS_AROUND;
    const last = Math.ceil((this.element.scrollTop + height) / CARD_HEIGHT) + ROWS_AROUND;
    const from = Math.max(0, first * this.columns);
    const to = Math.min(this.items.length, last * this.columns, from + MOST_CARDS - 1);
    const wanted = new Set();
    for (let index = from; index < to; index += 1) {
      wanted.add(index);
    }
    if (this.current < this.items.length && this.shown.get(this.current)?.element.contains(document.activeElement)) {
      wanted.add(this.current);
    }
    return wanted;
  }

  giveBack(wanted) {
    for (const [index, made] of this.shown) {
      if (!wanted.has(index)) {
        this.shown.delete(index);
        made.element.hidden = true;
        this.spare.push(made);
      }
    }
  }

  place(index, refills) {
    let made = this.shown.get(index);
    if (!made) {
      made = this.spare.pop() ?? this.add();
      this.shown.set(index, made);
      made.element.hidden = false;
    } else if (!refills) {
      return;
    }
    const { style } = made.element;
    const row = Math.floor(index / this.columns);
    const column = index % this.columns;
    style.transform = `translateY(${row * CARD_HEIGHT}px)`;
    style.left = `${(100 * column) / this.columns}%`;
    style.width = `calc(${100 / this.columns}% - 4px)`;
    made.element.tabIndex = index === this.current ? 0 : -1;
    made.element.setAttribute("aria-setsize", this.items.length);
    made.element.setAttribute("aria-posinset", index + 1);
    this.fill(made, this.items[index]);
  }

  add() {
    const made = this.make();
    this.content.append(made.element);
    return made;
  }

  focused(event) {
    const index = [...this.shown].find(([, made]) => made.element.contains(event.target))?.[0];
    if (index !== undefined) {
      this.makeCurrent(index);
    }
  }

  makeCurrent(index) {
    const before = this.shown.get(this.current);
    if (before) {
      before.element.tabIndex = -1;
    }
    this.current = index;
    const made = this.shown.get(index);
    if (made) {
      made.element.tabIndex = 0;
    }
  }

  pressed(event) {
    const card = this.shown.get(this.current)?.element;
    if (!card || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const handled = event.target === card ? this.onCard(event.key, card) : this.onButton(event, card);
    if (handled) {
      event.preventDefault();
      event.stopPropagation();
    }
  }

  onCard(key, card) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / CARD_HEIGHT)) * this.columns;
    const last = this.items.length - 1;
    const targets = {
      ArrowDown: this.current + this.columns,
      ArrowUp: this.current - this.columns,
      ArrowRight: this.current + 1,
      ArrowLeft: this.current - 1,
      PageDown: Math.min(last, this.current + page),
      PageUp: Math.max(0, this.current - page),
      Home: 0,
      End: last,
    };
    if (key === "Enter" || key === " ") {
      card.querySelector("button")?.focus();
      return true;
    }
    if (key === "Delete") {
      card.querySelector("[data-action=forget]")?.click();
      return true;
    }
    if (!(key in targets)) {
      return false;
    }
    this.goTo(targets[key]);
    return true;
  }

  onButton(event, card) {
    const buttons = [...card.querySelectorAll("button:not([hidden])")];
    const at = buttons.indexOf(event.target);
    if (event.key === "Escape") {
      card.focus();
      return true;
    }
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (at < 0 || !step) {
      return false;
    }
    buttons.at((at + step) % buttons.length).focus();
    return true;
  }

  // Bring a card into view and give it the focus.
  goTo(index) {
    if (index < 0 || index >= this.items.length) {
      return;
    }
    const top = Math.floor(index / this.columns) * CARD_HEIGHT;
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) {
      this.scrollTo(top);
    } else if (top + CARD_HEIGHT > scrollTop + clientHeight) {
      this.scrollTo(top + CARD_HEIGHT - clientHeight);
    }
    this.draw();
    this.makeCurrent(index);
    this.shown.get(index)?.element.focus({ preventScroll: true });
  }

  remove() {
    this.resized.disconnect();
    cancelAnimationFrame(this.waiting);
  }
}

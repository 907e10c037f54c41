// A path while it is edited: its keyframes, what is selected, undo and redo, and what the server
// says of it. The server's numbers are drawn; only a handle that is dragged moves by itself.

export const NUMBERS = [
  "yaw_deg",
  "pitch_deg",
  "roll_deg",
  "truck",
  "pedestal",
  "dolly",
  "orbit_deg",
];
// As memv2v_core/cameras/keyframes.py, which checks every path again.
export const LIMITS = {
  time: [0, 1],
  yaw_deg: [-720, 720],
  pitch_deg: [-180, 180],
  roll_deg: [-720, 720],
  truck: [-1000, 1000],
  pedestal: [-1000, 1000],
  dolly: [-1000, 1000],
  orbit_deg: [-720, 720],
  speed: [0.05, 20],
  pivot: [0.01, 1000],
};
export const EASES = ["smooth", "linear", "ease_in", "ease_out", "ease_in_out"];
export const MAX_KEYFRAMES = 64;
const MOST_STEPS = 200;
const SHORTEST = 1e-4; // between two keyframes, in the path's time
const TOGETHER_MS = 700; // key presses within this time are one step of undo

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
export const round = (value, digits = 2) => Number(value.toFixed(digits));

export class PathModel {
  constructor() {
    this.text = ""; // the widget's value
    this.path = null; // the parsed text; null while the motions decide
    this.view = null; // the server's last answer
    this.error = null;
    this.isBusy = false; // whether the server is asked
    this.selected = 0;
    this.frame = 0; // place in the drawn frames
    this.isLinked = false; // the path comes from another node,
    this.linkedText = null; // which says it before a run; null where only the run knows it
    this.steps = [""];
    this.step = 0;
    this.last = null; // the newest step: its key and time
    this.listeners = new Set();
  }

  listen(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  // "path": keyframes changed; "step": a step of undo ended; "view": the server answered; "look":
  // selection or frame.
  tell(what) {
    for (const listener of this.listeners) {
      listener(what);
    }
  }

  setLinked(isLinked, text) {
    if (this.isLinked === isLinked && this.linkedText === text) {
      return false;
    }
    Object.assign(this, { isLinked, linkedText: text, error: null });
    if (isLinked && text === null) {
      this.view = null;
    }
    this.tell("look");
    return true;
  }

  // What the server is asked for; null where nobody knows it yet.
  get askedText() {
    return this.isLinked ? this.linkedText : this.text;
  }

  // What the widget holds, from a workflow or another program.
  setText(text) {
    if (text === this.text) {
      return;
    }
    this.take(text);
    this.steps = [text];
    this.step = 0;
    this.tell("path");
  }

  take(text) {
    this.text = text;
    this.path = text ? parsed(text) : null;
    this.selected = clamp(this.selected, 0, Math.max(this.keyframes.length - 1, 0));
  }

  get isPreset() {
    return this.askedText === "";
  }

  // The keyframes as they are, or those that make the preset.
  get document() {
    return (this.isLinked ? null : this.path) ?? this.view?.keyframes ?? null;
  }

  get keyframes() {
    const keyframes = this.document?.keyframes;
    return Array.isArray(keyframes) ? keyframes : [];
  }

  number(idx, name) {
    return this.keyframes[idx]?.[name] ?? 0;
  }

  // Change the keyframes by `change(document)`. A change of a preset makes them the path.
  edit(change) {
    if (this.isLinked || !this.document) {
      return;
    }
    const document = structuredClone(this.document);
    change(document);
    this.path = tidy(document);
    this.text = JSON.stringify(this.path);
    this.selected = clamp(this.selected, 0, this.path.keyframes.length - 1);
    this.tell("path");
  }

  // A whole step of undo: `name` joins quick repetitions of one key.
  commit(name = "") {
    const now = performance.now();
    const joins = name && this.last?.name === name && now - this.last.at < TOGETHER_MS;
    this.last = { name, at: now };
    if (this.text === this.steps[this.step]) {
      return;
    }
    if (!joins || this.step === 0) {
      this.step += 1;
    }
    this.steps.length = this.step;
    this.steps.push(this.text);
    if (this.steps.length > MOST_STEPS) {
      this.steps.shift();
      this.step -= 1;
    }
    this.tell("step");
  }

  change(change, name) {
    this.edit(change);
    this.commit(name);
  }

  get canUndo() {
    return this.step > 0;
  }

  get canRedo() {
    return this.step < this.steps.length - 1;
  }

  undo(by = -1) {
    const step = this.step + by;
    if (step < 0 || step >= this.steps.length) {
      return;
    }
    this.last = null;
    this.step = step;
    this.take(this.steps[step]);
    this.tell("path");
    this.tell("step");
  }

  redo() {
    this.undo(1);
  }

  // A whole path in place of this one; null gives the path back to the motions.
  replace(document) {
    this.path = document && tidy(document);
    this.text = this.path ? JSON.stringify(this.path) : "";
    this.selected = 0;
    this.tell("path");
    this.commit();
  }

  setNumber(idx, name, value, key) {
    const [low, high] = LIMITS[name];
    this.change(({ keyframes }) => {
      keyframes[idx][name] = clamp(value, low, high);
    }, key);
  }

  // Move a keyframe in time, between its neighbours.
  setTime(document, idx, time) {
    const { keyframes } = document;
    const low = idx > 0 ? keyframes[idx - 1].time + SHORTEST : 0;
    const high = idx < keyframes.length - 1 ? keyframes[idx + 1].time - SHORTEST : 1;
    keyframes[idx].time = round(clamp(time, Math.min(low, high), Math.max(low, high)), 6);
  }

  select(idx) {
    this.selected = clamp(idx, 0, Math.max(this.keyframes.length - 1, 0));
    this.tell("look");
  }

  setFrame(frame) {
    this.frame = clamp(Math.round(frame), 0, Math.max((this.view?.frames.length ?? 1) - 1, 0));
    this.tell("look");
  }

  setView(view) {
    this.view = view;
    this.error = null;
    this.frame = clamp(this.frame, 0, view.frames.length - 1);
    this.selected = clamp(this.selected, 0, Math.max(this.keyframes.length - 1, 0));
    this.tell("view");
  }

  setBusy(isBusy) {
    this.isBusy = isBusy;
    this.tell("look");
  }

  setError(error) {
    this.error = error;
    this.tell("view");
  }

  // A keyframe at a drawn frame, with what the path has there; `changes` replace numbers.
  add(frame = this.frame, changes = {}) {
    if (this.keyframes.length >= MAX_KEYFRAMES || !this.view) {
      return;
    }
    const time = freeTime(this.keyframes, this.view.times[frame]);
    const numbers = numbersAt(this.view, time);
    this.change((document) => {
      const idx = document.keyframes.filter((keyframe) => keyframe.time < time).length;
      const ease = document.keyframes[Math.max(idx - 1, 0)]?.ease;
      document.keyframes.splice(idx, 0, { time, ...numbers, ...changes, ...(ease && { ease }) });
      this.selected = idx;
    });
  }

  // A keyframe after the last one: the others move closer together.
  append(changes) {
    const count = this.keyframes.length;
    if (count >= MAX_KEYFRAMES || !count) {
      return;
    }
    this.change((document) => {
      const last = document.keyframes.at(-1);
      for (const keyframe of document.keyframes) {
        keyframe.time = round((keyframe.time * (count - 1)) / count, 6);
      }
      if (count === 1) {
        last.time = 0;
      }
      document.keyframes.push({ ...last, ...changes, time: 1 });
      this.selected = count;
    });
  }

  remove(idx = this.selected) {
    if (this.keyframes.length > 1) {
      this.change((document) => document.keyframes.splice(idx, 1));
    }
  }
}

function parsed(text) {
  try {
    const content = JSON.parse(text);
    return Array.isArray(content?.keyframes) ? content : { keyframes: [] };
  } catch {
    return { keyframes: [] }; // the server says what is wrong
  }
}

// Without numbers that are 0, as the server writes it.
function tidy(document) {
  const keyframes = document.keyframes.map((keyframe) => {
    const kept = { time: keyframe.time };
    for (const name of NUMBERS) {
      const value = round(keyframe[name] ?? 0, 4);
      if (value) {
        kept[name] = value;
      }
    }
    return keyframe.ease && keyframe.ease !== "smooth" ? { ...kept, ease: keyframe.ease } : kept;
  });
  const { curve = "linear", speed = 1, pivot = 1 } = document;
  return { version: 1, curve, speed, pivot, keyframes };
}

// The time itself, or the middle of the larger gap beside the keyframe that has it already.
function freeTime(keyframes, time) {
  const idx = keyframes.findIndex((keyframe) => Math.abs(keyframe.time - time) < 0.005);
  if (idx < 0) {
    return round(time, 6);
  }
  const at = keyframes[idx].time;
  const before = idx > 0 ? at - keyframes[idx - 1].time : at;
  const after = idx < keyframes.length - 1 ? keyframes[idx + 1].time - at : 1 - at;
  return round(after >= before ? at + after / 2 : at - before / 2, 6);
}

function numbersAt(view, time) {
  const after = view.times.findIndex((held) => held >= time);
  const to = after < 0 ? view.times.length - 1 : after;
  const from = Math.max(to - 1, 0);
  const gap = view.times[to] - view.times[from];
  const share = gap > 0 ? clamp((time - view.times[from]) / gap, 0, 1) : 1;
  return Object.fromEntries(
    view.number_names.map((name, column) => [
      name,
      view.numbers[from][column] * (1 - share) + view.numbers[to][column] * share,
    ]),
  );
}

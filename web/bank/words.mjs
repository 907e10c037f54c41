// A card's facts in words.
import { t } from "../shared/texts.mjs";

const LEAST_TURN_DEG = 1;
const LEAST_MOVE = 0.02; // pose units
const LEAST_ZOOM = 0.03;

export function numberOf(card) {
  return card.segment ?? card.turn;
}

export function nameOf(card) {
  return card.segment
    ? t("Segment {number}", { number: card.segment })
    : t("Turn {number}", { number: card.turn });
}

// "pan right 30°, dolly in 0.5, and back"; "" where the camera is not known.
export function cameraWords(camera) {
  if (!camera) {
    return "";
  }
  const words = [...turnWords(camera), ...zoomWords(camera.zoom)];
  if (words.length && camera.turns_back) {
    words.push(t("and back"));
  }
  return words.join(", ") || t("still camera");
}

function turnWords(camera) {
  const turns = Math.abs(camera.pan_deg) >= LEAST_TURN_DEG;
  const moves = Math.abs(camera.right) >= LEAST_MOVE;
  // A camera that moves to one side and turns to the other keeps looking at one point.
  if (turns && moves && camera.pan_deg > 0 !== camera.right > 0) {
    const degrees = rounded(camera.pan_deg);
    const orbit =
      camera.right > 0 ? t("orbit right {degrees}°", { degrees }) : t("orbit left {degrees}°", { degrees });
    return [orbit, ...tiltWords(camera), ...moveWords(camera.up, upWords)];
  }
  const pan = turns ? [panWords(camera.pan_deg)] : [];
  return [
    ...pan,
    ...tiltWords(camera),
    ...moveWords(camera.right, sideWords),
    ...moveWords(camera.up, upWords),
    ...moveWords(camera.forward, dollyWords),
  ];
}

function panWords(value) {
  const degrees = rounded(value);
  return value > 0 ? t("pan right {degrees}°", { degrees }) : t("pan left {degrees}°", { degrees });
}

function tiltWords({ tilt_deg, roll_deg }) {
  const words = [];
  if (Math.abs(tilt_deg) >= LEAST_TURN_DEG) {
    const degrees = rounded(tilt_deg);
    words.push(tilt_deg > 0 ? t("tilt up {degrees}°", { degrees }) : t("tilt down {degrees}°", { degrees }));
  }
  if (Math.abs(roll_deg) >= LEAST_TURN_DEG) {
    const degrees = rounded(roll_deg);
    words.push(roll_deg > 0 ? t("roll right {degrees}°", { degrees }) : t("roll left {degrees}°", { degrees }));
  }
  return words;
}

function moveWords(value, words) {
  return Math.abs(value) >= LEAST_MOVE ? [words(value, Number(Math.abs(value).toFixed(2)))] : [];
}

function sideWords(value, distance) {
  return value > 0 ? t("move right {distance}", { distance }) : t("move left {distance}", { distance });
}

function upWords(value, distance) {
  return value > 0 ? t("move up {distance}", { distance }) : t("move down {distance}", { distance });
}

function dollyWords(value, distance) {
  return value > 0 ? t("dolly in {distance}", { distance }) : t("dolly out {distance}", { distance });
}

function zoomWords(zoom) {
  if (Math.abs(zoom - 1) < LEAST_ZOOM) {
    return [];
  }
  const factor = Number((zoom > 1 ? zoom : 1 / zoom).toFixed(2));
  return [zoom > 1 ? t("zoom in {factor}x", { factor }) : t("zoom out {factor}x", { factor })];
}

function rounded(value) {
  return Math.round(Math.abs(value));
}

// "14:05" for today, "3 Mar" for this year, else the date.
export function whenWords(seconds) {
  const date = new Date(seconds * 1000);
  const now = new Date();
  if (date.toDateString() === now.toDateString()) {
    return date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  }
  if (date.getFullYear() === now.getFullYear()) {
    return date.toLocaleDateString([], { day: "numeric", month: "short" });
  }
  return date.toLocaleDateString();
}

export function turnsWords(count) {
  return count === 1 ? t("1 turn") : t("{count} turns", { count });
}

// Where the newest result that saw this one stands, and how fine its tokens were.
export function seenWords(card) {
  const [last] = card.seen_by;
  if (!last) {
    return "";
  }
  const { number, kernel } = last;
  return kernel
    ? t("by {number} at 1x{kernel}x{kernel}", { number, kernel })
    : t("by {number}", { number });
}

// Everything about the card, for a tooltip and for a screen reader.
export function allWords(card) {
  const lines = [nameOf(card), cameraWords(card.camera), card.prompt];
  if (card.frames) {
    const [first, last] = card.frames;
    lines.push(t("frames {first} to {last}, shot {shot}", { first, last, shot: card.shot }));
  }
  lines.push(t("seed {seed}, {mode}", { seed: card.seed, mode: card.mode }));
  lines.push(t("made {when}", { when: new Date(card.created_s * 1000).toLocaleString() }));
  if (card.pinned) {
    lines.push(t("Pinned: it is always retrieved."));
  }
  if (card.stale) {
    lines.push(t("Stale: it saw a result that was forgotten or replaced since."));
  }
  for (const { number, kernel } of card.seen_by.slice(0, 8)) {
    lines.push(
      kernel
        ? t("seen by {number} at 1x{kernel}x{kernel}", { number, kernel })
        : t("seen by {number}", { number }),
    );
  }
  return [...lines.filter(Boolean), t("id {id}", { id: card.id.slice(0, 8) })].join("\n");
}

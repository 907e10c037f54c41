// What `redo` and `redo_seed` become when Redo is pressed on a card.
//
// The run makes a unit again where `redo` names it and its entry is of another `redo_seed`. So an
// entry is safe as long as `redo` does not name it, whatever `redo_seed` is.
import { numberOf } from "../words.mjs";

const NUMBERS = /^[\s,;\d]*$/;
const NUM_SEEDS = 2n ** 64n;

// The numbers that a `redo` text names; null where it holds something else.
export function numbersOf(text) {
  return NUMBERS.test(text) ? new Set((text.match(/\d+/g) ?? []).map(Number)) : null;
}

// Numbers of the units whose card was made by this `redo_seed`.
export function madeBy(seed, cards) {
  return new Set(cards.filter((card) => card.redo_seed === String(seed)).map(numberOf));
}

// { numbers, seed } after a press on the unit `number`.
// seed: null where a link brings it, which a press cannot change. firstSeed: of the whole run, whose
// noise every first try had. cards: of units of its kind.
export function afterPress({ numbers, seed, firstSeed }, cards, number) {
  const made = madeBy(seed, cards);
  if (numbers.has(number) && !made.has(number)) {
    return { numbers: new Set([...numbers].filter((held) => held !== number)), seed };
  }
  if (seed === null || !repeats(seed, cards, number)) {
    return { numbers: new Set([...numbers, number]), seed };
  }
  // Takes that are made leave the field: another seed would make them again.
  const wanted = [...numbers].filter((held) => !made.has(held) && held !== number);
  const isTaken = (next) =>
    String(next) === String(firstSeed) || [...wanted, number].some((held) => repeats(next, cards, held));
  let next = after(seed);
  while (isTaken(next)) {
    next = after(next);
  }
  return { numbers: new Set([...wanted, number]), seed: next };
}

function after(seed) {
  // Larger numbers have no neighbours in JavaScript.
  return seed < Number.MAX_SAFE_INTEGER ? seed + 1 : 0;
}

// Whether this `redo_seed` keeps the unit's entry, or gives it the noise that it has already.
function repeats(seed, cards, number) {
  // As `unit_seed` in memv2v_core/resuming/recipe.py.
  const noise = String((BigInt(String(seed)) + BigInt(number - 1)) % NUM_SEEDS);
  return cards.some(
    (card) => numberOf(card) === number && (card.redo_seed === String(seed) || card.seed === noise),
  );
}

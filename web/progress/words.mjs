// What the panel says about a run.
import { t } from "../shared/texts.mjs";

// "segment 11 of 30, sees 10 and 3, about 40 s left"
export function lineOf(run) {
  if (run.state === "running") {
    const parts = run.is_comparison
      ? comparisonParts(run)
      : [placeText(run), seesText(run), leftText(run)];
    return parts.filter(Boolean).join(t(", "));
  }
  return run.state === "done" ? doneText(run) : stoppedText(run);
}

// What the estimate is from.
export function basisOf(run) {
  if (run.seconds_each === null || run.seconds_each === undefined) {
    return run.state === "running" ? t("The time left is known after a few steps.") : "";
  }
  const time = timeText(run.seconds_each);
  if (run.based_on === "steps") {
    return t("Estimated from the first steps: {time} each.", { time });
  }
  return run.unit === "segment"
    ? t("{time} a segment so far.", { time })
    : t("{time} a turn so far.", { time });
}

export function nameOf(run, number) {
  return run.unit === "segment" ? t("segment {number}", { number }) : t("turn {number}", { number });
}

export function outcomeText(outcome) {
  return { new: t("new"), kept: t("kept"), stale: t("stale") }[outcome] ?? outcome;
}

function placeText(run) {
  const { number, total } = run;
  if (total === 1) {
    return run.step ? t("step {step} of {steps}", run) : t("starting");
  }
  if (!number || run.tiles.has(number)) {
    return run.unit === "segment"
      ? t("{number} of {total} segments", { number: run.tiles.size, total })
      : t("{number} of {total} turns", { number: run.tiles.size, total });
  }
  return run.unit === "segment"
    ? t("segment {number} of {total}", { number, total })
    : t("turn {number} of {total}", { number, total });
}

function comparisonParts(run) {
  return [
    run.total > 1 ? nameOf(run, run.number) : "",
    t("once more without memory"),
    run.step ? t("step {step} of {steps}", run) : t("starting"),
  ];
}

function seesText(run) {
  if (!run.number || run.tiles.has(run.number)) {
    return "";
  }
  const seen = run.sees.map(String);
  if (!seen.length) {
    return t("sees no other");
  }
  const last = seen.pop();
  const all = seen.length ? t("{several} and {last}", { several: seen.join(t(", ")), last }) : last;
  return t("sees {all}", { all });
}

function leftText(run) {
  const left = run.seconds_left;
  // After the last piece the video is finished, which takes no known time.
  const isKnown = left !== null && left !== undefined && run.tiles.size < run.total;
  return isKnown ? t("about {time} left", { time: timeText(left) }) : "";
}

function doneText(run) {
  const counts = ["new", "kept", "stale"].map((outcome) => {
    const count = [...run.tiles.values()].filter((tile) => tile.outcome === outcome).length;
    return count ? `${count} ${outcomeText(outcome)}` : "";
  });
  const seconds = [...run.tiles.values()].reduce((sum, tile) => sum + tile.seconds, 0);
  const spent = seconds ? t("in {time}", { time: timeText(seconds) }) : "";
  const parts = run.total === 1 ? [] : counts.filter(Boolean);
  return [t("Finished"), ...parts, spent].filter(Boolean).join(t(", "));
}

function stoppedText(run) {
  const values = { done: run.tiles.size, total: run.total };
  const why = run.state === "failed" ? t("The run failed.") : t("The run was stopped.");
  // A saved turn that was being made once more without memory is safe.
  if (run.total === 1 && !(run.tiles.size && run.is_saved)) {
    return `${why} ${t("Run makes this turn from its start.")}`;
  }
  const saved = run.is_saved
    ? t("{done} of {total} are saved, Run continues.", values)
    : t("{done} of {total} were finished.", values);
  return run.state === "failed" ? `${why} ${saved}` : saved;
}

function timeText(seconds) {
  if (seconds < 10) {
    return t("{seconds} s", { seconds: Math.max(seconds, 0.1).toFixed(1) });
  }
  if (seconds < 90) {
    return t("{seconds} s", { seconds: Math.round(seconds) });
  }
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) {
    return t("{minutes} min", { minutes });
  }
  return t("{hours} h {minutes} min", { hours: Math.floor(minutes / 60), minutes: minutes % 60 });
}

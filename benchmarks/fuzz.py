"""Broken and foreign files against every reader of the pack.

    PYTHON benchmarks/fuzz.py --per-target 250 --seed 1 [--target NAME ...]
    PYTHON benchmarks/fuzz.py --seed 1 --replay "session entry" 17
    PYTHON benchmarks/fuzz.py --check-detectors

Each case changes one file of an intact set and reads it in a child process, with a limit on time
and memory, while its system calls are watched. Prints a Markdown table of outcomes, the first cases
of each failing class, and exits with 1 where one failed. Linux only: it reads /proc.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.attack import bad_readers, prompts
from benchmarks.attack.outcomes import CLASSES, FAILING, MEANINGS
from benchmarks.attack.pool import Result, run_cases
from benchmarks.attack.registry import all_targets


def chosen_targets(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """(targets to attack, reasons for those that are left out)."""
    known = all_targets()
    unknown = [name for name in names if name not in (*known, prompts.NAME)]
    if unknown:
        sys.exit(f"no target {unknown[0]!r}; there are {', '.join((*known, prompts.NAME))}")
    needing = [*(name for name, target in known.items() if target.needs_comfy), prompts.NAME]
    wanted = list(names) or [*known, prompts.NAME]
    if os.environ.get("COMFYUI_PATH"):
        return wanted, []
    skipped = [f"skipped: {name} (COMFYUI_PATH is not set)" for name in wanted if name in needing]
    return [name for name in wanted if name not in needing], skipped


def attack(names: Sequence[str], per_target: int, seed: int, workers: int) -> list[Result]:
    """The results of `per_target` cases of each target."""
    cases = [(name, index) for name in names if name != prompts.NAME for index in range(per_target)]
    done: Counter[str] = Counter()

    def show(result: Result) -> None:
        done[result.target] += 1
        if done[result.target] == per_target:
            print(f"  {result.target}: {per_target} cases", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="memory-v2v-fuzz-") as folder:
        results = run_cases(cases, seed, Path(folder), workers, show)
    if prompts.NAME in names:
        results += prompts.attack(per_target, seed)
    return results


def table(results: Sequence[Result]) -> str:
    """Target x class in Markdown; a failing class without a case is left out."""
    counts = Counter((result.target, result.outcome) for result in results)
    shown = [name for name in CLASSES if any(outcome == name for _, outcome in counts)]
    head = ["target", "cases", *(f"**{name}**" if name in FAILING else name for name in shown)]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for target in dict.fromkeys(result.target for result in results):
        numbers = [counts[target, name] for name in shown]
        rows.append([target, *(str(number) for number in (sum(numbers), *numbers))])
    sums = [
        sum(count for (_, outcome), count in counts.items() if outcome == name) for name in shown
    ]
    rows.append(["all", *(str(number) for number in (len(results), *sums))])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def failures(results: Sequence[Result], most: int) -> str:
    """The first cases of each failing class and target."""
    lines = []
    for name in FAILING:
        found = [result for result in results if result.outcome == name]
        if found:
            lines.append(f"\n{name}: {MEANINGS[name]}")
        shown: Counter[str] = Counter()
        for result in found:
            shown[result.target] += 1
            if shown[result.target] <= most:
                lines.append(f"  {result.target} {result.index}: {result.mutation[:120]}")
                lines.append(f"      {result.detail[:400]!r}")
    return "\n".join(lines)


def replay(name: str, index: int, seed: int) -> int:
    """Run one case again and print all that is known of it."""
    if name == prompts.NAME:
        (result,) = prompts.attack(1, seed, first=index)
    else:
        with tempfile.TemporaryDirectory(prefix="memory-v2v-fuzz-") as folder:
            (result,) = run_cases([(name, index)], seed, Path(folder), 1)
    for field, value in vars(result).items():
        print(f"{field}: {value}")
    return int(result.outcome in FAILING)


def check_detectors(seed: int, workers: int) -> int:
    """Read with readers that have one known fault each; 1 where one is put into a wrong class."""
    names = list(bad_readers.TARGETS)
    with tempfile.TemporaryDirectory(prefix="memory-v2v-fuzz-") as folder:
        results = run_cases([(name, 0) for name in names], seed, Path(folder), workers)
    wrong = 0
    for result in results:
        wanted = result.target.removeprefix("fault ").partition(":")[0]
        is_right = result.outcome == wanted
        wrong += not is_right
        told = "" if is_right else f", wanted {wanted}: {result.detail}"
        print(f"{result.target}: {result.outcome}{told}")
    print(f"{len(results) - wrong} of {len(results)} faults are put into their class")
    return int(wrong > 0)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--per-target", type=int, default=250)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", nargs="+", default=[], help="names; all where it is left out")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--show", type=int, default=3, help="cases a failing class and target")
    parser.add_argument("--check-detectors", action="store_true", help="with readers known as bad")
    parser.add_argument("--replay", nargs=2, metavar=("TARGET", "INDEX"))
    options = parser.parse_args()
    if options.check_detectors:
        return check_detectors(options.seed, options.workers)
    if options.replay:
        return replay(options.replay[0], int(options.replay[1]), options.seed)
    began_s = time.monotonic()
    names, skipped = chosen_targets(options.target)
    results = attack(names, options.per_target, options.seed, options.workers)
    print(table(results))
    print("\n".join(skipped))
    print(failures(results, options.show))
    took_s = time.monotonic() - began_s
    print(f"\n{len(results)} cases, seed {options.seed}, {took_s:.0f} s")
    return int(any(result.outcome in FAILING for result in results))


if __name__ == "__main__":
    sys.exit(main())

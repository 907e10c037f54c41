"""Reuse of clean keys and values: what each schedule costs in agreement, and what it saves in time.

    python benchmarks/reuse.py view --scenes 16 --output reuse_view.md
    python benchmarks/reuse.py editor --clips 8 --output reuse_editor.md
    python benchmarks/reuse.py time

Held-out scenes and clips of the evaluation, the same noise for every schedule. Ratios are paired:
one scene or clip with a schedule over the same with a refresh in every call. Seconds are of
sampling alone, all schedules of a scene one after another in this run.
"""

import argparse
import math
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from memv2v_core.builtin.bundle import load_bundle
from memv2v_core.builtin.sampler import BundleSampler
from memv2v_core.evaluation.long_video.arms import ClipHost, edit_with_memory
from memv2v_core.evaluation.long_video.clips import long_clip
from memv2v_core.evaluation.long_video.measures import clip_looks
from memv2v_core.evaluation.metrics.segment_looks import difference_among
from memv2v_core.evaluation.novel_view.arms import SceneTurns
from memv2v_core.evaluation.novel_view.measures import second_measures
from memv2v_core.evaluation.novel_view.scenes import FIRST, SECOND, held_out_scene
from memv2v_core.evaluation.statistics import finite_pairs, mean_estimate, ratio_estimate
from memv2v_core.model.memory_inputs import MemoryInputs
from memv2v_core.sampling.reuse import (
    Age,
    EveryCalls,
    EveryNoise,
    ReuseReport,
    Schedule,
    StreamReuse,
)
from memv2v_core.sampling.turn import Turn
from memv2v_core.vocabulary import KeptPrecision, UnresponsiveChoice


@dataclass(frozen=True)
class AtCalls:
    """A refresh in the calls with these numbers, from 0."""

    numbers: tuple[int, ...]
    made: list[int] = field(default_factory=lambda: [0])

    def is_due(self, _age: Age) -> bool:
        self.made[0] += 1
        return self.made[0] in self.numbers


@dataclass(eq=False)
class Arm:
    """One way to sample: a schedule (None refreshes always) and the clock over all its turns."""

    name: str
    schedule: Callable[[], Schedule] | None
    unresponsive: UnresponsiveChoice = "keep"
    precision: KeptPrecision = "full"
    seconds: float = 0.0
    reports: list[ReuseReport] = field(default_factory=list)

    def reuse(self, _turn: Turn, inputs: MemoryInputs) -> StreamReuse | None:
        if self.schedule is None or not inputs.streams:
            return None
        reuse = StreamReuse(self.schedule(), self.precision, inputs.has_constant_clean_tokens)
        self.reports.append(reuse.report)
        return reuse

    def num_refreshes(self, num_steps: int) -> int:
        return len(self.reports[-1].refreshes) if self.reports else num_steps

    def changes(self) -> str:
        """Mean change of the keys at each refresh."""
        found = ReuseReport.joined(self.reports).changes()
        return ", ".join(f"{timestep}: {change:.1%}" for timestep, change in found.items())


def schedules(num_steps: int, has_early: bool = True) -> list[Arm]:
    arms = [Arm("every call", None)]
    for every in (2, 3, 4, 6):
        if every >= num_steps:
            continue
        count = math.ceil(num_steps / every)
        arms.append(Arm(f"every {every}", lambda every=every: EveryCalls(every)))
        arms.append(Arm(f"{count} by noise", lambda count=count: EveryNoise(1000 / count - 1e-3)))
    # As many refreshes as "every 4" of 12 steps, close together at high noise.
    if has_early:
        arms.append(Arm("calls 1, 2, 5", lambda: AtCalls((0, 1, 4))))
    arms.append(Arm("first call alone", lambda: EveryCalls(None)))
    return arms


def view_arms(num_steps: int) -> list[Arm]:
    arms = schedules(num_steps)
    merged = [replace(arm, name=f"{arm.name}, merged", unresponsive="merge") for arm in arms]
    wanted = ("every call", "every 2", "every 3", "every 4", "every 6")
    fp8 = Arm("every 4, fp8", lambda: EveryCalls(4), precision="fp8")
    return [*arms, *(m for a, m in zip(arms, merged, strict=True) if a.name in wanted), fp8]


def sample_view(
    turns: SceneTurns, num_steps: int, turn: Turn, purpose: int, arm: Arm
) -> torch.Tensor:
    """The finished latent (C, T, H, W) of a turn, timed on the clock of its arm."""
    bundle, noise = turns.bundle, turns.noise(purpose)
    sampler = BundleSampler(
        bundle, bundle.empty_context(1), lambda _turn: noise, num_steps, arm.reuse
    )
    began = time.perf_counter()
    latent = sampler(turn)
    arm.seconds += time.perf_counter() - began
    return latent


def measure_view(options: argparse.Namespace) -> list[str]:
    bundle = load_bundle("novel_view")
    num_steps = options.steps or bundle.info.num_steps
    arms = view_arms(num_steps)
    if options.every:
        arms = [Arm("every call", None), Arm("every call, merged", None, "merge")] + [
            Arm(f"every {n}{end}", lambda n=n: EveryCalls(n), kind)
            for n in options.every
            for end, kind in (("", "keep"), (", merged", "merge"))
        ]
    found: dict[str, list[dict[str, float]]] = {arm.name: [] for arm in arms}
    for index in range(options.scenes):
        turns = SceneTurns.of(bundle, held_out_scene(index, bundle.info))
        scene, sample = turns.scene, partial(sample_view, turns, num_steps)
        first = sample(turns.turn(scene.first), FIRST, Arm("", None))
        shown = turns.decode(first)
        memory = turns.memory(first, scene.first)
        for arm in arms:
            turn = turns.turn(scene.second, (memory,), unresponsive=arm.unresponsive, share=0.5)
            video = turns.decode(sample(turn, SECOND, arm))
            found[arm.name].append(second_measures(scene, shown, {"x": video}))
        print(f"scene {index + 1} of {options.scenes}", flush=True)
    measures = ("unseen_mae_x", "seen_psnr_x", "unseen_gradient_x")
    return table(arms, found, measures, num_steps)


def measure_editor(options: argparse.Namespace) -> list[str]:
    bundle = load_bundle(options.builtin)
    num_steps = options.steps or bundle.info.num_steps
    arms = schedules(num_steps, has_early=False)
    if options.every:
        arms = arms[:1] + [Arm(f"every {n}", lambda n=n: EveryCalls(n)) for n in options.every]
    found: dict[str, list[dict[str, float]]] = {arm.name: [] for arm in arms}
    for index in range(options.clips):
        clip = long_clip("one_shot", index, bundle.info)
        for arm in arms:
            host = TimedHost(bundle, clip, arm=arm, num_steps=num_steps)
            video = bundle.codec.decode_frames(edit_with_memory(host))
            colour, shape = difference_among(clip_looks(clip, host.plan, video))
            found[arm.name].append({"colour difference": colour, "shape difference": shape})
        print(f"clip {index + 1} of {options.clips}", flush=True)
    return table(arms, found, ("colour difference", "shape difference"), num_steps)


@dataclass(eq=False)
class TimedHost(ClipHost):
    """A clip whose segments are sampled by one arm, and timed."""

    arm: Arm = field(default_factory=lambda: Arm("", None))
    num_steps: int = 0

    def sampler(self, noise: torch.Tensor) -> BundleSampler:
        return replace(super().sampler(noise), num_steps=self.num_steps, reuse=self.arm.reuse)

    def drawn_by(self, sampler: BundleSampler, turn: Turn) -> torch.Tensor:
        began = time.perf_counter()
        latent = sampler(turn)
        self.arm.seconds += time.perf_counter() - began
        return latent


def table(
    arms: list[Arm],
    found: dict[str, list[dict[str, float]]],
    measures: tuple[str, ...],
    num_steps: int,
) -> list[str]:
    lines = [
        f"{num_steps} steps, {len(found[arms[0].name])} scenes or clips, "
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}",
        "",
        "| Refreshed | Refreshes | Sampling time | "
        + " | ".join(f"{name} | ratio" for name in measures)
        + " |",
        "|---|---|---|" + "---|---|" * len(measures),
    ]
    for arm in arms:
        like = next(
            each for each in arms if each.schedule is None and each.unresponsive == arm.unresponsive
        )
        cells = []
        for name in measures:
            ours, theirs = (
                torch.tensor([row[name] for row in found[each.name]], dtype=torch.float64)
                for each in (arm, like)
            )
            ours, theirs = finite_pairs(ours, theirs)
            ratio = ratio_estimate(ours, theirs)
            cells.append(f"{mean_estimate(ours).value:.4f}")
            cells.append(f"{ratio.value:.4f} ({ratio.low:.4f} to {ratio.high:.4f})")
        seconds = f"{arm.seconds / like.seconds:.2f}"
        count = arm.num_refreshes(num_steps)
        lines.append(f"| {arm.name} | {count} | {seconds} | {' | '.join(cells)} |")
    lines += ["", "Change of the keys since the refresh before, by timestep:", ""]
    lines += [f"- {arm.name}: {arm.changes()}" for arm in arms if arm.reports and arm.changes()]
    return lines


# Ways to sample in the comparison of times: what a base says of itself, and the schedule.
ONE_WAY = {"attention": "one_way", "clean_timestep": "zero", "clean_reads_text": False}
TIMES: list[tuple[str, dict, Callable[[], Schedule] | None]] = [
    ("two-way, every call", {}, None),
    *((f"two-way, every {n}", {}, lambda n=n: EveryCalls(n)) for n in (2, 3, 4)),
    ("one-way, every call", ONE_WAY, None),
    ("one-way, once", ONE_WAY, lambda: EveryCalls(None)),
]


def measure_time(options: argparse.Namespace) -> list[str]:
    """Sampling time by memories and schedule. One-way weights would take the same time."""
    bundle = load_bundle("novel_view")
    turns = SceneTurns.of(bundle, held_out_scene(0, bundle.info))
    scene = turns.scene
    memory = turns.memory(turns.encode(scene.first), scene.first)
    header = " | ".join(f"{count} memories" for count in options.memories)
    lines = [
        f"{bundle.info.num_steps} steps, median of {options.repeats}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, {platform.machine()}; 1 is the source alone, two-way, "
        "every call",
        "",
        f"| Clean tokens | {header} |",
        "|---|" + "---|" * len(options.memories),
    ]
    seconds: dict[tuple[str, int], list[float]] = {}
    for _ in range(options.repeats):
        for count in options.memories:
            for name, changes, schedule in TIMES:
                merged: UnresponsiveChoice = "merge" if count else "keep"
                turn = turns.turn(scene.second, (memory,) * count, unresponsive=merged)
                turn = replace(turn, base=replace(turn.base, **changes))
                arm = Arm(name, schedule)
                sample_view(turns, bundle.info.num_steps, turn, SECOND, arm)
                seconds.setdefault((name, count), []).append(arm.seconds)
    medians = {key: sorted(values)[len(values) // 2] for key, values in seconds.items()}
    alone = medians[TIMES[0][0], options.memories[0]]
    for name, _, _ in TIMES:
        cells = " | ".join(f"{medians[name, count] / alone:.2f}" for count in options.memories)
        lines.append(f"| {name} | {cells} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="part", required=True)
    timed = commands.add_parser("time")
    timed.set_defaults(run=measure_time)
    timed.add_argument("--memories", type=int, nargs="*", default=[0, 1, 3, 6])
    timed.add_argument("--repeats", type=int, default=3)
    timed.add_argument("--output", type=Path, default=Path("reuse_time.md"))
    for name, run in (("view", measure_view), ("editor", measure_editor)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--steps", type=int, help="denoising steps; the model's where missing")
        command.add_argument("--every", type=int, nargs="*", help="only these numbers of calls")
        command.add_argument("--output", type=Path, default=Path(f"reuse_{name}.md"))
        if name == "view":
            command.add_argument("--scenes", type=int, default=16)
        else:
            command.add_argument("--clips", type=int, default=8)
            command.add_argument("--builtin", default="text_edit")
    options = parser.parse_args(arguments)
    text = "\n".join(options.run(options)) + "\n"
    options.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

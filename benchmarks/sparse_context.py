"""Sparse context: what it costs in agreement and saves in FLOPs that the target sees a part of the
clean tokens alone, beside merging and reuse.

    python benchmarks/sparse_context.py view --scenes 16 --output sparse_view.md
    python benchmarks/sparse_context.py view --memories 3 --scenes 12 --output sparse_view_3.md
    python benchmarks/sparse_context.py mass --scenes 4 --output sparse_mass.md
    python benchmarks/sparse_context.py kernels --output sparse_kernels.md

`view` makes turn 2 of the held-out scenes of the evaluation with the built-in view model, the same
noise for every arm. Ratios are paired: one scene with an arm over the same with nothing pruned.
`mass` measures how much of the target's attention the kept tokens carry. `kernels` times torch's
FlexAttention on this device beside dense attention.
"""

import argparse
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.sparsity.choices import BlockPruning, FramePruning, Pruning
from benchmarks.sparsity.costs import FULL_SHAPE, Run, full_layout, small_shape, step_flops
from benchmarks.sparsity.kernels import time_kernels
from benchmarks.sparsity.views import MassView, PrunedView
from memv2v_core.builtin.bundle import Bundle, load_bundle
from memv2v_core.builtin.sampler import BundleSampler
from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.evaluation.novel_view.arms import SceneTurns
from memv2v_core.evaluation.novel_view.measures import second_measures
from memv2v_core.evaluation.novel_view.scenes import (
    FIRST,
    OPPOSITE,
    SECOND,
    SWEEP,
    held_out_scene,
    unseen_overlap,
)
from memv2v_core.evaluation.statistics import finite_pairs, mean_estimate, ratio_estimate
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_inputs import MemoryInputs
from memv2v_core.pictures.contact_sheet import SheetRow, contact_sheet
from memv2v_core.sampling.reuse import EveryCalls, StreamReuse
from memv2v_core.sampling.turn import Turn
from memv2v_core.tokens.budget import BudgetConfig, kernels_by_rank
from memv2v_core.tokens.cost import DitShape, plan_layout
from memv2v_core.tokens.layout import SequenceLayout
from memv2v_core.tokens.merging import MergeConfig
from memv2v_core.vocabulary import UnresponsiveChoice

MERGE_SHARE = 0.5
FULL_MEMORIES = (3, 10)
# A sequence, the sizes of a DiT, and the calls of a run (None is very many).
Size = tuple[SequenceLayout, DitShape, int | None]
Measured = dict[str, list[dict[str, float]]]


@dataclass(frozen=True)
class Arm:
    """One way to make turn 2; every: calls of the model from one refresh to the next."""

    name: str
    pruning: Pruning | None = None
    every: int = 1
    is_merged: bool = False

    def reuse(self, _turn: Turn, inputs: MemoryInputs) -> StreamReuse | None:
        if self.every == 1 or not inputs.streams:
            return None
        return StreamReuse(EveryCalls(self.every), is_constant=inputs.has_constant_clean_tokens)

    def view(self, bundle: Bundle, layout: SequenceLayout) -> DiffusersView | None:
        """The view that prunes; None where nothing is pruned."""
        if self.pruning is None:
            return None
        return PrunedView(bundle.backbone.model, layout, self.pruning)


PLAIN = Arm("nothing pruned")


@dataclass(frozen=True, eq=False)
class Session:
    """Turns of one scene; num_steps: of every turn."""

    turns: SceneTurns
    num_steps: int

    def sample(
        self, turn: Turn, purpose: int, arm: Arm, view: DiffusersView | None = None
    ) -> torch.Tensor:
        """The finished latent (C, T, H, W) of a turn; view: None is the model's own."""
        bundle, noise = self.turns.bundle, self.turns.noise(purpose)
        if view is not None:
            bundle = replace(bundle, backbone=view)
        context = bundle.empty_context(1)
        return BundleSampler(bundle, context, lambda _turn: noise, self.num_steps, arm.reuse)(turn)

    def first(self) -> torch.Tensor:
        """Turn 1 (C, T, H, W), made without memory."""
        return self.sample(self.turns.turn(self.turns.scene.first), FIRST, PLAIN)

    def memories(self, first: torch.Tensor, count: int) -> list[MemoryEntry]:
        """Turn 1, and where 3 are wanted two further turns: to the other side, then to both."""
        turns, scene = self.turns, self.turns.scene
        memories = [turns.memory(first, scene.first)]
        if count == 3:
            opposite = self.sample(turns.turn(scene.opposite), OPPOSITE, PLAIN)
            memories.append(turns.memory(opposite, scene.opposite))
            sweep = self.sample(turns.turn(scene.sweep, memories), SWEEP, PLAIN)
            memories.append(turns.memory(sweep, scene.sweep))
        return memories


FRAMES, BLOCKS, TILES = FramePruning, BlockPruning, partial(BlockPruning, is_tile=True)
KINDS: dict[str, Pruning] = {
    "frames 3/4": FRAMES(0.75),
    "frames 1/2": FRAMES(0.5),
    "frames 1/4": FRAMES(0.25),
    "frames 1/2, source and memories together": FRAMES(0.5, ranks_all=True),
    "frames 1/2, at the merging blocks": FRAMES(0.5, "merging blocks"),
    "blocks of 64, 3/4": BLOCKS(0.75),
    "blocks of 64, 1/2": BLOCKS(0.5),
    "blocks of 64, 1/4": BLOCKS(0.25),
    "tiles of 16, 1/2": TILES(0.5, 16),
    "tiles of 16, 1/4": TILES(0.25, 16),
    "tiles of 4, 1/2": TILES(0.5, 4),
    "tiles of 4, 1/4": TILES(0.25, 4),
    "tiles of 4, 1/2, one choice a frame": TILES(0.5, 4, serves_frame=True),
    "tiles of 4, 1/2 by their attention": TILES(0.5, 4, by="attention"),
    "tiles of 4, 1/2 by chance": TILES(0.5, 4, by="chance"),
}
PER_REFRESH = FRAMES(0.5, moments="every refresh")
REUSED: tuple[str, ...] = (
    "frames 3/4",
    "frames 1/2",
    "blocks of 64, 1/2",
    "tiles of 16, 1/2",
    "tiles of 16, 1/4",
)
REUSED += ("tiles of 4, 1/2", "tiles of 4, 1/4", "tiles of 4, 1/2, one choice a frame")


def all_arms() -> list[Arm]:
    """The first one is what all others are compared with."""
    arms = [PLAIN, Arm("merged", is_merged=True)]
    arms += [Arm(name, pruning) for name, pruning in KINDS.items()]
    arms += [Arm(f"reuse {n}", every=n) for n in (4, 6)]
    arms.append(Arm("reuse 4, merged", every=4, is_merged=True))
    arms += [Arm(f"reuse 4, {name}", KINDS[name], every=4) for name in REUSED]
    arms.append(Arm("reuse 4, frames 1/2, chosen at a refresh", PER_REFRESH, every=4))
    return arms


# Whether it runs at all, and the arms that a decision needs.
QUICK: tuple[str, ...] = ("nothing pruned", "frames 1/2", "tiles of 16, 1/2")
QUICK += ("reuse 4", "reuse 4, frames 1/2, chosen at a refresh")
MAIN: tuple[str, ...] = (
    "nothing pruned",
    "merged",
    "frames 1/2",
    "tiles of 16, 1/2",
    "tiles of 4, 1/2",
)
MAIN += ("tiles of 4, 1/2 by their attention", "tiles of 4, 1/2 by chance", "reuse 4", "reuse 6")
MAIN += ("reuse 4, merged", "reuse 4, frames 3/4", "reuse 4, tiles of 16, 1/2")
MAIN += ("reuse 4, tiles of 4, 1/2", "reuse 4, tiles of 4, 1/4")


def small_layout(bundle: Bundle, num_memories: int) -> SequenceLayout:
    """The sequence of turn 2 with so many memories."""
    info = bundle.info
    side = info.size // bundle.codec.ratios.spatial
    frames = (info.num_frames,) * num_memories
    kernels = kernels_by_rank(num_memories, BudgetConfig())
    return plan_layout(info.num_frames, side, side, True, frames, kernels)


def view(options: argparse.Namespace) -> list[str]:
    bundle = load_bundle("novel_view")
    num_scenes = 2 if options.quick else options.scenes
    num_steps = 2 if options.quick else bundle.info.num_steps
    layout = small_layout(bundle, options.memories)
    names = QUICK if options.quick else MAIN if options.main else options.arms
    arms = [arm for arm in all_arms() if not names or arm.name in (PLAIN.name, *names)]
    found: Measured = {arm.name: [] for arm in arms}
    lines: list[str] = []
    for index in range(num_scenes):
        turns = SceneTurns.of(bundle, held_out_scene(index, bundle.info))
        session, scene = Session(turns, num_steps), turns.scene
        first = session.first()
        shown, memories = turns.decode(first), session.memories(first, options.memories)
        videos: dict[str, torch.Tensor] = {}
        for arm in arms:
            kind: UnresponsiveChoice = "merge" if arm.is_merged else "keep"
            turn = turns.turn(scene.second, memories, unresponsive=kind, share=MERGE_SHARE)
            latent = session.sample(turn, SECOND, arm, arm.view(bundle, layout))
            video = videos[arm.name] = turns.decode(latent)
            found[arm.name].append(second_measures(scene, shown, {"x": video}))
        print(f"scene {index + 1} of {num_scenes}", flush=True)
        if options.pictures is not None:
            draw(options.pictures / f"scene_{index}.png", turns, shown, videos)
        if index:
            # A long run that is cut short leaves its table.
            lines = view_table(arms, found, bundle, layout, num_steps)
            options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return lines


def draw(
    path: Path, turns: SceneTurns, first: torch.Tensor, videos: dict[str, torch.Tensor]
) -> None:
    """Turn 1, the true view and every arm, dimmed outside the region that turn 1 alone showed."""
    scene = turns.scene
    region = unseen_overlap(scene.second, scene.first, scene.source)
    rows = [SheetRow("turn 1", first), SheetRow("true turn 2", scene.second.frames, region)]
    rows += [SheetRow(name, video, region) for name, video in videos.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(rows, (2, 4, 6, 8)).save(path)


def view_table(
    arms: Sequence[Arm], found: Measured, bundle: Bundle, layout: SequenceLayout, num_steps: int
) -> list[str]:
    columns = ["small", *(f"full size, {count} memories" for count in FULL_MEMORIES)]
    lines = [
        f"{num_steps} steps, {len(found[arms[0].name])} scenes, {machine()}",
        "",
        "| Arm | Difference in the unseen region | ratio | PSNR where the source sees | "
        + " | ".join(f"FLOPs, {name}" for name in columns)
        + " |",
        "|---|---|---|---|" + "---|" * len(columns),
    ]
    whole = found[arms[0].name]
    for arm in arms:
        rows = found[arm.name]
        columns_of_both = (column(each, "unseen_mae_x") for each in (rows, whole))
        ours, theirs = finite_pairs(*columns_of_both)
        ratio = ratio_estimate(ours, theirs)
        seen = mean_estimate(column(rows, "seen_psnr_x")).value
        change = seen - mean_estimate(column(whole, "seen_psnr_x")).value
        flops = flop_shares(arm, arms[0], bundle, layout, num_steps)
        cells = [
            arm.name,
            f"{ours.mean().item():.4f}",
            f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})",
            f"{seen:.2f} dB ({change:+.2f})",
            *(f"{share:.3f}" for share in flops),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def column(rows: list[dict[str, float]], name: str) -> torch.Tensor:
    """One number a scene."""
    return torch.tensor([row[name] for row in rows], dtype=torch.float64)


def flop_shares(
    arm: Arm, like: Arm, bundle: Bundle, layout: SequenceLayout, num_steps: int
) -> list[float]:
    """FLOPs of a step, divided by those of `like`: at the small size, then at full size."""
    sizes: list[Size] = [(layout, small_shape(bundle.info), num_steps)]
    sizes += [(full_layout(count), FULL_SHAPE, None) for count in FULL_MEMORIES]

    def flops(arm: Arm, size: Size) -> float:
        layout, shape, num_calls = size
        merging = MergeConfig(MERGE_SHARE) if arm.is_merged else None
        return step_flops(layout, shape, Run(arm.every, num_calls), merging, arm.pruning)

    return [flops(arm, size) / flops(like, size) for size in sizes]


def mass(options: argparse.Namespace) -> list[str]:
    bundle = load_bundle("novel_view")
    layout = small_layout(bundle, options.memories)
    shares: dict[str, list[float]] = {}
    for index in range(options.scenes):
        turns = SceneTurns.of(bundle, held_out_scene(index, bundle.info))
        session = Session(turns, bundle.info.num_steps)
        memories = session.memories(session.first(), options.memories)
        probe = MassView(bundle.backbone.model, layout, KINDS)
        session.sample(turns.turn(turns.scene.second, memories), SECOND, PLAIN, probe)
        for name, values in probe.shares.items():
            shares.setdefault(name, []).extend(values)
        print(f"scene {index + 1} of {options.scenes}", flush=True)
    clean = shares.pop("clean")
    lines = [
        f"{options.scenes} scenes, {machine()}",
        "",
        f"Clean tokens get {sum(clean) / len(clean):.1%} of the target's attention. Of this:",
        "",
        "| Kept | Mean over blocks, steps and scenes | Least |",
        "|---|---|---|",
    ]
    for name, values in shares.items():
        lines.append(f"| {name} | {sum(values) / len(values):.1%} | {min(values):.1%} |")
    return lines


def kernels(_options: argparse.Namespace) -> list[str]:
    return [machine(), "", *time_kernels()]


def machine() -> str:
    """What the numbers depend on, in words."""
    return f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="part", required=True)
    for name, run in (("view", view), ("mass", mass), ("kernels", kernels)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--output", type=Path, default=Path(f"sparse_{name}.md"))
        if name == "kernels":
            continue
        command.add_argument("--scenes", type=int, default=4, help="at least 2")
        command.add_argument("--memories", type=int, choices=(1, 3), default=1)
        if name == "view":
            command.add_argument(
                "--quick", action="store_true", help="a few arms, 2 scenes, 2 steps: does it run?"
            )
            command.add_argument("--main", action="store_true", help="the arms of the decision")
            command.add_argument("--arms", nargs="*", default=(), help="arms by their names")
            command.add_argument("--pictures", type=Path, help="a folder for contact sheets")
    options = parser.parse_args()
    text = "\n".join(options.run(options)) + "\n"
    options.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

"""Which memory encoder serves a second turn? The paper's two-turn comparison, at a small scale.

    python benchmarks/context_encoders.py --minutes 3 --scenes 16
    python benchmarks/context_encoders.py --lvsm scene_encoder_decoder_256.pt
    python benchmarks/context_encoders.py --cut3r CHECKOUT --cut3r-weights cut3r_512_dpt_4_64.pth

Every branch is trained for so many minutes on the built-in novel-view model, by the trainer's own
loop: the branch and the DiT's self-attention learn (with --branch-only the branch alone), the
encoder and everything else are frozen.
The memory of a step is another path through the target's scene. Then turn 2 of held-out scenes is
compared with turn 1 where the source never looked, by the exact geometry metric; all turns 2 share
one noise. Two turns agree too where both are blurred, so a number tells the sharpness there, and
another divides the difference by the one with another scene as memory: a model that reads its
memory agrees less with that, and one that does not stays at 1. A stopped run goes on.

Source: Sec. 3.2 and App. B, arXiv:2601.16296v2.
"""

import argparse
import logging
import os
import platform
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.contexts.branch_training import (
    BASE,
    BranchedModel,
    ContextExamples,
    encoded,
    examples_of,
    recipe,
    trained_branch,
)
from benchmarks.contexts.small_lvsm import SMALL, trained_lvsm
from memv2v_core.builtin.bundle import Bundle, load_bundle
from memv2v_core.builtin.sampler import BundleSampler
from memv2v_core.context.branch_view import BranchView
from memv2v_core.context.cut3r import Cut3rPlace, load_cut3r
from memv2v_core.context.encoder import ContextEncoder
from memv2v_core.context.lvsm_encoder import LvsmEncoder, new_lvsm, read_lvsm
from memv2v_core.context.vae import VideoVaeEncoder
from memv2v_core.evaluation.metrics.geometry import Geometry
from memv2v_core.evaluation.metrics.metric import Batch
from memv2v_core.evaluation.novel_view.arms import SceneTurns
from memv2v_core.evaluation.novel_view.measures import second_measures
from memv2v_core.evaluation.novel_view.scenes import FIRST, SECOND, held_out_scene
from memv2v_core.evaluation.statistics import finite_pairs, mean_estimate, ratio_estimate
from memv2v_core.model.memory_inputs import MemoryInputs
from memv2v_core.sampling.turn import Turn
from memv2v_core.synthetic.panoramas import FilmedView

NOT_TOLD = "-"


@dataclass(frozen=True, eq=False)
class Encoded:
    """An encoder of the table. weights: where its weights come from, in words."""

    name: str
    weights: str
    encoder: ContextEncoder


def encoders_of(
    options: argparse.Namespace, bundle: Bundle, examples: ContextExamples
) -> list[Encoded]:
    """The encoders of the table, beside the video VAE as a stream."""
    seed = options.seed
    codec = bundle.codec
    vae = VideoVaeEncoder(BASE, codec.encode_frames, codec.ratios)
    random = new_lvsm(replace(SMALL, has_decoder=False), seed).eval().requires_grad_(False)
    small, told = trained_lvsm(examples, options.folder, options.encoder_minutes, seed)
    found = [
        Encoded("video VAE", "the built-in codec", vae),
        Encoded("LVSM, small", "random", LvsmEncoder(random, "random", "given")),
        Encoded("LVSM, small", told, LvsmEncoder(small, "trained here", "given")),
    ]
    if options.lvsm is not None:
        network = read_lvsm(options.lvsm)
        published = LvsmEncoder(network, options.lvsm.name)
        found.append(Encoded("LVSM", options.lvsm.name, published))
    if options.cut3r is not None:
        place = Cut3rPlace(options.cut3r, options.cut3r_weights, options.cut3r_size)
        found.append(Encoded("CUT3R state", place.weights.name, load_cut3r(place)))
    return found


def no_reuse(_turn: Turn, _inputs: MemoryInputs) -> None:
    """Clean tokens are made anew in every step, beside every memory alike."""


def sampled(
    turns: SceneTurns, turn: Turn, purpose: int, bundle: Bundle, steps: int | None
) -> torch.Tensor:
    """The finished latent (C, T, H, W) of a turn."""
    noise = turns.noise(purpose)
    context = bundle.empty_context(1)
    sampler = BundleSampler(bundle, context, lambda _turn: noise, num_steps=steps, reuse=no_reuse)
    return sampler(turn)


def scene_rows(
    turns: SceneTurns, models: dict[str, tuple[Encoded, BranchedModel]], steps: int | None
) -> dict[str, dict[str, float]]:
    """The measures of one scene, by row of the table."""
    scene, bundle = turns.scene, turns.bundle
    first = sampled(turns, turns.turn(scene.first), FIRST, bundle, steps)
    shown = replace(scene.first, frames=turns.decode(first))
    origin = scene.source.path.c2w[0]

    def second(turn: Turn, using: Bundle) -> torch.Tensor:
        return turns.decode(sampled(turns, turn, SECOND, using, steps))

    def memory(latent: torch.Tensor) -> Turn:
        return turns.turn(scene.second, [turns.memory(latent, scene.first)])

    alone = turns.turn(scene.second)
    videos: dict[str, tuple[torch.Tensor, torch.Tensor | None]]
    videos = {"none": (second(alone, bundle), None)}
    foreign = second(memory(turns.encode(scene.foreign)), bundle)
    videos["stream"] = (second(memory(first), bundle), foreign)
    for key, (row, model) in models.items():

        def through(
            view: FilmedView, row: Encoded = row, model: BranchedModel = model
        ) -> torch.Tensor:
            tokens = encoded(row.encoder, view, origin)[None]
            branched = BranchView(model.view, model.branch, tokens)
            # The branch's view stands in for the DiT's own.
            using = replace(bundle, backbone=branched, adapter=model.adapter)  # type: ignore[arg-type]
            return second(alone, using)

        videos[key] = (through(shown), through(scene.foreign))
    # What the first branch's training does to the DiT by itself.
    _, model = next(iter(models.values()))
    videos["shut"] = (second(alone, replace(bundle, backbone=model.view)), None)
    return {
        key: measured(turns, shown.frames, video, other) for key, (video, other) in videos.items()
    }


def measured(
    turns: SceneTurns, first: torch.Tensor, video: torch.Tensor, foreign: torch.Tensor | None
) -> dict[str, float]:
    """Agreement with turn 1, the same with a foreign memory, and how good the picture is."""
    scene = turns.scene

    def disagreement(second: torch.Tensor) -> list[float]:
        batch = Batch(
            first[None],
            second[None],
            cameras=[scene.first.path],
            other_cameras=[scene.second.path],
            source_cameras=[scene.source.path],
        )
        return Geometry()(batch)[0].tolist()

    mae, psnr = disagreement(video)
    other = float("nan") if foreign is None else disagreement(foreign)[0]
    found = second_measures(scene, first, {"x": video})
    sharpness, seen = found["unseen_gradient_x"], found["seen_psnr_x"]
    return {"mae": mae, "psnr": psnr, "foreign": other, "sharpness": sharpness, "seen": seen}


def column(rows: list[dict[str, float]], name: str) -> torch.Tensor:
    return torch.tensor([row[name] for row in rows], dtype=torch.float64)


def ratio_cell(above: torch.Tensor, below: torch.Tensor) -> str:
    """The ratio of two means over scenes, paired."""
    above, below = finite_pairs(above, below)
    if not len(above):
        return NOT_TOLD
    ratio = ratio_estimate(above, below)
    return f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"


def mean_cell(values: torch.Tensor, digits: int) -> str:
    return f"{mean_estimate(values[values.isfinite()]).value:.{digits}f}"


def line_of(words: tuple[str, ...], rows: list[dict[str, float]], none: torch.Tensor) -> str:
    mae = column(rows, "mae")
    cells = [
        *words,
        mean_cell(mae, 4),
        ratio_cell(mae, none),
        ratio_cell(mae, column(rows, "foreign")),
        mean_cell(column(rows, "psnr"), 2),
        mean_cell(column(rows, "sharpness"), 4),
        mean_cell(column(rows, "seen"), 2),
    ]
    return f"| {' | '.join(cells)} |"


def table(
    found: list[dict[str, dict[str, float]]],
    told: dict[str, tuple[str, ...]],
) -> list[str]:
    """The lines of the table. told: name, weights and training of each row, in words."""
    none = column([rows["none"] for rows in found], "mae")
    return [
        f"{len(found)} held-out scenes, {machine()}",
        "",
        "| Memory | Encoder's weights | Training with this memory | Unseen MAE | over none (95 %) "
        "| over the same with another scene | Unseen PSNR, dB | Unseen sharpness "
        "| PSNR where the source looks, dB |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
        *(line_of(words, [rows[key] for rows in found], none) for key, words in told.items()),
    ]


def machine() -> str:
    return (
        f"torch {torch.__version__}, {torch.get_num_threads()} of {os.cpu_count()} CPU cores, "
        f"{platform.machine()}"
    )


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("training_runs/context_encoders"))
    parser.add_argument("--minutes", type=float, default=3.0, help="of each branch")
    parser.add_argument("--encoder-minutes", type=float, default=3.0, help="of the small LVSM")
    parser.add_argument("--scenes", type=int, default=16, help="at least 2")
    parser.add_argument("--steps", type=int, help="of a turn; without it the model's")
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--own-attention", action="store_true", help="SD3's own q, k, v and o")
    parser.add_argument("--branch-only", action="store_true", help="the DiT stays as it is")
    parser.add_argument("--lvsm", type=Path, help="scene_encoder_decoder_256.pt of coast01/LVSM")
    parser.add_argument("--cut3r", type=Path, help="a checkout of CUT3R/CUT3R")
    parser.add_argument("--cut3r-weights", type=Path, default=Path("cut3r_512_dpt_4_64.pth"))
    parser.add_argument("--cut3r-size", type=int, default=512)
    parser.add_argument("--output", type=Path, default=Path("context_encoders.md"))
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parsed(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    bundle = load_bundle(BASE)
    models: dict[str, tuple[Encoded, BranchedModel]] = {}
    told: dict[str, tuple[str, ...]] = {
        "none": ("none", NOT_TOLD, NOT_TOLD),
        "stream": ("video VAE, as a stream (ours)", "the built-in codec", "as shipped: 167 min"),
    }
    config = recipe(options.minutes, options.seed)
    examples = examples_of(config)
    for number, row in enumerate(encoders_of(options, bundle, examples)):
        key = f"{number}_{row.name.replace(' ', '_').replace(',', '')}"
        print(f"{row.name} ({row.weights}): {row.encoder.identity}", flush=True)
        folder = options.folder / key
        ways = options.own_attention, options.branch_only
        model, steps = trained_branch(row.encoder, examples, config, folder, *ways)
        models[key] = (row, model)
        training = f"{options.minutes:g} min, {steps} steps"
        told[key] = (f"{row.name}, by the branch", row.weights, training)
        told.setdefault("shut", ("none, the first branch shut", NOT_TOLD, training))
    found: list[dict[str, dict[str, float]]] = []
    for index in range(options.scenes):
        turns = SceneTurns.of(bundle, held_out_scene(index, bundle.info))
        found.append(scene_rows(turns, models, options.steps))
        print(f"scene {index + 1} of {options.scenes}", flush=True)
        if index:
            # A long run that is cut short leaves its table.
            text = "\n".join(table(found, told)) + "\n"
            options.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

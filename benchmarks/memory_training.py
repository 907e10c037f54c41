"""Does the paper's recipe teach memory to a base that never had any?

    python benchmarks/memory_training.py --folder training_runs/memory_training --scenes 24

Three runs of the trainer at a small scale (96x96 pixels, 6 blocks of 192, procedural scenes):

1. base: trained from nothing with a source and cameras, two-way, never with a memory.
2. one_way and two_way: the base with memory by the paper's recipe (Sec. 4.1): self-attention,
   projector, cameras, tokenizers and merging convolutions are trained, everything else is frozen.

Then held-out scenes, as in `evaluation`: how far turn 2 differs from turn 1 where the source never
looked, with memory over without. The base itself is measured too, in training-free mode. A stopped
run goes on.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from memv2v_core.builtin.bundle import Bundle, load_bundle
from memv2v_core.evaluation.claims import Measured
from memv2v_core.evaluation.novel_view.run import measure_scene
from memv2v_core.evaluation.statistics import Estimate
from memv2v_core.strict_yaml import build as build_config
from memv2v_core.training.checkpoints import best_weights, newest_checkpoint, put_weights
from memv2v_core.training.codec_trainer import save_codec
from memv2v_core.training.config.run import TrainConfig
from memv2v_core.training.launch import build, new_accelerator, run_recipe
from memv2v_core.training.network.parts import num_parameters

MODEL = {"dim": 192, "num_heads": 3, "num_layers": 6, "ffn_dim": 576, "has_rays": True}
FAST = {"rate": 0.002, "muon_rate": 0.02}
SLOW = {"rate": 0.001, "muon_rate": 0.01}
SCENES = {"size": 96}
STEP = {
    "batch_size": 8,
    "rows_at_once": 8,
    "whole_batch_size": 2,
    "betas": [0.9, 0.98],
    "cooldown": 0.8,
    "sigmas": "logit_normal",
    "shift": 3.0,
    "whole_share": 0.15,
    "whole_from": 0.8,
}
PAPERS_PARTS = ("cameras", "projector", "tokenizers", "mergers", "self_attention")
NO_MEMORY = {"counts": [1], "drop_source": 0, "merge_probability": 0}
MEMORY = {
    "counts": [0.1, 0.5, 0.4],
    "kernels": [0.1, 0.6, 0.3],
    "drop_source": 0.05,
    "noise": 0.3,
    "has_fixed_noise": False,
    "noise_beside_source": False,
}


def base_recipe(minutes: float) -> dict[str, Any]:
    """The base: everything is trained, and no step has a memory."""
    return {
        "task": "novel_view",
        "base": {"kind": "new", "model": MODEL},
        "adapter": {"attention": "two_way", "has_base_tokenizer": False},
        "scenes": {**SCENES, "memory": NO_MEMORY},
        "trained": {"base": FAST, "cameras": FAST, "projector": FAST, "self_attention": FAST},
        "optim": {**STEP, "minutes": minutes},
        "keep": {"checkpoint_minutes": 2},
        "seed": 11,
    }


def memory_recipe(
    attention: str, start: Path, minutes: float, steps: int | None = None
) -> dict[str, Any]:
    """The paper's recipe on that base, for so many minutes, or steps where they are given."""
    length = {"minutes": minutes} if steps is None else {"steps": steps}
    return {
        "task": "novel_view",
        "base": {"kind": "new", "model": MODEL, "start": str(start)},
        "adapter": {"attention": attention, "has_base_tokenizer": True},
        "scenes": {**SCENES, "memory": MEMORY},
        "trained": {part: SLOW for part in PAPERS_PARTS},
        "optim": {**STEP, **length},
        "keep": {"checkpoint_minutes": 2},
        "seed": 12,
    }


def bundle_of(config: TrainConfig, folder: Path) -> Bundle:
    """The model of a run, ready to sample."""
    built = build(config, folder)
    newest = newest_checkpoint(folder)
    assert newest is not None
    put_weights(built.weights, best_weights(newest), newest)
    model = built.model.eval().requires_grad_(False)
    shipped = load_bundle("novel_view")
    assert config.scenes is not None
    info = dataclasses.replace(shipped.info, size=config.scenes.size)
    return Bundle(info, model.view, model.adapter, shipped.codec)


def measured(bundle: Bundle, num_scenes: int) -> Measured:
    """The main arms over held-out scenes 0 to `num_scenes` - 1."""
    rows = [measure_scene(bundle, i, has_details=False).measures for i in range(num_scenes)]
    names = rows[0]
    return Measured({name: torch.tensor([row[name] for row in rows]) for name in names})


def line_of(name: str, found: Measured) -> dict[str, Any]:
    """One line of the table."""
    ratio = found.ratio("unseen_mae_memory", "unseen_mae_none")
    gain = found.difference("unseen_psnr_truth", "unseen_psnr_none")
    seen = found.mean("seen_psnr_memory")
    plain = found.mean("seen_psnr_none")
    print(
        f"{name:<24}{_spoken(ratio)}   {_spoken(gain)}   {_spoken(seen)}   {_spoken(plain)}",
        flush=True,
    )
    return {
        "name": name,
        "ratio": dataclasses.asdict(ratio),
        "true_view_gain_db": dataclasses.asdict(gain),
        "source_region_db": dataclasses.asdict(seen),
        "source_region_without_memory_db": dataclasses.asdict(plain),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("training_runs/memory_training"))
    parser.add_argument("--base-minutes", type=float, default=35.0)
    parser.add_argument("--minutes", type=float, default=30.0, help="of each run with memory")
    parser.add_argument("--steps", type=int, help="of each run with memory, in place of minutes")
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--runs", nargs="+", default=["base", "one_way", "two_way"])
    options = parser.parse_args()
    base = options.folder / "base"
    recipes = {
        "base": base_recipe(options.base_minutes),
        "one_way": memory_recipe("one_way", base, options.minutes, options.steps),
        "two_way": memory_recipe("two_way", base, options.minutes, options.steps),
    }
    print(
        "run                     disagreement, memory over none   true view: gain dB   "
        "source region dB: with, without memory"
    )
    lines = []
    for name in options.runs:
        config = build_config(TrainConfig, recipes[name], name)
        folder = options.folder / name
        save_codec(load_bundle("novel_view").codec, folder)
        built = run_recipe(config, folder, new_accelerator(config, folder, True))
        counts = num_parameters(built.weights)
        print(f"{name}: trained {sum(counts.values()):,} numbers: {counts}")
        bundle = bundle_of(config, folder)
        lines.append(line_of(name, measured(bundle, options.scenes)))
    (options.folder / "table.json").write_text(json.dumps(lines, indent=1), encoding="utf-8")


def _spoken(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


if __name__ == "__main__":
    main()

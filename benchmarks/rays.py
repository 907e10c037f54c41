"""What the built-in model's rays are worth: the same training with them, and on the paper's poses
alone.

    python benchmarks/rays.py --steps 700 --scenes 48 --folder .dev/training/rays

A smaller model on smaller pictures than the shipped one (64x64, 4 blocks of 128), so that it takes
minutes on a CPU. Both variants see the same examples in the same order; a stopped training goes on.
Held-out scenes as in `evaluation`.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from memv2v_core.builtin.bundle import Bundle, load_bundle
from memv2v_core.evaluation.novel_view.run import measure_scene
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.training.__main__ import CONFIGS
from memv2v_core.training.config import TrainConfig, load_config
from memv2v_core.training.network import build_network
from memv2v_core.training.trainer import CODEC_FILE, train

SIZE, DIM, NUM_HEADS, NUM_LAYERS, FFN_DIM = 64, 128, 2, 4, 384


def trained(config: TrainConfig, folder: Path, shipped: Bundle) -> Bundle:
    """`shipped`'s codec with a DiT and an adapter trained from nothing in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(shipped.codec.state_dict(), folder / CODEC_FILE)
    train(config, folder, torch.device("cpu"))
    network = build_network(config.model).eval().requires_grad_(False)
    network.load_state_dict(torch.load(folder / "checkpoint.pt", weights_only=True)["average"])
    info = dataclasses.replace(shipped.info, size=config.data.size)
    return Bundle(info, DiffusersView(network["dit"]), network["adapter"], shipped.codec)


def held_out_means(bundle: Bundle, num_scenes: int) -> dict[str, float]:
    """Means over held-out scenes of what `measure_arms` measures in each."""
    rows = [measure_scene(bundle, i, has_details=False).measures for i in range(num_scenes)]
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--scenes", type=int, default=48)
    parser.add_argument("--folder", type=Path, default=Path(".dev/training/rays"))
    arguments = parser.parse_args()
    shipped, config = load_bundle("novel_view"), load_config(CONFIGS / "novel_view.yaml")
    sizes = {"dim": DIM, "num_heads": NUM_HEADS, "num_layers": NUM_LAYERS, "ffn_dim": FFN_DIM}
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, **sizes),
        data=dataclasses.replace(config.data, size=SIZE),
        optim=dataclasses.replace(config.optim, steps=arguments.steps),
    )
    print(
        "adapter     unseen MAE: none  memory  ratio  unseen PSNR, true view as memory: gain dB  "
        "source region dB"
    )
    for name, has_rays in (("rays", True), ("poses only", False)):
        variant = dataclasses.replace(
            config, model=dataclasses.replace(config.model, has_rays=has_rays)
        )
        means = held_out_means(
            trained(variant, arguments.folder / name.replace(" ", "_"), shipped), arguments.scenes
        )
        none, memory = means["unseen_mae_none"], means["unseen_mae_memory"]
        gain = means["unseen_psnr_truth"] - means["unseen_psnr_none"]
        print(
            f"{name:<12}{none:.4f}  {memory:.4f}  {memory / none:.3f}  {gain:+.2f}  "
            f"{means['seen_psnr_memory']:.2f}"
        )


if __name__ == "__main__":
    main()

"""What the built-in model's rays are worth: the same training with them, and on the paper's poses
alone.

    python benchmarks/rays.py --steps 700 --scenes 48 --folder training_runs/rays

A smaller model on smaller pictures than the shipped one (64x64, 4 blocks of 128), so that it takes
minutes on a CPU. Both variants see the same examples in the same order; a stopped training goes on.
Held-out scenes as in `evaluation`.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from memv2v_core.builtin.bundle import Bundle, load_bundle
from memv2v_core.evaluation.novel_view.run import measure_scene
from memv2v_core.training.codec_trainer import save_codec
from memv2v_core.training.config.run import TrainConfig, changed_config
from memv2v_core.training.launch import new_accelerator, run_recipe

SIZE, DIM, NUM_HEADS, NUM_LAYERS, FFN_DIM = 64, 128, 2, 4, 384


def trained(config: TrainConfig, folder: Path, shipped: Bundle) -> Bundle:
    """`shipped`'s codec with a DiT and an adapter trained from nothing in `folder`."""
    assert config.scenes is not None
    save_codec(shipped.codec, folder)
    built = run_recipe(config, folder, new_accelerator(config, folder, is_on_cpu=True))
    model = built.model.eval().requires_grad_(False)
    info = dataclasses.replace(shipped.info, size=config.scenes.size)
    return Bundle(info, model.view, model.adapter, shipped.codec)


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
    parser.add_argument("--folder", type=Path, default=Path("training_runs/rays"))
    arguments = parser.parse_args()
    shipped = load_bundle("novel_view")
    changes = [
        f"base.model.dim={DIM}",
        f"base.model.num_heads={NUM_HEADS}",
        f"base.model.num_layers={NUM_LAYERS}",
        f"base.model.ffn_dim={FFN_DIM}",
        f"scenes.size={SIZE}",
        "optim.minutes=null",
        f"optim.steps={arguments.steps}",
    ]
    print(
        "adapter     unseen MAE: none  memory  ratio  unseen PSNR, true view as memory: gain dB  "
        "source region dB"
    )
    for name, has_rays in (("rays", True), ("poses only", False)):
        variant = changed_config(
            Path("novel_view"), [*changes, f"base.model.has_rays={str(has_rays).lower()}"]
        )
        folder = arguments.folder / name.replace(" ", "_")
        means = held_out_means(trained(variant, folder, shipped), arguments.scenes)
        none, memory = means["unseen_mae_none"], means["unseen_mae_memory"]
        gain = means["unseen_psnr_truth"] - means["unseen_psnr_none"]
        print(
            f"{name:<12}{none:.4f}  {memory:.4f}  {memory / none:.3f}  {gain:+.2f}  "
            f"{means['seen_psnr_memory']:.2f}"
        )


if __name__ == "__main__":
    main()

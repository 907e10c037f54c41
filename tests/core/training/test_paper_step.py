"""The losses of steps by the paper's recipe, computed a second time from the words alone.

Data, noise levels and their weight are written out here, the DiT in `instruments.literal_wan`.
Source: Sec. 4.1 and App. D.1, arXiv:2601.16296v2, and ReCamMaster's training script.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from instruments.literal_wan import LiteralWan, Sizes, Weights, video_of
from instruments.prepared_folders import FolderMaker, latent_of, path_of, text_of
from instruments.training_runs import NOVEL_VIEW, accelerator_of, losses_of, recipe

from memv2v_core.builtin.codec import Codec
from memv2v_core.shapes import VaeRatios
from memv2v_core.training.codec_trainer import save_codec
from memv2v_core.training.data.example import Example
from memv2v_core.training.launch import examples_of, start_run
from memv2v_core.training.network.module import TrainedModel
from memv2v_core.training.objective import Noising
from memv2v_core.training.progress import Progress
from memv2v_core.training.trainer import train
from memv2v_core.training.watching import Watch

pytestmark = pytest.mark.slow

# Latents of 12 x 8: kernels of 8 and merging both meet an odd border.
SIZES = Sizes(dim=64, heads=2, blocks=3, frequencies=16, latent=(16, 3, 12, 8))
STEPS = 12
NAMES = [f"{scene}_{i}" for scene in "ab" for i in range(5)]
PAPER = (
    "scenes=null",
    "base.model.has_rays=false",
    "prepared.empty_share=0.2",
    # 1 to 3 memories; as in the paper half of the steps have one kernel, and half merge 0.3 to 0.7.
    "prepared.memory={counts: [0, 1, 1, 1], kernels: [1, 1, 1], drop_source: 0.25, noise: 0.1}",
    f"optim={{batch_size: 2, rows_at_once: 2, steps: {STEPS}, warmup_steps: 2, sigmas: uniform, "
    "weighting: bell, shift: 5.0}",
)


@dataclass(frozen=True, eq=False)
class Seen:
    """What the trainer gave its network in one step, and the weights at that time."""

    weights: Weights
    example: Example
    noising: Noising


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Seen]:
    """Every loss that the trainer asks for."""
    found: list[Seen] = []
    loss = TrainedModel.loss

    def watched(self: TrainedModel, example: Example, noising: Noising) -> torch.Tensor:
        weights = {name: weight.detach().clone() for name, weight in self.named_parameters()}
        found.append(Seen(weights, example, noising))
        return loss(self, example, noising)

    monkeypatch.setattr(TrainedModel, "loss", watched)
    return found


def run_steps(folder: Path, *changes: str) -> dict[int, float]:
    """The losses of some steps of the recipe, on a model in which every weight acts."""
    maker = FolderMaker(folder / "data", "novel_view", VaeRatios(1, 8, 16))
    for scene in "ab":
        maker.add_scene(scene, 5, size=SIZES.latent)
    maker.folder()
    config = recipe(NOVEL_VIEW, f"prepared.folder={folder / 'data'}", *PAPER, *changes)
    save_codec(Codec(), folder)
    accelerator = accelerator_of(config, folder)
    run, built = start_run(config, folder, accelerator)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in run.own.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    examples = examples_of(config, built, accelerator.device, run)
    progress = Progress(accelerator, folder, STEPS, None)
    train(run, config, examples, Watch(config, examples, progress, None))
    return losses_of(folder)


def nearest(latent: torch.Tensor) -> str:
    """The view that a latent shows, perhaps with a little noise."""
    return min(
        NAMES, key=lambda name: (latent_of(name, SIZES.latent) - latent).square().mean().item()
    )


def cams_of(name: str, source: str) -> torch.Tensor:
    """[R | t] (T, 12) of a view, relative to the first frame of the source."""
    first = path_of(source, 3).c2w[0]
    return (torch.linalg.inv(first) @ path_of(name, 3).c2w)[:, :3].reshape(3, 12)


def source_of(example: Example, row: int) -> str:
    """The view to whose first frame the cameras of a row are relative."""
    target = nearest(example.target[row])
    found = example.inputs.target_cameras.c2w[row, :, :3].reshape(3, 12)
    (source,) = (n for n in NAMES if (cams_of(target, n) - found).abs().max() < 1e-5)
    return source


def bell(sigma: float) -> float:
    """training_weight of ReCamMaster's scheduler for one of its 1000 levels at shift 5."""
    levels = [5 * i / 1000 / (1 + 4 * i / 1000) for i in range(1000, 0, -1)]
    y = [math.exp(-2 * ((1000 * level - 500) / 1000) ** 2) for level in levels]
    above = [value - min(y) for value in y]
    number = min(range(1000), key=lambda i: abs(levels[i] - sigma))
    assert abs(levels[number] - sigma) < 1e-6
    return above[number] * 1000 / sum(above)


def row_loss(step: Seen, row: int, is_one_way: bool, is_clean_zero: bool) -> float:
    """The loss of one row, from the files of its videos and from what was drawn."""
    example, sigma = step.example, step.noising.sigmas[row].item()
    name, source = nearest(example.target[row]), source_of(example, row)
    noise, clean = step.noising.noise[row].double(), latent_of(name, SIZES.latent).double()
    w = {key: value.double() for key, value in step.weights.items()}
    noisy = (1 - sigma) * clean + sigma * noise
    target = video_of(w, "dit.patch_embedding", noisy, "target", 2, cams_of(name, source))
    videos = []
    for stream in example.inputs.streams:
        latent = stream.latent[row]
        shown = source if stream.role == "source" else nearest(latent)
        assert shown != name
        layer = f"adapter.tokenizers.{stream.kernel}"
        videos.append(
            video_of(w, layer, latent, stream.role, stream.kernel, cams_of(shown, source))
        )
    is_empty = bool((example.context[row] == 0).all())
    text = text_of("" if is_empty else f"view {name[-1]} of {name[0]}")
    wan = LiteralWan(w, SIZES, sigma, text, is_one_way=is_one_way, is_clean_zero=is_clean_zero)
    merging = example.inputs.merging
    velocity = wan.velocity(target, videos, None if merging is None else merging.share)
    return bell(sigma) * (velocity - (noise - clean)).square().mean().item()


@pytest.mark.parametrize(
    ("attention", "clean_timestep"), [("one_way", "zero"), ("two_way", "target")]
)
def test_a_steps_loss_is_the_one_written_out(
    tmp_path: Path, seen: list[Seen], attention: str, clean_timestep: str
):
    losses = run_steps(
        tmp_path, f"adapter.attention={attention}", f"adapter.clean_timestep={clean_timestep}"
    )
    off = []
    for step, found in zip(seen, losses.values(), strict=True):
        rows = [
            row_loss(step, row, attention == "one_way", clean_timestep == "zero")
            for row in range(2)
        ]
        off.append(abs(sum(rows) / 2 - found) / found)
    print(f"\n{attention}: {STEPS} losses from {min(losses.values()):.3f}, off by {max(off):.1e}")
    assert max(off) < 1e-5
    # The steps show everything that the recipe draws.
    inputs = [step.example.inputs for step in seen]
    assert {each.merging is None for each in inputs} == {True, False}
    assert {s.role for each in inputs for s in each.streams} == {"source", "memory"}
    assert {s.kernel for each in inputs for s in each.streams} == {2, 4, 8}
    assert any(each.streams[0].role == "memory" for each in inputs)
    assert any(len({s.kernel for s in each.streams if s.role == "memory"}) > 1 for each in inputs)


def test_what_is_drawn_is_what_the_paper_says(tmp_path: Path, seen: list[Seen]):
    """Temporal ranges 0..T-1, T..2T-1 and 2T..3T-1; noise on memories beside a source (Eq. 15)."""
    run_steps(tmp_path)
    levels = [5 * i / 1000 / (1 + 4 * i / 1000) for i in range(1, 1001)]
    noises = []
    for step in seen:
        streams = step.example.inputs.streams
        has_source = streams[0].role == "source"
        for stream in streams:
            assert stream.frame_indices == ((3, 4, 5) if stream.role == "source" else (6, 7, 8))
            for row in range(2):
                shown = latent_of(nearest(stream.latent[row]), SIZES.latent)
                noise = stream.latent[row] - shown
                if stream.role == "memory" and has_source:
                    noises.append(noise)
                else:
                    assert noise.abs().max() == 0
        for sigma in step.noising.sigmas.tolist():
            assert min(abs(level - sigma) for level in levels) < 1e-6
        assert step.noising.noise.std().item() == pytest.approx(1, abs=0.05)
    assert torch.stack(noises).std().item() == pytest.approx(0.1, rel=0.05)

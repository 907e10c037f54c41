"""Held-out losses and sample pictures."""

from pathlib import Path

import pytest
import torch
from instruments.prepared_folders import FolderMaker
from instruments.training_runs import (
    accelerator_of,
    assert_same,
    changed,
    finished_run,
    log_of,
    losses_of,
    weights_of,
)
from PIL import Image

from memv2v_core.shapes import VaeRatios
from memv2v_core.training.codec_trainer import train_codec
from memv2v_core.training.config.run import TrainConfig
from memv2v_core.training.launch import decoder_of, examples_of, start_run
from memv2v_core.training.network.module import TrainedModel
from memv2v_core.training.progress import Progress
from memv2v_core.training.trainer import Run
from memv2v_core.training.watching import Watch

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
LOOKS = ("keep.held_out_steps=1", "keep.held_out_rows=4")


def watch_of(config: TrainConfig, folder: Path) -> tuple[Watch, Run]:
    """What looks at the run in `folder`."""
    train_codec(config, folder, CPU)
    accelerator = accelerator_of(config, folder)
    run, built = start_run(config, folder, accelerator)
    progress = Progress(accelerator, folder, config.optim.steps, None)
    examples = examples_of(config, built, CPU, run)
    return Watch(config, examples, progress, decoder_of(config, built, CPU)), run


def held_out(folder: Path) -> list[float]:
    return [line["held_out_loss"] for line in log_of(folder) if "held_out_loss" in line]


@pytest.mark.parametrize("kind", ["views", "edits"])
def test_the_loss_is_the_same_at_every_look_at_the_same_weights(
    tiny_config: TrainConfig, editor_config: TrainConfig, tmp_path: Path, kind: str
):
    """Also at a later step, when the pool holds other scenes."""
    config = changed(tiny_config if kind == "views" else editor_config, *LOOKS)
    watch, run = watch_of(config, tmp_path)
    for step in (1, 2, 500):
        watch.look(run.model, run.average, step)
    first, *others = held_out(tmp_path)
    print(f"\n{kind}: held-out loss {first} at every look")
    assert others == [first, first]
    with torch.no_grad():
        for weight in run.weights.values():
            weight.add_(0.01)
    watch.look(run.model, run.average, 501)
    assert held_out(tmp_path)[-1] != first


def test_a_look_changes_nothing_in_the_run(tiny_config: TrainConfig, tmp_path: Path):
    plain, watched = tmp_path / "plain", tmp_path / "watched"
    config = changed(tiny_config, "optim.steps=4", "optim.ema=0.7")
    finished_run(config, plain)
    finished_run(changed(config, *LOOKS, "keep.sample_steps=2"), watched)
    assert losses_of(watched) == losses_of(plain)
    assert_same(weights_of(watched), weights_of(plain))
    assert len(held_out(watched)) == 4


def test_the_average_is_what_is_looked_at(
    tiny_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    watch, run = watch_of(changed(tiny_config, *LOOKS, "optim.ema=0.9"), tmp_path)
    with torch.no_grad():
        for weight in run.weights.values():
            weight.fill_(7.0)
    wanted = {name: value.clone() for name, value in run.average.values.items()}
    seen: list[bool] = []
    loss = TrainedModel.loss

    def watched(self, example, noising):
        own = dict(self.named_parameters())
        seen.append(all(torch.equal(own[name], value) for name, value in wanted.items()))
        return loss(self, example, noising)

    monkeypatch.setattr(TrainedModel, "loss", watched)
    watch.look(run.model, run.average, 1)
    assert seen == [True] * 4
    assert all((weight == 7).all() for weight in run.weights.values())
    assert_same(run.average.values, wanted)


def test_rows_that_are_looked_at_are_held_out_and_of_many_kinds(
    tiny_config: TrainConfig, tmp_path: Path
):
    config = changed(tiny_config, *LOOKS, "keep.held_out_rows=8")
    watch, run = watch_of(config, tmp_path)
    asked, draw = [], watch.examples.draw

    def watched(structure, rows, is_held_out=False):
        asked.append((len(structure.memory.kernels), is_held_out))
        return draw(structure, rows, is_held_out)

    watch.examples.draw = watched
    watch.look(run.model, run.average, 1)
    assert len(asked) == 8
    assert all(is_held_out for _, is_held_out in asked)
    assert {count for count, _ in asked} == {0, 1, 2}


@pytest.mark.parametrize("kind", ["views", "edits"])
def test_a_picture_shows_the_truth_and_samples_with_and_without_memory(
    tiny_config: TrainConfig, editor_config: TrainConfig, tmp_path: Path, kind: str
):
    config = tiny_config if kind == "views" else editor_config
    finished_run(changed(config, "keep.sample_steps=2"), tmp_path)
    (sheet,) = (tmp_path / "samples").glob("*.png")
    assert sheet.name == "step-00000002.png"
    with Image.open(sheet) as picture:
        # Three rows of three frames of 32 pixels, with their names.
        assert picture.width > 3 * 32
        assert picture.height > 3 * 32
        colours = picture.convert("RGB").getcolors(100_000)
    assert len(colours) > 200
    loop = sheet.with_suffix(".webp")
    with Image.open(loop) as moving:
        assert moving.n_frames == 3


def prepared(tiny_config: TrainConfig, folder: Path, *changes: str) -> TrainConfig:
    """A run on a prepared folder of which nothing is held out, with a codec that exists."""
    train_codec(tiny_config, folder, CPU)
    maker = FolderMaker(folder / "data", "novel_view", VaeRatios(1, 8, 16))
    maker.add_scene("a", 3)
    maker.folder()
    return changed(tiny_config, "scenes=null", f"prepared.folder={folder / 'data'}", *changes)


def test_a_loss_without_held_out_items_is_refused(tiny_config: TrainConfig, tmp_path: Path):
    with pytest.raises(ValueError, match="held_out_steps got a value, but no item is held out"):
        watch_of(prepared(tiny_config, tmp_path, "keep.held_out_steps=5"), tmp_path)


def test_a_picture_without_held_out_items_shows_a_training_item(
    tiny_config: TrainConfig, tmp_path: Path
):
    config = prepared(tiny_config, tmp_path, "keep.sample_steps=2")
    decoder = watch_of(changed(tiny_config, "keep.sample_steps=2"), tmp_path)[0].decode
    assert decoder is not None
    accelerator = accelerator_of(config, tmp_path)
    run, built = start_run(config, tmp_path, accelerator)
    progress = Progress(accelerator, tmp_path, 3, None)
    examples = examples_of(config, built, CPU, run)
    Watch(config, examples, progress, decoder).look(run.model, run.average, 2)
    assert (tmp_path / "samples" / "step-00000002.png").exists()


def test_without_pictures_no_vae_is_loaded(tiny_config: TrainConfig, tmp_path: Path):
    assert watch_of(tiny_config, tmp_path)[0].decode is None

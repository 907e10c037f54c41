import itertools
import shutil
from pathlib import Path

import pytest
import torch
from instruments.training_runs import (
    accelerator_of,
    assert_same,
    changed,
    finished_run,
    log_of,
    losses_of,
    weights_of,
)

from memv2v_core.model.memory_inputs import MemoryInputs
from memv2v_core.training import trainer
from memv2v_core.training.checkpoints import (
    CHECKPOINTS,
    OPTIMIZER,
    newest_checkpoint,
    read_position,
)
from memv2v_core.training.codec_trainer import CODEC_FILE, train_codec
from memv2v_core.training.config.run import TrainConfig, load_config
from memv2v_core.training.data.worlds import WorldExamples
from memv2v_core.training.launch import RECIPE_FILE, build, examples_of, start_run
from memv2v_core.training.network.module import TrainedModel

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
LORA = "trained.self_attention={rate: 0.002, lora_rank: 2}"


@pytest.fixture
def folder(tiny_config: TrainConfig, tmp_path: Path) -> Path:
    """A run's folder that holds its codec."""
    train_codec(tiny_config, tmp_path / "run", CPU)
    return tmp_path / "run"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every look at the clock take one second, so that a run's length is a number of
    steps."""
    seconds = itertools.count()
    monkeypatch.setattr(trainer.time, "monotonic", lambda: float(next(seconds)))


def steps_of(folder: Path) -> list[int]:
    """The steps of the checkpoints that a run keeps."""
    return [read_position(path).step for path in sorted((folder / CHECKPOINTS).iterdir())]


def state_of(folder: Path) -> tuple[dict, list]:
    """Weights and optimisers in a run's newest checkpoint."""
    newest = newest_checkpoint(folder)
    assert newest is not None
    return weights_of(folder), torch.load(newest / OPTIMIZER, weights_only=True)


def test_a_run_goes_to_its_last_step_and_leaves_a_checkpoint(
    tiny_config: TrainConfig, folder: Path
):
    fresh = {name: w.detach().clone() for name, w in build(tiny_config, folder).weights.items()}
    finished_run(tiny_config, folder)
    assert steps_of(folder) == [3]
    assert list(losses_of(folder)) == [1, 2, 3]
    found = weights_of(folder)
    assert found.keys() == fresh.keys()
    assert any(not torch.equal(found[name], fresh[name]) for name in found)
    assert all(torch.isfinite(value).all() for value in found.values())


def test_a_run_of_minutes_ends_in_time_and_goes_on_when_it_gets_more(
    tiny_config: TrainConfig, folder: Path, clock: None, caplog: pytest.LogCaptureFixture
):
    minutes = changed(tiny_config, "optim.steps=null", "optim.minutes=1")
    finished_run(minutes, folder)
    first = read_position(newest_checkpoint(folder))
    assert first.step >= 2
    assert 30 < first.seconds <= 60
    with caplog.at_level("INFO"):
        finished_run(changed(minutes, "optim.minutes=2"), folder)
    assert f"resumed at step {first.step}" in caplog.text
    second = read_position(newest_checkpoint(folder))
    assert second.step > first.step
    assert 90 < second.seconds <= 120


def test_a_finished_run_changes_nothing_when_started_again(tiny_config: TrainConfig, folder: Path):
    finished_run(tiny_config, folder)
    before, lines = state_of(folder), log_of(folder)
    finished_run(tiny_config, folder)
    assert_same(state_of(folder), before)
    assert log_of(folder) == lines


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    tiny_config: TrainConfig, folder: Path, tmp_path: Path
):
    """Weights, average and optimisers, bit by bit."""
    whole = changed(
        tiny_config, "optim.steps=7", "optim.ema=0.8", "trained.projector.muon_rate=0.02"
    )
    shutil.copytree(folder, tmp_path / "whole")
    finished_run(whole, tmp_path / "whole")
    for steps in (2, 3, 7):
        finished_run(changed(whole, f"optim.steps={steps}"), folder)
    assert_same(state_of(folder), state_of(tmp_path / "whole"))
    assert losses_of(folder) == losses_of(tmp_path / "whole")
    one, other = (newest_checkpoint(place) for place in (folder, tmp_path / "whole"))
    name = "average.safetensors"
    assert (one / name).read_bytes() == (other / name).read_bytes()


def test_a_resumed_run_has_the_state_of_its_checkpoint_bit_by_bit(
    tiny_config: TrainConfig, folder: Path
):
    config = changed(tiny_config, "optim.ema=0.8", "trained.projector.muon_rate=0.02")
    finished_run(config, folder)
    weights, optimizers = state_of(folder)
    run, _ = start_run(config, folder, accelerator_of(config, folder))
    assert (run.position.step, run.position.seconds > 0) == (3, True)
    assert_same({name: weight.detach() for name, weight in run.weights.items()}, weights)
    names = {id(weight): name for name, weight in run.weights.items()}
    for each, stored in zip(run.optimizers.each, optimizers, strict=True):
        own = {names[id(weight)]: dict(state) for weight, state in each.state.items()}
        assert_same(own, stored["state"])
    assert any(not torch.equal(run.average.values[name], weights[name]) for name in weights)


def test_a_resumed_run_follows_the_rates_of_its_recipe(tiny_config: TrainConfig, folder: Path):
    finished_run(tiny_config, folder)
    other = changed(tiny_config, "optim.betas=[0.5, 0.6]", "optim.weight_decay=0.3")
    run, _ = start_run(other, folder, accelerator_of(other, folder))
    (adam,) = run.optimizers.each
    assert {group["betas"] for group in adam.param_groups} == {(0.5, 0.6)}
    assert {group["weight_decay"] for group in adam.param_groups} == {0.3}


def test_a_weight_that_no_step_has_used_does_not_stop_a_resume(
    tiny_config: TrainConfig, folder: Path
):
    config = changed(tiny_config, "scenes.memory={counts: [1], merge_probability: 0}")
    finished_run(config, folder)
    _, (adam,) = state_of(folder)
    assert "adapter.mergers.0.weight" not in adam["state"]
    finished_run(changed(config, "optim.steps=5"), folder)
    assert steps_of(folder) == [3, 5]


def test_how_many_rows_are_computed_at_once_changes_nothing(
    tiny_config: TrainConfig, folder: Path, tmp_path: Path
):
    """Nor does a number that does not divide the batch."""
    losses = {}
    for at_once in (1, 3, 4):
        place = tmp_path / str(at_once)
        shutil.copytree(folder, place)
        config = changed(
            tiny_config, "optim.batch_size=4", "optim.steps=4", f"optim.rows_at_once={at_once}"
        )
        finished_run(config, place)
        losses[at_once] = list(losses_of(place).values())
    assert losses[1] == pytest.approx(losses[4], rel=1e-5)
    assert losses[3] == pytest.approx(losses[4], rel=1e-5)


def test_steps_with_whole_clips_have_their_own_number_of_rows(
    tiny_config: TrainConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    shapes, loss = [], TrainedModel.loss

    def watched(self, example, noising):
        shapes.append(tuple(example.target.shape[i] for i in (0, 2)))
        return loss(self, example, noising)

    monkeypatch.setattr(TrainedModel, "loss", watched)
    config = changed(
        tiny_config,
        "optim.batch_size=4",
        "optim.rows_at_once=4",
        "optim.whole_batch_size=1",
        "optim.whole_share=0.3",
        "optim.whole_from=0.75",
        "optim.steps=12",
    )
    finished_run(config, folder)
    assert len(shapes) == 12
    # (rows, frames): 2 frames are a part, 3 the whole video.
    assert set(shapes) == {(4, 2), (1, 3)}
    assert shapes[9:] == [(1, 3)] * 3


def test_the_last_checkpoints_stay_and_older_ones_go(tiny_config: TrainConfig, folder: Path):
    config = changed(
        tiny_config, "optim.steps=7", "keep.checkpoint_steps=2", "keep.num_checkpoints=2"
    )
    finished_run(config, folder)
    assert steps_of(folder) == [6, 7]


def test_checkpoints_come_by_the_clock(tiny_config: TrainConfig, folder: Path, clock: None):
    config = changed(
        tiny_config, "optim.steps=8", "keep.checkpoint_minutes=0.5", "keep.num_checkpoints=9"
    )
    finished_run(config, folder)
    found = steps_of(folder)
    assert found[-1] == 8
    assert 2 < len(found) < 8


def test_a_line_of_the_log_is_the_mean_of_its_steps(
    tiny_config: TrainConfig, folder: Path, tmp_path: Path
):
    shutil.copytree(folder, tmp_path / "each")
    finished_run(changed(tiny_config, "optim.steps=7"), tmp_path / "each")
    finished_run(changed(tiny_config, "optim.steps=7", "keep.log_steps=3"), folder)
    each, lines = losses_of(tmp_path / "each"), losses_of(folder)
    assert list(lines) == [3, 6, 7]
    assert lines[3] == pytest.approx(sum(each[step] for step in (1, 2, 3)) / 3)
    assert lines[7] == pytest.approx(each[7])
    for line in log_of(folder):
        assert line["seconds"] >= 0
        assert 0 <= line["examples_share"] + line["model_share"] <= 1.01


def test_a_run_in_bfloat16_keeps_its_weights_in_fp32_and_learns_nearly_the_same(
    tiny_config: TrainConfig, folder: Path, tmp_path: Path
):
    shutil.copytree(folder, tmp_path / "half")
    fresh = {name: w.detach().clone() for name, w in build(tiny_config, folder).weights.items()}
    finished_run(tiny_config, folder)
    finished_run(changed(tiny_config, "optim.precision=bf16"), tmp_path / "half")
    whole, half = weights_of(folder), weights_of(tmp_path / "half")
    assert whole.keys() == half.keys()
    for name, value in half.items():
        assert value.dtype is torch.float32, name
        if value.ndim == 2 and ".projector." in name:
            moved, error = (whole[name] - fresh[name]).norm(), (value - whole[name]).norm()
            assert error <= 0.5 * moved, name
    assert any(not torch.equal(half[name], whole[name]) for name in half)
    one, other = losses_of(folder), losses_of(tmp_path / "half")
    assert list(other.values()) == pytest.approx(list(one.values()), rel=0.02)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_run_that_becomes_nan_stops_and_goes_on_from_its_last_checkpoint(
    tiny_config: TrainConfig,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
):
    config = changed(tiny_config, "optim.steps=6", "keep.checkpoint_steps=2")
    shutil.copytree(folder, tmp_path / "whole")
    finished_run(config, tmp_path / "whole")
    loss, calls = TrainedModel.loss, itertools.count()

    def poisoned(self, example, noising):
        true = loss(self, example, noising)
        # Two rows a step: step 5 is the first one that is poisoned.
        if next(calls) < 8:
            return true
        weight = self.adapter.mergers[0].bias
        # The root of 0 has a gradient of 0 * infinity.
        return true * torch.nan if what == "loss" else true + (0 * weight).abs().sqrt().sum()

    with monkeypatch.context() as patch:
        patch.setattr(TrainedModel, "loss", poisoned)
        with pytest.raises(ValueError, match=r"step 4 got a loss of .* wanted finite numbers; the"):
            finished_run(config, folder)
    assert steps_of(folder) == [2, 4]
    assert all(torch.isfinite(value).all() for value in weights_of(folder).values())
    finished_run(config, folder)
    assert_same(weights_of(folder), weights_of(tmp_path / "whole"))


def test_phases_follow_each_other_with_their_own_optimisation(
    editor_config: TrainConfig, tmp_path: Path
):
    config = changed(
        editor_config,
        "first.worlds={size: 32, num_frames: 3, target_frames: 1, memory_frames: 1}",
        "first.worlds.num_canvases=3",
        "first.worlds.first_canvases=2",
        "first.worlds.worlds={canvas_height: 48}",
        "first.optim={steps: 2, batch_size: 3, rows_at_once: 1, warmup_steps: 1}",
        "last.optim={steps: 6, batch_size: 2, rows_at_once: 2, warmup_steps: 1, ema: 0.5}",
        "optim.steps=4",
    )
    finished_run(config, tmp_path)
    assert list(losses_of(tmp_path)) == [1, 2, 3, 4, 5, 6]
    newest = newest_checkpoint(tmp_path)
    assert read_position(newest).step == 6
    assert (newest / "average.safetensors").exists()
    assert load_config(tmp_path / RECIPE_FILE) == config
    # Started again, every phase is done.
    finished_run(config, tmp_path)
    assert len(losses_of(tmp_path)) == 6


def test_the_editor_is_the_network_as_it_is_now(editor_config: TrainConfig, tmp_path: Path):
    """Its memories are drawn by what has been learnt so far."""
    train_codec(editor_config, tmp_path, CPU)
    run, built = start_run(editor_config, tmp_path, accelerator_of(editor_config, tmp_path))
    examples = examples_of(editor_config, built, CPU, run)
    assert isinstance(examples, WorldExamples)
    given = torch.randn(1, 40, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    inputs = MemoryInputs(target_frame_indices=(0, 2), clean_timestep="zero")

    def velocity(prompt: str) -> torch.Tensor:
        with torch.no_grad():
            return examples.editor(given, torch.tensor([900.0]), (prompt,), inputs)

    before = velocity("put a hat on the red ball")
    assert before.shape == (1, 20, 2, 4, 4)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in run.own.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    after = velocity("put a hat on the red ball")
    assert (after - before).abs().max() > 0.01
    assert (after - velocity("recolour the blue box")).abs().max() > 1e-4


def test_a_run_without_codec_says_how_to_get_one(tiny_config: TrainConfig, tmp_path: Path):
    with pytest.raises(ValueError, match=r"holds no codec\.safetensors, wanted the run's codec"):
        start_run(tiny_config, tmp_path, accelerator_of(tiny_config, tmp_path))


def test_a_codec_is_made_once(tiny_config: TrainConfig, folder: Path):
    before = (folder / CODEC_FILE).read_bytes()
    train_codec(changed(tiny_config, "seed=99"), folder, CPU)
    assert (folder / CODEC_FILE).read_bytes() == before


def test_a_folder_whose_run_trains_other_weights_is_refused(tiny_config: TrainConfig, folder: Path):
    finished_run(tiny_config, folder)
    before = state_of(folder)
    for change, message in (
        ("trained.mergers=null", r"got adapter\.mergers\.0\.bias of size \(64,\), wanted None"),
        (LORA, "wanted .* of this recipe; resume with the recipe that began the run"),
        ("trained.projector.muon_rate=0.02", "got 1 optimisers, wanted 2 of this recipe"),
    ):
        config = changed(tiny_config, change)
        with pytest.raises(ValueError, match=message):
            start_run(config, folder, accelerator_of(config, folder))
    assert_same(state_of(folder), before)


def test_a_new_run_may_begin_with_the_dit_and_the_cameras_of_another(
    tiny_config: TrainConfig, folder: Path, tmp_path: Path
):
    finished_run(tiny_config, folder)
    shutil.copytree(folder, tmp_path / "next", ignore=shutil.ignore_patterns(CHECKPOINTS))
    config = changed(tiny_config, f"base.start={folder}", "seed=8")
    begun = build(config, tmp_path / "next")
    learnt = weights_of(folder)
    for name, weight in begun.model.named_parameters():
        if name in learnt and not name.startswith("adapter."):
            assert torch.equal(weight, learnt[name]), name
    patch = begun.model.dit.patch_embedding.weight
    assert torch.equal(begun.model.adapter.tokenizers["2"].weight, patch)
    with pytest.raises(ValueError, match="which holds no checkpoint; name a run's folder"):
        build(changed(config, f"base.start={tmp_path}"), tmp_path / "next")

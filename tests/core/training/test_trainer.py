import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_inputs import MemoryInputs
from memv2v_core.training import trainer
from memv2v_core.training.codec_trainer import train_codec
from memv2v_core.training.config import OptimConfig, TrainConfig
from memv2v_core.training.muon import Muon
from memv2v_core.training.network import build_network
from memv2v_core.training.trainer import (
    Run,
    build_optimizers,
    editor_of,
    load_checkpoint,
    load_run_codec,
    save_checkpoint,
    schedule,
    train,
)

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


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


def checkpoint(folder: Path) -> dict:
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def new_run(config: TrainConfig) -> Run:
    torch.manual_seed(0)
    network, average = build_network(config.model), build_network(config.model)
    return Run(network, average, build_optimizers(network, config.optim))


def assert_same(one: object, other: object) -> None:
    """Bit-equal, through dicts, lists and tensors."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert_same(value, other[key])
    elif isinstance(one, (list, tuple)):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other


def test_a_run_steps_until_its_time_is_up_and_leaves_a_checkpoint(
    tiny_config: TrainConfig, folder: Path, clock: None
):
    train(tiny_config, folder, CPU)
    state = checkpoint(folder)
    assert state["step"] >= 2
    assert state["seconds"] >= tiny_config.optim.seconds
    torch.manual_seed(tiny_config.seed)
    fresh = build_network(tiny_config.model).state_dict()
    moved = [
        name for name, value in state["network"].items() if not torch.equal(value, fresh[name])
    ]
    assert any(name.startswith("dit.") for name in moved)
    assert any(name.startswith("adapter.") for name in moved)
    assert all(torch.isfinite(value).all() for value in state["network"].values())
    assert not list(folder.glob("*.partial"))


def test_a_stopped_run_goes_on_where_it_was(
    tiny_config: TrainConfig, folder: Path, clock: None, caplog: pytest.LogCaptureFixture
):
    train(tiny_config, folder, CPU)
    before = checkpoint(folder)
    longer = replace(tiny_config, optim=replace(tiny_config.optim, seconds=before["seconds"] + 4))
    with caplog.at_level("INFO"):
        train(longer, folder, CPU)
    assert f"resumed at step {before['step']}" in caplog.text
    after = checkpoint(folder)
    assert after["step"] > before["step"]
    assert after["seconds"] >= longer.optim.seconds


def test_a_finished_run_changes_nothing_when_started_again(
    tiny_config: TrainConfig, folder: Path, clock: None
):
    train(tiny_config, folder, CPU)
    before = checkpoint(folder)
    train(tiny_config, folder, CPU)
    assert_same(checkpoint(folder), before)


def test_two_runs_that_resume_from_one_checkpoint_stay_equal(
    tiny_config: TrainConfig, folder: Path, tmp_path: Path, clock: None
):
    train(tiny_config, folder, CPU)
    shutil.copytree(folder, tmp_path / "copy")
    longer = replace(tiny_config, optim=replace(tiny_config.optim, seconds=10.0))
    for place in (folder, tmp_path / "copy"):
        train(longer, place, CPU)
    assert checkpoint(folder)["step"] == checkpoint(tmp_path / "copy")["step"]
    assert_same(checkpoint(folder)["network"], checkpoint(tmp_path / "copy")["network"])


def test_a_checkpoint_puts_everything_back_bit_by_bit(tiny_config: TrainConfig, tmp_path: Path):
    run = new_run(tiny_config)
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        for parameter in run.network.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        for optimizer in run.optimizers:
            optimizer.step()
    run.step, run.seconds = 17, 123.5
    save_checkpoint(run, tmp_path / "checkpoint.pt")
    again = new_run(tiny_config)
    load_checkpoint(again, tmp_path / "checkpoint.pt")
    assert (again.step, again.seconds) == (17, 123.5)
    assert_same(dict(again.network.state_dict()), dict(run.network.state_dict()))
    assert_same(dict(again.average.state_dict()), dict(run.average.state_dict()))
    for one, other in zip(again.optimizers, run.optimizers, strict=True):
        assert_same(one.state_dict(), other.state_dict())


def test_a_run_in_bfloat16_keeps_its_weights_in_fp32_and_learns_nearly_the_same(
    tiny_config: TrainConfig, folder: Path, tmp_path: Path
):
    shutil.copytree(folder, tmp_path / "half")
    optim = replace(tiny_config.optim, steps=3)
    train(replace(tiny_config, optim=optim), folder, CPU)
    train(replace(tiny_config, optim=replace(optim, has_bfloat16=True)), tmp_path / "half", CPU)
    whole, half = checkpoint(folder)["network"], checkpoint(tmp_path / "half")["network"]
    torch.manual_seed(tiny_config.seed)
    fresh = build_network(tiny_config.model).state_dict()
    for name, value in half.items():
        assert value.dtype is torch.float32, name
        if value.ndim == 2 and ".blocks." in name:
            moved, error = (whole[name] - fresh[name]).norm(), (value - whole[name]).norm()
            assert error <= 0.5 * moved, name
    assert any(not torch.equal(half[name], whole[name]) for name in half)


def test_the_editor_is_the_network_as_it_is_now(tiny_config: TrainConfig, tmp_path: Path):
    """Its memories are drawn by what has been learnt so far."""
    model = replace(
        tiny_config.model,
        text_dim=16,
        channels=8,
        has_source_channels=True,
        has_rays=False,
        has_cameras=False,
        has_text=True,
    )
    torch.manual_seed(0)
    network = build_network(model)
    edit = editor_of(network, DiffusersView(network["dit"]), tiny_config.optim)
    given = torch.randn(1, 16, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    inputs = MemoryInputs(target_frame_indices=(0, 2), clean_timestep="zero")

    def velocity(prompt: str) -> torch.Tensor:
        with torch.no_grad():
            return edit(given, torch.tensor([900.0]), (prompt,), inputs)

    before = velocity("put a hat on the red ball")
    assert before.shape == (1, 8, 2, 4, 4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(
                0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2))
            )
    after = velocity("put a hat on the red ball")
    assert (after - before).abs().max() > 0.01
    assert (after - velocity("recolour the blue box")).abs().max() > 1e-4


def test_progress_is_logged_every_twenty_steps(tiny_config: TrainConfig, folder: Path, clock: None):
    config = replace(tiny_config, optim=replace(tiny_config.optim, seconds=45.0))
    train(config, folder, CPU)
    lines = [
        json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [line["step"] for line in lines] == list(range(20, checkpoint(folder)["step"] + 1, 20))
    assert all(line["loss"] > 0 and line["seconds"] > 0 for line in lines)


def test_a_run_without_codec_says_how_to_get_one(tiny_config: TrainConfig, tmp_path: Path):
    with pytest.raises(ValueError, match="holds no codec.pt, wanted the run's codec"):
        train(tiny_config, tmp_path, CPU)


def test_a_codec_is_made_once(tiny_config: TrainConfig, folder: Path):
    before = load_run_codec(folder, tiny_config.model).state_dict()
    train_codec(replace(tiny_config, seed=99), folder, CPU)
    assert_same(dict(load_run_codec(folder, tiny_config.model).state_dict()), dict(before))


def test_muon_gets_the_matrices_of_blocks_and_adam_every_other_parameter(tiny_config: TrainConfig):
    network = build_network(tiny_config.model)
    muon, adam = build_optimizers(network, tiny_config.optim)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    by_muon = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    by_adam = {names[id(p)] for group in adam.param_groups for p in group["params"]}
    assert isinstance(muon, Muon)
    assert not by_muon & by_adam
    assert by_muon | by_adam == set(names.values())
    assert "dit.blocks.0.attn1.to_q.weight" in by_muon
    assert "adapter.blocks.0.projector.weight" in by_muon
    assert {
        "dit.patch_embedding.weight",
        "adapter.blocks.0.cam_encoder.weight",
        "adapter.mergers.0.weight",
    } <= by_adam


def test_the_rate_warms_up_by_steps_and_falls_with_time():
    config = OptimConfig(warmup_steps=10, cooldown=0.4)
    assert schedule(0.0, 0, config) == pytest.approx(0.1)
    assert schedule(0.0, 9, config) == schedule(0.6, 500, config) == 1.0
    assert schedule(0.8, 500, config) == pytest.approx(0.5)
    assert schedule(1.0, 500, config) == schedule(3.0, 500, config) == pytest.approx(0.02)


def test_a_new_network_can_be_walked_and_starts_as_averages(tiny_config: TrainConfig):
    network = build_network(tiny_config.model)
    assert network["adapter"].config.clean_timestep == "zero"
    assert DiffusersView(network["dit"]).num_blocks == 3
    kernel = network["adapter"].tokenizers["4"].weight
    base = network["dit"].patch_embedding.weight
    torch.testing.assert_close(kernel.sum((2, 3, 4)), base.sum((2, 3, 4)), atol=1e-5, rtol=0)

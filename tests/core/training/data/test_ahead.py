"""Examples that other processes draw ahead: the same run, and clear errors."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from instruments.training_runs import changed, finished_run, losses_of, weights_of

from memv2v_core.strict_yaml import as_yaml
from memv2v_core.training.codec_trainer import train_codec
from memv2v_core.training.config.run import TrainConfig
from memv2v_core.training.data.ahead import ExamplesAhead
from memv2v_core.training.launch import build, examples_of
from memv2v_core.training.seeds import seeded

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[4]
STEPS = ("optim.steps=5", "optim.whole_share=0.5", "optim.rows_at_once=1")


class _Nothing:
    """Examples that a process of its own cannot import, as it does not know this test."""

    has_held_out = False


def _no_plan(examples: object, step: int) -> None:
    raise AssertionError("the process ends before it plans")


def command(config: TrainConfig, folder: Path) -> subprocess.CompletedProcess:
    """The run as a user starts it: its processes import the pack by themselves."""
    folder.mkdir(exist_ok=True)
    recipe = folder.with_suffix(".yaml")
    recipe.write_text(as_yaml(config), encoding="utf-8")
    words = ("-m", "memv2v_core.training", str(recipe), "--folder", str(folder), "--cpu")
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_run_is_the_same_with_processes_that_draw_ahead(
    editor_config: TrainConfig, tmp_path: Path
) -> None:
    config = changed(editor_config, *STEPS)
    finished_run(config, tmp_path / "plain")
    # They begin in the middle, where the run goes on.
    finished_run(changed(config, "optim.steps=2"), tmp_path / "ahead")
    ended = command(changed(config, "optim.draw_workers=2"), tmp_path / "ahead")
    assert ended.returncode == 0, ended.stderr
    plain, other = losses_of(tmp_path / "plain"), losses_of(tmp_path / "ahead")
    assert plain.keys() == other.keys() == {1, 2, 3, 4, 5}
    # Several threads may add in another order than one.
    for step, loss in plain.items():
        assert other[step] == pytest.approx(loss, rel=1e-4)
    weights = weights_of(tmp_path / "ahead")
    for name, weight in weights_of(tmp_path / "plain").items():
        torch.testing.assert_close(weights[name], weight, rtol=1e-3, atol=1e-4)


def test_a_process_that_dies_is_named() -> None:
    """Nothing waits for it for ever."""
    ahead = ExamplesAhead(_Nothing(), _Nothing, _no_plan, 1, 0, torch.device("cpu"))
    structure = SimpleNamespace(step=0)
    with pytest.raises(ValueError, match="process 0 of 1 ended with the exit code 1 before"):
        ahead.draw(structure, [seeded(1)])


def test_whole_clips_may_not_depend_on_the_clock(tiny_config: TrainConfig) -> None:
    with pytest.raises(ValueError, match="draw_workers got 2 with whole_from 0.9, wanted"):
        changed(tiny_config, "optim.draw_workers=2", "optim.whole_from=0.9")


def test_memories_that_the_model_draws_itself_need_the_model(editor_config: TrainConfig) -> None:
    with pytest.raises(ValueError, match="draw_workers got 2 with own_share 0.5, wanted"):
        changed(editor_config, "optim.draw_workers=2", "worlds.own_share=0.5")


def test_an_example_moves_with_everything_in_it(editor_config: TrainConfig, tmp_path: Path) -> None:
    train_codec(editor_config, tmp_path, torch.device("cpu"))
    examples = examples_of(editor_config, build(editor_config, tmp_path), torch.device("cpu"))
    structure = next(
        found
        for step in range(50)
        if (found := examples.structure(step, False, seeded(1, step))).kernels
    )
    example = examples.draw(structure, [seeded(2)]).to(torch.device("meta"))
    tensors = [example.target, example.source, example.weight, example.named]
    tensors += [stream.latent for stream in example.inputs.streams]
    assert len(example.inputs.streams) > 0
    assert all(tensor is not None and tensor.is_meta for tensor in tensors)

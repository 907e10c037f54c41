"""A run that is killed goes on with the same command as if nothing had happened."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from instruments.training_runs import (
    NOVEL_VIEW,
    assert_same,
    finished_run,
    log_of,
    losses_of,
    recipe,
    weights_of,
)

from memv2v_core.strict_yaml import as_yaml
from memv2v_core.training.checkpoints import CHECKPOINTS, OPTIMIZER, newest_checkpoint
from memv2v_core.training.progress import LOG
from memv2v_core.weights.adapter_file import read_adapter_file

pytestmark = [pytest.mark.slow, pytest.mark.first]

ROOT = Path(__file__).resolve().parents[3]
STEPS, PATIENCE_S = 16, 240
CONFIG = recipe(
    NOVEL_VIEW,
    f"optim.steps={STEPS}",
    "optim.ema=0.9",
    "trained.projector.muon_rate=0.02",
    "keep.checkpoint_steps=1",
    "keep.num_checkpoints=2",
)


def started(recipe_file: Path, folder: Path) -> subprocess.Popen:
    """The command that a user gives, as a process of its own."""
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "memv2v_core.training",
            str(recipe_file),
            "--folder",
            str(folder),
            "--cpu",
        ],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def wait_for(process: subprocess.Popen, is_so) -> None:
    """Wait until something is so."""
    until = time.monotonic() + PATIENCE_S
    while not is_so():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < until
        time.sleep(0.0005)


def num_lines(folder: Path) -> int:
    path = folder / LOG
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def is_writing(folder: Path) -> bool:
    """Whether a checkpoint is being written now."""
    place = folder / CHECKPOINTS
    return place.exists() and any(path.name.startswith("writing-") for path in place.iterdir())


def test_a_run_that_is_killed_again_and_again_ends_bit_equal(tmp_path: Path):
    """Weights, average and optimisers, and the loss of every step."""
    whole, folder, file = tmp_path / "whole", tmp_path / "killed", tmp_path / "views.yaml"
    file.write_text(as_yaml(CONFIG), encoding="utf-8")
    seed = random.randrange(2**32)
    chosen, killed_at = random.Random(seed), []
    for when in ("anywhere", "in a checkpoint", "anywhere"):
        process, before = started(file, folder), num_lines(folder)
        # Each session comes some steps further.
        wait_for(process, lambda before=before: num_lines(folder) >= before + 2)
        if when == "anywhere":
            time.sleep(chosen.uniform(0, 0.6))
        else:
            wait_for(process, lambda: is_writing(folder))
        process.kill()
        process.wait()
        assert process.returncode not in (0, 1)
        killed_at.append((log_of(folder)[-1]["step"], is_writing(folder)))
    last = started(file, folder)
    assert last.wait(PATIENCE_S) == 0, last.stderr.read().decode()
    finished_run(CONFIG, whole)
    print(f"\nkilled after steps (in a checkpoint or not): {killed_at}; seed {seed}")
    # A step that was repeated had the same loss again.
    lines = [(line["step"], line["loss"]) for line in log_of(folder)]
    assert len(lines) > len(set(lines)) == STEPS
    assert losses_of(folder) == losses_of(whole)
    one, other = (newest_checkpoint(place) for place in (folder, whole))
    assert one.name == other.name
    assert_same(weights_of(folder), weights_of(whole))
    name = "average.safetensors"
    assert (one / name).read_bytes() == (other / name).read_bytes()
    states = [torch.load(each / OPTIMIZER, weights_only=True) for each in (one, other)]
    assert_same(*states)
    # What was left of checkpoints is gone or not counted, and the run's adapter is written.
    assert len([path for path in one.parent.iterdir() if path.name.startswith("step-")]) == 2
    assert read_adapter_file(folder / "adapter.safetensors").record.steps == STEPS

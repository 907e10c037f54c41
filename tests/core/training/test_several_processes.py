"""Several processes train as one process would, whole (DDP) or with sharded weights (FSDP2)."""

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from instruments.training_runs import (
    NOVEL_VIEW,
    TEXT_EDIT,
    changed,
    finished_run,
    log_of,
    losses_of,
    recipe,
    weights_of,
)
from safetensors.torch import load_file

from memv2v_core.strict_yaml import as_yaml
from memv2v_core.training.checkpoints import CHECKPOINTS, OPTIMIZER, WEIGHTS
from memv2v_core.training.config.run import TrainConfig
from memv2v_core.weights.adapter_file import read_adapter_file

pytestmark = [pytest.mark.slow, pytest.mark.first]

WORKER = Path(__file__).parents[2] / "instruments" / "training_worker.py"
COUNT, PATIENCE_S = 2, 240
# Rows accumulate two at a time in each process; gradients are clipped; steps of whole clips have
# fewer rows; the average follows.
STEPS = 20
VIEWS = recipe(
    NOVEL_VIEW,
    f"optim.steps={STEPS}",
    "optim.batch_size=4",
    "optim.whole_batch_size=2",
    "optim.whole_share=0.2",
    "optim.has_checkpointing=true",
    "optim.ema=0.9",
    "optim.clip=0.1",
    # 1x8x8 comes first in step 6.
    "scenes.memory.kernels=[0, 0.85, 0.15]",
    "keep.checkpoint_steps=10",
    "keep.held_out_steps=10",
    "keep.held_out_rows=3",
    f"keep.sample_steps={STEPS}",
)
# Memories that the model draws itself, Muon, and a beginning of another kind.
EDITS = recipe(
    TEXT_EDIT,
    "worlds.own_share=0.6",
    "optim.steps=6",
    "first.optim={steps: 2, batch_size: 2, rows_at_once: 1, sigmas: logit_normal}",
    "keep.held_out_steps=3",
    "keep.held_out_rows=3",
)
LATER = changed(VIEWS, "optim.steps=14")
# The same steps in bfloat16, and low-rank changes over a base in fp8.
SHORT = (
    "optim.steps=6",
    "optim.precision=bf16",
    "optim.rows_at_once=2",
    "keep.held_out_steps=null",
)
HALF = changed(VIEWS, *SHORT)
SMALL = changed(
    VIEWS, *SHORT, "base.has_fp8=true", "trained.self_attention={rate: 0.002, lora_rank: 2}"
)


@dataclass(frozen=True)
class Group:
    """What processes did together: by job, its folder and what each of them says."""

    folder: Path
    said: dict[str, list[str]]

    def run(self, job: str) -> Path:
        """The folder of a run that all of them finished."""
        assert self.said[job] == ["done"] * COUNT, self.said[job]
        return self.folder / job

    def error(self, job: str) -> str:
        """The error that all of them got."""
        assert len(set(self.said[job])) == 1
        return self.said[job][0]


class Jobs:
    """Jobs that processes do one after another, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs: dict[str, dict[str, Any]] = {}

    def add(self, name: str, kind: str, config: TrainConfig, place: str = "", **job: Any) -> None:
        """place: the job whose run goes on; a new run if not given."""
        path = self.folder / f"{name}.yaml"
        path.write_text(as_yaml(config), encoding="utf-8")
        folder = str(self.folder / (place or name))
        self.jobs[name] = {"kind": kind, "recipe": str(path), "folder": folder, **job}

    def done(self) -> Group:
        """All jobs, done by processes of their own."""
        place = self.folder / "jobs.json"
        place.write_text(json.dumps([*self.jobs.values()]), encoding="utf-8")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {"WORLD_SIZE": str(COUNT), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        shared |= {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
        logs = [self.folder / f"worker-{rank}.log" for rank in range(COUNT)]
        workers = []
        for rank, log in enumerate(logs):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            with log.open("w") as out:
                workers.append(
                    subprocess.Popen(
                        [sys.executable, str(WORKER), str(place)],
                        env=os.environ | shared | own,
                        stdout=out,
                        stderr=subprocess.STDOUT,
                    )
                )
        try:
            codes = [worker.wait(PATIENCE_S) for worker in workers]
        finally:
            for worker in workers:
                worker.kill()
        assert codes == [0] * COUNT, "".join(log.read_text()[-3000:] for log in logs)
        said = {
            name: [
                (self.folder / "results" / f"{i}-{rank}.txt").read_text() for rank in range(COUNT)
            ]
            for i, name in enumerate(self.jobs)
        }
        return Group(self.folder, said)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of the same runs by one process."""
    configs = {"views": VIEWS, "edits": EDITS, "half": HALF, "small": SMALL}
    folders = {name: tmp_path_factory.mktemp(name) for name in configs}
    for name, config in configs.items():
        finished_run(config, folders[name])
    return folders


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Group:
    """All runs of this file by two processes."""
    jobs = Jobs(tmp_path_factory.mktemp("group"))
    for kind in ("ddp", "fsdp"):
        jobs.add(f"views_{kind}", kind, VIEWS)
        jobs.add(f"half_{kind}", kind, HALF)
        # A run that stops after its second step, when some tokenizers have had no gradient yet.
        jobs.add(f"begun_{kind}", kind, changed(VIEWS, "optim.steps=2"))
        jobs.add(f"resumed_{kind}", kind, changed(VIEWS, "optim.steps=10"), f"begun_{kind}")
    middle = jobs.folder / "views_fsdp" / CHECKPOINTS / "step-00000010"
    jobs.add("fsdp_to_ddp", "ddp", LATER, **{"from": str(middle)})
    jobs.add("edits_ddp", "ddp", EDITS)
    jobs.add("small_fsdp", "fsdp", SMALL)
    jobs.add("odd", "ddp", changed(VIEWS, "optim.batch_size=3"))
    jobs.add("odd_whole", "ddp", changed(VIEWS, "optim.whole_batch_size=3"))
    jobs.add("muon", "fsdp", changed(VIEWS, "trained.projector.muon_rate=0.02"))
    jobs.add("old_fsdp", "fsdp1", VIEWS)
    jobs.add("resident", "ddp", changed(VIEWS, "optim.resident_blocks=1"))
    short = jobs.folder / "short.yaml"
    short.write_text(as_yaml(changed(VIEWS, "optim.steps=2")), encoding="utf-8")
    jobs.jobs["command"] = {
        "command": [str(short), "--folder", str(jobs.folder / "command"), "--cpu"]
    }
    return jobs.done()


def most_apart(one: dict[int, float], other: dict[int, float]) -> float:
    """The largest difference of losses, in parts of the loss."""
    assert one.keys() == other.keys()
    return max(abs(one[step] - other[step]) / abs(one[step]) for step in one)


def held_out_of(folder: Path) -> dict[int, float]:
    return {
        line["step"]: line["held_out_loss"] for line in log_of(folder) if "held_out_loss" in line
    }


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_train_as_one_does(group: Group, alone: dict[str, Path], kind: str):
    """The same losses at every step, the same held-out losses, the same weights in the end."""
    run = group.run(f"views_{kind}")
    losses = losses_of(alone["views"])
    assert list(losses) == list(range(1, STEPS + 1))
    apart = most_apart(losses, losses_of(run))
    looks = most_apart(held_out_of(alone["views"]), held_out_of(run))
    wanted, found = weights_of(alone["views"]), weights_of(run)
    assert wanted.keys() == found.keys()
    moved = max((wanted[name] - found[name]).abs().max().item() for name in wanted)
    print(f"\n{kind}: losses apart by {apart:.1e}, held-out {looks:.1e}, weights {moved:.1e}")
    assert apart < 1e-5
    assert looks < 1e-5
    assert (run / "samples" / f"step-{STEPS:08d}.png").exists()


def test_in_bfloat16_sharded_weights_get_the_gradients_of_whole_ones(
    group: Group, alone: dict[str, Path]
):
    """Bit by bit where the same rows are computed at once; one process adds them otherwise."""
    whole, sharded = group.run("half_ddp"), group.run("half_fsdp")
    apart = most_apart(losses_of(whole), losses_of(sharded))
    from_one = most_apart(losses_of(alone["half"]), losses_of(sharded))
    small = most_apart(losses_of(alone["small"]), losses_of(group.run("small_fsdp")))
    print(
        f"\nbfloat16: FSDP2 and DDP apart by {apart:.1e}, from one process {from_one:.1e}; over "
        f"fp8 {small:.1e}"
    )
    assert apart < 1e-6
    assert from_one < 2e-3
    assert small < 2e-3


def test_an_editor_with_muon_and_own_memories_trains_the_same(group: Group, alone: dict[str, Path]):
    run = group.run("edits_ddp")
    apart = most_apart(losses_of(alone["edits"]), losses_of(run))
    looks = most_apart(held_out_of(alone["edits"]), held_out_of(run))
    print(f"\neditor: losses apart by {apart:.1e}, held-out {looks:.1e}")
    assert apart < 1e-5
    assert looks < 1e-5


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_a_run_that_stopped_early_goes_on_as_if_it_had_not(
    group: Group, alone: dict[str, Path], kind: str
):
    """Also weights that had no gradient yet begin their optimiser's count at their first one."""
    folder, whole = group.run(f"begun_{kind}"), group.run(f"views_{kind}")
    assert group.said[f"resumed_{kind}"] == ["done"] * COUNT
    early = folder / CHECKPOINTS / "step-00000002"
    (states,) = torch.load(early / OPTIMIZER, weights_only=True)
    waiting = weights_of(folder).keys() - states["state"].keys()
    assert waiting == {f"adapter.tokenizers.8.{part}" for part in ("weight", "bias")}
    wanted = {step: loss for step, loss in losses_of(alone["views"]).items() if step <= 10}
    apart = most_apart(wanted, losses_of(folder))
    undisturbed = load_file(whole / CHECKPOINTS / "step-00000010" / WEIGHTS)
    resumed = weights_of(folder)
    moved = max((undisturbed[n] - resumed[n]).abs().max().item() for n in undisturbed)
    print(f"\n{kind}, resumed after 2 steps: losses apart by {apart:.1e}, weights {moved:.1e}")
    assert apart < 1e-5
    assert moved == 0


def test_a_sharded_checkpoint_resumes_whole_and_in_one_process(
    group: Group, alone: dict[str, Path], tmp_path: Path
):
    start = group.run("views_fsdp") / CHECKPOINTS / "step-00000010"
    wanted = {step: loss for step, loss in losses_of(alone["views"]).items() if 10 < step <= 14}
    whole = most_apart(wanted, losses_of(group.run("fsdp_to_ddp")))
    shutil.copytree(start, tmp_path / CHECKPOINTS / start.name)
    finished_run(LATER, tmp_path)
    single = most_apart(wanted, losses_of(tmp_path))
    print(f"\nfrom FSDP2's step 10: under DDP apart by {whole:.1e}, in one process {single:.1e}")
    assert max(whole, single) < 1e-5


def test_choices_that_processes_cannot_share_are_refused_before_the_first_step(group: Group):
    for job, message in (
        ("odd", "batch_size got 3 rows for 2 processes, wanted a multiple of 2"),
        ("odd_whole", "whole_batch_size got 3 rows for 2 processes, wanted a multiple of 2"),
        ("muon", "muon_rate got a value in a run with sharded weights"),
        ("old_fsdp", "FSDP of version 1, wanted version 2"),
        ("resident", "resident_blocks got 1 in a run of 2 processes, wanted one process"),
    ):
        assert message in group.error(job)
        assert not (group.folder / job / "log.jsonl").exists()


def test_the_command_trains_together_and_its_first_process_exports(group: Group):
    folder = group.run("command")
    file = read_adapter_file(folder / "adapter.safetensors")
    assert file.record.steps == 2
    assert len(log_of(folder)) == 2
    assert all(torch.isfinite(tensor).all() for tensor in file.state.values())

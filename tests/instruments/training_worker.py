"""One of several processes that train together on the CPU, over gloo.

    RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=... python training_worker.py JOBS.json

JOBS.json holds a list of jobs, which all processes do one after another:
{"kind": "ddp", "fsdp" or "fsdp1", "recipe": YAML, "folder": of the run, "from": a checkpoint to
begin with} or {"command": arguments of the trainer's command}. What went wrong in a job stands in
RESULTS/JOB-RANK.txt beside the jobs; else the file says "done".

accelerate has no switch for FSDP on a CPU, so its state is set by hand; from there its own code
runs.
"""

import json
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

# isort: split
from accelerate import Accelerator, FullyShardedDataParallelPlugin  # noqa: E402
from accelerate.state import AcceleratorState, PartialState  # noqa: E402
from accelerate.utils import DistributedType  # noqa: E402

from instruments.training_runs import accelerator_of  # noqa: E402
from memv2v_core.training.checkpoints import CHECKPOINTS  # noqa: E402
from memv2v_core.training.codec_trainer import train_codec  # noqa: E402
from memv2v_core.training.command import main as command  # noqa: E402
from memv2v_core.training.config.run import load_config  # noqa: E402
from memv2v_core.training.launch import run_recipe  # noqa: E402


def shard(version: int) -> None:
    """Make this process's accelerator shard weights, one block at a time."""
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=version,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=["TrainedBlock"],
        reshard_after_forward=True if version == 2 else None,
        cpu_ram_efficient_loading=False,
    )
    for shared in (AcceleratorState._shared_state, PartialState._shared_state):
        shared["distributed_type"] = DistributedType.FSDP
    AcceleratorState._shared_state["fsdp_plugin"] = plugin


def train(job: dict[str, Any]) -> None:
    folder, config = Path(job["folder"]), load_config(Path(job["recipe"]))
    accelerator = accelerator_of(config, folder)
    if job["kind"].startswith("fsdp"):
        shard(1 if job["kind"] == "fsdp1" else 2)
    with accelerator.main_process_first():
        if accelerator.is_main_process and "from" in job:
            start = Path(job["from"])
            shutil.copytree(start, folder / CHECKPOINTS / start.name)
        if config.base.kind == "new":
            train_codec(config, folder, accelerator.device)
    run_recipe(config, folder, accelerator)


def do(job: dict[str, Any]) -> str:
    """What happened in a job."""
    try:
        if "command" in job:
            AcceleratorState._reset_state(reset_partial_state=True)
            code = command(job["command"])
            return "done" if code == 0 else f"code {code}"
        train(job)
    except ValueError as error:
        return f"ValueError: {error}"
    except Exception:
        return traceback.format_exc()
    return "done"


def main() -> None:
    jobs = Path(sys.argv[1])
    results = jobs.parent / "results"
    results.mkdir(exist_ok=True)
    # The first accelerator makes the process group, which all jobs share.
    rank = Accelerator(cpu=True).process_index
    for i, job in enumerate(json.loads(jobs.read_text(encoding="utf-8"))):
        found = do(job)
        (results / f"{i}-{rank}.txt").write_text(found, encoding="utf-8")
    PartialState().destroy_process_group()


if __name__ == "__main__":
    main()

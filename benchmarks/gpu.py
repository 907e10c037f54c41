"""Full-size networks on one CUDA card, in under 4 minutes: what a call costs with 0 to 10 memories,
merged and whole, refreshed and reused, in both attention orders, with bf16, fp8 and GGUF weights.

    PYTHON benchmarks/gpu.py --comfyui COMFYUI
    PYTHON benchmarks/gpu.py --comfyui COMFYUI --official RECAMMASTER --output FOLDER
    PYTHON benchmarks/gpu.py --small          # narrow networks, on a CPU too, to try the script

COMFYUI is a folder of ComfyUI (else COMFYUI_PATH names it), PYTHON the one that runs it,
RECAMMASTER a checkout of KwaiVGI/ReCamMaster. Nothing is installed into ComfyUI. Weights are
random. The most important rows come first, and gpu.json and gpu.md are written after every row, so
a run may be stopped at any time. A row that would not end in time, or that does not fit, says so
and is left out. GGUF needs the pack ComfyUI-GGUF in custom_nodes, or where COMFYUI_GGUF_PATH says.
"""

import argparse
import importlib.util
import os
import platform
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.card import gguf_weights, official
from benchmarks.card.networks import BASES, Base, start_comfyui
from benchmarks.card.rows import Order, Result, Row, all_rows
from benchmarks.card.session import Session, Unmeasured
from benchmarks.card.table import Table, run_rows
from devtools.environment import OLDEST_COMFYUI, SetupError, comfyui_version, find_environment

# Of one row: the calls after its first one.
ROW_BUDGET_S = 3.0
SMALL_LATENT = (3, 30, 52)
# The official forward knows one size.
SMALL_OFFICIAL_LATENT = (1, *official.SIZE)
HEAD_DIM = 128
# How the problem of a row begins that should have run.
FAILED = "failed"


@dataclass(eq=False)
class Clock:
    """How much time is left, and how long a row will take.

    rate: FLOPs a second, of the slowest row so far.
    """

    minutes: float
    began: float = field(default_factory=time.perf_counter)
    rate: float | None = None

    @property
    def seconds_left(self) -> float:
        return self.minutes * 60 - (time.perf_counter() - self.began)

    def require_time(self, flops: int) -> None:
        """Raise Unmeasured for a row whose first call and a second one would not end in time."""
        wanted = 0.0 if self.rate is None else 2 * flops / self.rate
        if wanted > self.seconds_left:
            raise Unmeasured(
                f"out of time: it would take about {wanted:.0f} s of {self.seconds_left:.0f} s left"
            )

    def learn(self, result: Result) -> None:
        """Take the rate of a measured row into account."""
        # Reuse may wait for the host, which says nothing about other rows.
        if result.row.call != "reuse" and result.flops and result.seconds:
            rate = result.flops / result.seconds
            self.rate = rate if self.rate is None else min(self.rate, rate)


def measured_row(session: Session, clock: Clock, row: Row) -> Result:
    """The row's result, or why there is none: no row takes the others along."""
    try:
        clock.require_time(session.predicted_flops(row))
        result = session.run(row)
    except Unmeasured as reason:
        return Result(row, problem=str(reason))
    except torch.OutOfMemoryError:
        session.drop()
        return Result(row, problem="out of memory")
    except Exception as error:
        # The run ends with 1; the other rows are worth having.
        session.drop()
        return Result(row, problem=f"{FAILED}: {type(error).__name__}: {error}")
    clock.learn(result)
    return result


def attention_kernel_module() -> ModuleType:
    """The pack's choice of an attention kernel, without the pack."""
    path = ROOT / "nodes" / "host" / "patch" / "attention_kernel.py"
    spec = importlib.util.spec_from_file_location("benchmarked_attention_kernel", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def find_kernels(
    device: torch.device, dtype: torch.dtype
) -> tuple[dict[Order, Any], dict[Order, str], str]:
    """The override and the name of each attention order, and what the pack would choose here.

    On a CPU plain matrix products stand in for another kernel.
    """
    choices = attention_kernel_module()
    own, backends = "ComfyUI's order", choices.SDPBackend
    if device.type == "cpu":
        settings = {"min_tokens": 1, "rest": ()}
        kernel = choices.FastAttention(backends.MATH, device, dtype, HEAD_DIM, **settings)
        names: dict[Order, str] = {"fast": "matrix products", "own": own}
        return {"fast": kernel, "own": None}, names, "none on a CPU"
    listed = choices.candidates_for(torch.cuda.get_device_capability(device))
    if not torch.version.cuda or not listed:
        return {"fast": None, "own": None}, {"fast": "no other kernel", "own": own}, "ComfyUI's own"
    import comfy.ops

    attend = comfy.ops.scaled_dot_product_attention
    probe = choices.Probe.of(device, dtype, HEAD_DIM, attend, choices.cuda_seconds)
    chosen = choices.choose(probe, listed)
    # Both orders are measured, whichever one the pack chooses.
    kernel = choices.FastAttention(listed[0].kernel, device, dtype, HEAD_DIM)
    return {"fast": kernel, "own": None}, {"fast": "cuDNN first", "own": own}, chosen.text


def small_bases(has_official: bool) -> dict[str, Base]:
    """Two blocks of one head, of every base."""
    shape = {"dim": HEAD_DIM, "ffn_dim": 2 * HEAD_DIM, "num_blocks": 2}
    latent = SMALL_OFFICIAL_LATENT if has_official else SMALL_LATENT
    return {name: base.resized(latent, **shape) for name, base in BASES.items()}


def arguments() -> tuple[argparse.Namespace, Path]:
    """The options, and ComfyUI's folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--comfyui", type=Path, help="a folder of ComfyUI; else COMFYUI_PATH")
    parser.add_argument("--official", type=Path, help="a checkout of KwaiVGI/ReCamMaster")
    parser.add_argument("--output", type=Path, default=Path("gpu_table"), help="a folder")
    parser.add_argument("--minutes", type=float, default=3.8, help="no row begins after these")
    parser.add_argument("--small", action="store_true", help="narrow networks, to try the script")
    options = parser.parse_args()
    if not torch.cuda.is_available() and not options.small:
        parser.error(
            "torch sees no CUDA card, wanted one; run this on a machine with a card and a torch "
            "for it, or try the script with --small"
        )
    if options.comfyui is not None:
        os.environ["COMFYUI_PATH"] = str(options.comfyui)
    try:
        environment = find_environment()
        if options.official is not None:
            official.use_checkout(options.official)
    except (SetupError, ValueError) as error:
        parser.error(str(error))
    if environment is None:
        parser.error(
            f"no ComfyUI was found, wanted {OLDEST_COMFYUI} or newer; name its folder with "
            "--comfyui or COMFYUI_PATH"
        )
    return options, environment.comfyui


def main() -> int:
    """1 where a row failed, but for memory and time."""
    options, comfyui = arguments()
    clock = Clock(options.minutes)
    on_cpu = not torch.cuda.is_available()
    device = torch.device("cpu") if on_cpu else torch.device("cuda", torch.cuda.current_device())
    # The CPU cannot pool in bf16.
    dtype = torch.float32 if on_cpu else torch.bfloat16
    start_comfyui(comfyui, on_cpu)
    pack = gguf_weights.find_pack(comfyui)
    if pack is not None:
        gguf_weights.use_pack(pack)
    bases = small_bases(options.official is not None) if options.small else dict(BASES)
    kernels, orders, chosen = find_kernels(device, dtype)
    facts = {
        "card": platform.machine() if on_cpu else torch.cuda.get_device_name(device),
        "torch": torch.__version__,
        "ComfyUI": comfyui_version(comfyui),
        "computed in": str(dtype).removeprefix("torch."),
        "the pack's choice": chosen,
        "GGUF": "Q8_0" if pack is not None else "not measured: no pack ComfyUI-GGUF",
    }
    if options.small:
        facts["size"] = "narrow networks that try the script: no figure means anything"
    table = Table(options.output, facts, bases, orders)
    session = Session(bases, device, dtype, kernels, 0.0 if options.small else ROW_BUDGET_S)
    print("\n".join(f"{name}: {value}" for name, value in facts.items()), flush=True)
    rows = all_rows(options.official is not None, pack is not None)

    def tell(text: str) -> None:
        print(text, flush=True)

    with torch.inference_mode():
        run_rows(rows, lambda row: measured_row(session, clock, row), table, tell)
    print(f"{len(rows)} rows in {options.output / 'gpu.json'} and {options.output / 'gpu.md'}")
    return int(any(result.problem.startswith(FAILED) for result in table.results))


if __name__ == "__main__":
    sys.exit(main())

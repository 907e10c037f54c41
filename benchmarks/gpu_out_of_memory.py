"""A GPU that runs full in the middle of a step, at many depths: what stays on the shared model.

    PYTHON benchmarks/gpu_out_of_memory.py             # Wan2.1 1.3B, 81 frames, 832x480, bf16
    PYTHON benchmarks/gpu_out_of_memory.py --small     # a few thousand weights, to try the script

PyTorch may take only a share of the memory that the step needs, so that its own error ends the step
somewhere inside. Afterwards no weight may have changed, no memory may be held, and the same step
must give what it gave before, twice the same, and no further away than another attention kernel
moves it: CUDA's libraries may choose other kernels after a fault. Exits with 1 where one of this
fails. Needs CUDA.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.gpu_step import FULL, GIB, SMALL, Step, turn_of
from memv2v_core.bases.base_info import BaseInfo, adapted
from memv2v_core.evaluation.probes.networks import empty_wan, fill_randomly
from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from memv2v_core.shapes import VaeRatios

MEMORIES, REPEATS = 3, 6
ROUNDING = 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tiny network, to try the script")
    parser.add_argument("--count", type=int, default=20)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no CUDA: this benchmark needs a GPU")
    device = torch.device("cuda")
    size = SMALL if options.small else FULL

    # Step 1: a step that fits, its result, and the memory that it needs.
    dit = empty_wan(size.shape)
    fill_randomly(dit, device)
    config = AdapterConfig(size.shape.dim, size.shape.num_blocks, 16)
    with torch.device("meta"):
        adapter = MemoryAdapter(config)
    fill_randomly(adapter, device)
    bare = BaseInfo("Wan", "training-free", VaeRatios(4, 8, 16), None, "target", has_cameras=False)
    step = Step(dit, adapter, turn_of(size, adapted(bare, config, "trained"), MEMORIES, device))
    wanted = step.run()
    spread = max(difference(wanted, step.run()) for _ in range(REPEATS))
    torch.cuda.empty_cache()
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step.run()
    needed = torch.cuda.max_memory_allocated() - held
    weights = checksum(dit, adapter)

    # Step 2: how far another kernel of CUDA's libraries, equally right, moves the result. After a
    # fault they may choose another one.
    with sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION):
        allowed = difference(wanted, step.run())
    torch.cuda.empty_cache()

    # Step 3: the same step with a rising share of that memory.
    failures, depths, largest = [], [], 0.0
    for number in range(options.count):
        share = (number + 0.5) / options.count
        if not runs_full(step.run, int(share * needed)):
            failures.append(f"{share:.0%} of the memory was enough")
        depths.append(share)
        torch.cuda.empty_cache()
        # PyTorch's allocator rounds each tensor up by less than this.
        if torch.cuda.memory_allocated() - held >= ROUNDING:
            failures.append(f"{share:.0%}: {torch.cuda.memory_allocated() - held} bytes are held")
        again = step.run()
        if difference(again, step.run()) > spread:
            failures.append(f"{share:.0%}: two steps afterwards differ")
        changed = difference(again, wanted)
        del again
        largest = max(largest, changed)
        if changed > allowed:
            failures.append(f"{share:.0%}: the step afterwards differs by {changed:.2e}")
        if checksum(dit, adapter) != weights:
            failures.append(f"{share:.0%}: weights changed")
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
    print(f"a step with {MEMORIES} memories needs {needed / GIB:.2f} GiB beside the weights")
    print(f"before any fault, runs differ by {spread:.2e}")
    print(f"another attention kernel moves the step by {allowed:.2e}, a fault by {largest:.2e}")
    print(f"{options.count} times out of memory, at {depths[0]:.1%} to {depths[-1]:.1%} of it")
    print("\n".join(f"FAILED: {failure}" for failure in failures) or "no failure")
    return int(bool(failures))


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference of two predictions."""
    return (one.float() - other.float()).abs().max().item()


def runs_full(run: Callable[[], torch.Tensor], free_bytes: int) -> bool:
    """Whether the call ends with PyTorch's own error when it may take only this much memory."""
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + free_bytes) / total)
    try:
        run()
    except torch.cuda.OutOfMemoryError:
        return True
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    return False


@torch.no_grad()
def checksum(*modules: torch.nn.Module) -> int:
    """A number that changes with any bit of any weight."""
    total = 0
    for module in modules:
        for values in (*module.parameters(), *module.buffers()):
            bits = values.detach().contiguous().flatten().view(torch.uint8).long()
            places = torch.arange(1, bits.numel() + 1, device=bits.device) % 65521
            total = (total * 31 + int((bits * places).sum())) % 2**61
    return total


if __name__ == "__main__":
    sys.exit(main())

"""One real forward of a full-size base with a source and three memories, random bf16 weights, on
the CPU.

    MALLOC_MMAP_THRESHOLD_=65536 PYTHON benchmarks/full_size.py recammaster
    MALLOC_MMAP_THRESHOLD_=65536 PYTHON benchmarks/full_size.py lucyedit --latent-frames 1

The networks are ComfyUI's own (30 blocks; 1.3B with a memory adapter, 5B without), at a reduced
size. Weights stay bf16 and each layer computes in fp32, as ComfyUI does where bf16 has no units.
Linux and macOS; the variable makes glibc return freed memory at once, so that the peak is what
lives and not what is scattered.
"""

import argparse
import os
import platform
import resource
import sys
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.card.networks import (
    BASES,
    NUM_TEXT_TOKENS,
    TEXT_DIM,
    Base,
    Network,
    start_comfyui,
)
from devtools.environment import find_environment
from memv2v_core.model.memory_model import memory_forward, tokenize_clean

NUM_MEMORIES = 3
# Of the latents that run here.
HEIGHT, WIDTH = 30, 52


def attention_flops(
    query: torch.Size, key: torch.Size, value: torch.Size, *_args: object, **_kwargs: object
) -> int:
    """Of the CPU's fused attention, which torch does not count by itself."""
    return sdpa_flop_count(query, key, value)


def peak_gib() -> float:
    """The most memory that this process ever held."""
    return (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * (1 if sys.platform == "darwin" else 1024)
        / 2**30
    )


def run(base: Base) -> None:
    generator = torch.Generator().manual_seed(0)
    began = time.perf_counter()
    network = Network.build(base, generator, torch.float32)
    inputs = network.inputs(NUM_MEMORIES, True, generator)
    latent = network.random(generator, 1, base.in_channels, *base.latent)
    context = network.random(generator, 1, NUM_TEXT_TOKENS, TEXT_DIM)
    timestep = torch.tensor([500.0])
    view, adapter = network.view(latent), network.adapter
    built, before = time.perf_counter(), peak_gib()
    fused = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_flops}
    with torch.inference_mode(), FlopCounterMode(display=False, custom_mapping=fused) as counter:
        clean = tokenize_clean(view, adapter, inputs, latent.shape)
        output = memory_forward(view, adapter, latent, timestep, context, inputs, clean)
    seconds = time.perf_counter() - built
    assert output.shape == (1, base.out_channels, *latent.shape[2:])
    assert output.isfinite().all()
    cost = base.cost(NUM_MEMORIES, True, bytes_per_value=4)
    print(
        f"{network.num_weights / 1e9:.2f}e9 weights built in {built - began:.0f} s; latent "
        f"{tuple(latent.shape)}"
    )
    print(f"tokens: {cost.tokens_in} enter, {cost.tokens_out} leave the last block")
    counted = counter.get_total_flops() / 1e12
    print(f"TFLOP: {counted:.3f} counted, {cost.flops / 1e12:.3f} estimated for the blocks alone")
    print(f"forward: {seconds:.0f} s, output spreads by {output.std():.3f}")
    print(
        f"peak memory: {peak_gib():.2f} GiB, {peak_gib() - before:.2f} more than with weights "
        f"alone; activations estimated in fp32: {cost.activation_bytes / 2**30:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", choices=BASES)
    parser.add_argument("--latent-frames", type=int, default=2)
    arguments = parser.parse_args()
    environment = find_environment()
    if environment is None:
        parser.error(
            "no ComfyUI was found: run python3 dev.py setup, or set COMFYUI_PATH to its folder"
        )
    start_comfyui(environment.comfyui, on_cpu=True)
    print(
        f"{arguments.base}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads"
    )
    run(BASES[arguments.base].resized((arguments.latent_frames, HEIGHT, WIDTH)))


if __name__ == "__main__":
    main()

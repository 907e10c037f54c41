"""Time of torch's FlexAttention with a mask by blocks, beside dense attention."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from .choices import kept_blocks

BLOCK = 64
SHARES = (1.0, 0.5, 0.25)
NUM_REPEATS = 5


@dataclass(frozen=True)
class Size:
    """One attention: target tokens attend to themselves and to clean tokens."""

    name: str
    num_target: int
    num_clean: int
    num_heads: int
    head_dim: int


SIZES = (
    Size("small model, one memory", 576, 720, 4, 64),
    Size("4,096 tokens, Wan2.1-1.3B's heads", 2048, 2048, 12, 128),
)


def time_kernels() -> list[str]:
    """A Markdown table; every result is compared with dense attention under the same mask.

    Raises: AssertionError where a result of FlexAttention is wrong.
    """
    lines = [
        "| Attention | Clean keys seen | Dense, all keys | Dense, fewer keys | Dense with a mask | "
        "FlexAttention | of dense, all keys |",
        "|---|---|---|---|---|---|---|",
    ]
    compiled = torch.compile(flex_attention, dynamic=False)
    for size in SIZES:
        for share in SHARES:
            lines.append(_row(size, share, compiled))
    return lines


def _row(size: Size, share: float, compiled: Callable[..., Any]) -> str:
    generator = torch.Generator().manual_seed(0)

    def draw(num_tokens: int) -> torch.Tensor:
        return torch.randn(1, size.num_heads, num_tokens, size.head_dim, generator=generator)

    num_keys = size.num_target + size.num_clean
    query, key, value = draw(size.num_target), draw(num_keys), draw(num_keys)
    seen = _seen_blocks(size, share, generator)
    blocks = _block_mask(seen, size.num_target, num_keys)
    mask = seen.repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3)[..., :num_keys]
    # As when frames are dropped: all queries see the same, fewer keys.
    fewer = size.num_target + round(share * size.num_clean)
    with torch.no_grad():
        seconds = _fastest(
            lambda: F.scaled_dot_product_attention(query, key, value),
            lambda: F.scaled_dot_product_attention(query, key[:, :, :fewer], value[:, :, :fewer]),
            lambda: F.scaled_dot_product_attention(query, key, value, attn_mask=mask),
            lambda: compiled(query, key, value, block_mask=blocks),
        )
        sparse = compiled(query, key, value, block_mask=blocks)
        dense = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(sparse, dense, rtol=1e-4, atol=1e-5)
    times = " | ".join(f"{1000 * each:.0f} ms" for each in seconds)
    return f"| {size.name} | {share:.0%} | {times} | {seconds[3] / seconds[0]:.2f} |"


def _seen_blocks(size: Size, share: float, generator: torch.Generator) -> torch.Tensor:
    """Random blocks for each head (1, heads, query blocks, key blocks); the target sees itself."""
    rows = size.num_target // BLOCK
    columns = -(-size.num_clean // BLOCK)
    scores = torch.rand(1, size.num_heads, rows, columns, generator=generator)
    best = scores.topk(kept_blocks(columns, share), dim=-1).indices
    clean = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, best, True)
    return torch.cat((clean.new_ones(*clean.shape[:3], rows), clean), dim=-1)


def _block_mask(seen: torch.Tensor, num_queries: int, num_keys: int) -> BlockMask:
    counts = seen.sum(-1).int()
    # The numbers of the seen blocks come first in each row.
    numbers = seen.int().argsort(dim=-1, descending=True, stable=True).int()
    return BlockMask.from_kv_blocks(
        torch.zeros_like(counts),
        torch.zeros_like(numbers),
        counts,
        numbers,
        BLOCK_SIZE=BLOCK,
        seq_lengths=(num_queries, num_keys),
        compute_q_blocks=False,
    )


def _fastest(*runs: Callable[[], torch.Tensor]) -> list[float]:
    """The shortest time of each; one after another in turn, so that all meet the same machine."""
    times: list[list[float]] = [[] for _ in runs]
    for repeat in range(NUM_REPEATS + 1):
        for run, found in zip(runs, times, strict=True):
            began = time.perf_counter()
            run()
            # The first call compiles.
            if repeat:
                found.append(time.perf_counter() - began)
    return [min(found) for found in times]

"""The part of a DiT that the memory forward needs. The DiT belongs to the host program.

B rows, L tokens, D width, n timesteps per row (1, or one per target frame).
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import torch

from .attention_patterns import AttentionPattern

# RoPE's t, y and x.
NUM_AXES = 3
Result = TypeVar("Result")


class Backbone(Protocol):
    """A Wan-style DiT, used through its own modules.

    `rope` values are opaque: only the backbone reads them.
    """

    num_blocks: int
    patch_kernel: int

    def patchify(self, latent: torch.Tensor) -> torch.Tensor:
        """Tokens (B, D, T, rows, columns) of a latent (B, C, T, H, W).

        H and W divide by the kernel.
        """
        ...

    def unpatchify(self, tokens: torch.Tensor, grid: tuple[int, int, int]) -> torch.Tensor:
        """The latent (B, C, T, H, W) of the head's output (B, L, values)."""
        ...

    def embed_time(self, timestep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Embedding (B, n, D) and modulation (B, n, 6, D) of timesteps (B,) or (B, n)."""
        ...

    def embed_text(self, context: torch.Tensor) -> torch.Tensor:
        """Text tokens (B, Lt, D)."""
        ...

    def rope(self, positions: torch.Tensor) -> Any:
        """Rotations for RoPE indices (B or 1, L, 3).

        A fourth column is the number of each token's video: it turns the whole head by that
        position, on top of the three axes. The target's number is 0.
        """
        ...

    def around_block(
        self,
        block_idx: int,
        x: torch.Tensor,
        time: torch.Tensor,
        text: torch.Tensor,
        rope: Any,
        run: Callable[[torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        """run(x), inside the hooks that the host program puts around a block."""
        ...

    def inside_block(self, block_idx: int, run: Callable[[], Result]) -> Result:
        """run(), which reads weights of this block outside `around_block`."""
        ...

    def modulation(self, block_idx: int, time: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Shift, scale and gate of attention, then of the feed-forward, each (B, n, D)."""
        ...

    def norm(self, block_idx: int, which: int, x: torch.Tensor) -> torch.Tensor:
        """The block's norm1 (before attention) or norm2 (before the feed-forward).

        The names are the names in Wan's checkpoints.
        """
        ...

    def self_attention(
        self, block_idx: int, x: torch.Tensor, rope: Any, pattern: AttentionPattern | None = None
    ) -> torch.Tensor:
        """The update (B, L, D) of the block's self-attention.

        pattern: None lets all tokens see each other.
        """
        ...

    def query(self, block_idx: int, x: torch.Tensor) -> torch.Tensor:
        """Normalised queries (B, L, heads, d) of the block's self-attention, before RoPE."""
        ...

    def key(self, block_idx: int, x: torch.Tensor) -> torch.Tensor:
        """Normalised keys (B, L, heads, d), before RoPE."""
        ...

    def rotate(self, x: torch.Tensor, rope: Any) -> torch.Tensor:
        """RoPE on queries or keys (B, L, heads, d)."""
        ...

    def cross_attend(self, block_idx: int, x: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """x (B, L, D) with cross-attention's update added; norm3 is applied inside."""
        ...

    def feed_forward(self, block_idx: int, x: torch.Tensor) -> torch.Tensor: ...

    def head(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor: ...


def expand_time(values: torch.Tensor, num_tokens: int) -> torch.Tensor:
    """Per-timestep values (B, n, D) for `num_tokens` tokens.

    n = 1 stays as it is and broadcasts; else each value is repeated for the tokens of its frame.
    """
    num_times = values.shape[1]
    if num_times == 1:
        return values
    # Tokens of a row come frame by frame, the same number for each.
    assert num_tokens % num_times == 0
    return values.repeat_interleave(num_tokens // num_times, dim=1)

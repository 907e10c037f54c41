"""The memory forward with a context branch: a `Backbone` around the DiT's own.

The memory forward stays as it is. It walks this view in place of the DiT's, and the view adds
context tokens to every self-attention and takes them out again.

B rows, L tokens of the DiT, N context tokens, D width, n timesteps per row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ..model.adapter import MemoryAdapter
from ..model.attention_patterns import (
    Attend,
    AttentionPattern,
    attend_and_keep,
    attend_and_recall,
)
from ..model.backbone import Backbone, Result
from ..model.memory_inputs import MemoryInputs
from ..model.memory_model import memory_forward
from .branch import ContextBranch, after_attention, attention_input
from .encoder import ContextEncoder

# SD3 gives its second kind of tokens no position, and FLUX.1 gives it position 0. RoPE then leaves
# context tokens as they are, so their order means nothing.
_POSITION = 0.0


def context_forward(
    backbone: Backbone,
    adapter: MemoryAdapter | None,
    branch: ContextBranch,
    tokens: torch.Tensor,
    latent: torch.Tensor,
    timestep: torch.Tensor,
    context: torch.Tensor,
    inputs: MemoryInputs,
) -> torch.Tensor:
    """`memory_forward` whose tokens also see context tokens through a branch.

    tokens: (B or 1, N, width) of the branch's encoder. The others are as in `memory_forward`.

    Raises: ValueError as `BranchView`.

    Source: App. B, arXiv:2601.16296v2.
    """
    view = BranchView(backbone, branch, tokens)
    return memory_forward(view, adapter, latent, timestep, context, inputs)


def require_encoder(branch: ContextBranch, encoder: ContextEncoder) -> None:
    """Raise ValueError for an encoder that the branch was not trained for."""
    wanted = branch.config.encoder
    if encoder.identity != wanted:
        raise ValueError(
            f"the context branch got tokens of {encoder.identity}, wanted {wanted}; use the "
            "encoder that it was trained with, or train a branch for this one"
        )


@dataclass(frozen=True, eq=False)
class _Rope:
    """Rotations of the DiT's tokens, and of the same tokens followed by context tokens."""

    own: Any
    joint: Any


class BranchView:
    """A `Backbone` whose self-attention also holds context tokens.

    It serves one forward at a time. Context tokens count as clean tokens: in one-way attention they
    see clean and context tokens alone. They get the target's timestep; where frames of the target
    differ, the largest one.

    Raises: ValueError for a branch of another DiT, and for tokens of another encoder's width.
    """

    def __init__(self, backbone: Backbone, branch: ContextBranch, tokens: torch.Tensor) -> None:
        config = branch.config
        if config.num_blocks != backbone.num_blocks:
            raise ValueError(
                f"the context branch got a DiT of {backbone.num_blocks} blocks, wanted "
                f"{config.num_blocks}; use the base that it was trained on"
            )
        if tokens.ndim != 3 or tokens.shape[-1] != config.width or not tokens.shape[1]:
            raise ValueError(
                f"the context branch got tokens of shape {tuple(tokens.shape)}, wanted (rows, "
                f"tokens, {config.width}); encode the memory with {config.encoder}"
            )
        self.backbone, self.branch = backbone, branch
        self.num_blocks, self.patch_kernel = backbone.num_blocks, backbone.patch_kernel
        self._tokens = tokens
        # Context tokens (B, N, D) before each block. A list, so that a block whose activations are
        # computed again in the backward pass finds the tokens that it found first.
        self._states: list[torch.Tensor | None] = [None] * (backbone.num_blocks + 1)
        self._time: torch.Tensor | None = None  # (B, 1, 6, D)

    def self_attention(
        self, block_idx: int, x: torch.Tensor, rope: _Rope, pattern: AttentionPattern | None = None
    ) -> torch.Tensor:
        """The update (B, L, D) of the DiT's tokens; context tokens go on to the next block."""
        _require_no_reuse(pattern)
        assert self._time is not None, "the forward embeds the timestep before its blocks"
        block, context = self.branch.block(block_idx), self._state(block_idx, x)
        parts = block.parts(self._time)
        h = attention_input(context, parts).to(x.dtype)
        num, gate = x.shape[1], block.gate.to(x.dtype)
        seen: list[torch.Tensor] = []
        if block.attention is None:
            # Step 1a: the DiT's layers serve both kinds of tokens, in one sequence.
            shared = partial(_gated, pattern=pattern, gate=gate, num=num)
            both = self.backbone.self_attention(
                block_idx, torch.cat((x, h), dim=1), rope.joint, shared
            )
            own, update = both[:, :num], both[:, num:]
        else:
            # Step 1b: context tokens bring queries, keys and values of their own. Position 0 turns
            # them by nothing.
            attention = block.attention
            brought = (attention.query(h), attention.key(h), attention.v(h))
            joined = partial(
                _gated_beside, pattern=pattern, gate=gate, num=num, brought=brought, seen=seen
            )
            own = self.backbone.self_attention(block_idx, x, rope.own, joined)
            update = h[:, :0] if block.is_last else attention.o(seen[0])
        # Step 2: nobody reads context tokens after the last block.
        if not block.is_last:
            self._states[block_idx + 1] = after_attention(block, context, update, parts)
        return own

    def _state(self, block_idx: int, x: torch.Tensor) -> torch.Tensor:
        if block_idx == 0:
            tokens = self._tokens.to(x.device)
            self._states[0] = self.branch.embed(tokens).expand(len(x), -1, -1)
        state = self._states[block_idx]
        assert state is not None, "blocks run in their order"
        return state

    def rope(self, positions: torch.Tensor) -> _Rope:
        num = self._tokens.shape[1]
        places = positions.new_full((len(positions), num, positions.shape[-1]), _POSITION)
        joint = self.backbone.rope(torch.cat((positions, places), dim=1))
        return _Rope(self.backbone.rope(positions), joint)

    def rotate(self, x: torch.Tensor, rope: _Rope) -> torch.Tensor:
        return self.backbone.rotate(x, rope.own)

    def embed_time(self, timestep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embedded = self.backbone.embed_time(timestep)
        # The forward embeds the target's time first; a second time is the clean tokens'.
        if self._time is None:
            time = embedded[0]
            if time.shape[1] > 1:
                time, _ = self.backbone.embed_time(timestep.amax(1))
            self._time = self.branch.modulate(time)
        return embedded

    def patchify(self, latent: torch.Tensor) -> torch.Tensor:
        # A forward begins here, also after one that was interrupted.
        self._time = None
        return self.backbone.patchify(latent)

    def around_block(
        self,
        block_idx: int,
        x: torch.Tensor,
        time: torch.Tensor,
        text: torch.Tensor,
        rope: _Rope,
        run: Callable[[torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        return self.backbone.around_block(block_idx, x, time, text, rope.own, run)

    def unpatchify(self, tokens: torch.Tensor, grid: tuple[int, int, int]) -> torch.Tensor:
        return self.backbone.unpatchify(tokens, grid)

    def embed_text(self, context: torch.Tensor) -> torch.Tensor:
        return self.backbone.embed_text(context)

    def inside_block(self, block_idx: int, run: Callable[[], Result]) -> Result:
        return self.backbone.inside_block(block_idx, run)

    def modulation(self, block_idx: int, time: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.backbone.modulation(block_idx, time)

    def norm(self, block_idx: int, which: int, x: torch.Tensor) -> torch.Tensor:
        return self.backbone.norm(block_idx, which, x)

    def query(self, block_idx: int, x: torch.Tensor) -> torch.Tensor:
        return self.backbone.query(block_idx, x)

    def key(self, block_idx: int, x: torch.Tensor) -> torch.Tensor:
        return self.backbone.key(block_idx, x)

    def cross_attend(self, block_idx: int, x: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        return self.backbone.cross_attend(block_idx, x, text)

    def feed_forward(self, block_idx: int, x: torch.Tensor) -> torch.Tensor:
        return self.backbone.feed_forward(block_idx, x)

    def head(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return self.backbone.head(x, time)


def _gated(
    attend: Attend,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    pattern: AttentionPattern | None,
    gate: torch.Tensor,
    num: int,
) -> torch.Tensor:
    """Attention of `num` tokens of the DiT and the context tokens behind them.

    gate: (D,). The DiT's tokens get their own attention, moved towards joint attention by the gate.
    Context tokens get joint attention.
    """
    run = attend if pattern is None else partial(pattern, attend)
    joint = run(query, key, value)  # (B, L + N, D)
    own = run(query[:, :num], key[:, :num], value[:, :num])
    return torch.cat((torch.lerp(own, joint[:, :num], gate), joint[:, num:]), dim=1)


def _gated_beside(
    attend: Attend,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    pattern: AttentionPattern | None,
    gate: torch.Tensor,
    num: int,
    brought: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    seen: list[torch.Tensor],
) -> torch.Tensor:
    """`_gated`, with queries, keys and values (B, N, D) of the context tokens' own.

    The DiT's tokens alone come back; those of the context go into `seen`.
    """
    joined = (
        torch.cat((own, each.reshape(*each.shape[:2], *own.shape[2:]).to(own)), dim=1)
        for own, each in zip((query, key, value), brought, strict=True)
    )
    both = _gated(attend, *joined, pattern=pattern, gate=gate, num=num)
    seen.append(both[:, num:])
    return both[:, :num]


def _require_no_reuse(pattern: AttentionPattern | None) -> None:
    """Raise ValueError for a pattern that keeps clean tokens from step to step."""
    if getattr(pattern, "func", None) in (attend_and_keep, attend_and_recall):
        raise ValueError(
            "the context branch got kept clean tokens, wanted a forward that makes them anew: "
            "context tokens change in every step; sample without reuse"
        )

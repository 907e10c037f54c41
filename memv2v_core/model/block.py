"""One block of the memory forward, and the tokens that go through it.

B rows, L tokens, D width, n timesteps per row.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from ..tokens.layout import SequenceLayout
from .adapter import MemoryAdapter
from .attention_patterns import (
    AttentionPattern,
    attend_and_keep,
    attend_and_recall,
    attend_one_way,
)
from .backbone import Backbone, expand_time
from .camera_encoder import FrameCameras
from .kept_streams import KeptRows
from .memory_inputs import MemoryInputs


@dataclass(frozen=True, eq=False)
class TokenSequence:
    """All tokens on their way through the blocks, with everything that each one carries."""

    x: torch.Tensor  # (B, L, D)
    positions: torch.Tensor  # (B or 1, L, 3), or 4 where videos have numbers
    frame_of_token: torch.Tensor  # (B or 1, L, 1)
    rays: torch.Tensor | None  # (B or 1, L, R)
    layout: SequenceLayout


@dataclass(frozen=True, eq=False)
class Modulation:
    """Time modulation of the target's tokens and, where it differs, of the clean tokens."""

    target: torch.Tensor  # (B, n, 6, D)
    clean: torch.Tensor | None  # (B, 1, 6, D)


@dataclass(frozen=True, eq=False)
class Block:
    """One block: Wan's block, with the camera before attention and the projector after it.

    cameras: of all frames, target first; None where no frame has one.
    layout: of the sequence before any merge of this block; the target's tokens stay the same.
    kept: where clean tokens are kept, or where a sequence without any finds them; None for neither.
    """

    backbone: Backbone
    adapter: MemoryAdapter | None
    block_idx: int
    time: Modulation
    cameras: FrameCameras | None
    layout: SequenceLayout
    inputs: MemoryInputs
    kept: KeptRows | None = None

    @property
    def num_target(self) -> int:
        """Tokens of the target; they come first."""
        return self.layout.num_target_tokens

    @property
    def pattern(self) -> AttentionPattern | None:
        """Which tokens see which; None where all see all."""
        has_clean, kept, i = len(self.layout.conditioning) > 0, self.kept, self.block_idx
        if not has_clean:
            if kept is None:
                return None
            return partial(attend_and_recall, recall=partial(kept.recall, i))
        pattern = None
        if self.inputs.attention == "one_way":
            pattern = partial(attend_one_way, num_target=self.num_target)
        if kept is None:
            return pattern
        keep = partial(kept.keep, i)
        return partial(attend_and_keep, num_target=self.num_target, pattern=pattern, keep=keep)

    def run(
        self, sequence: TokenSequence, rope: Any, text: torch.Tensor
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """The block as a function of its tokens (B, L, D), the ones of `sequence` at first."""

        def forward(x: torch.Tensor) -> torch.Tensor:
            backbone, i = self.backbone, self.block_idx
            # Wan numbers the modulations of a block: 0 shift, 1 scale and 2 gate of attention, 3, 4
            # and 5 of the feed-forward.
            h = self.attention_input(replace(sequence, x=x))
            h = backbone.self_attention(i, h, rope, self.pattern)
            if self.adapter is not None and self.adapter.config.has_cameras:
                h = self.adapter.block(i).projector(h)
            x = self._gate(x, h, 2)
            x = self._read_text(x, text)
            h = backbone.feed_forward(i, self._modulate(backbone.norm(i, 2, x), 3))
            return self._gate(x, h, 5)

        return forward

    def attention_input(self, sequence: TokenSequence) -> torch.Tensor:
        """The input (B, L, D) of self-attention: norm1, modulation, then cameras (Eq. 17)."""
        h = self._modulate(self.backbone.norm(self.block_idx, 1, sequence.x), 0)
        if self.adapter is None or self.cameras is None or not self.adapter.config.has_cameras:
            return h
        block = self.adapter.block(self.block_idx)
        embedding = block.embed_frames(self.cameras, h.dtype)
        embedding = embedding.expand(h.shape[0], -1, -1)  # (B, frames, D)
        # Each token takes the embedding of its own frame.
        frame = sequence.frame_of_token.expand(h.shape[0], -1, embedding.shape[-1])
        h = h + embedding.gather(1, frame)
        if block.ray_encoder is not None and sequence.rays is not None:
            h = h + block.ray_encoder(sequence.rays.to(h))
        return h

    def _read_text(self, x: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        if self.inputs.clean_reads_text or not self.layout.conditioning:
            return self.backbone.cross_attend(self.block_idx, x, text)
        target = self.backbone.cross_attend(self.block_idx, x[:, : self.num_target], text)
        return torch.cat((target, x[:, self.num_target :]), dim=1)

    def _modulate(self, x: torch.Tensor, part: int) -> torch.Tensor:
        def apply(tokens: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
            shift, scale = self.backbone.modulation(self.block_idx, time)[part : part + 2]
            num = tokens.shape[1]
            return torch.addcmul(expand_time(shift, num), tokens, 1 + expand_time(scale, num))

        return self._by_time(apply, x)

    def _gate(self, x: torch.Tensor, update: torch.Tensor, part: int) -> torch.Tensor:
        def apply(tokens: torch.Tensor, change: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
            gate = self.backbone.modulation(self.block_idx, time)[part]
            return torch.addcmul(tokens, change, expand_time(gate, tokens.shape[1]))

        return self._by_time(apply, x, update)

    def _by_time(self, apply: Callable[..., torch.Tensor], *tensors: torch.Tensor) -> torch.Tensor:
        # Target and clean tokens differ in time, so each part is modulated by itself.
        if self.time.clean is None:
            return apply(*tensors, self.time.target)
        target = apply(*(tensor[:, : self.num_target] for tensor in tensors), self.time.target)
        clean = apply(*(tensor[:, self.num_target :] for tensor in tensors), self.time.clean)
        return torch.cat((target, clean), dim=1)

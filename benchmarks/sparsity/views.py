"""Views of a DiT for this experiment: one whose target sees a part of the clean tokens, and one
that measures how much attention a part carries.

B rows, T target tokens, L tokens, d width of a head.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from memv2v_core.model.attention_patterns import AttentionPattern
from memv2v_core.model.diffusers_view import DiffusersView, Rope
from memv2v_core.tokens.layout import SequenceLayout

from .choices import Choice, Pruning

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel

Shares = dict[str, list[float]]


class ChoosingView(DiffusersView):
    """Shows every block's input to the choices, and tells `attend` the block."""

    def __init__(
        self,
        model: "WanTransformer3DModel",
        layout: SequenceLayout,
        prunings: Mapping[str, Pruning],
    ) -> None:
        super().__init__(model, self.attend_in_block)
        self.num_target = layout.num_target_tokens
        self.choices: dict[str, Choice] = {
            name: pruning.choice(layout, self.num_blocks) for name, pruning in prunings.items()
        }
        self.block_idx = 0

    def self_attention(
        self, block_idx: int, x: torch.Tensor, rope: Rope, pattern: AttentionPattern | None = None
    ) -> torch.Tensor:
        self.block_idx = block_idx
        for choice in self.choices.values():
            choice.look(self, block_idx, x)
        return super().self_attention(block_idx, x, rope, pattern)

    def attend_in_block(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        """Attention of the queries (B, heads, T or L, d) to keys and values (B, heads, L, d)."""
        raise NotImplementedError

    def kept(self, name: str, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor | None:
        """What a choice keeps for all queries and keys of an attention."""
        num = self.num_target
        return self.choices[name].kept(self.block_idx, query[:, :, :num], key[:, :, num:])


class PrunedView(ChoosingView):
    """The target's queries see the target and the chosen clean tokens; clean tokens see all."""

    def __init__(
        self, model: "WanTransformer3DModel", layout: SequenceLayout, pruning: Pruning
    ) -> None:
        super().__init__(model, layout, {"": pruning})

    def attend_in_block(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        num, kept = self.num_target, self.kept("", query, key)
        target, clean = query[:, :, :num], query[:, :, num:]
        if kept is None:
            return F.scaled_dot_product_attention(query, key, value)
        if kept.shape[1:3] == (1, 1) and len(kept) == 1:
            # All queries see the same keys, so that the rest leaves the sequence.
            seen = torch.cat((torch.ones(num, dtype=torch.bool), kept[0, 0, 0]))
            result = F.scaled_dot_product_attention(target, key[:, :, seen], value[:, :, seen])
        else:
            own = kept.new_ones(*kept.shape[:2], num, num)
            mask = torch.cat((own, kept.expand(-1, -1, num, -1)), dim=-1)
            result = F.scaled_dot_product_attention(target, key, value, attn_mask=mask)
        if not clean.shape[2]:
            return result
        return torch.cat((result, F.scaled_dot_product_attention(clean, key, value)), dim=2)


class MassView(ChoosingView):
    """Attention as it is, and the share of the target's attention that parts of it carry.

    shares: "clean" is the part of all attention of the target that goes to clean tokens. Every
    other number is a part of that: of each choice, and of the tokens that carry most ("best 1/2").
    """

    def __init__(
        self,
        model: "WanTransformer3DModel",
        layout: SequenceLayout,
        prunings: Mapping[str, Pruning],
    ) -> None:
        super().__init__(model, layout, prunings)
        self.shares: Shares = {}

    def attend_in_block(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        num = self.num_target
        weights = (query[:, :, :num] @ key.mT / query.shape[-1] ** 0.5).softmax(-1)[..., num:]
        total = weights.sum(-1)  # (B, heads, T)
        self._add("clean", total.mean())
        for name in self.choices:
            kept = self.kept(name, query, key)
            part = weights if kept is None else weights * kept
            self._add(name, part.sum() / total.sum())
        by_token = weights.sum((0, 1, 2)).sort(descending=True).values
        for name, share in (("best 3/4", 0.75), ("best 1/2", 0.5), ("best 1/4", 0.25)):
            best = by_token[: round(share * len(by_token))]
            self._add(name, best.sum() / total.sum())
        return F.scaled_dot_product_attention(query, key, value)

    def _add(self, name: str, share: torch.Tensor) -> None:
        self.shares.setdefault(name, []).append(share.item())

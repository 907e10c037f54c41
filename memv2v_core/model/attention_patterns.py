"""Which tokens see which in a block's self-attention. The target's tokens come first.

B rows, L tokens, Lc clean tokens. Queries, keys and values are (B, tokens, ...): a backbone may lay
out its heads as it likes. Keys are rotated already.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class AttentionPattern(Protocol):
    """Attention of a block's queries, in another form than all tokens to all tokens."""

    def __call__(
        self, attend: Attend, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        """The result for every query, in the layout of `attend`.

        attend: attention of a query, a key and a value.
        """
        ...


@dataclass(frozen=True)
class OneWay:
    """The target sees all tokens, and clean tokens see each other alone.

    num_target: tokens of the target.
    """

    num_target: int

    def __call__(
        self, attend: Attend, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        num = self.num_target
        target = attend(query[:, :num], key, value)
        clean = attend(query[:, num:], key[:, num:], value[:, num:])
        return torch.cat((target, clean), dim=1)


@dataclass(frozen=True)
class Keeping:
    """Another pattern, with the clean tokens' keys and values handed to `keep`.

    pattern: None lets all tokens see each other.
    """

    num_target: int
    pattern: AttentionPattern | None
    keep: Callable[[torch.Tensor, torch.Tensor], None]

    def __call__(
        self, attend: Attend, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        self.keep(key[:, self.num_target :], value[:, self.num_target :])
        if self.pattern is None:
            return attend(query, key, value)
        return self.pattern(attend, query, key, value)


@dataclass(frozen=True)
class Recalling:
    """The target alone sees itself and what was kept of the clean tokens.

    recall: gives their keys and values.
    """

    recall: Callable[[], tuple[torch.Tensor, torch.Tensor]]

    def __call__(
        self, attend: Attend, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        clean_key, clean_value = self.recall()
        return attend(
            query, torch.cat((key, clean_key), dim=1), torch.cat((value, clean_value), dim=1)
        )

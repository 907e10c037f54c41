"""Which tokens see which in a block's self-attention. The target's tokens come first.

B rows, L tokens, Lc clean tokens. Queries, keys and values are (B, tokens, ...): a backbone may lay
out its heads as it likes. Keys are rotated already. A pattern is one of these functions with its
settings bound: functions, because torch.compile cannot trace objects in their place.
"""

from collections.abc import Callable

import torch

# Attention of a query, a key and a value.
Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
# Attention of a block's queries, in another form than all tokens to all tokens: from `attend`,
# query, key and value to the result for every query, in the layout of `attend`.
AttentionPattern = Callable[[Attend, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def attend_one_way(
    attend: Attend,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    num_target: int,
) -> torch.Tensor:
    """The target's tokens see all tokens, and clean tokens see each other alone."""
    target = attend(query[:, :num_target], key, value)
    clean = attend(query[:, num_target:], key[:, num_target:], value[:, num_target:])
    return torch.cat((target, clean), dim=1)


def attend_and_keep(
    attend: Attend,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    num_target: int,
    pattern: AttentionPattern | None,
    keep: Callable[[torch.Tensor, torch.Tensor], None],
) -> torch.Tensor:
    """Another pattern, with the clean tokens' keys and values handed to `keep`.

    pattern: None lets all tokens see each other.
    """
    keep(key[:, num_target:], value[:, num_target:])
    return attend(query, key, value) if pattern is None else pattern(attend, query, key, value)


def attend_and_recall(
    attend: Attend,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    recall: Callable[[], tuple[torch.Tensor, torch.Tensor]],
) -> torch.Tensor:
    """The target alone sees itself and the kept clean tokens: `recall` gives those."""
    clean_key, clean_value = recall()
    return attend(query, torch.cat((key, clean_key), dim=1), torch.cat((value, clean_value), dim=1))

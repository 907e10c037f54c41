"""Keys and values of clean tokens that outlive a forward.

A forward over the whole sequence writes them, block by block. Later forwards over the target alone
read them. Clean tokens change slowly from step to step, and not at all in one-way attention with
timestep zero. Keys are kept after RoPE, and merged tokens as merged.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from ..tokens.merging import MergePlan
from ..vocabulary import KeptPrecision

# The largest number of float8_e4m3fn.
_FP8_MAX = 448.0


class NotKeptError(Exception):
    """A block whose clean tokens were not kept: another patch skipped it in the last refresh."""


class Shelf(Protocol):
    """Where kept tensors lie between forwards."""

    def put(self, tensor: torch.Tensor, place: torch.Tensor | None, /) -> torch.Tensor:
        """A copy of `tensor`, in `place` where that fits."""
        ...

    def announce(self, stored: torch.Tensor) -> torch.Tensor:
        """The copy on the device; it may still be under way."""
        ...

    def arrived(self, announced: torch.Tensor) -> torch.Tensor:
        """The same, ready for use."""
        ...


class DeviceShelf:
    """Kept tensors stay on their device."""

    def put(self, tensor: torch.Tensor, _place: torch.Tensor | None, /) -> torch.Tensor:
        return tensor.clone(memory_format=torch.contiguous_format)

    def announce(self, stored: torch.Tensor) -> torch.Tensor:
        return stored

    def arrived(self, announced: torch.Tensor) -> torch.Tensor:
        return announced


class HostShelf:
    """Kept tensors lie in pinned memory of the host, and copies run beside the computation.

    device: a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.copies = torch.cuda.Stream(device)

    def put(self, tensor: torch.Tensor, place: torch.Tensor | None, /) -> torch.Tensor:
        fits = place is not None and place.shape == tensor.shape and place.dtype == tensor.dtype
        # Pinned memory takes long to get, so it is used again.
        host = place if fits and place is not None else _pinned(tensor)
        self.copies.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.copies):
            host.copy_(tensor, non_blocking=True)
        # The memory of `tensor` is not given away while it is read.
        tensor.record_stream(self.copies)
        return host

    def announce(self, stored: torch.Tensor) -> torch.Tensor:
        with torch.cuda.stream(self.copies):
            return stored.to(self.device, non_blocking=True)

    def arrived(self, announced: torch.Tensor) -> torch.Tensor:
        now = torch.cuda.current_stream(self.device)
        now.wait_stream(self.copies)
        announced.record_stream(now)
        return announced


def _pinned(like: torch.Tensor) -> torch.Tensor:
    try:
        return torch.empty(like.shape, dtype=like.dtype, pin_memory=True)
    except RuntimeError as error:
        # The host's own failure has no class of its own.
        raise torch.OutOfMemoryError(str(error)) from error


@dataclass(eq=False)
class _Stored:
    """One kept tensor: the tensor itself, or fp8 numbers and a scale for each token.

    coming: the parts on their way to the device.
    """

    parts: tuple[torch.Tensor, ...]
    dtype: torch.dtype
    coming: tuple[torch.Tensor, ...] | None = None

    @property
    def num_bytes(self) -> int:
        return sum(part.numel() * part.element_size() for part in self.parts)


@dataclass(eq=False)
class KeptStreams:
    """What is kept of the clean tokens for some rows of a batch: those of one prompt.

    shelf: where. precision: "full" as computed, or "fp8".
    is_shared: whether one row serves all, because no clean token depends on prompt or target.
    fixes_merging: whether the first choice of merged frames counts for the whole run.
    changes: relative change of the keys since the refresh before, one number a block, where the
    tokens were the same.
    """

    shelf: Shelf = field(default_factory=DeviceShelf)
    precision: KeptPrecision = "full"
    is_shared: bool = False
    fixes_merging: bool = False
    changes: list[torch.Tensor] = field(default_factory=list)
    _blocks: dict[int, tuple[_Stored, _Stored]] = field(default_factory=dict)
    _plans: dict[int, MergePlan] = field(default_factory=dict)
    _has_same_tokens: bool = True

    @property
    def num_bytes(self) -> int:
        """Bytes of everything kept."""
        return sum(stored.num_bytes for pair in self._blocks.values() for stored in pair)

    @property
    def is_empty(self) -> bool:
        return not self._blocks

    def clear(self) -> None:
        """Forget everything, to free its memory."""
        self._blocks.clear()
        self.changes = []

    def begin(self) -> None:
        """A refresh begins."""
        self.changes = []
        self._has_same_tokens = True

    def keep(self, block_idx: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Keep the keys and values (B, Lc, ...) of a block in place of the ones before."""
        before = self._blocks.get(block_idx)
        if self.is_shared:
            key, value = key[:1], value[:1]
        if before is not None and self._has_same_tokens:
            self.changes.append(_relative_change(self._take(before[0]), key))
        old = (None, None) if before is None else before
        # The old ones leave first, so that both never exist at once.
        self._blocks.pop(block_idx, None)
        self._blocks[block_idx] = (self._put(key, old[0]), self._put(value, old[1]))

    def recall(self, block_idx: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The kept keys and values (B or 1, Lc, ...) of a block, in their first precision.

        Raises: NotKeptError.
        """
        pair = self._blocks.get(block_idx)
        if pair is None:
            raise NotKeptError(f"block {block_idx}")
        key, value = (self._take(stored) for stored in pair)
        # The next block's are under way while this block attends; after the last one the first's,
        # for the next call.
        following = self._blocks.get(block_idx + 1) or self._blocks.get(0)
        for stored in following or ():
            stored.coming = tuple(self.shelf.announce(part) for part in stored.parts)
        return key, value

    def settled(self, block_idx: int, plan: MergePlan) -> MergePlan:
        """The plan that counts at a merging block, which is `plan` or the first one."""
        before = self._plans.get(block_idx)
        if self.fixes_merging and before is not None:
            return before
        if before is not None and not before.equals(plan):
            self._has_same_tokens = False
        self._plans[block_idx] = plan
        return plan

    def _put(self, tensor: torch.Tensor, before: _Stored | None) -> _Stored:
        parts = _to_fp8(tensor) if self.precision == "fp8" else (tensor,)
        places = (None,) * len(parts) if before is None else before.parts
        return _Stored(tuple(map(self.shelf.put, parts, places)), tensor.dtype)

    def _take(self, stored: _Stored) -> torch.Tensor:
        coming = stored.coming or tuple(self.shelf.announce(part) for part in stored.parts)
        stored.coming = None
        parts = [self.shelf.arrived(part) for part in coming]
        return parts[0] if len(parts) == 1 else (parts[0].to(stored.dtype) * parts[1])


@dataclass(eq=False)
class KeptRows:
    """What is kept for all rows of a forward: the same number of rows for each part.

    parts: one a prompt, in the order of the rows; one shared part serves all rows.
    num_rows: rows of the batch. on_failure: called where memory ran out while something was kept;
    the forward then goes on without keeping. has_failed: whether that happened.
    """

    parts: Sequence[KeptStreams]
    num_rows: int
    on_failure: Callable[[], None]
    has_failed: bool = False

    def begin(self) -> None:
        """A refresh begins."""
        for part in self.parts:
            part.begin()

    def keep(self, block_idx: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Keep the keys and values (B, Lc, ...) of a block."""
        if self.has_failed:
            return
        try:
            for part, rows in zip(self.parts, self._rows(), strict=True):
                part.keep(block_idx, key[rows], value[rows])
        except torch.OutOfMemoryError:
            self.has_failed = True
            self.on_failure()

    def recall(self, block_idx: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The kept keys and values (B, Lc, ...) of a block.

        Raises: NotKeptError.
        """
        size = self.num_rows // len(self.parts)
        pairs = [part.recall(block_idx) for part in self.parts]
        key, value = (
            [tensor.expand(size, *tensor.shape[1:]) for tensor in tensors]
            for tensors in zip(*pairs, strict=True)
        )
        # One prompt, the usual case, needs no copy.
        return (key[0], value[0]) if len(key) == 1 else (torch.cat(key), torch.cat(value))

    def settled(self, block_idx: int, plan: MergePlan) -> MergePlan:
        """The plan that counts at a merging block."""
        plans = [
            part.settled(block_idx, plan.of_rows(rows))
            for part, rows in zip(self.parts, self._rows(), strict=True)
        ]
        return plans[0] if len(plans) == 1 else MergePlan.joined(plans)

    def _rows(self) -> list[slice]:
        size = self.num_rows // len(self.parts)
        return [slice(i * size, (i + 1) * size) for i in range(len(self.parts))]


def _to_fp8(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers in fp8 and the scale of each token and head."""
    scale = tensor.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(tensor.dtype).tiny) / _FP8_MAX
    return (tensor / scale).to(torch.float8_e4m3fn), scale


def _relative_change(before: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
    difference = torch.linalg.vector_norm((now - before).float())
    return difference / torch.linalg.vector_norm(before.float())

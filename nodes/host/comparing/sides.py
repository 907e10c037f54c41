"""The two videos of a comparison, as frames with a camera.

F frames, H rows, W columns.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch

from ....memv2v_core.cache.entry import MemoryEntry, Segment
from ....memv2v_core.cache.memory_cache import MemoryCache, preferred
from ....memv2v_core.cameras.trajectory import CameraTrajectory, static_trajectory
from ....memv2v_core.evaluation.session_report import ShownTurn

SideKind = Literal["turn", "source", "connected frames", "without memory"]
TURN, SOURCE, CONNECTED, WITHOUT_MEMORY = get_args(SideKind)
_OF_A_TURN = (TURN, WITHOUT_MEMORY)

# Frames (F, 3, H, W) in [0, 1] of a latent (C, T, h, w).
Decode = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Choice:
    """What the widgets of one side say.

    side: "first" or "second", the beginning of the names of its widgets.
    turn: its number, 0 for the newest. entry: an id, which names a turn better than a number.
    images: (F, H, W, C) in [0, 1], where some are connected.
    """

    side: str
    kind: SideKind
    turn: int
    entry: str
    images: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class Side:
    """One video of a comparison.

    camera: of every frame; None for frames whose camera nobody knows.
    segment: which part of a long video it shows; None for a whole clip.
    entry_id: of a turn; "" for anything else. turn_id: also of a turn without memory.
    """

    name: str
    frames: torch.Tensor
    camera: CameraTrajectory | None
    segment: Segment | None = None
    entry_id: str = ""
    turn_id: str = ""

    def filmed_by(self, camera: CameraTrajectory) -> ShownTurn:
        """The video with a camera, over the frames that both have."""
        count = min(len(self.frames), camera.num_frames)
        return ShownTurn(self.name, self.frames[:count], camera.frames(tuple(range(count))))


def chosen_sides(
    cache: MemoryCache,
    choices: tuple[Choice, Choice],
    decode: Decode,
    source_camera: CameraTrajectory | None,
) -> tuple[Side, Side, tuple[str, ...]]:
    """Both videos, and what was assumed or left aside.

    Raises: ValueError when a turn, its source or connected frames are missing, when both sides are
    one thing, and when their sizes differ.
    """
    if all(choice.kind == SOURCE for choice in choices):
        raise ValueError("first and second are both the source; choose a turn for one of them")
    notes: list[str] = [note for choice in choices for note in _unused(choice)]
    entries = [_entry_of(cache, choice, notes) for choice in choices]
    _require_other_turns(choices, entries)
    sides = []
    for choice, entry, other in zip(choices, entries, reversed(entries), strict=True):
        if choice.kind == CONNECTED:
            sides.append(_connected(choice))
        elif choice.kind == SOURCE:
            sides.append(_source(cache, choice, other, decode, source_camera, notes))
        else:
            assert entry is not None, "a turn has an entry"
            side_of = turn_side if choice.kind == TURN else _side_without_memory
            sides.append(side_of(entry, decode))
    first, second = sides
    _require_two_of_one_size(first, second)
    if first.turn_id and first.name == second.name:
        first, second = _with_id(first), _with_id(second)
    if len(first.frames) != len(second.frames):
        count = min(len(first.frames), len(second.frames))
        notes.append(
            f"{first.name} has {len(first.frames)} frames, {second.name} {len(second.frames)}: the "
            f"first {count} are compared"
        )
    return first, second, tuple(notes)


def turn_side(entry: MemoryEntry, decode: Decode) -> Side:
    """A remembered turn, without its padding."""
    frames = decode(entry.latent)[: entry.num_frames]
    made = entry.true_camera, entry.segment
    return Side(entry.label, frames, *made, entry_id=entry.entry_id, turn_id=entry.entry_id)


def _side_without_memory(entry: MemoryEntry, decode: Decode) -> Side:
    """What the turn would be had it seen no other turn."""
    latent = entry.without_memory
    if latent is None:
        raise ValueError(_why_missing(entry))
    frames = decode(latent)[: entry.num_frames]
    made = entry.true_camera, entry.segment
    return Side(f"{entry.label} without memory", frames, *made, turn_id=entry.entry_id)


def _why_missing(entry: MemoryEntry) -> str:
    """Why there is no version without memory, and what to do."""
    if entry.mode == "imported":
        return (
            f"{entry.label} was made by other nodes, so nobody knows it without memory; connect "
            f"its frames and choose {CONNECTED!r}"
        )
    if not entry.memory_ids:
        return (
            f"{entry.label} saw no other turn when it was made, so without memory it is the same "
            "video; choose a turn that saw one"
        )
    switch = (
        "switch on also_without_memory (an advanced input) in the node that made it, and run "
        "again: the turn itself stays"
    )
    if entry.segment is not None:
        switch += (
            ". Edit Long Video has no such input: run it with mode 'independent' and another "
            "session"
        )
    return f"{entry.label} was not made without memory; {switch}"


def _with_id(side: Side) -> Side:
    """The side of one take, told from another take of the same turn."""
    return replace(side, name=f"{side.name} ({side.turn_id[:8]})")


def _unused(choice: Choice) -> tuple[str, ...]:
    if choice.images is None or choice.kind == CONNECTED:
        return ()
    return (
        f"{choice.side}_images is connected but not shown; set {choice.side} to {CONNECTED!r} for "
        "it",
    )


def _entry_of(cache: MemoryCache, choice: Choice, notes: list[str]) -> MemoryEntry | None:
    """The entry of a turn, with or without memory; None for anything else."""
    if choice.kind not in _OF_A_TURN:
        return None
    takes = [entry for entry in cache.entries if entry.turn == choice.turn]
    if choice.entry or len(takes) < 2:
        return cache.recall(0 if choice.entry else choice.turn, choice.entry)
    found = preferred(takes)
    assert found is not None, "there are two takes or more"
    notes.append(
        f"turn {choice.turn} has {len(takes)} takes: {found.entry_id[:8]} is shown, "
        f"{'the pinned' if found.is_pinned else 'the newest'} one; {choice.side}_entry chooses "
        "another"
    )
    return found


def _connected(choice: Choice) -> Side:
    if choice.images is None:
        raise ValueError(
            f"{choice.side} is {CONNECTED!r}, but nothing is connected to {choice.side}_images; "
            "connect frames, such as those of VAE Decode, or choose a turn"
        )
    frames = choice.images[..., :3].movedim(-1, 1).float().cpu()
    return Side(f"{choice.side}_images", frames, None)


def _source(
    cache: MemoryCache,
    choice: Choice,
    other: MemoryEntry | None,
    decode: Decode,
    source_camera: CameraTrajectory | None,
    notes: list[str],
) -> Side:
    """The video that the other side's turn edits, else the one of the newest turn."""
    entry = other if other is not None else cache.recall(0, "")
    if entry.source_latent is None:
        raise ValueError(
            f"{choice.side} is the source, but {entry.label} holds none; connect the source's "
            f"frames to {choice.side}_images and choose {CONNECTED!r}"
        )
    frames = decode(entry.source_latent)[: entry.num_frames]
    if source_camera is None:
        notes.append("source_camera is not connected: the source's camera counts as standing still")
        lens = entry.camera.intrinsics[0]
        camera = static_trajectory(len(frames), lens, is_assumed=True)
    elif source_camera.num_frames < len(frames):
        raise ValueError(
            f"source_camera got {source_camera.num_frames} frames, wanted {len(frames)} as the "
            f"source has; set num_frames of the path to {len(frames)}"
        )
    else:
        camera = source_camera.frames(tuple(range(len(frames))))
    return Side("source", frames, camera, entry.segment)


def _require_other_turns(choices: tuple[Choice, Choice], entries: list[MemoryEntry | None]) -> None:
    """Raise ValueError where both sides are one turn, both with or both without memory."""
    first, second = entries
    if first is None or second is None or choices[0].kind != choices[1].kind:
        return
    if first.entry_id == second.entry_id:
        what = f"{first.label}{'' if choices[0].kind == TURN else ' without memory'}"
        raise ValueError(
            f"first and second are both {what}, wanted two videos; choose another turn for one of "
            "them"
        )


def _require_two_of_one_size(first: Side, second: Side) -> None:
    (rows_a, columns_a), (rows_b, columns_b) = first.frames.shape[-2:], second.frames.shape[-2:]
    if (rows_a, columns_a) != (rows_b, columns_b):
        raise ValueError(
            f"{second.name} got frames of {columns_b}x{rows_b}, wanted {columns_a}x{rows_a} as "
            f"{first.name} has; scale one of them with ComfyUI's Upscale Image"
        )

"""What is said of two videos, and of all turns of a cache.

F frames, H rows, W columns.
"""

from collections.abc import Callable
from dataclasses import replace

import torch

from ....memv2v_core.cache.entry import MemoryEntry
from ....memv2v_core.cache.memory_cache import MemoryCache
from ....memv2v_core.cameras.trajectory import CameraTrajectory, static_trajectory
from ....memv2v_core.evaluation.session_report import ShownTurn
from ....memv2v_core.evaluation.verdicts import (
    Verdict,
    compare_all,
    compare_pair,
    named_pair,
    stride_for,
    thinned,
)
from ....memv2v_core.pictures.heat_maps import draw_message, heat_map_video
from .sides import SOURCE, Side

# Turns whose pairs the report lists, and frames of each that are measured for it: every turn is
# decoded once, which takes long at full size.
MOST_TURNS, MOST_FRAMES = 8, 9


def verdict_of(
    first: Side, second: Side, source_camera: CameraTrajectory | None
) -> tuple[Verdict, tuple[str, ...]]:
    """What is said of the two chosen videos, and what was assumed for it."""
    if _are_other_segments(first, second):
        what = "are different segments of a long video: they are shown, not measured"
        return Verdict(f"{named_pair(first.name, second.name)} {what}"), ()
    notes: list[str] = []
    camera_a, camera_b = first.camera or second.camera, second.camera or first.camera
    if camera_a is None or camera_b is None:
        # Both are connected frames.
        camera_a = camera_b = static_trajectory(max(len(first.frames), len(second.frames)))
        notes.append("both videos are compared pixel by pixel")
    elif first.camera is None or second.camera is None:
        other, known = (first, second) if first.camera is None else (second, first)
        notes.append(f"{other.name} count as filmed along the path of {known.name}")
    unseen = source_camera if leaves_out_source(first, second) else None
    verdict = compare_pair(first.filmed_by(camera_a), second.filmed_by(camera_b), unseen)
    return verdict, (*notes, *filter(None, [verdict.note]))


def leaves_out_source(first: Side, second: Side) -> bool:
    """Whether what the source showed can be left out of a comparison.

    The source shows nothing else, and without a camera nobody knows where it looked.
    """
    has_camera = first.camera is not None or second.camera is not None
    return has_camera and SOURCE not in (first.name, second.name)


def difference_pictures(second: Side, verdict: Verdict) -> torch.Tensor:
    """Frames (F, H, W, 3) of the second video with the differences in colour, or the reason why
    there are none, as one picture.
    """
    result = verdict.disagreement
    if result is None:
        return draw_message(verdict.text)[None]
    return heat_map_video(second.frames[: len(result.mask)], result)


def listed_turns(cache: MemoryCache, chosen: tuple[Side, Side]) -> tuple[list[MemoryEntry], str]:
    """Turns whose pairs are listed, oldest first, and what was left out.

    Segments of a long video show different things and are not listed.
    """
    whole = [entry for entry in cache.entries if entry.segment is None]
    ids = {entry.entry_id for entry in whole}
    if len(whole) < 2 or ids <= {side.entry_id for side in chosen}:
        # There is no other pair.
        return [], ""
    wanted = {side.turn_id for side in chosen}
    newest = sorted(whole, key=lambda entry: entry.entry_id in wanted)[-MOST_TURNS:]
    kept = [entry for entry in whole if entry in newest]
    if len(kept) == len(whole):
        return kept, ""
    return kept, f"of {len(whole)} turns the {len(kept)} newest and the chosen ones are listed"


def all_verdicts(
    entries: list[MemoryEntry],
    side_of: Callable[[MemoryEntry], Side],
    source_camera: CameraTrajectory | None,
    before_each: Callable[[], None],
) -> tuple[list[Verdict], str]:
    """The verdict of every pair of these turns, measured on some of their frames, and which."""
    longest = max(entry.num_frames for entry in entries)
    stride = stride_for(longest, MOST_FRAMES)
    turns: list[ShownTurn] = []
    for entry in entries:
        side = side_of(entry)
        assert side.camera is not None, "a turn has a camera"
        turn = thinned(side.filmed_by(side.camera), stride)
        several = sum(other.turn == entry.turn for other in entries) > 1
        turns.append(replace(turn, name=f"{turn.name} ({entry.entry_id[:8]})") if several else turn)
    verdicts = compare_all(turns, source_camera, before_each)
    every = "" if stride == 1 else f", measured on every {stride}. frame"
    return verdicts, every


def _are_other_segments(first: Side, second: Side) -> bool:
    a, b = first.segment, second.segment
    return a is not None and b is not None and (a.start, a.num_frames) != (b.start, b.num_frames)

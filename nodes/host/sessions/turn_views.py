"""What the turns of a session saw, for the editor of camera paths: outlines, and live scores."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from ....memv2v_core.cache.entry import MemoryEntry
from ....memv2v_core.cache.storage import load_session
from ....memv2v_core.cameras.trajectory import CameraTrajectory, static_trajectory
from ....memv2v_core.pictures.direction_map import mask_outlines
from ....memv2v_core.retrieval.selection import readable_parts
from ....memv2v_core.retrieval.video_fov import (
    VideoFovConfig,
    video_fov_masks,
    video_fov_scores,
)
from .folders import folder_of, session_state

# Scores are exact and made anew with every step of a drag: 64 turns of 81 frames take a tenth of a
# second.
MAX_TURNS = 64
_MAX_SESSIONS = 4


@dataclass(frozen=True, eq=False)
class SeenTurns:
    """The newest turns of a session that can be read, oldest first.

    outlines: of all that each turn saw, closed lines on the map of directions.
    num_older: turns that are left out, as the list is full.
    """

    entries: tuple[MemoryEntry, ...]
    cameras: tuple[CameraTrajectory, ...]
    outlines: tuple[list[list[tuple[float, float]]], ...]
    num_older: int
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The turns as a page reads them."""
        turns = [
            {**_facts(entry), "outline": outline}
            for entry, outline in zip(self.entries, self.outlines, strict=True)
        ]
        return {"turns": turns, "num_older": self.num_older, "notes": self.notes}


# By session and by the radius that the outlines are for.
_kept: OrderedDict[tuple[str, float], tuple[str, SeenTurns]] = OrderedDict()
_lock = threading.Lock()


def seen_turns(session: str, config: VideoFovConfig | None = None) -> SeenTurns:
    """What the session's turns saw of the sphere; read again when its files change.

    Raises: ValueError for a name that cannot be a folder name, and for a session that a newer
    version of the pack wrote. OSError for a folder that cannot be read.
    """
    config = config or VideoFovConfig()
    key = session, config.radius
    # The state first: what changes while turns are read is seen by the next call.
    state = session_state(session)
    with _lock:
        known = _kept.get(key)
        if known is None or known[0] != state:
            known = (state, _read(session, config))
            _kept[key] = known
            while len(_kept) > _MAX_SESSIONS:
                _kept.popitem(last=False)
    return known[1]


def overlaps(
    turns: SeenTurns, path: CameraTrajectory, config: VideoFovConfig | None = None
) -> list[dict[str, Any]]:
    """How much of the path's view each turn saw, best first: the scores of VideoFOV Retrieve.

    Raises: ValueError when the path sees nothing.
    """
    if not turns.entries:
        return []
    scores = video_fov_scores(path, turns.cameras, config)
    found = [
        {
            **_facts(entry),
            "score": fov.score,
            "overlap": fov.overlap,
            "contain": fov.contain,
        }
        for entry, fov in zip(turns.entries, scores, strict=True)
    ]
    # Of equal scores the newer one stands first, as in a retrieval.
    return sorted(reversed(found), key=lambda item: -item["score"])


def _read(session: str, config: VideoFovConfig) -> SeenTurns:
    loaded = load_session(folder_of(session))
    newest = loaded.cache.entries[-MAX_TURNS:]
    entries, cameras, unreadable = readable_parts(newest, lambda entry: entry.true_camera)
    masks = video_fov_masks(cameras, static_trajectory(1), config)
    return SeenTurns(
        tuple(entries),
        tuple(cameras),
        tuple(mask_outlines(mask) for mask in masks),
        len(loaded.cache.entries) - len(newest),
        (*loaded.notices, *loaded.skipped, *unreadable),
    )


def _facts(entry: MemoryEntry) -> dict[str, Any]:
    segment = entry.segment
    return {
        "id": entry.entry_id,
        "turn": entry.turn,
        "segment": None if segment is None else segment.idx + 1,
        "is_pinned": entry.is_pinned,
    }

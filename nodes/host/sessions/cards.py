"""What the Memory Bank shows of a session: one card a turn or segment, as plain values."""

import io
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from PIL import Image

from ....memv2v_core.cache.content import LOOP, THUMBNAIL
from ....memv2v_core.cache.entry import MemoryEntry, is_entry_id
from ....memv2v_core.cache.entry_file import ENTRY_SUFFIX, read_known_entry
from ....memv2v_core.cache.storage import load_session
from ....memv2v_core.cache.stored_content import StoredContent
from ....memv2v_core.cameras.extent import extent_of
from ....memv2v_core.reshoot.entries import is_reshot
from ....memv2v_core.resuming.recipe import redo_seed_of, stale_entries
from .folders import folder_of

_SHOWN_PROMPT = 300
# Numbers on cards, not measurements.
_DIGITS = 3
_MAX_CAMERAS = 2**14
# A thousand cameras take seconds to read once, and the cards must not wait for them.
_CAMERAS_S = 0.5

# By id, which covers the camera: a session of a thousand turns is listed at every change.
_cameras: dict[str, dict[str, Any]] = {}


def bank_of(session: str) -> dict[str, Any]:
    """The cards of a session, oldest first, and notes about files that were skipped or repaired.

    Raises: ValueError for a name that cannot be a folder name, and for a session that a newer
    version of the pack wrote. OSError for a folder that cannot be read.
    """
    folder = folder_of(session)
    loaded = load_session(folder)
    cache = loaded.cache
    return {
        "session": session,
        "exists": folder.is_dir(),
        "model": cache.model_name,
        "cards": cards_of(cache.entries),
        # The note of an absent folder says nothing that the page does not show.
        "notes": [*loaded.notices, *loaded.skipped] if folder.is_dir() else [],
    }


def cards_of(entries: Sequence[MemoryEntry]) -> list[dict[str, Any]]:
    """One card for each entry, in their order.

    used_last: whether the newest entry saw it. seen_by: which entries saw it and how finely, the
    newest first.
    """
    stale, seen_by = stale_entries(entries), _seen_by(entries)
    newest = max(entries, key=lambda entry: entry.created_s, default=None)
    used_last = set() if newest is None else set(newest.memory_ids)
    until_s = time.monotonic() + _CAMERAS_S
    return [
        {
            **_facts(entry),
            **_camera_facts(entry, until_s),
            "stale": entry.entry_id in stale,
            "is_newest": entry is newest,
            "used_last": entry.entry_id in used_last,
            "seen_by": seen_by.get(entry.entry_id, []),
        }
        for entry in entries
    ]


def picture_of(session: str, entry_id: str, is_still: bool) -> tuple[bytes, str]:
    """The moving thumbnail of an entry, or its still, and the type of the file.

    Raises: ValueError for a name that cannot be a folder name or an entry's id.
    FileNotFoundError where there is no such entry, or where it has no picture.
    """
    folder = folder_of(session)
    if not is_entry_id(entry_id):
        raise ValueError("entry got no id of an entry, wanted 32 hex digits; reload the page")
    entry, reason = read_known_entry(folder, f"{entry_id}{ENTRY_SUFFIX}")
    if entry is None:
        raise FileNotFoundError(f"entry {entry_id[:8]} of session {session!r}: {reason}")
    loop = None if is_still else entry.loop
    if loop is not None:
        return loop.numpy().tobytes(), "image/webp"
    if entry.thumbnail is None:
        raise FileNotFoundError(
            f"entry {entry_id[:8]} of session {session!r} has no picture: its model has no preview "
            "colours"
        )
    written = io.BytesIO()
    Image.fromarray(entry.thumbnail.numpy()).save(written, "PNG")
    return written.getvalue(), "image/png"


def _facts(entry: MemoryEntry) -> dict[str, Any]:
    segment = entry.segment
    prompt = " ".join(entry.prompt.split())
    redo_seed = redo_seed_of(entry)
    return {
        "id": entry.entry_id,
        "unit": _unit_of(entry),
        "turn": entry.turn,
        "segment": None if segment is None else segment.idx + 1,
        "frames": None if segment is None else [segment.start + 1, segment.stop],
        "shot": None if segment is None else segment.shot + 1,
        "num_frames": entry.num_frames,
        "created_s": entry.created_s,
        # As text: JavaScript's numbers have 53 bits, and a seed has 64.
        "seed": str(entry.seed),
        "redo_seed": None if redo_seed is None else str(redo_seed),
        "mode": entry.mode,
        "prompt": prompt[:_SHOWN_PROMPT],
        "pinned": entry.is_pinned,
        "picture": _kind_of_picture(entry),
    }


def _unit_of(entry: MemoryEntry) -> str | None:
    """Which loop makes the entry again where its `redo` names it: of segments or of turns.

    None for a turn of another node.
    """
    if entry.segment is not None:
        return "segment"
    return "turn" if is_reshot(entry) else None


def _kind_of_picture(entry: MemoryEntry) -> str | None:
    # A list of a thousand turns reads no picture.
    names = entry.content.names
    return next((name for name in (LOOP, THUMBNAIL) if name in names), None)


def _camera_facts(entry: MemoryEntry, until_s: float) -> dict[str, Any]:
    """The camera in numbers, and whether it is still to be read: a later request finds it."""
    if not _has_camera(entry):
        return {"camera": None, "camera_waits": False}
    waits = entry.entry_id not in _cameras and time.monotonic() > until_s
    return {"camera": None if waits else _camera(entry), "camera_waits": waits}


def _has_camera(entry: MemoryEntry) -> bool:
    """Whether the camera of an entry is known, asked of the header alone where it is in a file."""
    content = entry.content
    return not (content if isinstance(content, StoredContent) else content.camera).is_assumed


def _camera(entry: MemoryEntry) -> dict[str, Any] | None:
    """How far the camera goes; None where it cannot be read."""
    if entry.entry_id not in _cameras:
        try:
            extent = asdict(extent_of(entry.true_camera))
        # The entry's other facts are sound, and a node that reads it says what is wrong.
        except ValueError:
            return None
        if len(_cameras) >= _MAX_CAMERAS:
            _cameras.clear()
        _cameras[entry.entry_id] = {name: round(value, _DIGITS) for name, value in extent.items()}
    return _cameras[entry.entry_id]


def _seen_by(entries: Sequence[MemoryEntry]) -> dict[str, list[dict[str, Any]]]:
    """Which entries saw each entry, the newest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in sorted(entries, key=lambda entry: -entry.created_s):
        kernels = entry.memory_kernels or (None,) * len(entry.memory_ids)
        for entry_id, kernel in zip(entry.memory_ids, kernels, strict=True):
            segment = entry.segment
            number = entry.turn if segment is None else segment.idx + 1
            found.setdefault(entry_id, []).append({"number": number, "kernel": kernel})
    return found

"""Says when a workflow opens a session for the first time on this machine.

A workflow from somebody else may name a session that is already here, and would read and grow its
memory unseen. So would a session that came from elsewhere.
"""

import json
import logging
import time
from contextlib import suppress
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ....memv2v_core.atomic_files import make_folder, read_file, write_atomically
from ....memv2v_core.cache.boundary import attempt
from ....memv2v_core.cache.entry_file import ENTRY_SUFFIX
from ..shown import show_on_running_node
from .folders import folder_of

# Of every session the workflows that used it last, and of these lists the newest.
_MAX_WORKFLOWS, _MAX_SESSIONS = 100, 2000
_MAX_BYTES = 16 * 2**20
_MAX_ID_LENGTH = 64
_NO_WORKFLOW = "no workflow"


def first_use_notes(session: str, hidden: io.HiddenHolder | None) -> tuple[str, ...]:
    """A note where this workflow uses the session for the first time and turns are in it already.

    To call before the session is read or written.

    hidden: of a node whose schema asks for `EXTRA_PNGINFO`.

    Raises: ValueError for a name that cannot be a folder name.
    """
    if not session:
        return ()
    folder = folder_of(session)
    workflow, known = workflow_id(hidden) or _NO_WORKFLOW, _known()
    used_by = known.pop(session, [])
    if workflow in used_by:
        return ()
    # The newest stand last, and the oldest are dropped.
    known[session] = [*used_by, workflow][-_MAX_WORKFLOWS:]
    _write(dict(list(known.items())[-_MAX_SESSIONS:]))
    times_s = _times_of_turns(folder)
    if not times_s:
        return ()
    changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(max(times_s)))
    note = (
        f"first use of session {session!r} by this workflow: it holds {len(times_s)} turns, the "
        f"newest from {changed}; this workflow reads them and adds to them. Choose another session "
        "name if you did not mean these"
    )
    # Seen before anything is sampled; the report comes at the end.
    logging.warning("Memory-V2V: %s", note)
    show_on_running_node(note)
    return (note,)


def _times_of_turns(folder: Path) -> list[float]:
    """When each entry's file was written, in seconds since 1970."""
    times_s = []
    for path in folder.glob(f"*{ENTRY_SUFFIX}") if folder.is_dir() else ():
        # Another program may have forgotten it meanwhile.
        with suppress(OSError):
            times_s.append(path.stat().st_mtime)
    return times_s


def workflow_id(hidden: io.HiddenHolder | None) -> str | None:
    """The id that ComfyUI's editor gives every workflow; None for requests without an editor.

    hidden: of a node whose schema asks for `EXTRA_PNGINFO`.
    """
    info = getattr(hidden, "extra_pnginfo", None)
    workflow = info.get("workflow") if isinstance(info, dict) else None
    name = workflow.get("id") if isinstance(workflow, dict) else None
    return name[:_MAX_ID_LENGTH] if isinstance(name, str) and name else None


def _file() -> Path:
    return Path(folder_paths.get_user_directory()) / "memory_v2v" / "sessions_used.json"


def _known() -> dict[str, list[str]]:
    """Which workflows used which session; empty where the list cannot be read."""
    content, _ = attempt(_parsed, _file())
    return content or {}


def _parsed(path: Path) -> dict[str, list[str]]:
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError("is too large, wanted the list of used sessions; delete it")
    content = json.loads(read_file(path))
    return {
        session: [name for name in names if isinstance(name, str)]
        for session, names in content.items()
        if isinstance(names, list)
    }


def _write(known: dict[str, list[str]]) -> None:
    path = _file()
    try:
        make_folder(path.parent)
        write_atomically(path, json.dumps(known, indent=1).encode())
    except OSError:
        # The note comes again next time: better twice than never.
        return

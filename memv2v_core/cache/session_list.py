"""What a list of sessions says of each: its size, its age and its model."""

from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..atomic_files import Stamp, stamp_of
from .entry_file import ENTRY_SUFFIX
from .manifest_file import MANIFEST_NAME, read_manifest
from .session_names import list_sessions

_MAX_KNOWN = 4096

_known: OrderedDict[Path, tuple[Stamp, "SessionFacts"]] = OrderedDict()


class SessionFacts(NamedTuple):
    """One session on disk.

    newest_s: when its newest turn was made, in seconds since 1970; 0 where it has none.
    problem: why its list could not be read; then turns and time come from the files alone.
    """

    name: str
    num_turns: int
    newest_s: float
    model_name: str | None
    problem: str = ""


def session_facts(root: Path) -> tuple[SessionFacts, ...]:
    """Every session under `root`, the newest first."""
    facts = [_facts(root / name) for name in list_sessions(root)]
    return tuple(sorted(facts, key=lambda found: (-found.newest_s, found.name)))


def _facts(folder: Path) -> SessionFacts:
    stamp, held = stamp_of(folder / MANIFEST_NAME), _known.get(folder)
    if held is not None and held[0] == stamp:
        return held[1]
    try:
        read = read_manifest(folder, is_kept=False)
    except ValueError as error:
        return _from_files(folder, str(error))
    if read.manifest is None or read.problem:
        return _from_files(folder, read.problem)
    records = read.manifest.records
    newest_s = max((record.created_s for record in records), default=0.0)
    facts = SessionFacts(folder.name, len(records), newest_s, read.manifest.model_name)
    if stamp is not None:
        _known[folder] = (stamp, facts)
        while len(_known) > _MAX_KNOWN:
            with suppress(KeyError):
                _known.popitem(last=False)
    return facts


def _from_files(folder: Path, problem: str) -> SessionFacts:
    times_s = []
    for path in folder.glob(f"*{ENTRY_SUFFIX}"):
        # Another program may have removed it meanwhile.
        with suppress(OSError):
            times_s.append(path.stat().st_mtime)
    return SessionFacts(folder.name, len(times_s), max(times_s, default=0.0), None, problem)

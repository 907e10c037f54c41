"""Changes that a user makes to a session on disk by hand, outside of any run."""

from collections import Counter
from collections.abc import Callable

from ....memv2v_core.cache.memory_cache import MemoryCache
from ....memv2v_core.cache.storage import load_session, save_session
from .folders import folder_of, has_turns
from .kept import drop_kept

# Of this process, as ComfyUI's own memory of what it ran.
_changes: Counter[str] = Counter()


def hand_changes(session: str | None) -> str:
    """A text that is another one after each change by hand; for `fingerprint_inputs`.

    A node that reads and writes its session must run again after a change by hand, and not after
    its own. session: None or "" where the node's session is not known yet; then all count.
    """
    return str(_changes[session] if session else _changes.total())


def pin(session: str, entry_id: str, is_pinned: bool) -> tuple[str, ...]:
    """Pin an entry of a session on disk, or unpin it. Returns notes of the save.

    Raises: ValueError where the session has no such entry. OSError where it cannot be written.
    """
    return _change(session, lambda cache: cache.pin(entry_id, is_pinned))


def forget(session: str, entry_id: str) -> tuple[str, ...]:
    """Delete an entry of a session on disk. Returns notes and raises as `pin`."""
    return _change(session, lambda cache: cache.forget(entry_id))


def branch(session: str, entry_id: str, name: str) -> tuple[str, ...]:
    """Save the session as it was after an entry under a new name. Returns notes of the save.

    Raises: as `pin`; ValueError also for a name that holds turns already.
    """
    if not name:
        raise ValueError("the branch got no name, wanted one; choose a name like 'kitchen_02'")
    if has_turns(name):
        raise ValueError(
            f"session {name!r} holds turns already, wanted a new name; a branch never mixes with "
            "another session"
        )
    cache = load_session(folder_of(session)).cache.branch(entry_id, name)
    _changes[name] += 1
    return save_session(cache, folder_of(name)).notices


def _change(session: str, change: Callable[[MemoryCache], MemoryCache]) -> tuple[str, ...]:
    folder = folder_of(session)
    opened = load_session(folder).cache
    changed = change(opened)
    if changed is opened:
        return ()
    # Without the node's wait: a click must not end a run that shares its stop.
    notices = save_session(changed, folder).notices
    drop_kept(session, {old.entry_id for old in changed.forgotten})
    _changes[session] += 1
    return notices

"""Every target, by name."""

from . import bad_readers
from .target import Target
from .targets import cameras, sessions, weights


def all_targets() -> dict[str, Target]:
    """The targets, in the order of the table."""
    # PyAV and ComfyUI are slow to import, so clips stand in a process that asks for them.
    from .targets import clips

    found = (*sessions.TARGETS, *weights.TARGETS, *cameras.TARGETS, *clips.TARGETS)
    return {target.name: target for target in found}


def target_of(name: str) -> Target:
    """The target with this name; also the bad readers that prove the classes."""
    return {**all_targets(), **bad_readers.TARGETS}[name]

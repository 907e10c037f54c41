"""What is attacked: files in a folder, what may be changed there, and what reads them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

Mutation = Callable[[Path, Random], str]


@dataclass(frozen=True)
class Report:
    """What a reader said about a file.

    kind: "report" for a sentence of a result, else the name of the exception's type.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class Reading:
    """What a reader got.

    value: a digest for each thing that was read. reports: what the reader said.
    """

    value: dict[str, str]
    reports: tuple[Report, ...] = ()


@dataclass(frozen=True)
class Target:
    """One kind of file.

    make: writes the intact files into an empty folder. victims: those that a mutation may change.
    mutations: used in turn, so that each is used equally often; each changes the file in place and
    says how. read: what the pack gets from the folder.
    has_checksum: the format tells whether its numbers changed. A change of another format's numbers
    cannot be noticed and is counted as `changed`, not as `silent`.
    names_any: a report may name any file of the folder, not the changed one alone.
    is_session: each file of an entry is read for itself, and intact ones must stay readable.
    needs_comfy: its reader is a node.
    """

    name: str
    make: Callable[[Path], None]
    victims: Callable[[Path], list[Path]]
    mutations: tuple[Mutation, ...]
    read: Callable[[Path], Reading]
    has_checksum: bool = False
    names_any: bool = False
    is_session: bool = False
    needs_comfy: bool = False

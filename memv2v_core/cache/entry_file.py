"""One entry as one safetensors file, named by its content hash.

Reading a file never executes anything from it.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from ..atomic_files import Stamp, stamp_of, write_atomically
from .boundary import attempt, make_way
from .entry import MemoryEntry, made_text
from .entry_header import header_texts, parsed_header
from .stored_content import StoredContent, checked_shapes, tensor_hash

ENTRY_SUFFIX = ".safetensors"
# A prompt of a whole book fits; a header that was made to fill the memory does not.
_MAX_HEADER_BYTES = 4 * 2**20
_SIZE_BYTES = 8
# About 20 kB each, most of it cameras that were read. Fewer than the entries of a session would be
# of no use: each load would push out what the next one asks for.
_MAX_KNOWN = 2**14

# Entries whose headers this process has read: a graph opens its session at every run.
# By folder and name, as text: paths are slow for a thousand files.
_known: OrderedDict[tuple[str, str], tuple[Stamp, MemoryEntry]] = OrderedDict()
# Nodes and the Memory Bank's requests run in threads of their own.
_lock = threading.Lock()


def entry_path(folder: Path, entry_id: str) -> Path:
    """Path of the entry with this id in the folder of its session."""
    return folder / f"{entry_id}{ENTRY_SUFFIX}"


def write_entry(folder: Path, entry: MemoryEntry) -> MemoryEntry:
    """The entry as it is in its file now, with tensors that are read when they are needed.

    A sound file of this entry is not written again, unless the entry holds the turn without memory
    and the file does not. Tensors keep their dtype, so they come back bit-equal.

    Raises: OSError when nothing can be written. ValueError when the entry lies in another file that
    cannot be read any more.
    """
    path = entry_path(folder, entry.entry_id)
    # The name is the hash of the content, so a sound file of this name is this entry. It may lack
    # the turn without memory, which came later.
    stored, _ = attempt(read_entry, path)
    if (
        stored is not None
        and stored.problem() is None
        and has_hashes(stored)
        and (stored.has_without_memory or not entry.has_without_memory)
    ):
        return _with_facts_of(entry, stored)
    # Cloned: safetensors refuses tensors that share memory, and a latent and its source may.
    tensors = {
        name: value.cpu().clone(memory_format=torch.contiguous_format)
        for name, value in entry.content.tensors().items()
    }
    hashes = {name: tensor_hash(value) for name, value in tensors.items()}
    make_way(path)
    write_atomically(path, safetensors.torch.save(tensors, header_texts(entry, hashes)))
    return _with_facts_of(entry, read_entry(path))


def read_entry(path: Path) -> MemoryEntry:
    """The entry in this file. Only the header is read: tensors follow when they are needed.

    Raises: ValueError with the reason when the file is broken or foreign, or when its header is not
    the header that was written.
    """
    # Step 1: the size of the header, before anything reads it.
    with path.open("rb") as file:
        size = int.from_bytes(file.read(_SIZE_BYTES), "little")
    if size > _MAX_HEADER_BYTES:
        raise ValueError(
            f"its header states {size} bytes, wanted at most {_MAX_HEADER_BYTES}: not an entry; "
            "move it out of the session's folder"
        )
    # Step 2: the facts, then the tensors that must be there.
    with safetensors.safe_open(path, framework="pt") as opened:
        header = parsed_header(opened.metadata() or {}, path.stem)
        shapes = checked_shapes(opened)
    if header.tensor_hashes is not None and header.tensor_hashes.keys() != shapes.keys():
        raise ValueError("its tensors are not the ones that were written; make its turn again")
    # Step 3: the value, which checks its counts when it is made.
    facts = header.facts
    made = made_text(facts.get("segment"), facts.get("recipe", ""), facts.get("memory_ids", ()))
    content = StoredContent(path, shapes, header.is_assumed, header.tensor_hashes, made)
    return MemoryEntry(content, **facts)


def read_known_entry(folder: Path, name: str) -> tuple[MemoryEntry | None, str]:
    """The entry in this file of a folder, or None and the reason why it cannot be read.

    Entries of two calls share what they have read of a file that did not change.
    """
    key = str(folder), name
    stamp, held = stamp_of(f"{key[0]}{os.sep}{name}"), _known.get(key)
    if held is not None and stamp is not None and held[0] == stamp:
        with _lock:
            _known[key] = held
            _known.move_to_end(key)
        return held[1], ""
    entry, reason = attempt(read_entry, folder / name)
    with _lock:
        _known.pop(key, None)
        if entry is not None and stamp is not None:
            _known[key] = (stamp, entry)
        while len(_known) > _MAX_KNOWN:
            _known.popitem(last=False)
    return entry, reason


def read_entries(
    folder: Path, names: Iterable[str]
) -> tuple[dict[str, MemoryEntry], dict[str, str]]:
    """Entries by id, and why each of the other files cannot be read, of the entries in `names`."""
    found, broken = {}, {}
    for name in sorted(names):
        if not name.endswith(ENTRY_SUFFIX):
            continue
        entry, reason = read_known_entry(folder, name)
        if entry is None:
            broken[name] = reason
        else:
            found[name.removesuffix(ENTRY_SUFFIX)] = entry
    return found, broken


def has_hashes(entry: MemoryEntry) -> bool:
    """Whether a stored entry's file covers every tensor with a hash.

    Files from before this version do not: only latent and camera are covered, by the id.
    """
    return isinstance(entry.content, StoredContent) and entry.content.hashes is not None


def is_in(folder: Path, entry: MemoryEntry) -> bool:
    """Whether the entry's tensors are read from its file in this folder."""
    content = entry.content
    return isinstance(content, StoredContent) and content.folder == str(folder)


def _with_facts_of(entry: MemoryEntry, stored: MemoryEntry) -> MemoryEntry:
    # Pins and the rest of this graph count, not what the file said when it was written.
    return replace(entry, content=stored.content)

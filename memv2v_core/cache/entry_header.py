"""The facts and the hashes in the header of an entry's file, as text.

Header texts: the facts of every turn, the facts that only long videos use, how fine the memories
were seen, who made the turn, and the hashes. The hashes cover every tensor and all other texts, so
that no changed bit goes unnoticed. Files of the first versions have no hashes.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from .entry import MAX_MAKER, MODES, MemoryEntry, Segment, is_entry_id

Kind = type | tuple[type, ...]

_FORMAT_VERSION = 1
_FACTS_KEY = "memory_v2v_entry"
_SEGMENT_KEY = "memory_v2v_segment"
_SEEN_KEY = "memory_v2v_seen"
_MAKER_KEY = "memory_v2v_maker"
_HASHES_KEY = "memory_v2v_hashes"
_KEYS = {_FACTS_KEY, _SEGMENT_KEY, _SEEN_KEY, _MAKER_KEY, _HASHES_KEY}
_PLAIN_FACTS: dict[str, type] = {
    "model_name": str,
    "num_frames": int,
    "turn": int,
    "created_s": float,
    "prompt": str,
    "seed": int,
    "mode": str,
    "is_pinned": bool,
}
_PLACE_FACTS = ("idx", "start", "num_frames", "shot")
_SEGMENT_FACTS: dict[str, Kind] = {
    "segment": (dict, type(None)),
    "memory_ids": list,
    "recipe": str,
    "descriptor_name": str,
}
_SEEN_FACTS: dict[str, Kind] = {"kernels": list}
_HASH_FACTS: dict[str, Kind] = {"entry_id": str, "tensors": dict, "header": str}
_REMADE = "restore it from a backup, or delete it and make its turn again"


@dataclass(frozen=True)
class Header:
    """What an entry's header says.

    facts: fields of MemoryEntry. is_assumed: see CameraTrajectory.
    tensor_hashes: hash of every tensor by name; None in a file from before this version.
    """

    facts: dict
    is_assumed: bool
    tensor_hashes: dict[str, str] | None


def header_texts(entry: MemoryEntry, tensor_hashes: Mapping[str, str]) -> dict[str, str]:
    """The header texts of an entry with these hashes."""
    plain = {name: kind(getattr(entry, name)) for name, kind in _PLAIN_FACTS.items()}
    facts = {
        "version": _FORMAT_VERSION,
        "parent_id": entry.parent_id,
        "is_assumed": bool(entry.camera.is_assumed),
        **plain,
    }
    texts = {_FACTS_KEY: json.dumps(facts), **_segment_texts(entry), **_seen_texts(entry)}
    if entry.maker:
        texts[_MAKER_KEY] = entry.maker
    covered = _hash_of(texts, entry.entry_id, tensor_hashes)
    hashes = {"entry_id": entry.entry_id, "tensors": dict(tensor_hashes), "header": covered}
    return {**texts, _HASHES_KEY: json.dumps(hashes)}


def parsed_header(texts: Mapping[str, str], entry_id: str) -> Header:
    """The header of the file that is named `entry_id`.

    Raises: ValueError for a foreign header, another format, changed bytes and a renamed file.
    """
    if _FACTS_KEY not in texts:
        raise ValueError(
            "not a Memory-V2V entry: its header has no such metadata; move it out of the session's "
            "folder"
        )
    if unknown := texts.keys() - _KEYS:
        raise ValueError(
            f"its header has {len(unknown)} unknown texts, so its bytes changed or it is foreign; "
            f"{_REMADE}"
        )
    hashes = _checked_hashes(texts, entry_id)
    facts = {**_facts(texts), **_segment_of(texts), **_seen_of(texts), **_maker_of(texts)}
    is_assumed = facts.pop("is_assumed")
    return Header(facts, is_assumed, None if hashes is None else hashes["tensors"])


def _checked_hashes(texts: Mapping[str, str], entry_id: str) -> dict | None:
    if _HASHES_KEY not in texts:
        return None
    hashes = json.loads(texts[_HASHES_KEY])
    if wrong := _wrong(hashes, _HASH_FACTS):
        raise ValueError(f"its hashes are broken ({', '.join(wrong)}); {_REMADE}")
    covered = {name: text for name, text in texts.items() if name != _HASHES_KEY}
    if _hash_of(covered, hashes["entry_id"], hashes["tensors"]) != hashes["header"]:
        raise ValueError(f"the bytes of its header changed; {_REMADE}")
    if hashes["entry_id"] != entry_id:
        raise ValueError(
            "it was renamed: its name is not the id of its content; give it back its name, or "
            "delete it"
        )
    return hashes


def _hash_of(texts: Mapping[str, str], entry_id: str, tensor_hashes: Mapping[str, str]) -> str:
    covered = json.dumps([dict(texts), entry_id, dict(tensor_hashes)], sort_keys=True)
    return hashlib.sha256(covered.encode()).hexdigest()


def _facts(texts: Mapping[str, str]) -> dict:
    """Facts of MemoryEntry, and is_assumed; every type is checked."""
    facts = json.loads(texts[_FACTS_KEY])
    # The version comes first: the facts of another version mean nothing here.
    version = facts.pop("version", None) if isinstance(facts, dict) else None
    if version != _FORMAT_VERSION:
        is_number = isinstance(version, int) and abs(version) < 10**6
        raise ValueError(
            f"has entry format {version if is_number else 'unknown'}, wanted {_FORMAT_VERSION}; "
            "update the node pack"
        )
    kinds: dict[str, Kind] = {**_PLAIN_FACTS, "is_assumed": bool, "parent_id": (str, type(None))}
    wrong = _wrong(facts, kinds)
    if not wrong and not math.isfinite(facts["created_s"]):
        wrong.append("created_s")
    if not wrong and facts["mode"] not in MODES:
        wrong.append("mode")
    if not wrong and not (facts["parent_id"] is None or is_entry_id(facts["parent_id"])):
        wrong.append("parent_id")
    if wrong:
        raise ValueError(f"has metadata with wrong or missing [{', '.join(wrong)}]; {_REMADE}")
    return facts


def _segment_texts(entry: MemoryEntry) -> dict[str, str]:
    """The header text with the facts that only long videos use; empty where there is none."""
    if entry.segment is None and not (entry.memory_ids or entry.recipe or entry.descriptor_name):
        return {}
    place = None
    if entry.segment is not None:
        place = {name: int(getattr(entry.segment, name)) for name in _PLACE_FACTS}
    facts = {
        "segment": place,
        "memory_ids": list(entry.memory_ids),
        "recipe": entry.recipe,
        "descriptor_name": entry.descriptor_name,
    }
    return {_SEGMENT_KEY: json.dumps(facts)}


def _segment_of(texts: Mapping[str, str]) -> dict:
    """Facts of MemoryEntry for an entry of a long video; empty for other files."""
    if _SEGMENT_KEY not in texts:
        return {}
    facts = json.loads(texts[_SEGMENT_KEY])
    wrong = _wrong(facts, _SEGMENT_FACTS)
    if not wrong:
        place, memory_ids = facts["segment"], facts["memory_ids"]
        # The segment has its own facts.
        if place is not None and _wrong(place, dict.fromkeys(_PLACE_FACTS, int)):
            wrong.append("segment")
        if not all(is_entry_id(text) for text in memory_ids):
            wrong.append("memory_ids")
    if wrong:
        raise ValueError(
            f"has segment metadata with wrong or missing [{', '.join(wrong)}]; update the node "
            f"pack, or {_REMADE}"
        )
    segment = None if place is None else Segment(**place)
    return {**facts, "segment": segment, "memory_ids": tuple(memory_ids)}


def _seen_texts(entry: MemoryEntry) -> dict[str, str]:
    """The header text with the kernel of each memory; empty where nothing was seen."""
    if not entry.memory_kernels:
        return {}
    return {_SEEN_KEY: json.dumps({"kernels": [int(kernel) for kernel in entry.memory_kernels]})}


def _seen_of(texts: Mapping[str, str]) -> dict:
    """Facts of MemoryEntry for an entry that saw memories; empty for other files."""
    if _SEEN_KEY not in texts:
        return {}
    facts = json.loads(texts[_SEEN_KEY])
    wrong = _wrong(facts, _SEEN_FACTS)
    if not wrong and not all(_is_a(kernel, int) and kernel > 0 for kernel in facts["kernels"]):
        wrong.append("kernels")
    if wrong:
        raise ValueError(f"has wrong or missing [{', '.join(wrong)}] of its memories; {_REMADE}")
    return {"memory_kernels": tuple(facts["kernels"])}


def _maker_of(texts: Mapping[str, str]) -> dict:
    """The fact who made a turn; empty for other files."""
    maker = texts.get(_MAKER_KEY, "")
    if len(maker) > MAX_MAKER:
        raise ValueError(
            f"names a maker of {len(maker)} characters, wanted at most {MAX_MAKER}; {_REMADE}"
        )
    return {"maker": maker}


def _wrong(facts: object, kinds: Mapping[str, Kind]) -> list[str]:
    """Names of our facts that are missing or of another type; one word for foreign ones."""
    if not isinstance(facts, dict):
        return ["all"]
    wrong = [name for name, kind in kinds.items() if not _is_a(facts.get(name), kind)]
    return wrong if facts.keys() <= kinds.keys() else [*wrong, "unknown names"]


def _is_a(value: object, kind: Kind) -> bool:
    # True counts as 1 for Python, and is no number of frames.
    if isinstance(value, bool) and kind is not bool:
        return False
    # A seed has 64 bits, and nothing else has more.
    if isinstance(value, int) and abs(value) >= 2**64:
        return False
    return isinstance(value, kind)

"""A session of three turns: one of its entries, its manifest, or its whole folder is changed."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import torch

from memv2v_core.cache.entry import MemoryEntry, Segment
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import load_session, save_session
from memv2v_core.cameras.trajectory import CameraTrajectory, default_intrinsics

from ..mutations import places
from ..mutations.content import BYTES
from ..mutations.json_text import change_json
from ..mutations.safetensors_file import SAFETENSORS
from ..target import Reading, Report, Target

SESSION, MANIFEST, SUFFIX = "room", "session.json", ".safetensors"
TENSORS = ("latent", "source_latent", "source_descriptor", "thumbnail")
FIELDS = (
    *("entry_id", "model_name", "num_frames", "turn", "created_s", "prompt", "seed", "mode"),
    *("parent_id", "segment", "memory_ids", "recipe", "descriptor_name"),
)
SAVE_PATIENCE_S = 2.0


def make_entry(number: int, side: int = 6, num_latent: int = 2) -> MemoryEntry:
    """A small entry with every field; the same for the same numbers.

    side, num_latent: rows and latent frames.
    """
    generator = torch.Generator().manual_seed(1000 + number)
    c2w = torch.eye(4, dtype=torch.float64).repeat(5, 1, 1)
    c2w[:, 0, 3] = torch.rand(5, generator=generator, dtype=torch.float64)
    return MemoryEntry.of(
        latent=torch.randn(4, num_latent, side, 8, generator=generator),
        camera=CameraTrajectory(c2w, default_intrinsics(5)),
        model_name="small",
        num_frames=5,
        turn=number,
        created_s=1000.0 + number,
        source_latent=torch.randn(4, num_latent, side, 8, generator=generator),
        source_descriptor=torch.randn(7, generator=generator),
        prompt=f"turn {number}: {places.SECRET}",
        seed=number,
        mode="trained",
        thumbnail=torch.randint(0, 256, (4, 5, 3), dtype=torch.uint8, generator=generator),
        segment=Segment(number - 1, 5 * (number - 1), 5),
        memory_ids=("0" * 32,),
        recipe="recipe",
        descriptor_name="colours",
    )


def make_session(folder: Path) -> None:
    """Three entries, the first pinned; a fourth is forgotten, and its file is still there."""
    folder = folder / SESSION
    cache = MemoryCache()
    for number in (1, 2, 3, 4):
        cache = cache.append(make_entry(number))
    save_session(cache, folder)
    forgotten = cache.entries[3].entry_id
    kept = (folder / f"{forgotten}{SUFFIX}").read_bytes()
    changed = load_session(folder).cache.pin(cache.entries[0].entry_id).forget(forgotten)
    save_session(changed, folder)
    # Windows keeps a file that another program has open.
    (folder / f"{forgotten}{SUFFIX}").write_bytes(kept)


def read_session(folder: Path) -> Reading:
    """Everything that the session gives, tensors included; a broken part becomes a report."""
    loaded = load_session(folder / SESSION)
    reports = [Report("report", text) for text in (*loaded.skipped, *loaded.notices)]
    value = {"model": str(loaded.cache.model_name)}
    readable = []
    for entry in loaded.cache.entries:
        try:
            value[f"entry {entry.entry_id}"] = entry_digest(entry)
            readable.append(entry.entry_id)
        except Exception as error:
            reports.append(Report(type(error).__name__, str(error)))
    pins = [entry.entry_id for entry in loaded.cache.entries if entry.is_pinned]
    value["order"], value["pins"] = " ".join(readable), " ".join(pins)
    return Reading(value, tuple(reports))


def entry_digest(entry: MemoryEntry) -> str:
    """A hash of all tensors and fields of an entry, pins left out."""
    digest = hashlib.sha256()
    for name in FIELDS:
        digest.update(f"{name}={getattr(entry, name)!r};".encode("utf-8", "backslashreplace"))
    camera = entry.camera
    tensors = [getattr(entry, name) for name in TENSORS]
    for tensor in (*tensors, camera.c2w, camera.intrinsics):
        digest.update(tensor_bytes(tensor))
    digest.update(str(camera.is_assumed).encode())
    return digest.hexdigest()


def tensor_bytes(tensor: torch.Tensor | None) -> bytes:
    """Type, shape and numbers of a tensor."""
    if tensor is None:
        return b"none"
    head = f"{tensor.dtype}{tuple(tensor.shape)}".encode()
    return head + tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def read_and_save(folder: Path) -> Reading:
    """The session, read before and after the next turn is saved into it."""
    before = read_session(folder)
    began_s = time.monotonic()
    cache = load_session(folder / SESSION).cache
    try:
        save_session(cache.append(make_entry(9)), folder / SESSION)
        failed = ()
    except ValueError as error:
        failed = (Report("ValueError", str(error)),)
    except OSError as error:
        # A save may also be refused by the system, in a sentence that names the file.
        failed = (Report("report", str(error)),)
    took_s = time.monotonic() - began_s
    if took_s > SAVE_PATIENCE_S:
        failed = (*failed, Report("SlowSave", f"the next save took {took_s:.1f} s"))
    after = read_session(folder)
    ninth = f"entry {make_entry(9).entry_id}"
    if not failed and ninth not in after.value:
        failed = (Report("LostSave", "the next save was acknowledged, but is not there"),)
    gone = [
        key
        for key, digest in before.value.items()
        if key.startswith("entry ") and after.value.get(key) != digest
    ]
    if gone:
        failed = (*failed, Report("LostSave", f"gone after the next save: {gone}"))
    return Reading(before.value, (*before.reports, *failed))


def entry_files(folder: Path) -> list[Path]:
    """The files of live entries."""
    content = json.loads((folder / SESSION / MANIFEST).read_text())
    return sorted(folder / SESSION / f"{one['entry_id']}{SUFFIX}" for one in content["entries"])


def manifest_file(folder: Path) -> list[Path]:
    return [folder / SESSION / MANIFEST]


def any_file(folder: Path) -> list[Path]:
    return [*entry_files(folder), *manifest_file(folder)]


def renamed(path: Path, rng: Random) -> str:
    other = rng.choice(("0" * 32 + SUFFIX, "mine.safetensors", path.name + ".bak", path.name[1:]))
    path.rename(path.with_name(other))
    return f"{path.name} renamed to {other}"


def duplicated(path: Path, rng: Random) -> str:
    other = rng.choice((f"{path.stem} (1){path.suffix}", f"copy of {path.name}", "f" * 32 + SUFFIX))
    shutil.copy(path, path.with_name(other))
    return f"{path.name} copied to {other}"


def overwritten_by_sibling(path: Path, rng: Random) -> str:
    others = [other for other in path.parent.iterdir() if other != path and other.is_file()]
    other = rng.choice(sorted(others))
    path.write_bytes(other.read_bytes())
    return f"{path.name} holds {other.name}"


def upper_case(path: Path, _rng: Random) -> str:
    path.rename(path.with_name(path.name.upper()))
    return f"{path.name} in capitals"


def strays(path: Path, rng: Random) -> str:
    """Files and folders that do not belong here, beside an intact session."""
    kinds: dict[str, Callable[[Path], object]] = {
        "notes.txt": lambda place: place.write_text("x"),
        ".hidden": lambda place: place.write_text("x"),
        "a" * 32 + ".tmp": lambda place: place.write_text("x"),
        "folder": lambda place: place.mkdir(),
        "c" * 32 + SUFFIX: lambda place: place.mkdir(),
        "d" * 32 + SUFFIX: lambda place: place.write_bytes(b"\x10" + bytes(30)),
        "loop": lambda place: place.symlink_to("loop"),
        "pipe": lambda place: os.mkfifo(place),
        "e" * 32 + SUFFIX: lambda place: os.mkfifo(place),
        "0.tmp": lambda place: os.mkfifo(place),
        "f" * 32 + ".tmp": lambda place: place.mkdir(),
        "line\nbreak.safetensors": lambda place: place.write_text("x"),
        "\udcff.safetensors": lambda place: place.write_text("x"),
    }
    name = rng.choice(sorted(kinds))
    kinds[name](path.with_name(name))
    return f"stray {name!r}"


def lock_left_behind(path: Path, rng: Random) -> str:
    """What a killed writer leaves: its lock, fresh, and a temporary file."""
    for name in ("session.lock", *rng.sample(("session.lock.stale", ".session.lock"), 1)):
        path.with_name(name).write_text(f"{os.getpid()} {'ab' * 16}")
    path.with_name("b" * 32 + ".tmp").write_bytes(b"half a file")
    return "a lock and a temporary file left behind"


FOLDER_CHANGES = (
    *(renamed, duplicated, overwritten_by_sibling, upper_case, lock_left_behind),
    *(strays, strays, strays, *places.PLACES),
)
ENTRY = Target(
    "session entry",
    make_session,
    entry_files,
    (*SAFETENSORS, *SAFETENSORS, *BYTES, *places.PLACES),
    read_session,
    has_checksum=True,
    is_session=True,
    names_any=True,
)
SESSION_MANIFEST = Target(
    "session manifest",
    make_session,
    manifest_file,
    (*(change_json,) * 12, *BYTES, *places.PLACES),
    read_session,
    has_checksum=True,
    is_session=True,
    names_any=True,
)
FOLDER = Target(
    "session folder",
    make_session,
    any_file,
    FOLDER_CHANGES,
    read_and_save,
    has_checksum=True,
    is_session=True,
    names_any=True,
)
TARGETS = (ENTRY, SESSION_MANIFEST, FOLDER)

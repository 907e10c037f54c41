"""Tensors that stay in the entry's file and are read when they are needed.

A session of a thousand turns would otherwise fill the memory. Every read checks the tensor's hash,
so bytes that changed on the disk are found before a model sees them.
"""

import hashlib
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch

from ..cameras.trajectory import CameraTrajectory
from .boundary import named
from .content import (
    C2W,
    DESCRIPTOR,
    ID_LENGTH,
    INTRINSICS,
    LATENT,
    LOOP,
    MAX_LOOP_BYTES,
    SOURCE,
    THUMBNAIL,
    TIMES,
    WITHOUT_MEMORY,
    feed_tensor,
    require_finite,
)

MiB = 2**20
# Far above any real video: they stop a file that was made to fill the memory.
_MAX_BYTES = {
    LATENT: 2048 * MiB,
    SOURCE: 2048 * MiB,
    WITHOUT_MEMORY: 2048 * MiB,
    C2W: 64 * MiB,
    INTRINSICS: 64 * MiB,
    TIMES: 64 * MiB,
    DESCRIPTOR: 64 * MiB,
    THUMBNAIL: 64 * MiB,
    LOOP: MAX_LOOP_BYTES,
}
_REQUIRED = (LATENT, C2W, INTRINSICS)
_NUM_AXES = {
    LATENT: 4,
    SOURCE: 4,
    WITHOUT_MEMORY: 4,
    C2W: 3,
    INTRINSICS: 3,
    THUMBNAIL: 3,
    LOOP: 1,
}
_FLOATS = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}
_PICTURES = {"U8": 1}
_REMADE = "restore it from a backup, or delete it and make its turn again"

Shapes = Mapping[str, tuple[int, ...]]


class StoredContent:
    """The `Content` of an entry in a file.

    shapes: of every tensor, see `checked_shapes`. hashes: of every tensor; None for a file from
    before this version, whose id covers latent, camera and `made` alone (see `made_text`).
    """

    def __init__(
        self,
        path: Path,
        shapes: Shapes,
        is_assumed: bool,
        hashes: Mapping[str, str] | None,
        made: str,
    ) -> None:
        self.path = path
        # As text: a save compares it for every entry of the session.
        self.folder = str(path.parent)
        self.shapes = shapes
        self.is_assumed = is_assumed
        self.hashes = hashes
        self._made = made
        # Whether the id of a file without hashes was compared.
        self._is_known = hashes is not None
        # A latent is read again when nobody holds it any more; small tensors are kept.
        self._seen: weakref.WeakValueDictionary[str, torch.Tensor] = weakref.WeakValueDictionary()
        self._small: dict[str, torch.Tensor] = {}
        self._camera: CameraTrajectory | None = None

    @property
    def latent(self) -> torch.Tensor:
        """(C, T, H, W) float."""
        return self._large(LATENT)

    @property
    def latent_size(self) -> tuple[int, int, int, int]:
        """(C, T, H, W)."""
        channels, num_latent, height, width = self.shapes[LATENT]
        return channels, num_latent, height, width

    @property
    def camera(self) -> CameraTrajectory:
        """The camera of every pixel frame."""
        if self._camera is None:
            times = (TIMES,) if TIMES in self.shapes else ()
            read = self._read((C2W, INTRINSICS, *times))
            self._camera = CameraTrajectory(
                read[C2W], read[INTRINSICS], self.is_assumed, read.get(TIMES)
            )
        return self._camera

    @property
    def num_cameras(self) -> int:
        """Pixel frames of the camera."""
        return self.shapes[C2W][0]

    @property
    def source_latent(self) -> torch.Tensor | None:
        """(C, T, H, W) of the edited video."""
        return self._large(SOURCE) if SOURCE in self.shapes else None

    @property
    def source_descriptor(self) -> torch.Tensor | None:
        """Float features of the source."""
        return self._kept(DESCRIPTOR)

    @property
    def thumbnail(self) -> torch.Tensor | None:
        """(h, w, 3) uint8."""
        return self._kept(THUMBNAIL)

    @property
    def loop(self) -> torch.Tensor | None:
        """The bytes (N,) uint8 of an animated WebP. Not kept: a page asks for it once."""
        return self._read((LOOP,))[LOOP] if LOOP in self.shapes else None

    @property
    def without_memory(self) -> torch.Tensor | None:
        """(C, T, H, W) of the same turn without its memories."""
        return self._large(WITHOUT_MEMORY) if WITHOUT_MEMORY in self.shapes else None

    @property
    def names(self) -> frozenset[str]:
        """The names of `tensors`."""
        return frozenset(self.shapes)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Every tensor by its name in the file."""
        return self._read(tuple(self.shapes))

    def content_id(self, _made: str) -> str:
        """The id that the file is named by.

        A read compares it with the content where the file has no hashes.
        """
        return self.path.stem

    def require_sound(self, _label: str) -> None:
        """Raise ValueError where the file does not hold what it held, or numbers are not finite."""
        self.tensors()

    def _large(self, name: str) -> torch.Tensor:
        held = self._seen.get(name)
        if held is None:
            held = self._seen[name] = self._read((name,))[name]
        return held

    def _kept(self, name: str) -> torch.Tensor | None:
        if name in self.shapes and name not in self._small:
            self._small[name] = self._read((name,))[name]
        return self._small.get(name)

    def _read(self, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
        with named(self.path), safetensors.safe_open(self.path, framework="pt") as file:
            # Another file may lie under this name by now. One that holds more is the same entry.
            if not self.shapes.items() <= checked_shapes(file).items():
                raise ValueError(f"its tensors are not the ones that it had; {_REMADE}")
            if not self._is_known:
                self._require_id(file)
            return {name: self._checked(name, file.get_tensor(name)) for name in names}

    def _checked(self, name: str, mapped: torch.Tensor) -> torch.Tensor:
        """A copy of a tensor that has its hash and finite numbers.

        Copied, not mapped: a mapped file cannot be deleted on Windows, and breaks its readers when
        it shrinks.
        """
        if self.hashes is not None and tensor_hash(mapped) != self.hashes[name]:
            raise ValueError(f"the bytes of its {name} changed; {_REMADE}")
        if mapped.is_floating_point():
            require_finite(f"its {name}", mapped)
        return mapped.clone(memory_format=torch.contiguous_format)

    def _require_id(self, file: Any) -> None:
        """Compare a file from before this version with its name, as that version did."""
        digest = hashlib.sha256()
        for name in (*_REQUIRED, TIMES):
            if name in self.shapes:
                feed_tensor(digest, file.get_tensor(name))
        digest.update(self._made.encode())
        if digest.hexdigest()[:ID_LENGTH] != self.path.stem:
            raise ValueError(f"it was renamed or its bytes changed; {_REMADE}")
        self._is_known = True


def tensor_hash(tensor: torch.Tensor) -> str:
    """Hex hash of a tensor's type, shape and bytes."""
    digest = hashlib.sha256()
    feed_tensor(digest, tensor)
    return digest.hexdigest()


def checked_shapes(file: Any) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor in an entry's file, read from its header alone.

    Raises: ValueError for missing and foreign tensors, and for types, axes and sizes that no entry
    has.
    """
    shapes = {}
    names = set(file.keys())
    missing = [name for name in _REQUIRED if name not in names]
    if missing or not names <= _MAX_BYTES.keys():
        what = f"lacks the tensors {', '.join(missing)}" if missing else "has foreign tensors"
        raise ValueError(f"{what}; {_REMADE}")
    for name in names:
        part = file.get_slice(name)
        shapes[name] = tuple(part.get_shape())
        _require_size(name, shapes[name], part.get_dtype())
    # The latent decides nothing about the camera here: a base without cameras has one a frame.
    if shapes[C2W][1:] != (4, 4) or shapes[INTRINSICS] != (shapes[C2W][0], 3, 3):
        raise ValueError(
            f"its c2w has shape {shapes[C2W]} and its intrinsics {shapes[INTRINSICS]}, wanted "
            f"(F, 4, 4) and (F, 3, 3); {_REMADE}"
        )
    if TIMES in shapes and shapes[TIMES] != (shapes[C2W][0],):
        raise ValueError(
            f"its times have shape {shapes[TIMES]}, wanted one for each of its {shapes[C2W][0]} "
            f"cameras; {_REMADE}"
        )
    if shapes.get(WITHOUT_MEMORY, shapes[LATENT]) != shapes[LATENT]:
        raise ValueError(
            f"its {WITHOUT_MEMORY} has shape {shapes[WITHOUT_MEMORY]}, wanted {shapes[LATENT]} as "
            f"its latent; {_REMADE}"
        )
    return shapes


def _require_size(name: str, shape: tuple[int, ...], code: str) -> None:
    widths = _PICTURES if name in (THUMBNAIL, LOOP) else _FLOATS
    if code not in widths:
        raise ValueError(f"its {name} has numbers of type {code[:8]}, wanted {', '.join(widths)}")
    num_axes = _NUM_AXES.get(name, len(shape))
    if len(shape) != num_axes or len(shape) > 8:
        raise ValueError(f"its {name} has {len(shape)} axes, wanted {num_axes}; {_REMADE}")
    count = 1
    for size in shape:
        count *= size
    if count * widths[code] > _MAX_BYTES[name] or (count == 0 and name != DESCRIPTOR):
        raise ValueError(
            f"its {name} has {count} numbers, wanted at least 1 and at most "
            f"{_MAX_BYTES[name] // widths[code]}; {_REMADE}"
        )

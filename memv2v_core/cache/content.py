"""The tensors of one stored video: held in memory, or read from its file when they are needed.

C channels, T latent frames, H rows, W columns.
"""

import hashlib
from dataclasses import dataclass
from typing import Protocol

import torch

from ..cameras.trajectory import CameraTrajectory

FLOAT_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
# Hex digits: 128 bits, and short enough for Windows paths.
ID_LENGTH = 32
LATENT, C2W, INTRINSICS, TIMES = "latent", "c2w", "intrinsics", "times"
SOURCE, DESCRIPTOR = "source_latent", "source_descriptor"
WITHOUT_MEMORY = "without_memory"
THUMBNAIL, LOOP = "thumbnail", "loop"
MAX_LOOP_BYTES = 4 * 2**20


class Content(Protocol):
    """What an entry holds besides its facts.

    Tensors may be read from a file at the moment of the call. Then every property raises ValueError
    naming a file that is gone, or whose bytes changed.
    """

    @property
    def latent(self) -> torch.Tensor:
        """(C, T, H, W) float, in the VAE's unnormalised space."""
        ...

    @property
    def latent_size(self) -> tuple[int, int, int, int]:
        """(C, T, H, W), known without reading the latent."""
        ...

    @property
    def camera(self) -> CameraTrajectory:
        """The camera of every pixel frame."""
        ...

    @property
    def num_cameras(self) -> int:
        """Pixel frames of the camera, known without reading it."""
        ...

    @property
    def source_latent(self) -> torch.Tensor | None:
        """(C, T, H, W) of the edited video."""
        ...

    @property
    def source_descriptor(self) -> torch.Tensor | None:
        """Float features of the source."""
        ...

    @property
    def thumbnail(self) -> torch.Tensor | None:
        """(h, w, 3) uint8."""
        ...

    @property
    def loop(self) -> torch.Tensor | None:
        """The bytes (N,) uint8 of an animated WebP."""
        ...

    @property
    def without_memory(self) -> torch.Tensor | None:
        """(C, T, H, W) of the same turn, made from the same noise without its memories."""
        ...

    @property
    def names(self) -> frozenset[str]:
        """The names of `tensors`, known without reading them."""
        ...

    def tensors(self) -> dict[str, torch.Tensor]:
        """Every tensor by its name in the entry's file."""
        ...

    def content_id(self, made: str, /) -> str:
        """The entry's id. made: see `made_text`."""
        ...

    def require_sound(self, label: str, /) -> None:
        """Raise ValueError where a number is not finite or a file does not hold what it held.

        label: the entry in words, for the message.
        """
        ...


@dataclass(frozen=True, eq=False)
class HeldContent:
    """Tensors in memory.

    Tensors that are slices of larger tensors are copied, so that an entry never keeps a whole batch
    in memory.

    Raises: ValueError for wrong shapes and types.
    """

    latent: torch.Tensor
    camera: CameraTrajectory
    source_latent: torch.Tensor | None = None
    source_descriptor: torch.Tensor | None = None
    thumbnail: torch.Tensor | None = None
    loop: torch.Tensor | None = None
    without_memory: torch.Tensor | None = None

    def __post_init__(self) -> None:
        # The class is frozen, so the copies go past its __setattr__.
        for name in (LATENT, SOURCE, DESCRIPTOR, THUMBNAIL, LOOP, WITHOUT_MEMORY):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _owned(value))
        for name in (LATENT, SOURCE, WITHOUT_MEMORY):
            _require_latent(name, getattr(self, name))
        plain = self.without_memory
        if plain is not None and plain.shape != self.latent.shape:
            raise ValueError(
                f"{WITHOUT_MEMORY} got shape {tuple(plain.shape)}, wanted "
                f"{tuple(self.latent.shape)} as the turn's latent; sample both at one size"
            )
        _require_float(DESCRIPTOR, self.source_descriptor)
        _require_thumbnail(self.thumbnail)
        _require_loop(self.loop)

    @property
    def latent_size(self) -> tuple[int, int, int, int]:
        """(C, T, H, W)."""
        channels, num_latent, height, width = self.latent.shape
        return channels, num_latent, height, width

    @property
    def num_cameras(self) -> int:
        """Pixel frames of the camera."""
        return self.camera.num_frames

    @property
    def names(self) -> frozenset[str]:
        """The names of `tensors`."""
        return frozenset(self.tensors())

    def tensors(self) -> dict[str, torch.Tensor]:
        """Every tensor by its name in the entry's file."""
        cameras = {C2W: self.camera.c2w, INTRINSICS: self.camera.intrinsics}
        names = (SOURCE, DESCRIPTOR, THUMBNAIL, LOOP, WITHOUT_MEMORY)
        optional = {name: getattr(self, name) for name in names}
        optional[TIMES] = self.camera.times
        given = {name: value for name, value in optional.items() if value is not None}
        return {LATENT: self.latent, **cameras, **given}

    def content_id(self, made: str) -> str:
        """Hex hash of latent and camera, and of `made`."""
        digest = hashlib.sha256()
        camera = self.camera
        for tensor in (self.latent, camera.c2w, camera.intrinsics, camera.times):
            # A path without times keeps the id that it had before there were times.
            if tensor is not None:
                feed_tensor(digest, tensor)
        digest.update(made.encode())
        return digest.hexdigest()[:ID_LENGTH]

    def require_sound(self, label: str) -> None:
        """Raise ValueError where a float tensor holds NaN or infinity."""
        for name in (LATENT, SOURCE, DESCRIPTOR, WITHOUT_MEMORY):
            value = getattr(self, name)
            if value is not None:
                require_finite(f"{name} of {label}", value)


def feed_tensor(digest: "hashlib._Hash", tensor: torch.Tensor) -> None:
    """Add a tensor to a hash.

    Type and shape count too: equal bytes of another shape are another video.
    """
    digest.update(f"{tensor.dtype} {tuple(tensor.shape)};".encode())
    flat = tensor.detach().cpu().contiguous().flatten()
    digest.update(flat.view(torch.uint8).numpy().data)


def require_finite(name: str, value: torch.Tensor) -> None:
    """Raise ValueError where a float tensor holds NaN or infinity."""
    # One bad number spreads through attention to every later turn.
    num_bad = int((~torch.isfinite(value)).sum())
    if num_bad:
        raise ValueError(
            f"{name} got NaN or infinity in {num_bad} of {value.numel()} numbers, wanted finite "
            "numbers; sample the turn again with another dtype (fp32 or bf16) or a lower CFG"
        )


def _owned(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach()
    # A slice keeps the storage of the whole tensor alive.
    is_slice = tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size()
    return tensor.clone(memory_format=torch.contiguous_format) if is_slice else tensor.contiguous()


def _require_latent(name: str, latent: torch.Tensor | None) -> None:
    if latent is None:
        return
    if latent.ndim != 4 or latent.numel() == 0:
        raise ValueError(
            f"{name} got shape {tuple(latent.shape)}, wanted (C, T, H, W); pass one video of the "
            "batch, not the batch"
        )
    _require_float(name, latent)


def _require_float(name: str, tensor: torch.Tensor | None) -> None:
    if tensor is not None and tensor.dtype not in FLOAT_DTYPES:
        wanted = ", ".join(str(dtype).removeprefix("torch.") for dtype in FLOAT_DTYPES)
        raise ValueError(
            f"{name} got dtype {tensor.dtype}, wanted {wanted}; convert it before it enters the "
            "memory"
        )


def _require_thumbnail(thumbnail: torch.Tensor | None) -> None:
    if thumbnail is None:
        return
    if thumbnail.ndim != 3 or thumbnail.shape[-1] != 3 or thumbnail.dtype != torch.uint8:
        raise ValueError(
            f"thumbnail got {thumbnail.dtype} of shape {tuple(thumbnail.shape)}, wanted uint8 (h, "
            "w, 3); scale the picture to 0..255 and convert it"
        )


def _require_loop(loop: torch.Tensor | None) -> None:
    if loop is None:
        return
    is_small = 0 < loop.numel() <= MAX_LOOP_BYTES
    if loop.ndim != 1 or loop.dtype != torch.uint8 or not is_small:
        raise ValueError(
            f"loop got {loop.dtype} of shape {tuple(loop.shape)}, wanted 1 to {MAX_LOOP_BYTES} "
            "bytes (N,) uint8; encode it with `animated_webp`"
        )

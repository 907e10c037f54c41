"""One stored video: what the memory keeps of a finished turn."""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

import torch

from ..cameras.trajectory import CameraTrajectory

MODES = ("trained", "training-free", "imported")
# Hex digits: 128 bits, and short enough for Windows paths.
_ID_LENGTH = 32
_FLOAT_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


@dataclass(frozen=True)
class Segment:
    """Which frames of a long video an entry edits.

    idx: place in the plan, from 0.
    start: first frame in the video.
    num_frames: true frames, before padding.
    shot: number of the shot that the segment lies in, from 0.

    Raises: ValueError for negative numbers and for no frames.
    """

    idx: int
    start: int
    num_frames: int
    shot: int = 0

    def __post_init__(self) -> None:
        for name, least in (("idx", 0), ("start", 0), ("num_frames", 1), ("shot", 0)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name} of a segment got {getattr(self, name)}, wanted {least} or more; plan "
                    "the segments anew"
                )

    @property
    def stop(self) -> int:
        """The first frame after the segment."""
        return self.start + self.num_frames

    def describe(self) -> str:
        """The segment in words. Numbers count from 1."""
        is_single = self.num_frames == 1
        frames = f"frame {self.stop}" if is_single else f"frames {self.start + 1} to {self.stop}"
        return f"segment {self.idx + 1}: {frames}, shot {self.shot + 1}"


@dataclass(frozen=True, eq=False)
class MemoryEntry:
    """The sampler's latent of one turn, its camera, and how it was made.

    latent: (C, T, H, W) float, in the VAE's unnormalised space, as ComfyUI's LATENT carries it.
    camera: of all pixel frames; it has more than `num_frames` where the video was padded.
    source_latent: (C, T, H, W) of the edited video, in the same space.
    source_descriptor: float features of the source, of any shape.
    descriptor_name: the extractor that made the features.
    model_name: the model that made the latent.
    mode: how the latent was made: trained, training-free or imported.
    turn: counts from 1. created_s: seconds since 1970.
    thumbnail: (h, w, 3) uint8.
    num_frames: true pixel frames, before padding.
    segment: place in a long video; None for a turn on a whole clip.
    memory_ids: entries that the model saw when it made this one.
    recipe: hash of everything else that decides the result.

    Tensors that are slices of larger tensors are copied, so that an entry never keeps a whole batch
    in memory.

    Raises: ValueError for wrong shapes, types and counts.
    """

    latent: torch.Tensor
    camera: CameraTrajectory
    model_name: str
    num_frames: int
    turn: int
    created_s: float
    source_latent: torch.Tensor | None = None
    source_descriptor: torch.Tensor | None = None
    prompt: str = ""
    seed: int = 0
    mode: str = "training-free"
    parent_id: str | None = None
    thumbnail: torch.Tensor | None = None
    is_pinned: bool = False
    segment: Segment | None = None
    memory_ids: tuple[str, ...] = ()
    recipe: str = ""
    descriptor_name: str = ""

    def __post_init__(self) -> None:
        # The class is frozen, so the copies go past its __setattr__.
        for name in ("latent", "source_latent", "source_descriptor", "thumbnail"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _owned(value))
        for name in ("latent", "source_latent"):
            _require_latent(name, getattr(self, name))
        _require_float("source_descriptor", self.source_descriptor)
        _require_thumbnail(self.thumbnail)
        if self.mode not in MODES:
            raise ValueError(f"mode got {self.mode!r}, wanted one of {', '.join(MODES)}")
        if self.turn < 1:
            raise ValueError(
                f"turn got {self.turn}, wanted 1 or more; the first edit of a video is turn 1"
            )
        if not 1 <= self.num_frames <= self.camera.num_frames:
            raise ValueError(
                f"num_frames got {self.num_frames}, wanted 1 to {self.camera.num_frames}, the "
                "cameras of this video; make the camera path as long as the video"
            )

    @cached_property
    def entry_id(self) -> str:
        """Hex hash of latent and camera, the entry's name everywhere: same content, same id.

        For a segment the hash also covers its place and how it was made: a still video gives equal
        latents at two places.
        """
        digest = hashlib.sha256()
        for tensor in (self.latent, self.camera.c2w, self.camera.intrinsics):
            # Type and shape count too: equal bytes of another shape are another video.
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)};".encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        if self.segment is not None:
            place = (
                self.segment.idx,
                self.segment.start,
                self.segment.num_frames,
                self.segment.shot,
            )
            digest.update(f"{place} {self.recipe} {' '.join(self.memory_ids)};".encode())
        return digest.hexdigest()[:_ID_LENGTH]

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the latent: what all entries of a cache share."""
        channels, _, height, width = self.latent.shape
        return channels, height, width

    def describe(self) -> str:
        """One line that says which turn this is and how it was made."""
        place = "" if self.segment is None else f"  segment {self.segment.idx + 1}"
        how = f"seed {self.seed}  {self.num_frames} frames  {self.mode}"
        pin = ", pinned" if self.is_pinned else ""
        prompt = f"  {self.prompt!r}" if self.prompt else ""
        return f"turn {self.turn}{place}  {self.entry_id[:8]}  {how}{pin}{prompt}"


def is_entry_id(text: object) -> bool:
    """Whether the text has the form of an entry id, which makes it safe as a file name."""
    return isinstance(text, str) and re.fullmatch(rf"[0-9a-f]{{{_ID_LENGTH}}}", text) is not None


def require_finite(entry: MemoryEntry) -> None:
    """Raise ValueError where a float tensor of the entry holds NaN or infinity."""
    for name in ("latent", "source_latent", "source_descriptor"):
        value = getattr(entry, name)
        if value is None:
            continue
        # One bad number spreads through attention to every later turn.
        num_bad = int((~torch.isfinite(value)).sum())
        if num_bad:
            raise ValueError(
                f"{name} of turn {entry.turn} got NaN or infinity in {num_bad} of {value.numel()} "
                "numbers, wanted finite numbers; sample the turn again with another dtype (fp32 "
                "or bf16) or a lower CFG"
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
    if tensor is not None and tensor.dtype not in _FLOAT_DTYPES:
        wanted = ", ".join(str(dtype).removeprefix("torch.") for dtype in _FLOAT_DTYPES)
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

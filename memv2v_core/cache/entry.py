"""One stored video: what the memory keeps of a finished turn."""

import re
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from ..cameras.trajectory import CameraTrajectory
from .content import ID_LENGTH, WITHOUT_MEMORY, Content, HeldContent

_ENTRY_ID = re.compile(rf"[0-9a-f]{{{ID_LENGTH}}}")
MODES = ("trained", "training-free", "imported")
MAX_MAKER = 200  # characters


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

    content: the tensors, in memory (`MemoryEntry.of`) or in the entry's file.
    model_name: the model that made the latent.
    num_frames: true pixel frames, before padding; the camera has more where the video was padded.
    turn: counts from 1. created_s: seconds since 1970.
    mode: how the latent was made: trained, training-free or imported.
    segment: place in a long video; None for a turn on a whole clip.
    memory_ids: entries that the model saw when it made this one.
    memory_kernels: the kernel k of 1 x k x k tokens at which it saw each of them; empty in entries
    of earlier versions.
    recipe: hash of everything else that decides the result.
    maker: which node of which workflow made it and replaces it when it runs again; "" for none.
    descriptor_name: the extractor that made the source's features.

    Raises: ValueError for wrong counts and modes.
    """

    content: Content
    model_name: str
    num_frames: int
    turn: int
    created_s: float
    prompt: str = ""
    seed: int = 0
    mode: str = "training-free"
    parent_id: str | None = None
    is_pinned: bool = False
    segment: Segment | None = None
    memory_ids: tuple[str, ...] = ()
    recipe: str = ""
    descriptor_name: str = ""
    maker: str = ""
    memory_kernels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode got {self.mode!r}, wanted one of {', '.join(MODES)}")
        if len(self.maker) > MAX_MAKER:
            raise ValueError(
                f"maker got {len(self.maker)} characters, wanted at most {MAX_MAKER}; shorten it"
            )
        if self.turn < 1:
            raise ValueError(
                f"turn got {self.turn}, wanted 1 or more; the first edit of a video is turn 1"
            )
        if not 1 <= self.num_frames <= self.content.num_cameras:
            raise ValueError(
                f"num_frames got {self.num_frames}, wanted 1 to {self.content.num_cameras}, the "
                "cameras of this video; make the camera path as long as the video"
            )
        if self.memory_kernels and len(self.memory_kernels) != len(self.memory_ids):
            raise ValueError(
                f"memory_kernels got {len(self.memory_kernels)} numbers, wanted one for each of "
                f"the {len(self.memory_ids)} memories; pass the plan's kernels"
            )

    @classmethod
    def of(
        cls,
        latent: torch.Tensor,
        camera: CameraTrajectory,
        model_name: str,
        num_frames: int,
        turn: int,
        created_s: float,
        *,
        source_latent: torch.Tensor | None = None,
        source_descriptor: torch.Tensor | None = None,
        thumbnail: torch.Tensor | None = None,
        loop: torch.Tensor | None = None,
        **facts: object,
    ) -> "MemoryEntry":
        """An entry whose tensors are in memory.

        latent, source_latent: (C, T, H, W). source_descriptor: float, of any shape. thumbnail: (h,
        w, 3) uint8. loop: the bytes (N,) uint8 of an animated WebP. facts: the other fields of the
        class.

        Raises: ValueError for wrong shapes, types, counts and modes.
        """
        content = HeldContent(latent, camera, source_latent, source_descriptor, thumbnail, loop)
        return cls(content, model_name, num_frames, turn, created_s, **facts)  # type: ignore[arg-type]

    @cached_property
    def entry_id(self) -> str:
        """Hex hash of latent and camera, the entry's name everywhere: same content, same id.

        For a segment the hash also covers its place and how it was made: a still video gives equal
        latents at two places.
        """
        return self.content.content_id(made_text(self.segment, self.recipe, self.memory_ids))

    @property
    def latent(self) -> torch.Tensor:
        """(C, T, H, W) float, in the VAE's unnormalised space, as ComfyUI's LATENT carries it.

        Raises: ValueError naming the entry's file when it cannot be read any more.
        """
        return self.content.latent

    @property
    def camera(self) -> CameraTrajectory:
        """The camera of all pixel frames; raises as `latent` does."""
        return self.content.camera

    @cached_property
    def true_camera(self) -> CameraTrajectory:
        """The camera of the true frames, without the padding; raises as `latent` does.

        The padding of a video repeats cameras that the video does not have.
        """
        camera, count = self.camera, self.num_frames
        if count == camera.num_frames:
            return camera
        times = None if camera.times is None else camera.times[:count]
        # Views of the tensors: a bank of ten thousand entries keeps no second copy.
        return replace(
            camera, c2w=camera.c2w[:count], intrinsics=camera.intrinsics[:count], times=times
        )

    @property
    def source_latent(self) -> torch.Tensor | None:
        """(C, T, H, W) of the edited video, in the same space; raises as `latent` does."""
        return self.content.source_latent

    @property
    def source_descriptor(self) -> torch.Tensor | None:
        """Float features of the source, of any shape; raises as `latent` does."""
        return self.content.source_descriptor

    @property
    def thumbnail(self) -> torch.Tensor | None:
        """(h, w, 3) uint8; raises as `latent` does."""
        return self.content.thumbnail

    @property
    def loop(self) -> torch.Tensor | None:
        """The thumbnail in motion: the bytes (N,) uint8 of an animated WebP; raises as `latent`.

        None in entries of earlier versions, which show their still.
        """
        return self.content.loop

    @property
    def without_memory(self) -> torch.Tensor | None:
        """(C, T, H, W) of the same turn, made from the same noise without its memories.

        For comparison alone: no turn sees it. None where nobody asked for it; raises as `latent`.
        """
        return self.content.without_memory

    @property
    def has_without_memory(self) -> bool:
        """Whether `without_memory` is there, known without reading it."""
        return WITHOUT_MEMORY in self.content.names

    @property
    def lacks_comparison(self) -> bool:
        """Whether it would be another video without memory, and nobody made that one."""
        return bool(self.memory_ids) and not self.has_without_memory

    def beside(self, without_memory: torch.Tensor) -> "MemoryEntry":
        """The same entry, with its id, that also holds the turn without memory (C, T, H, W).

        Raises: ValueError for another size than the latent's; raises as `latent` does.
        """
        held = self.content
        content = HeldContent(
            held.latent,
            held.camera,
            held.source_latent,
            held.source_descriptor,
            held.thumbnail,
            held.loop,
            without_memory.detach().cpu(),
        )
        return replace(self, content=content)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the latent: what all entries of a cache share."""
        channels, _, height, width = self.content.latent_size
        return channels, height, width

    @property
    def num_latent_frames(self) -> int:
        """T of the latent."""
        return self.content.latent_size[1]

    @property
    def label(self) -> str:
        """The entry in few words, for a message."""
        return f"turn {self.turn}"

    def problem(self) -> str | None:
        """Why a tensor of this entry cannot be used; None where all are sound.

        Tensors in a file are read for the answer.
        """
        try:
            self.content.require_sound(self.label)
        except ValueError as error:
            return str(error)
        return None

    def describe(self) -> str:
        """One line that says which turn this is and how it was made."""
        place = "" if self.segment is None else f"  segment {self.segment.idx + 1}"
        how = f"seed {self.seed}  {self.num_frames} frames  {self.mode}"
        pin = ", pinned" if self.is_pinned else ""
        prompt = f"  {self.prompt!r}" if self.prompt else ""
        return f"turn {self.turn}{place}  {self.entry_id[:8]}  {how}{pin}{prompt}"


def made_text(segment: Segment | None, recipe: str, memory_ids: tuple[str, ...]) -> str:
    """What the id of a segment's entry covers besides latent and camera; "" for a whole clip."""
    if segment is None:
        return ""
    place = (segment.idx, segment.start, segment.num_frames, segment.shot)
    return f"{place} {recipe} {' '.join(memory_ids)};"


def is_entry_id(text: object) -> bool:
    """Whether the text has the form of an entry id, which makes it safe as a file name."""
    return isinstance(text, str) and _ENTRY_ID.fullmatch(text) is not None

"""The edited segments of a long video as one video file again."""

import contextlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import comfy.model_management
import comfy.utils
import torch
from comfy.sd import VAE

from ....memv2v_core.cache.entry import MemoryEntry
from ....memv2v_core.clips.blending import SegmentStitcher, StitchConfig, StitchMode
from ....memv2v_core.clips.fitting import Size, restore_frames
from ..footage.writing import VideoWriter, new_video_file
from .decoding import decode_latent
from .fitted import ODD_SIDES, ORIGINAL_SIZE
from .segments import SplitVideo


@dataclass(frozen=True)
class StitchSettings:
    """How the result is joined and written. The fields have the names of the widgets."""

    stitch_mode: StitchMode
    match_colours: bool
    size: str
    crf: int

    @property
    def config(self) -> StitchConfig:
        """The configuration of the stitcher."""
        return StitchConfig(self.stitch_mode, self.match_colours)

    def result_size(self, split: SplitVideo) -> Size:
        """Rows and columns of the result."""
        fitting = split.fitting(1)
        return fitting.kept_size if self.size == ORIGINAL_SIZE else fitting.content

    def describe(self, split: SplitVideo) -> str:
        """The written video, in words."""
        clip, (rows, columns) = split.clip, self.result_size(split)
        text = f"{clip.num_frames} frames of {columns}x{rows} at {clip.times.describe()}"
        if rows % 2 or columns % 2:
            text += f"; {ODD_SIDES}"
        return text


class StitchedFile:
    """A new file in ComfyUI's temporary folder, written while segments come; use it in a `with`
    block. After an error it leaves no file.

    kept: (num_frames, H, W, 3), which also gets all frames.

    Raises: OSError where the file cannot be written, and ValueError where the clip is gone.
    """

    def __init__(
        self, split: SplitVideo, settings: StitchSettings, kept: torch.Tensor | None = None
    ) -> None:
        self.path = new_video_file()
        self._split, self._kept, self._num_done = split, kept, 0
        self._is_original = settings.size == ORIGINAL_SIZE
        self._stitcher = SegmentStitcher(split.plan, settings.config)
        size = settings.result_size(split)
        self._writer = VideoWriter(self.path, size, split.clip, settings.crf)

    def __enter__(self) -> "StitchedFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.__exit__(kind, error, trace)

    @property
    def is_complete(self) -> bool:
        """Whether every segment was added."""
        return self._stitcher.is_complete

    def add(self, frames: torch.Tensor) -> None:
        """Write what is finished once this next segment (F, C, h, w) in 0..1 is known."""
        piece = self._stitcher.add(frames)
        if not len(piece):
            return
        restored = restore_frames(piece, self._split.fitting(len(piece)), True, self._is_original)
        self._writer.add(restored)
        if self._kept is not None:
            self._kept[self._num_done : self._num_done + len(restored)] = restored.movedim(1, -1)
        self._num_done += len(restored)


def write_stitched(
    split: SplitVideo,
    entries: Iterable[MemoryEntry],
    vae: VAE,
    settings: StitchSettings,
    kept: torch.Tensor | None = None,
) -> Path:
    """The path of a `StitchedFile` with the whole result; one segment is decoded at a time.

    Raises: ValueError where the file cannot be written.
    """
    try:
        with StitchedFile(split, settings, kept) as stitched:
            for frames in _decoded_segments(entries, vae, len(split.plan.segments)):
                stitched.add(frames)
            assert stitched.is_complete, "every segment has an entry"
    except OSError as error:
        raise ValueError(
            f"the result could not be written ({error}); make room on the disk of ComfyUI's "
            "temporary folder, see that the clip is still where it was, and queue again: what is "
            "sampled is in the cache"
        ) from error
    return stitched.path


class EarlyVideo:
    """The result of a long edit, written while its segments end, so that none is decoded twice.

    Use it in a `with` block. What goes wrong meanwhile, such as a full disk, stops no sampling:
    `finish` then writes the whole video after the last segment, and raises what is still wrong.
    """

    def __init__(self, split: SplitVideo, vae: VAE, settings: StitchSettings) -> None:
        self._split, self._vae, self._settings = split, vae, settings
        self._file: StitchedFile | None = None
        self._has_failed = False

    def __enter__(self) -> "EarlyVideo":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Without `finish` the file is not whole.
        self._drop(error or RuntimeError("the video is not finished"))

    def add(self, entry: MemoryEntry) -> torch.Tensor | None:
        """Frames (F, C, h, w) of the next segment; None where it cannot be decoded now."""
        frames = None
        # Whatever it is, such as too little memory: hours of sampling go on, and `finish` says it.
        try:
            frames = decode_latent(self._vae, entry.latent)
            if not self._has_failed:
                self._file = self._file or StitchedFile(self._split, self._settings)
                self._file.add(frames)
        except Exception as error:
            logging.warning("Memory-V2V: the video is written at the end: %s", error)
            self._has_failed = True
            self._drop(error)
        return frames

    def finish(self, entries: Iterable[MemoryEntry]) -> Path:
        """The path of the whole video; see `write_stitched`."""
        if self._file is not None and self._file.is_complete:
            whole, self._file = self._file, None
            try:
                whole.__exit__(None, None, None)
            except OSError as error:
                logging.warning("Memory-V2V: the video is written again: %s", error)
            else:
                return whole.path
        return write_stitched(self._split, entries, self._vae, self._settings)

    def _drop(self, error: BaseException) -> None:
        dropped, self._file = self._file, None
        # Closing may fail on the same full disk; the file is deleted all the same.
        with contextlib.suppress(OSError):
            if dropped is not None:
                dropped.__exit__(type(error), error, None)


def _decoded_segments(
    entries: Iterable[MemoryEntry], vae: VAE, count: int
) -> Iterator[torch.Tensor]:
    """Frames (F, C, h, w) of one segment after another."""
    progress = comfy.utils.ProgressBar(count)
    for entry in entries:
        comfy.model_management.throw_exception_if_processing_interrupted()
        frames = decode_latent(vae, entry.latent)
        progress.update(1)
        yield frames

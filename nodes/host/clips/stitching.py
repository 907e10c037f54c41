"""The edited segments of a long video as one video file again."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import comfy.model_management
import comfy.utils
import folder_paths
import torch
from comfy.sd import VAE

from ....memv2v_core.cache.entry import MemoryEntry
from ....memv2v_core.clips.blending import StitchConfig, StitchMode, stitch
from ....memv2v_core.clips.fitting import Size, restore_frames
from ..footage.writing import VideoWriter
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


def write_stitched(
    split: SplitVideo,
    entries: Iterable[MemoryEntry],
    vae: VAE,
    settings: StitchSettings,
    kept: torch.Tensor | None = None,
) -> Path:
    """A new file in ComfyUI's temporary folder with the whole result.

    Frames are written as soon as they are finished.

    kept: (num_frames, H, W, 3), which also gets all frames.

    Raises: ValueError where the file cannot be written.
    """
    is_original, num_done = settings.size == ORIGINAL_SIZE, 0
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"memory_v2v_{uuid4().hex}.mp4"
    # Generators: one segment is decoded, joined and written before the next one is decoded.
    decoded = _decoded_segments(entries, vae, len(split.plan.segments))
    pieces = stitch(split.plan, decoded, settings.config)
    try:
        with VideoWriter(path, settings.result_size(split), split.clip, settings.crf) as writer:
            for piece in pieces:
                frames = restore_frames(piece, split.fitting(len(piece)), True, is_original)
                writer.add(frames)
                if kept is not None:
                    kept[num_done : num_done + len(frames)] = frames.movedim(1, -1)
                num_done += len(frames)
    except OSError as error:
        raise ValueError(
            f"{path} could not be written ({error}); make room on that disk, see that the clip is "
            "still where it was, and queue again: what is sampled is in the cache"
        ) from error
    return path


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

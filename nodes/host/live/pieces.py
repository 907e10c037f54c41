"""A finished piece as a small file that a browser plays at once."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from uuid import uuid4

import folder_paths
import torch

from ....memv2v_core.clips.timing import FrameTimes, steady_times
from ..footage.sound import Sound
from ..footage.writing import VideoWriter

_MAX_WIDTH_PX, _CRF, _PRESET = 480, 26.0, "veryfast"


@dataclass(frozen=True, eq=False)
class _Silent:
    """The times of a piece, which has no sound."""

    times: FrameTimes
    sound: Sound | None = None


def small_piece(frames: torch.Tensor) -> torch.Tensor:
    """Frames (F, 3, h, w) at most 480 px wide, with even sides, of frames (F, 3, H, W)."""
    factor = -(-frames.shape[3] // _MAX_WIDTH_PX)
    if factor > 1:
        frames = torch.nn.functional.avg_pool2d(frames, factor)
    return frames[:, :, : frames.shape[2] // 2 * 2, : frames.shape[3] // 2 * 2]


def write_piece(frames: torch.Tensor, frame_rate: Fraction) -> Path:
    """A new H.264 file in ComfyUI's temporary folder with `small_piece` frames.

    Raises: OSError where it cannot be written.
    """
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"memory_v2v_piece_{uuid4().hex}.mp4"
    clip = _Silent(steady_times(len(frames), frame_rate))
    size = frames.shape[2], frames.shape[3]
    with VideoWriter(path, size, clip, _CRF, preset=_PRESET) as writer:
        writer.add(frames)
    return path

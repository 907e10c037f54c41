"""A finished piece as a small file that a browser plays at once."""

from fractions import Fraction
from pathlib import Path

import torch

from ....memv2v_core.clips.timing import steady_times
from ..footage.writing import VideoWriter, WrittenTimes, new_video_file

_MAX_WIDTH_PX, _CRF, _PRESET = 480, 26.0, "veryfast"


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
    path = new_video_file("piece_")
    clip = WrittenTimes(steady_times(len(frames), frame_rate))
    size = frames.shape[2], frames.shape[3]
    with VideoWriter(path, size, clip, _CRF, preset=_PRESET) as writer:
        writer.add(frames)
    return path

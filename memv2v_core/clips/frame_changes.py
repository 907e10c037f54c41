"""How much each frame of a video differs from the frame before it, and where that difference peaks.

The measure is that of PySceneDetect's AdaptiveDetector, computed without OpenCV: a package that
brings OpenCV would replace the OpenCV of other packs. F frames, H rows, W columns.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import torch

# Neighbours of a frame on either side. A peak is known this many frames later.
WINDOW = 2
_LONGEST_PX = 256
_FRAMES_AT_ONCE = 16
# OpenCV divides 8-bit colours by a table of rounded reciprocals, in units of 1/4096. A saturation
# spans 255 steps. A hue spans 180 steps, in six parts.
_SHIFT, _HALF = 12, 1 << 11
_SATURATION_STEPS, _HUE_STEPS = 255, 180
# A mean difference below this value counts as none.
_NO_CHANGE = 1e-5


def small_pictures(frames: torch.Tensor | Iterable[torch.Tensor]) -> Iterator[np.ndarray]:
    """Each frame in 8 bits, (3, h, w) uint8, its longer side reduced to 256 pixels.

    Cuts also show in small pictures, which are compared much faster.

    frames: (F, 3, H, W) in 0..1, or chunks of such a video in order, of which only one is held.
    """
    for chunk in (frames,) if isinstance(frames, torch.Tensor) else frames:
        for piece in chunk.split(_FRAMES_AT_ONCE):
            scale = min(1.0, _LONGEST_PX / max(piece.shape[-2:]))
            size = [max(1, round(side * scale)) for side in piece.shape[-2:]]
            small = piece.float()
            if scale < 1.0:
                small = torch.nn.functional.interpolate(small, size, mode="area")
            yield from (small.clamp(0, 1) * 255).round().byte().cpu().numpy()


def _reciprocals(steps: float) -> np.ndarray:
    """steps / value in units of 1/4096, for the values 0..255; 0 for the value 0."""
    values = np.arange(256)
    scaled = np.rint(steps * (1 << _SHIFT) / np.maximum(values, 1))
    return np.where(values > 0, scaled, 0).astype(np.int32)


_PER_VALUE = _reciprocals(_SATURATION_STEPS)
_PER_CHROMA = _reciprocals(_HUE_STEPS / 6)


def hue_saturation_value(picture: np.ndarray) -> np.ndarray:
    """Hue 0..179, saturation and value 0..255, (3, H, W) uint8, of a picture (3, H, W) uint8.

    Source: OpenCV, color_hsv.simd.hpp, RGB2HSV_b; equal for every one of the 2 ** 24 colours.
    """
    red, green, blue = picture
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    result = np.empty_like(picture)
    result[1] = (chroma * _PER_VALUE.take(value) + _HALF) >> _SHIFT
    result[2] = value
    # The hue counts from the largest channel: red, then green, then blue where two are equal.
    red, green, blue, step = (channel.astype(np.int16) for channel in (red, green, blue, chroma))
    turn = red - green + 4 * step
    np.copyto(turn, blue - red + 2 * step, where=value == picture[1])
    np.copyto(turn, green - blue, where=value == picture[0])
    hue = (turn * _PER_CHROMA.take(chroma) + _HALF) >> _SHIFT
    result[0] = hue + _HUE_STEPS * (hue < 0)
    return result


def mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference, 0..255, of two uint8 arrays of one shape."""
    # int16: a difference of uint8 would wrap around.
    return float(np.abs(a.astype(np.int16) - b).mean())


class ChangePeaks:
    """Finds the frames that change far more than their neighbours, one frame after the other.

    A frame's change is the mean difference, 0..255, of hue, saturation and value to the frame
    before.

    min_ratio: the least change of a peak, in mean changes of the two frames on either side.
    min_change: the least change of a peak, 0..255.

    Source: PySceneDetect 0.7, AdaptiveDetector (BSD 3-Clause), min_scene_len 1, window_width 2.
    """

    def __init__(self, min_ratio: float, min_change: float) -> None:
        self.min_ratio = min_ratio
        self.min_change = min_change
        self._last: np.ndarray | None = None
        self._changes: deque[float] = deque(maxlen=2 * WINDOW + 1)
        self._num_frames = 0

    def add(self, picture: np.ndarray) -> list[int]:
        """The frame `WINDOW` frames before this next picture if it is a peak; else no frame.

        The first and the last `WINDOW` frames of a video are never peaks.

        picture: (3, H, W) uint8, of the size of all pictures before.
        """
        colours = hue_saturation_value(picture)
        self._changes.append(0.0 if self._last is None else mean_difference(colours, self._last))
        self._last = colours
        self._num_frames += 1
        is_known = len(self._changes) == 2 * WINDOW + 1
        return [self._num_frames - 1 - WINDOW] if is_known and self._is_peak() else []

    def _is_peak(self) -> bool:
        changes = list(self._changes)
        change = changes.pop(WINDOW)
        around = sum(changes) / len(changes)
        # Among still frames every change is a peak.
        ratio = change / around if around >= _NO_CHANGE else math.inf
        return change >= self.min_change and ratio >= self.min_ratio

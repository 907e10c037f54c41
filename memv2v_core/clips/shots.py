"""Where a video cuts from one shot to the next.

PySceneDetect looks at frames that are passed as arrays. F frames, C channels, H rows, W columns.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from .segments import Span

if TYPE_CHECKING:
    from scenedetect.detectors import AdaptiveDetector

# A cut differs from the frame before this many times more than its neighbours do.
_ADAPTIVE_THRESHOLD = 3.0
# The least difference of a cut, of 255.
_MIN_CONTENT = 10.0
# Neighbours on either side. The detector reports a cut this many frames late.
_WINDOW = 2
# A frame whose difference to the picture before the change is below this share of the change shows
# that picture again: the change was a flash.
_FLASH_RATIO = 0.3
_LONGEST_PX = 256
_FRAMES_AT_ONCE = 16
# PySceneDetect needs a rate to count frames; its value changes nothing here.
_FRAME_RATE = 24.0


@dataclass(frozen=True)
class ShotConfig:
    """How readily a change counts as a cut.

    sensitivity: 0 finds only hard cuts between unlike shots; 1 also takes jerks of the camera for
    cuts.
    min_num_frames: length of the shortest shot. A change that returns to the old picture sooner is
    a flash, not a shot.

    Raises: ValueError for values outside their ranges.
    """

    sensitivity: float = 0.5
    min_num_frames: int = 8

    def __post_init__(self) -> None:
        if not 0 <= self.sensitivity <= 1:
            raise ValueError(
                f"sensitivity got {self.sensitivity}, wanted 0 to 1; 0.5 suits most videos"
            )
        if self.min_num_frames < 1:
            raise ValueError(
                f"min_num_frames got {self.min_num_frames}, wanted 1 or more frames; use 8"
            )


def detect_shots(
    frames: torch.Tensor | Iterable[torch.Tensor], config: ShotConfig | None = None
) -> tuple[Span, ...]:
    """(start, stop) of every shot, in order; together the shots hold every frame.

    frames: (F, 3, H, W) in 0..1, or chunks of such a video in order, of which only one is held.
    Hard cuts are found. Dissolves and fades are not found: they stay inside one shot.

    Raises: ValueError for a video without frames, and where PySceneDetect is missing.
    """
    config = config or ShotConfig()
    detector = _detector(config)
    # The frames that a judgement can still need: one before the suspect, and all that follow it.
    pictures: deque[np.ndarray] = deque(maxlen=config.min_num_frames + _WINDOW + 2)
    suspects: list[int] = []
    cuts: list[int] = []
    num_frames = 0
    for picture in _pictures(frames):
        suspects += _suspects(detector, num_frames, picture)
        pictures.append(picture)
        num_frames += 1
        # Judged late enough that the detector has also reported the end of a flash.
        if suspects and suspects[0] + config.min_num_frames + _WINDOW < num_frames:
            _judge(suspects, cuts, pictures, num_frames, config)
    # At the end of the video no later frame can come, so the rest is judged now.
    while suspects:
        _judge(suspects, cuts, pictures, num_frames, config)
    if num_frames == 0:
        raise ValueError(
            "frames got an empty video, wanted 1 frame or more; check the loader before this node"
        )
    # A shot that is too short at the end joins the shot before it.
    edges = [0, *(cut for cut in cuts if num_frames - cut >= config.min_num_frames), num_frames]
    return tuple(zip(edges[:-1], edges[1:], strict=True))


def _detector(config: ShotConfig) -> "AdaptiveDetector":
    try:
        from scenedetect.detectors import AdaptiveDetector
    except ImportError as error:
        raise ValueError(
            f"shot detection needs PySceneDetect ({error}); install scenedetect-headless into "
            "ComfyUI's Python, or switch shots off"
        ) from error
    # 0.5 keeps the thresholds; 0 doubles and 1 halves them.
    strictness = 4 ** (0.5 - config.sensitivity)
    return AdaptiveDetector(
        adaptive_threshold=_ADAPTIVE_THRESHOLD * strictness,
        min_scene_len=1,
        window_width=_WINDOW,
        min_content_val=_MIN_CONTENT * strictness,
    )


def _suspects(detector: "AdaptiveDetector", frame: int, picture: np.ndarray) -> list[int]:
    """First frames of new shots or flashes that the detector reports after this frame."""
    from scenedetect import FrameTimecode

    found = detector.process_frame(FrameTimecode(frame, _FRAME_RATE), picture)
    return [timecode.frame_num for timecode in found]


def _judge(
    suspects: list[int],
    cuts: list[int],
    pictures: Sequence[np.ndarray],
    num_frames: int,
    config: ShotConfig,
) -> None:
    """Move the first suspect to the cuts if it starts a shot; else drop it.

    A flash is dropped with all suspects that belong to it.
    """
    first, oldest = suspects.pop(0), num_frames - len(pictures)
    last = min(first + config.min_num_frames - 1, num_frames - 1)
    before = pictures[first - 1 - oldest]
    change = _difference(before, pictures[first - oldest])
    # Frames of the shortest shot that look like the picture before the change.
    returned = [
        frame
        for frame in range(first + 1, last + 1)
        if _difference(before, pictures[frame - oldest]) < _FLASH_RATIO * change
    ]
    if returned:
        suspects[:] = [suspect for suspect in suspects if suspect > returned[-1]]
    elif first - (cuts[-1] if cuts else 0) >= config.min_num_frames:
        cuts.append(first)


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    # int16: a difference of uint8 would wrap around.
    return float(np.abs(a.astype(np.int16) - b).mean())


def _pictures(frames: torch.Tensor | Iterable[torch.Tensor]) -> Iterator[np.ndarray]:
    """Each frame as PySceneDetect takes it: (h, w, 3) uint8, blue first, reduced in size."""
    for chunk in (frames,) if isinstance(frames, torch.Tensor) else frames:
        for piece in chunk.split(_FRAMES_AT_ONCE):
            # Cuts also show in small pictures, which are compared much faster.
            scale = min(1.0, _LONGEST_PX / max(piece.shape[-2:]))
            size = [max(1, round(side * scale)) for side in piece.shape[-2:]]
            # flip(1) puts blue first.
            small = torch.nn.functional.interpolate(piece.float(), size, mode="area").flip(1)
            yield from (
                (small.clamp(0, 1) * 255)
                .round()
                .byte()
                .permute(0, 2, 3, 1)
                .contiguous()
                .cpu()
                .numpy()
            )

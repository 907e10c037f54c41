"""Re-shot turns as video files with the times and the sound of the clip."""

from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import comfy.model_management
import torch

from ....memv2v_core.clips.fitting import Size, nearest_edited, restore_frames
from ....memv2v_core.clips.timing import FrameTimes
from ..clips.fitted import EVERY_FRAME, ODD_SIDES, ORIGINAL_SIZE
from ..footage.writing import VideoWriter, WrittenTimes, new_video_file
from .clip import ShotClip


@dataclass(frozen=True)
class TurnVideoSettings:
    """How a turn is written. The fields have the names of the widgets."""

    timing: str
    size: str
    crf: int

    def result_size(self, shot: ShotClip) -> Size:
        """Rows and columns of the written video."""
        return shot.plan.kept_size if self.size == ORIGINAL_SIZE else shot.plan.content

    def result_times(self, shot: ShotClip) -> FrameTimes:
        """When each written frame is shown."""
        times = shot.clip.times
        return times if self.timing == EVERY_FRAME else times.picked(shot.plan.chosen)

    def describe(self, shot: ShotClip) -> str:
        """The written videos, in words."""
        times, (rows, columns) = self.result_times(shot), self.result_size(shot)
        text = f"each video: {times.num_frames} frames of {columns}x{rows} at {times.describe()}"
        text += ", with the clip's sound" if shot.clip.sound is not None else ", without sound"
        if self.timing == EVERY_FRAME and not shot.plan.is_every_frame:
            num_made = len(set(shot.plan.chosen))
            text += f"; only {num_made} frames are re-shot, each held until the next is nearer"
        if rows % 2 or columns % 2:
            text += f"; {ODD_SIDES}"
        return text


def write_turn(shot: ShotClip, frames: torch.Tensor, settings: TurnVideoSettings) -> Path:
    """A new file in ComfyUI's temporary folder with a re-shot turn.

    frames: (F, 3, H, W) in 0..1, the decoded turn. A clip at its original size may be large, so
    frames are scaled and written one by one.

    Raises: ValueError for frames of another number than the fitted clip, and where the file cannot
    be written.
    """
    plan = shot.plan
    if len(frames) != plan.num_frames:
        raise ValueError(
            f"vae made {len(frames)} frames of a turn, wanted {plan.num_frames} as for "
            f"{shot.info.model_name}; connect that model's VAE"
        )
    is_every = settings.timing == EVERY_FRAME and not plan.is_every_frame
    order = nearest_edited(plan) if is_every else range(len(plan.chosen))
    path = new_video_file()
    size, is_original = settings.result_size(shot), settings.size == ORIGINAL_SIZE
    written = WrittenTimes(settings.result_times(shot), shot.clip.sound)
    try:
        with VideoWriter(path, size, written, settings.crf) as writer:
            for idx, held in groupby(order):
                comfy.model_management.throw_exception_if_processing_interrupted()
                # A plan of this frame alone, so that one frame is restored at a time.
                single = replace(plan, chosen=(plan.chosen[idx],), num_frames=1)
                frame = restore_frames(frames[idx : idx + 1], single, False, is_original)
                for _ in held:
                    writer.add(frame)
    except OSError as error:
        raise ValueError(
            f"{path} could not be written ({error}); make room on that disk, see that the clip is "
            "still where it was, and queue again: what is sampled is in the session"
        ) from error
    return path

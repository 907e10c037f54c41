"""A clip fitted to a model, and the numbers that restore it after the edit."""

from dataclasses import dataclass
from fractions import Fraction

import torch

from ....memv2v_core.clips.fitting import FittingPlan, restore_frames

EVERY_FRAME, EDITED_FRAMES = "every frame", "edited frames"
MODEL_SIZE, ORIGINAL_SIZE = "model", "original"


@dataclass(frozen=True, eq=False)
class FittedClip:
    """How a clip was fitted, and the parts of it that frames cannot carry.

    The socket MEMV2V_FITTING carries it.

    frame_rate: exact frames per second. audio: ComfyUI's AUDIO.
    """

    plan: FittingPlan
    frame_rate: Fraction
    audio: dict | None

    def restored(self, frames: torch.Tensor, timing: str, size: str) -> "RestoredClip":
        """The edited frames (F, H, W, 3) as a clip like the original.

        timing: `EVERY_FRAME` or `EDITED_FRAMES`. size: `MODEL_SIZE` or `ORIGINAL_SIZE`.
        """
        is_every, is_original = timing == EVERY_FRAME, size == ORIGINAL_SIZE
        restored = restore_frames(frames.movedim(-1, 1), self.plan, is_every, is_original)
        # ComfyUI wants (F, H, W, C).
        images, rate = restored.movedim(1, -1).contiguous(), self.frame_rate
        # Fewer frames over the same duration.
        if not is_every:
            rate = rate * len(images) / self.plan.num_source
        return RestoredClip(images, rate, self)


@dataclass(frozen=True, eq=False)
class RestoredClip:
    """The edited clip: images (F, H, W, 3) and its exact frames per second."""

    images: torch.Tensor
    frame_rate: Fraction
    fitted: FittedClip

    def describe(self) -> str:
        """The clip in words, and which part of the original it shows."""
        plan, rate = self.fitted.plan, self.frame_rate
        num_frames, rows, columns = self.images.shape[:3]
        text = (
            f"{num_frames} frames of {columns}x{rows} at {float(rate):.3f} a second, "
            f"{float(num_frames / rate):.2f} s"
        )
        text += ", with its sound" if self.fitted.audio is not None else ", without sound"
        if not plan.is_every_frame:
            is_held = num_frames == plan.num_source
            how = (
                "held until the next is nearer" if is_held else "at a rate that keeps the duration"
            )
            # A short clip repeats frames, which count once.
            num_edited = len(set(plan.chosen))
            text += f"; only {num_edited} of {plan.num_source} frames were edited, {how}"
        held = plan.num_frames - len(plan.chosen)
        if held:
            text += f"; {held} padded frames cut"
        if plan.kept_size != plan.source_size:
            kept = f"{plan.kept_size[1]}x{plan.kept_size[0]}"
            whole = f"{plan.source_size[1]}x{plan.source_size[0]}"
            text += f"; shows {kept} of the original's {whole}, the rest was cropped"
        if rows % 2 or columns % 2:
            text += "; MP4 files need even sides: crop one pixel before Save Video"
        return text

"""A clip fitted to a model, and the numbers that restore it after the edit."""

from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import InputImpl, Types

from ....memv2v_core.clips.fitting import FittingPlan, fit_chunks, restore_frames
from ....memv2v_core.clips.timing import FrameTimes
from ..footage.reading import FRAMES_AT_ONCE, Clip
from ..footage.sound import Sound
from ..footage.writing import DEFAULT_CRF, VideoWriter

EVERY_FRAME, EDITED_FRAMES = "every frame", "edited frames"
MODEL_SIZE, ORIGINAL_SIZE = "model", "original"
_TEN_BITS = 10


@dataclass(frozen=True, eq=False)
class FittedClip:
    """How a clip was fitted, and the parts of it that frames cannot carry.

    The socket MEMV2V_FITTING carries it.

    times: of the source's frames. sound: from its first frame on.
    """

    plan: FittingPlan
    times: FrameTimes
    sound: Sound | None

    def restored(self, frames: torch.Tensor, timing: str, size: str) -> "RestoredClip":
        """The edited frames (F, H, W, 3) as a clip like the original.

        timing: `EVERY_FRAME` or `EDITED_FRAMES`. size: `MODEL_SIZE` or `ORIGINAL_SIZE`.
        """
        is_every, is_original = timing == EVERY_FRAME, size == ORIGINAL_SIZE
        restored = restore_frames(frames.movedim(-1, 1), self.plan, is_every, is_original)
        # ComfyUI wants (F, H, W, C).
        images = restored.movedim(1, -1).contiguous()
        # Fewer frames over the same duration.
        times = self.times if is_every else self.times.picked(self.plan.chosen)
        return RestoredClip(images, times, self)


@dataclass(frozen=True, eq=False)
class RestoredClip:
    """The edited clip: images (F, H, W, 3), and when they are shown."""

    images: torch.Tensor
    times: FrameTimes
    fitted: FittedClip

    @property
    def frame_rate(self) -> Fraction:
        """Frames per second; the mean where they vary."""
        return self.times.rate

    @property
    def sound(self) -> Sound | None:
        """The sound of the original."""
        return self.fitted.sound

    def video(self) -> "RestoredVideo":
        """ComfyUI's VIDEO."""
        return RestoredVideo(self)

    def describe(self) -> str:
        """The clip in words, and which part of the original it shows."""
        plan, times = self.fitted.plan, self.times
        num_frames, rows, columns = self.images.shape[:3]
        text = f"{num_frames} frames of {columns}x{rows} at {times.describe()}"
        text += f", {float(times.duration):.2f} s"
        text += ", with its sound" if self.sound is not None else ", without sound"
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
            text += f"; {ODD_SIDES}"
        return text


ODD_SIDES = "odd sides need 4:4:4 colours, which some players cannot show"


class RestoredVideo(InputImpl.VideoFromComponents):
    """A restored clip as ComfyUI's VIDEO: lossless for nodes, and written as long edits are.

    Nodes get its frames and samples as they are. Save Video writes the times of the original, its
    sound without coding it anew where MP4 can hold it, odd sides, and true colour tags.
    """

    def __init__(self, clip: RestoredClip) -> None:
        self.times, self._clip = clip.times, clip
        audio = None if clip.sound is None else clip.sound.waveform()
        super().__init__(
            Types.VideoComponents(images=clip.images, audio=audio, frame_rate=clip.frame_rate)
        )

    def save_to(
        self,
        path: str | BytesIO,
        format: Types.VideoContainer = Types.VideoContainer.AUTO,
        codec: Types.VideoCodec = Types.VideoCodec.AUTO,
        metadata: dict | None = None,
        **options: Any,
    ) -> None:
        """Write the clip as H.264 in MP4; other wishes go to ComfyUI's own writer."""
        is_mp4 = format in (Types.VideoContainer.AUTO, Types.VideoContainer.MP4)
        is_h264 = codec in (Types.VideoCodec.AUTO, Types.VideoCodec.H264)
        if not (is_mp4 and is_h264) or (options.get("bit_depth") or 0) >= _TEN_BITS:
            super().save_to(path, format, codec, metadata, **options)
            return
        crf = options.get("crf")
        target = path if isinstance(path, BytesIO) else Path(path)
        images = self._clip.images
        size = images.shape[1], images.shape[2]
        quality = DEFAULT_CRF if crf is None else crf
        with VideoWriter(target, size, self._clip, quality, metadata) as writer:
            for piece in images.split(8):
                writer.add(piece.movedim(-1, 1))


def fitted_frames(clip: Clip, plan: FittingPlan) -> torch.Tensor:
    """Frames (num_frames, H, W, 3) of a clip, fitted by a plan."""
    read = clip.reader()
    # Only chosen frames are converted. The plan may repeat frames of a short clip.
    wanted = sorted(set(plan.chosen))
    # In short runs: the reader holds what it gave last.
    chunks = (chunk for first, stop in _runs(wanted) for chunk in read(first, stop))
    return fit_chunks(chunks, wanted, plan).movedim(1, -1).contiguous()


def _runs(indices: list[int]) -> list[tuple[int, int]]:
    """Ascending indices as ranges first..stop-1."""
    runs: list[tuple[int, int]] = []
    for idx in indices:
        if runs and runs[-1][1] == idx and idx - runs[-1][0] < FRAMES_AT_ONCE:
            runs[-1] = runs[-1][0], idx + 1
        else:
            runs.append((idx, idx + 1))
    return runs

"""The compared videos as files that a browser plays, in ComfyUI's temporary folder."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import torch
from comfy_api.latest import io, ui

from ....memv2v_core.clips.timing import steady_times
from ..footage.writing import VideoWriter, WrittenTimes, new_video_file

_FRAMES_AT_ONCE = 8
# Frame steps back are quick where the player need not decode much.
_KEYFRAME_EVERY = 8


class ComparedVideos(ui.PreviewText):
    """What the player of `web/compare/` gets, with the report for `web/reports/`.

    files: of the first and the second video, and of the heat map where there is one.
    """

    def __init__(
        self,
        files: tuple[Path, Path, Path | None],
        names: tuple[str, str],
        verdict: str,
        frame_rate: Fraction,
        size: tuple[int, int, int],
        report: str,
    ) -> None:
        super().__init__(report)
        num_frames, height, width = size
        first, second, heat = files
        self.shown = {
            "first": {**saved(first), "name": names[0]},
            "second": {**saved(second), "name": names[1]},
            "heat": None if heat is None else saved(heat),
            "verdict": verdict,
            "frame_rate": float(frame_rate),
            "num_frames": num_frames,
            "height": height,
            "width": width,
        }

    def as_dict(self) -> dict:
        return {**super().as_dict(), "memory_v2v_compare": (self.shown,)}


def saved(file: Path) -> dict[str, str]:
    """A temporary file as ComfyUI's /view route names it."""
    return {"filename": file.name, "subfolder": "", "type": io.FolderType.temp.value}


def write_video(frames: torch.Tensor, rate: Fraction, before_each: Callable[[], None]) -> Path:
    """A new H.264 file of frames (F, 3, H, W) in [0, 1].

    Odd sides get one more row or column, a copy of the last: browsers play even sizes alone.
    before_each: called before every few frames, so that a user can stop.

    Raises: ValueError where the file cannot be written.
    """
    path = new_video_file()
    rows, columns = frames.shape[-2:]
    margin = (0, columns % 2, 0, rows % 2)
    size = (rows + rows % 2, columns + columns % 2)
    clip = WrittenTimes(steady_times(len(frames), rate))
    try:
        with VideoWriter(path, size, clip, keyframe_every=_KEYFRAME_EVERY) as writer:
            for piece in frames.split(_FRAMES_AT_ONCE):
                before_each()
                writer.add(torch.nn.functional.pad(piece, margin, mode="replicate"))
    except OSError as error:
        raise ValueError(
            f"{path} could not be written ({error}); make room on that disk and queue again: the "
            "turns themselves are in the cache"
        ) from error
    return path

"""Writes a video while its frames come, with the times and the sound of the original clip.

Nothing is held in memory for long.
"""

import json
import math
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Protocol
from uuid import uuid4

import av
import folder_paths
import torch

from ....memv2v_core.clips.fitting import Size
from ....memv2v_core.clips.timing import FrameTimes
from .sound import Sound, silence

DEFAULT_CRF = 16
# Written into the file, so that every player shows the same colours.
_BT709, _LIMITED_RANGE = 1, 1
# Fine enough for all rates: the usual clock of video.
_CLOCK = Fraction(1, 90000)


class Timed(Protocol):
    """What a written file takes from the original clip."""

    @property
    def times(self) -> FrameTimes:
        """When each written frame is shown."""
        ...

    @property
    def sound(self) -> Sound | None:
        """What is heard; None for a silent file."""
        ...


@dataclass(frozen=True, eq=False)
class WrittenTimes:
    """Times and sound of a file that has its own; see `Timed`."""

    times: FrameTimes
    sound: Sound | None = None


def new_video_file(kind: str = "") -> Path:
    """The path of a new MP4 file in ComfyUI's temporary folder, which is there then.

    kind: a word in its name.

    Raises: OSError where the folder cannot be made.
    """
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"memory_v2v_{kind}{uuid4().hex}.mp4"


class VideoWriter:
    """Writes an H.264 file; use it in a `with` block. After an error it leaves no file.

    path: or a file in memory. size: rows and columns of the frames. Odd sides need full colour
    resolution (4:4:4), which some players lack.
    metadata: tags of the file; values that are no text are written as JSON.
    preset: of x264; faster ones make larger files.
    keyframe_every: frames from one that needs no other to the next; None lets the encoder choose.
    """

    def __init__(
        self,
        path: Path | BytesIO,
        size: Size,
        clip: Timed,
        crf: float = DEFAULT_CRF,
        metadata: Mapping[str, object] | None = None,
        preset: str = "medium",
        keyframe_every: int | None = None,
    ) -> None:
        self._path, self._times, self._num_frames = path, clip.times, 0
        # Steady frames are counted at their exact rate, others have times of their own.
        self._clock = 1 / clip.times.rate if clip.times.is_steady else _CLOCK
        self._durations: dict[int, int] = {}
        is_on_disk = isinstance(path, Path)
        flags = "use_metadata_tags+faststart" if is_on_disk else "use_metadata_tags"
        # If a later step fails, the stack closes what is open; pop_all keeps it open on success.
        with ExitStack() as opened:
            self._output = opened.enter_context(
                av.open(
                    str(path) if is_on_disk else path,
                    "w",
                    format="mp4",
                    options={"movflags": flags},
                )
            )
            for key, value in (metadata or {}).items():
                text = value if isinstance(value, str) else json.dumps(value)
                self._output.metadata[key] = text
            self._video = _video_stream(self._output, size, clip.times, self._clock, crf)
            self._video.options |= {"preset": preset}
            if keyframe_every is not None:
                self._video.codec_context.gop_size = keyframe_every
            packets = silence() if clip.sound is None else clip.sound.packets(self._output)
            self._sound = opened.enter_context(closing(packets))
            self._next_sound: av.Packet | None = next(self._sound, None)
            self._opened = opened.pop_all()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        is_whole = False
        try:
            with self._opened:
                if kind is None:
                    # The encoder still holds frames; None makes it give them.
                    self._mux(self._video.encode(None))
                    self._add_sound(math.inf)
            is_whole = kind is None
        finally:
            if not is_whole and isinstance(self._path, Path):
                self._path.unlink(missing_ok=True)

    def add(self, frames: torch.Tensor) -> None:
        """Write frames (F, C, H, W) in 0..1, and the sound up to their end."""
        pixels = (
            (frames.movedim(1, -1) * 255)
            .round()
            .clamp(0, 255)
            .to(torch.uint8)
            .cpu()
            .contiguous()
            .numpy()
        )
        for picture in pixels:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(format=self._video.pix_fmt, dst_colorspace=_BT709)
            begin, end = (
                round(self._times.start(self._num_frames + i) / self._clock) for i in (0, 1)
            )
            frame.pts, frame.time_base = begin, self._clock
            self._durations[begin] = end - begin
            self._mux(self._video.encode(frame))
            self._num_frames += 1
        # Sound is written beside its pictures, so that players need not jump in the file.
        self._add_sound(float(self._times.start(self._num_frames)))

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            # Without it the last frame of an uneven clip would last as long as the mean frame.
            if not self._times.is_steady:
                assert packet.pts is not None, "every coded frame has a time"
                packet.duration = self._durations[packet.pts]
            self._output.mux(packet)

    def _add_sound(self, until_s: float) -> None:
        while self._next_sound is not None and _start_s(self._next_sound) <= until_s:
            self._output.mux(self._next_sound)
            self._next_sound = next(self._sound, None)


def _video_stream(
    output: av.container.OutputContainer,
    size: Size,
    times: FrameTimes,
    clock: Fraction,
    crf: float,
) -> av.VideoStream:
    stream = output.add_stream("h264", rate=times.rate.limit_denominator(90000))
    stream.height, stream.width = size
    stream.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
    # On CPUs with AVX-512, x264 with mbtree reads memory that it never wrote. Equal frames would
    # then make different files.
    stream.options = {"crf": f"{crf:g}", "mbtree": "0"}
    context = stream.codec_context
    if not times.is_steady:
        context.time_base = stream.time_base = clock
        # MP4 counts the length of a sample in coding order, which frames out of order would break.
        stream.options |= {"bf": "0"}
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED_RANGE
    return stream


def _start_s(packet: av.Packet) -> float:
    assert packet.dts is not None, "copied and coded packets have one"
    return float(packet.dts * packet.time_base)

"""The clip that a long edit starts from, read a few frames at a time from a file or from memory."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import av
import comfy.model_management
import numpy
import torch
from comfy_api.latest import Input, InputImpl

from ....memv2v_core.clips.fitting import Size
from ..compat import trim_window

FRAMES_AT_ONCE = 8
# Broadcast rates such as 30000 / 1001 have this denominator.
_MAX_RATE_DENOMINATOR = 1001
_QUARTER_TURN_DEG = 90
_RGB = 3
_NO_TIMES = (
    "video got a trimmed file whose frames have no times, wanted a file with times to trim by; "
    "load it untrimmed, or save it as MP4 and trim that"
)

# Called with start and stop, it yields chunks (F, C, H, W) of frames start..stop-1.
Reader = Callable[[int, int], Iterator[torch.Tensor]]


@dataclass(frozen=True, eq=False)
class ImageClip:
    """Frames (F, H, W, C) in memory, with their rate and sound (ComfyUI's AUDIO, or None)."""

    images: torch.Tensor
    frame_rate: Fraction
    audio: dict | None

    @property
    def num_frames(self) -> int:
        return len(self.images)

    @property
    def size(self) -> Size:
        return self.images.shape[1], self.images.shape[2]

    def reader(self) -> Reader:
        """A reader of any frames, in any order."""

        def read(start: int, stop: int) -> Iterator[torch.Tensor]:
            for first in range(start, stop, FRAMES_AT_ONCE):
                comfy.model_management.throw_exception_if_processing_interrupted()
                chunk = (
                    self.images[first : min(first + FRAMES_AT_ONCE, stop), ..., :3]
                    .movedim(-1, 1)
                    .float()
                    .cpu()
                )
                yield _require_finite(chunk, first)

        return read


@dataclass(frozen=True, eq=False)
class FileClip:
    """A video file, of which at most one segment is decoded at once.

    file: a path, or a file in memory.
    window: start and duration in seconds; a duration of 0 means everything after the start.
    start_s: the time of the first frame, in the time of the file.
    drift_s: the largest distance of a frame from its time at a steady `frame_rate`.
    """

    file: str | BinaryIO
    window: tuple[float, float]
    num_frames: int
    size: Size
    frame_rate: Fraction
    start_s: float = 0.0
    drift_s: float = 0.0

    def reader(self) -> Reader:
        """A reader of frames whose start never goes back, as segments do.

        It keeps the frames of the last call and no others.
        """
        return _FileReader(self.file, self.window).read


Clip = ImageClip | FileClip


def exact_rate(frame_rate: float) -> Fraction:
    """The frames per second that a widget gives as a float, such as 30000 / 1001."""
    return Fraction(frame_rate).limit_denominator(_MAX_RATE_DENOMINATOR)


def require_one_clip(
    name: str, images: torch.Tensor | None, video: Input.Video | None, audio: dict | None
) -> None:
    """Raise ValueError unless exactly one of images and video is connected.

    Sound beside a video is refused too.

    name: of the input that takes images.
    """
    if images is None and video is None:
        raise ValueError(
            f"{name} and video are not connected, wanted one of the two; connect the clip to one "
            "of them"
        )
    if images is not None and video is not None:
        raise ValueError(
            f"{name} and video are both connected, wanted one of the two; disconnect one of them"
        )
    if video is not None and audio is not None:
        raise ValueError(
            "audio is connected beside a video, which has its own sound; disconnect audio, or "
            f"connect {name} in place of the video"
        )


def clip_parts(
    frames: torch.Tensor | None, video: Input.Video | None, frame_rate: float, audio: dict | None
) -> tuple[torch.Tensor, Fraction, dict | None]:
    """Frames (F, H, W, C), their exact rate and their sound, from the connected input.

    Raises: ValueError as `require_one_clip`.
    """
    require_one_clip("frames", frames, video, audio)
    if frames is not None:
        return frames, exact_rate(frame_rate), audio
    assert video is not None, "one of the two is connected"
    parts = video.get_components()
    return parts.images, Fraction(parts.frame_rate), parts.audio


def open_clip(
    images: torch.Tensor | None,
    video: Input.Video | None,
    frame_rate: Fraction,
    audio: dict | None,
    watch: Callable[[Iterator[torch.Tensor]], None] | None = None,
) -> Clip:
    """The connected clip.

    watch: gets all its frames once, in chunks; the colours of a file are rough then.

    Raises: ValueError unless exactly one of `images` and `video` is given, for images without
    colour, for sound beside a video, and for a file without frames.
    """
    require_one_clip("images", images, video, audio)
    if images is not None:
        if images.shape[-1] < _RGB:
            raise ValueError(
                f"images got {images.shape[-1]} channels, wanted 3; convert a mask with Mask To "
                "Image"
            )
        clip = ImageClip(images, frame_rate, audio)
    elif isinstance(video, InputImpl.VideoFromFile):
        return _open_file(video, watch)
    else:
        assert video is not None, "one of the two is connected"
        parts = video.get_components()
        clip = ImageClip(parts.images, Fraction(parts.frame_rate), parts.audio)
    if watch is not None:
        watch(clip.reader()(0, clip.num_frames))
    return clip


def _open_file(
    video: Input.Video, watch: Callable[[Iterator[torch.Tensor]], None] | None
) -> FileClip:
    file, window = video.get_stream_source(), trim_window(video)
    # Decoded once: many files have no frame count, or a wrong one.
    counted = _Counted()
    frames = counted.passing(decoded_frames(file, window))
    if watch is not None:
        watch(_chunks(frames, _rough_picture))
    # Without a watcher the frames still have to be counted.
    for _ in frames:
        comfy.model_management.throw_exception_if_processing_interrupted()
    if counted.size is None:
        raise ValueError(
            "video got a file without frames that can be decoded, wanted a clip; load another file"
        )
    rate = Fraction(video.get_frame_rate())
    return FileClip(
        file, window, counted.count, counted.size, rate, counted.start_s, counted.drift_s(rate)
    )


class _Counted:
    """Counts the frames that pass, and keeps their size and times."""

    def __init__(self) -> None:
        self.size: Size | None = None
        self._times_s: list[float | None] = []

    @property
    def count(self) -> int:
        return len(self._times_s)

    @property
    def start_s(self) -> float:
        return self._times_s[0] or 0.0

    def drift_s(self, frame_rate: Fraction) -> float:
        """The largest distance of a frame from its time at a steady rate."""
        steady = (self.start_s + float(idx / frame_rate) for idx in range(self.count))
        shown = zip(self._times_s, steady, strict=True)
        return max(
            (abs(time_s - steady_s) for time_s, steady_s in shown if time_s is not None),
            default=0.0,
        )

    def passing(self, frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        for frame in frames:
            if self.size is None:
                self.size = _rough_picture(frame).shape[:2]
            self._times_s.append(frame.time)
            yield frame


class _FileReader:
    """Frames of a file in order.

    The frames of the last call are kept, since the next segment may start among them.
    """

    def __init__(self, file: str | BinaryIO, window: tuple[float, float]) -> None:
        self._file = file
        self._frames = decoded_frames(file, window)
        self._kept: deque[av.VideoFrame] = deque()
        self._kept_from = 0
        self._convert = _Converter()

    def read(self, start: int, stop: int) -> Iterator[torch.Tensor]:
        """Chunks (F, C, H, W) in 0..1 of frames start..stop-1.

        `start` is never smaller than in the call before.
        """
        assert start >= self._kept_from, (
            f"frame {start} is gone: frames are read in order, from {self._kept_from} on"
        )
        return _chunks(self._between(start, stop), self._convert)

    def _between(self, start: int, stop: int) -> Iterator[av.VideoFrame]:
        for idx in range(self._kept_from, stop):
            place = idx - self._kept_from
            # The frame is not decoded yet.
            if place == len(self._kept):
                self._kept.append(self._next(idx))
            # Frames before `start` are not needed again.
            if idx < start:
                self._kept.popleft()
                self._kept_from += 1
            else:
                yield self._kept[place]

    def _next(self, idx: int) -> av.VideoFrame:
        frame = next(self._frames, None)
        if frame is None:
            raise ValueError(
                f"video got {idx} frames, wanted more: {self._file} changed since it was split; "
                "load it again, and let no other program write it meanwhile"
            )
        return frame


def decoded_frames(file: str | BinaryIO, window: tuple[float, float]) -> Iterator[av.VideoFrame]:
    """Every frame of a video file within the window, in order.

    Broken packets are skipped, as ComfyUI does.

    Raises: ValueError for a file without a video stream, and for a window in a file without times.
    """
    rewind(file)
    with av.open(file, mode="r") as container:
        if not container.streams.video:
            raise ValueError(
                "video got a file without a video stream, wanted a clip; load another file"
            )
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        assert stream.time_base is not None, "every stream of a file has one"
        start = int(window[0] / stream.time_base)
        stop = int(sum(window) / stream.time_base) if window[1] else None
        # Seeking lands on a key frame at or before the start; earlier frames are dropped below.
        if start:
            try:
                container.seek(start, stream=stream)
            except av.error.FFmpegError as error:
                raise ValueError(_NO_TIMES) from error
        for packet in container.demux(stream):
            for frame in _decoded(packet):
                if start and _pts_of(frame) < start:
                    continue
                if stop is not None and _pts_of(frame) >= stop:
                    return
                yield frame


def _pts_of(frame: av.VideoFrame) -> int:
    if frame.pts is None:
        raise ValueError(_NO_TIMES)
    return frame.pts


class _Converter:
    """Turns frames into upright pictures (H, W, 3) in 8 bits.

    Colour is brought to full resolution first. The pictures are not made in floats: for some widths
    PyAV then gives other values in every run.
    """

    def __init__(self) -> None:
        self._kind: tuple[object, ...] = ()

    def __call__(self, frame: av.VideoFrame) -> numpy.ndarray:
        kind = frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range
        # A filter graph fits one kind of frame, and a file may change its kind.
        if kind != self._kind:
            self._build(frame)
            self._kind = kind
        self._source.push(frame)
        picture = self._sink.pull()
        assert isinstance(picture, av.VideoFrame)
        return _upright(picture.to_ndarray(format="rgb24"), frame)

    def _build(self, frame: av.VideoFrame) -> None:
        self._graph = av.filter.Graph()
        self._source = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        scale = self._graph.add("scale", "flags=bilinear+full_chroma_int+accurate_rnd")
        rgb, self._sink = self._graph.add("format", "rgb24"), self._graph.add("buffersink")
        self._source.link_to(scale)
        scale.link_to(rgb)
        rgb.link_to(self._sink)
        self._graph.configure()


def _rough_picture(frame: av.VideoFrame) -> numpy.ndarray:
    """The same picture at a third of the cost, with colour at half the resolution."""
    return _upright(frame.to_ndarray(format="rgb24"), frame)


def _upright(pixels: numpy.ndarray, frame: av.VideoFrame) -> numpy.ndarray:
    turns = round(frame.rotation / _QUARTER_TURN_DEG)
    return numpy.ascontiguousarray(numpy.rot90(pixels, turns)) if turns else pixels


def _require_finite(chunk: torch.Tensor, first: int) -> torch.Tensor:
    bad = (~torch.isfinite(chunk)).flatten(1).any(dim=1).nonzero().flatten().tolist()
    if bad:
        names = ", ".join(str(first + idx + 1) for idx in bad)
        raise ValueError(
            f"images got NaN or infinity in frames {names}, wanted finite numbers; make these "
            "frames again, as with a VAE in fp32"
        )
    return chunk


def rewind(file: str | BinaryIO) -> None:
    """Bring a file in memory back to its start."""
    if not isinstance(file, str):
        file.seek(0)


def _decoded(packet: av.Packet) -> list[av.VideoFrame]:
    try:
        return packet.decode()
    except av.error.InvalidDataError as error:
        logging.warning("a packet of the video could not be decoded and is passed over: %s", error)
        return []


def _chunks(
    frames: Iterator[av.VideoFrame], convert: Callable[[av.VideoFrame], numpy.ndarray]
) -> Iterator[torch.Tensor]:
    """Frames in groups of at most `FRAMES_AT_ONCE` as (F, C, H, W) in 0..1."""
    group: list[torch.Tensor] = []
    for frame in frames:
        group.append(torch.from_numpy(convert(frame)))
        if len(group) == FRAMES_AT_ONCE:
            yield _stacked(group)
            group.clear()
    if group:
        yield _stacked(group)


def _stacked(group: list[torch.Tensor]) -> torch.Tensor:
    comfy.model_management.throw_exception_if_processing_interrupted()
    return torch.stack(group).movedim(-1, 1).float() / 255

"""Frames of a file, decoded in order, and what a look at all of them tells."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import av

from .files import VideoSource, file_name, opened_file
from .limits import MAX_PIXELS
from .tracks import Track

_NO_TIMES = (
    "video {name} got a trimmed file whose frames have no times, wanted a file with times to trim "
    "by; load it untrimmed, or save it as MP4 and trim that"
)
# Audio pieces may follow each other this much too early or too late.
_HOLE_S, _UNKNOWN_S = Fraction(3, 100), Fraction(1, 2)


@dataclass(frozen=True)
class Window:
    """The used part of a file, in seconds after its first frame; a duration of 0 means the rest."""

    start: Fraction = Fraction(0)
    duration: Fraction = Fraction(0)

    @property
    def is_whole(self) -> bool:
        """Whether the whole file is used."""
        return not (self.start or self.duration)


@dataclass(eq=False)
class Look:
    """What was seen while all frames of a file were decoded.

    shown: seconds of each frame of the window, in the file's time; None where it has no time.
    last: seconds that the last frame is shown.
    damaged: packets that could not be decoded. corrupt: frames that were decoded with faults.
    resized: frames of another size than the first one. interlaced: frames that hold two moments.
    packets: of the picture, damaged and empty ones too.
    sound: begin and end of the pieces of sound, joined where they follow each other.
    """

    shown: list[Fraction | None] = field(default_factory=list)
    last: Fraction | None = None
    damaged: int = 0
    corrupt: int = 0
    resized: int = 0
    interlaced: int = 0
    packets: int = 0
    sound: list[tuple[Fraction, Fraction]] = field(default_factory=list)

    def hear(self, packet: av.Packet) -> None:
        """Note when a packet of sound is heard."""
        if packet.pts is None:
            return
        assert packet.time_base is not None, "packets of a file have one"
        begin = Fraction(packet.pts * packet.time_base)
        end = begin + Fraction((packet.duration or 0) * packet.time_base)
        # Some files do not say how long a packet lasts.
        hole = _HOLE_S if packet.duration else _UNKNOWN_S
        if self.sound and abs(begin - self.sound[-1][1]) <= hole:
            self.sound[-1] = self.sound[-1][0], end
        else:
            self.sound.append((begin, end))


def decoded_frames(
    source: VideoSource,
    window: Window,
    is_interlaced: bool = False,
    look: Look | None = None,
    track: Track | None = None,
) -> Iterator[av.VideoFrame]:
    """Every frame of a file within the window, in order.

    Packets that cannot be decoded are passed over, as ComfyUI does.

    is_interlaced: joins the two moments of each frame.
    look: gets what is seen on the way. track: whose times it gets too.

    Raises: ValueError for a file that cannot be opened or has no video stream, and for a window in
    a file without times.
    """
    look = look or Look()
    frames = _in_window(source, window, look, track)
    return _deinterlaced(frames) if is_interlaced else frames


def moving_streams(container: av.container.InputContainer) -> list[av.VideoStream]:
    """The video streams that are no cover pictures."""
    cover = av.stream.Disposition.attached_pic
    return [stream for stream in container.streams.video if not stream.disposition & cover]


def video_stream_of(container: av.container.InputContainer, name: str) -> av.VideoStream:
    """The first video stream that is no cover picture.

    name: of the file, for messages.

    Raises: ValueError for a file without one.
    """
    streams = moving_streams(container)
    if not streams or streams[0].codec_context is None:
        lack = "video stream that can be decoded here" if streams else "video stream"
        raise ValueError(f"video {name} is a file without a {lack}, wanted a clip; load another")
    require_size(streams[0].codec_context.height, streams[0].codec_context.width, name)
    return streams[0]


def require_size(rows: int, columns: int, name: str) -> None:
    """Raise ValueError for pictures that would fill the memory.

    name: of the file, for messages.
    """
    if rows * columns > MAX_PIXELS:
        raise ValueError(
            f"video {name} says that its pictures are {columns}x{rows}, wanted at most "
            f"{MAX_PIXELS} pixels, as in 8192x4352; scale it with a video program"
        )


def first_frame(
    container: av.container.InputContainer, stream: av.VideoStream
) -> av.VideoFrame | None:
    """The first frame that can be decoded; None where there is none."""
    for packet in container.demux(stream):
        for frame in _decoded(packet, Look()):
            return frame
    return None


def _in_window(
    source: VideoSource, window: Window, look: Look, track: Track | None
) -> Iterator[av.VideoFrame]:
    with opened_file(source) as container:
        name = file_name(source)
        stream = video_stream_of(container, name)
        stream.thread_type = "AUTO"
        assert stream.time_base is not None, "every stream of a file has one"
        origin = stream.start_time or 0
        start = origin + int(window.start / stream.time_base) if window.start else None
        stop = None
        if window.duration:
            stop = origin + int((window.start + window.duration) / stream.time_base)
        if start is not None:
            _seek(container, stream, start, name)
        streams = [stream] if track is None else [stream, container.streams[track.index]]
        size: tuple[int, int] | None = None
        for packet in container.demux(*streams):
            if packet.stream.type == "audio":
                look.hear(packet)
                continue
            look.packets += packet.dts is not None or bool(packet.size)
            for frame in _decoded(packet, look):
                if start is not None and _pts_of(frame, name) < start:
                    continue
                if stop is not None and _pts_of(frame, name) >= stop:
                    return
                look.interlaced += frame.interlaced_frame
                size = size or (frame.height, frame.width)
                look.resized += size != (frame.height, frame.width)
                look.corrupt += frame.is_corrupt
                _note_time(look, frame, stream)
                yield frame


def _seek(
    container: av.container.InputContainer, stream: av.VideoStream, start: int, name: str
) -> None:
    """Go to a key frame at or before `start`, in the clock of the stream."""
    try:
        container.seek(start, stream=stream)
        frame = first_frame(container, stream)
        # Broadcast streams have no index: their seeks may land behind the start.
        is_late = frame is None or frame.pts is None or frame.pts > start
        container.seek(stream.start_time or 0 if is_late else start, stream=stream)
    except av.error.FFmpegError as error:
        raise ValueError(_NO_TIMES.format(name=name)) from error


def _note_time(look: Look, frame: av.VideoFrame, stream: av.VideoStream) -> None:
    if frame.pts is None:
        look.shown.append(None)
        return
    base = frame.time_base or stream.time_base
    assert base is not None, "frames of a file have one"
    look.shown.append(Fraction(frame.pts * base))
    # Older PyAVs do not say how long a frame is shown.
    duration = getattr(frame, "duration", 0)
    look.last = Fraction(duration * base) if duration else None


def _pts_of(frame: av.VideoFrame, name: str) -> int:
    if frame.pts is None:
        raise ValueError(_NO_TIMES.format(name=name))
    return frame.pts


def _decoded(packet: av.Packet, look: Look) -> list[av.VideoFrame]:
    try:
        return packet.decode()
    except av.error.FFmpegError as error:
        # The packet that ends a stream may report the fault of an earlier one.
        look.damaged += bool(packet.size)
        cause = error.strerror
        logging.warning("a packet of the video could not be decoded and is passed over: %s", cause)
        return []


def _deinterlaced(frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """One frame for each frame, with the missing lines of its first moment interpolated (bwdif)."""
    graph: _Deinterlacer | None = None
    for frame in frames:
        # A filter graph fits one kind of frame.
        if graph is None or not graph.fits(frame):
            if graph is not None:
                yield from graph.rest()
            graph = _Deinterlacer(frame)
        yield from graph.frames_for(frame)
    if graph is not None:
        yield from graph.rest()


class _Deinterlacer:
    """FFmpeg's filter for frames of one kind. It gives as many frames as it gets, a frame later."""

    def __init__(self, frame: av.VideoFrame) -> None:
        self._kind = frame.width, frame.height, frame.format.name
        self._graph = av.filter.Graph()
        source = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        # Frames of a film inside an interlaced stream pass unchanged.
        bwdif = self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
        sink = self._graph.add("buffersink")
        source.link_to(bwdif)
        bwdif.link_to(sink)
        self._graph.configure()
        self._source, self._sink = source, sink
        # The filter orders by time; a steady count keeps frames without times in order.
        self._count = 0

    def fits(self, frame: av.VideoFrame) -> bool:
        return self._kind == (frame.width, frame.height, frame.format.name)

    def frames_for(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        frame.pts = self._count
        self._count += 1
        self._source.push(frame)
        yield from self._pulled()

    def rest(self) -> Iterator[av.VideoFrame]:
        self._source.push(None)
        yield from self._pulled()

    def _pulled(self) -> Iterator[av.VideoFrame]:
        while True:
            try:
                frame = self._sink.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            assert isinstance(frame, av.VideoFrame)
            yield frame

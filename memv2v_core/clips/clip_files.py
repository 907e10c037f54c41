"""Plain training clips: MP4 files in, MP4 files out.

Frames are upright, with square pixels, 8 bits and one rate: what data sets hold. Footage of
cameras is read by the nodes.

F frames, H rows, W columns.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import av
import numpy
import torch

from ..atomic_files import write_atomically

# Rates are kept as fractions with at most this denominator.
_MAX_RATE_DENOMINATOR = 90000
# Written into the file, so that every reader gets the same colours.
_BT709, _LIMITED_RANGE = 1, 1
# Colour is brought to full resolution smoothly: PyAV alone repeats each value, and loses 9 dB on
# strongly coloured frames.
_FLAGS = "flags=bilinear+full_chroma_int+accurate_rnd"


class ClipFrames(NamedTuple):
    """A decoded clip: `frames` (F, 3, H, W) in 0..1, `rate` in frames per second."""

    frames: torch.Tensor
    rate: Fraction


class ClipLook(NamedTuple):
    """Length, size in pixels and frames per second of a clip."""

    num_frames: int
    height: int
    width: int
    rate: Fraction

    def __str__(self) -> str:
        rate = f"{float(self.rate):g}"
        return f"{self.num_frames} frames of {self.width}x{self.height} at {rate} a second"


def read_frames(path: Path, num_frames: int | None = None, first: int = 0) -> ClipFrames:
    """The frames of a clip, in 32-bit floats.

    num_frames: how many are read; all if not given. first: index of the first one.

    Raises: ValueError naming the file if it is missing, damaged or shorter than asked for, and if a
    player would turn or widen its pictures.
    """
    with _opened(path) as (container, stream):
        rate = stream.average_rate
        stop = None if num_frames is None else first + num_frames
        pictures = list(_pictures(path, islice(container.decode(stream), stop), first))
    wanted = 1 if num_frames is None else num_frames
    if len(pictures) < wanted:
        raise ValueError(
            f"{path} got {len(pictures)} frames after frame {first}, wanted {wanted}; take another "
            "clip"
        )
    if not rate:
        raise ValueError(f"{path} does not say how many frames a second has; write it again")
    pixels = torch.from_numpy(numpy.stack(pictures)).movedim(-1, 1).contiguous()
    return ClipFrames(pixels.float().div_(255), Fraction(rate))


def look_at(path: Path) -> ClipLook:
    """Frames, size and rate of a clip. Every frame is decoded: a head may say something else.

    Raises: ValueError as `read_frames`.
    """
    with _opened(path) as (container, stream):
        count = 0
        for frame in container.decode(stream):
            _require_whole_and_upright(path, count, frame)
            count += 1
        if not stream.average_rate or not count:
            raise ValueError(f"{path} does not say its frames and its rate; write it again")
        return ClipLook(count, stream.height, stream.width, Fraction(stream.average_rate))


def write_clip(path: Path, frames: torch.Tensor, rate: Fraction | float, crf: float = 10) -> None:
    """Write frames (F, 3, H, W) in 0..1 as H.264. The file is whole or absent.

    crf: of x264; the default shows no difference to the eye. 0 keeps the 8-bit values exactly, in
    RGB, for several times the size. Odd sides have full colour resolution (4:4:4), even ones half.

    Raises: ValueError naming the file for frames of another shape, or with values that are no
    number.
    """
    if frames.ndim != 4 or frames.shape[1] != 3 or not len(frames):
        raise ValueError(f"{path} got frames {tuple(frames.shape)}, wanted (F, 3, H, W)")
    if not torch.isfinite(frames).all():
        raise ValueError(f"{path} got frames with NaN or infinite values; compute them again")
    pixels = frames.movedim(1, -1).float().mul(255).round().clamp(0, 255).to(torch.uint8)
    memory = BytesIO()
    with av.open(memory, "w", format="mp4") as output:
        stream = _add_stream(output, pixels.shape[1], pixels.shape[2], Fraction(rate), crf)
        for picture in pixels.cpu().contiguous().numpy():
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if crf:
                frame = frame.reformat(format=stream.pix_fmt, dst_colorspace=_BT709)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    write_atomically(path, memory.getvalue())


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """A file and its video stream, while it is read.

    Raises: ValueError naming a file that cannot be read or has no square pixels.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{path} got no video stream, wanted a clip; replace the file")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if stream.sample_aspect_ratio not in (None, 0, 1):
                raise ValueError(f"{path} has pixels that are not square; write it again")
            yield container, stream
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); replace the file") from error


def _require_whole_and_upright(path: Path, index: int, frame: av.VideoFrame) -> None:
    if frame.is_corrupt:
        raise ValueError(f"{path} is damaged at frame {index}; replace the file")
    if frame.side_data.get("DISPLAYMATRIX") is not None:
        raise ValueError(f"{path} is shown turned; write it again, upright")


def _pictures(path: Path, decoded: Iterator[av.VideoFrame], first: int) -> Iterator[numpy.ndarray]:
    """Frames `first` and later as (H, W, 3) in 8 bits."""
    to_rgb: _RgbConverter | None = None
    for index, frame in enumerate(decoded):
        _require_whole_and_upright(path, index, frame)
        if index < first:
            continue
        to_rgb = to_rgb or _RgbConverter(frame)
        if _kind_of(frame) != to_rgb.kind:
            raise ValueError(
                f"{path} got {_kind_of(frame)} at frame {index}, wanted {to_rgb.kind} throughout; "
                "write it again"
            )
        yield to_rgb(frame)


class _RgbConverter:
    """FFmpeg's filter for frames of one kind."""

    def __init__(self, first: av.VideoFrame) -> None:
        self.kind = _kind_of(first)
        # The contexts do not keep their graph alive.
        self._graph = av.filter.Graph()
        self._source = self._graph.add_buffer(
            width=first.width, height=first.height, format=first.format, time_base=first.time_base
        )
        scale = self._graph.add("scale", _FLAGS)
        rgb, self._sink = self._graph.add("format", "rgb24"), self._graph.add("buffersink")
        self._source.link_to(scale)
        scale.link_to(rgb)
        rgb.link_to(self._sink)
        self._graph.configure()

    def __call__(self, frame: av.VideoFrame) -> numpy.ndarray:
        self._source.push(frame)
        picture = self._sink.pull()
        assert isinstance(picture, av.VideoFrame)
        return picture.to_ndarray()


def _kind_of(frame: av.VideoFrame) -> tuple[int, int, str]:
    return frame.height, frame.width, frame.format.name


def _add_stream(
    output: av.container.OutputContainer, rows: int, columns: int, rate: Fraction, crf: float
) -> av.VideoStream:
    stream = output.add_stream(
        "libx264" if crf else "libx264rgb", rate=rate.limit_denominator(_MAX_RATE_DENOMINATOR)
    )
    stream.height, stream.width = rows, columns
    if not crf:
        stream.pix_fmt, stream.options = "rgb24", {"qp": "0"}
        return stream
    stream.pix_fmt = "yuv444p" if rows % 2 or columns % 2 else "yuv420p"
    # On CPUs with AVX-512, x264 with mbtree reads memory that it never wrote. Equal frames would
    # then make different files.
    stream.options = {"crf": f"{crf:g}", "mbtree": "0"}
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED_RANGE
    return stream

"""Frames of a file as the pictures that a player shows: upright, with square pixels, plain colour.

H rows, W columns.
"""

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy

from ....memv2v_core.clips.colour import ColourSpace, PlainColour, Primaries, Transfer
from ....memv2v_core.clips.fitting import Size

# Numbers of ITU-T H.273.
_TRANSFERS: dict[int, Transfer] = {16: "pq", 18: "hlg"}
_PRIMARIES: dict[int, Primaries] = {9: "bt2020", 11: "p3", 12: "p3"}
# What is said of transparent pictures, from a file or from memory.
ON_BLACK = "transparent parts are shown on black: the result has no transparency"
_MOST_ASPECT = Fraction(16)
_MATRIX_FORMAT = "<9i"
_FLAGS = "flags=bilinear+full_chroma_int+accurate_rnd"


@dataclass(frozen=True)
class Orientation:
    """How a picture is turned before it is shown: first transposed, then mirrored."""

    is_transposed: bool = False
    mirrors_columns: bool = False
    mirrors_rows: bool = False

    def of(self, picture: numpy.ndarray) -> numpy.ndarray:
        """The picture (H, W, C) as it is shown."""
        if self.is_transposed:
            picture = picture.swapaxes(0, 1)
        if self.mirrors_columns:
            picture = picture[:, ::-1]
        if self.mirrors_rows:
            picture = picture[::-1]
        return numpy.ascontiguousarray(picture)

    def describe(self) -> str:
        """The change in words; "" for none."""
        turned = self.is_transposed + 2 * self.mirrors_columns + 4 * self.mirrors_rows
        return (
            "",
            "mirrored along the diagonal",
            "mirrored left to right",
            "turned by 90 degrees to the right",
            "mirrored top to bottom",
            "turned by 90 degrees to the left",
            "turned by 180 degrees",
            "mirrored along the other diagonal",
        )[turned]


@dataclass(frozen=True)
class PictureKind:
    """What decides how a frame of a file becomes a picture.

    pixel_aspect: width over height of one pixel.
    bits: per channel. is_interlaced: whether a frame holds two moments.
    """

    coded_size: Size
    pixel_format: str
    pixel_aspect: Fraction = Fraction(1)
    orientation: Orientation = Orientation()
    colours: ColourSpace = ColourSpace()
    bits: int = 8
    has_alpha: bool = False
    is_interlaced: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether the pixels can be shown as they are, once they are turned."""
        return self.pixel_aspect == 1 and self.colours.is_plain and not self.has_alpha

    @property
    def square_size(self) -> Size:
        """Rows and columns with square pixels, before the picture is turned."""
        rows, columns = self.coded_size
        # The longer side is stretched, so that no detail is lost.
        if self.pixel_aspect >= 1:
            return rows, round(columns * self.pixel_aspect)
        return round(rows / self.pixel_aspect), columns

    @property
    def shown_size(self) -> Size:
        """Rows and columns as a player shows them."""
        rows, columns = self.square_size
        return (columns, rows) if self.orientation.is_transposed else (rows, columns)

    def notes(self) -> tuple[str, ...]:
        """What is changed or lost when the frames become pictures, in words."""
        notes = []
        rows, columns = self.shown_size
        if self.is_interlaced:
            notes.append("the file is interlaced: it is deinterlaced, one picture per frame")
        if self.pixel_aspect != 1:
            aspect = f"{self.pixel_aspect.numerator}:{self.pixel_aspect.denominator}"
            notes.append(f"its pixels are {aspect} wide: pictures are shown as {columns}x{rows}")
        if self.orientation != Orientation():
            notes.append(f"its pictures are {self.orientation.describe()}, as players show them")
        name = {"pq": "HDR (PQ)", "hlg": "HDR (HLG)", "sdr": "wide colour"}[self.colours.transfer]
        if self.colours.transfer != "sdr":
            notes.append(f"{name} is tone-mapped to plain colour (BT.709)")
        elif not self.colours.is_plain:
            notes.append(f"{name} is brought to plain colour (BT.709)")
        if self.bits > 8:
            notes.append(f"{self.bits} bits per colour become 8")
        if self.has_alpha:
            notes.append(ON_BLACK)
        return tuple(notes)


def kind_of(frame: av.VideoFrame, stream: av.VideoStream) -> PictureKind:
    """The kind of a decoded frame of a stream."""
    context = stream.codec_context
    parts = frame.format.components
    has_alpha = frame.format.name == "pal8" or any(part.is_alpha for part in parts)
    primaries = _PRIMARIES.get(int(context.color_primaries or 0), "bt709")
    said = said_aspect(stream)
    transfer = _TRANSFERS.get(int(context.color_trc or 0), "sdr")
    return PictureKind(
        coded_size=(frame.height, frame.width),
        pixel_format=frame.format.name,
        pixel_aspect=said if has_possible_pixels(stream) else Fraction(1),
        orientation=orientation_of(frame),
        colours=ColourSpace(transfer, primaries),
        bits=max((part.bits for part in parts), default=8),
        has_alpha=has_alpha,
        is_interlaced=frame.interlaced_frame,
    )


def has_possible_pixels(stream: av.VideoStream) -> bool:
    """Whether the shape of its pixels can be meant; other ones are a fault, and count as square."""
    return 1 / _MOST_ASPECT <= said_aspect(stream) <= _MOST_ASPECT


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """How the display matrix of a frame turns it; other angles go to the nearest quarter turn."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return Orientation()
    # (column, row) of a pixel times this matrix is its place on the screen, rows counted down.
    a, b, _, c, d, *_ = struct.unpack(_MATRIX_FORMAT, memoryview(data))
    if abs(a) >= abs(b):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)


class PictureConverter:
    """Turns the frames of one file into pictures (H, W, 3) in 8 bits.

    Colour is brought to full resolution first. Plain pictures are not made in floats: for some
    widths PyAV then gives other values in every run.

    kind: of the first frame. Later frames of another size are scaled to it.
    """

    def __init__(self, kind: PictureKind) -> None:
        self._kind = kind
        self._built_for: tuple[object, ...] = ()
        self._plain = None if kind.colours.is_plain else PlainColour(kind.colours)

    def __call__(self, frame: av.VideoFrame) -> numpy.ndarray:
        built_for = (
            frame.width,
            frame.height,
            frame.format.name,
            frame.colorspace,
            frame.color_range,
        )
        # A filter graph fits one kind of frame, and a file may change its kind.
        if built_for != self._built_for:
            self._build(frame)
            self._built_for = built_for
        self._source.push(frame)
        scaled = self._sink.pull()
        assert isinstance(scaled, av.VideoFrame)
        picture = scaled.to_ndarray(format=self._format)
        if self._kind.has_alpha:
            picture = _on_black(picture)
        if self._plain is not None:
            picture = self._plain(picture)
        return self._kind.orientation.of(picture)

    @property
    def _format(self) -> str:
        if self._plain is None:
            return "rgba" if self._kind.has_alpha else "rgb24"
        # Planar: FFmpeg 8 makes wrong colours of packed 16 bits with these flags.
        return "gbrap16le" if self._kind.has_alpha else "gbrp16le"

    def _build(self, frame: av.VideoFrame) -> None:
        rows, columns = self._kind.square_size
        flags = (
            _FLAGS
            if (frame.height, frame.width) == (rows, columns)
            else (f"{columns}:{rows}:{_FLAGS}")
        )
        graph = av.filter.Graph()
        self._source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        scale = graph.add("scale", flags)
        rgb, self._sink = graph.add("format", self._format), graph.add("buffersink")
        self._source.link_to(scale)
        scale.link_to(rgb)
        rgb.link_to(self._sink)
        graph.configure()
        # The contexts do not keep their graph alive.
        self._graph = graph


class RoughConverter(PictureConverter):
    """The same pictures at a third of the cost, with colour at half the resolution.

    Good enough to find cuts. Kinds that need more than a plain conversion get the fine one.
    """

    def __call__(self, frame: av.VideoFrame) -> numpy.ndarray:
        kind = self._kind
        if not kind.is_plain or (frame.height, frame.width) != kind.coded_size:
            return super().__call__(frame)
        return kind.orientation.of(frame.to_ndarray(format="rgb24"))


def _on_black(picture: numpy.ndarray) -> numpy.ndarray:
    """(H, W, 3) of a picture (H, W, 4) whose last channel is its opacity."""
    kind, opaque = picture.dtype, 255 if picture.dtype == numpy.uint8 else 65535
    alpha = picture[..., 3:].astype(numpy.float32) / opaque
    return numpy.rint(picture[..., :3] * alpha).astype(kind)


def said_aspect(stream: av.VideoStream) -> Fraction:
    """Width over height of a pixel, as the file says; 1 where it does not."""
    return Fraction(stream.sample_aspect_ratio or 1)

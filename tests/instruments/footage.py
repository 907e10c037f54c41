"""Files as cameras, editors and screen recorders make them; and what a player shows of a file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy
import torch

NUM_FRAMES, ROWS, COLUMNS = 20, 48, 64
RATE = Fraction(25)
HERTZ = 48000
# Numbers of ITU-T H.273.
BT709, BT2020, PQ, HLG = 1, 9, 16, 18
FULL_RANGE = 2


@dataclass(frozen=True)
class Track:
    """A sound for a file: samples (C, n), and when the first is heard.

    jump: (sample, seconds): the times of later samples are this much later.
    """

    samples: numpy.ndarray
    start_s: float = 0.0
    codec: str = "aac"
    layout: str = "mono"
    is_default: bool = False
    jump: tuple[int, float] | None = None


@dataclass(frozen=True)
class Film:
    """A file to make. Pictures are 8-bit RGB or arrays of `source_format`."""

    pictures: Sequence[numpy.ndarray]
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    source_format: str = "rgb24"
    times_s: Sequence[float] | None = None
    last_s: float | None = None
    rate: Fraction = RATE
    options: dict[str, str] = field(default_factory=lambda: {"crf": "4"})
    colour: dict[str, int] = field(default_factory=dict)
    pixel_aspect: Fraction | None = None
    matrix: tuple[int, ...] | None = None
    tracks: tuple[Track, ...] = ()


def moving_pictures(
    count: int = NUM_FRAMES, rows: int = ROWS, columns: int = COLUMNS
) -> list[numpy.ndarray]:
    """Pictures (rows, columns, 3) in 8 bits that differ in every corner and get brighter."""
    y, x = numpy.mgrid[0:rows, 0:columns]
    made = []
    for i in range(count):
        red = 40 + 150 * x / columns
        green = 40 + 150 * y / rows
        blue = numpy.full_like(red, 60 + 100 * i / max(count - 1, 1))
        picture = numpy.stack((red, green, blue), axis=-1)
        picture[rows // 8 : rows // 4, columns // 8 : columns // 4] = (200, 60, 60)
        made.append(picture.round().astype(numpy.uint8))
    return made


def tone(hertz: float, seconds: float, rate: int = HERTZ) -> numpy.ndarray:
    """(n,) of half strength."""
    times = numpy.arange(round(seconds * rate)) / rate
    return (0.5 * numpy.sin(2 * numpy.pi * hertz * times)).astype(numpy.float32)


def beeps(*at_s: float, seconds: float = 0.8, rate: int = HERTZ) -> numpy.ndarray:
    """(1, n): silence with beeps of 50 ms that begin at these times."""
    samples = numpy.zeros((1, round(seconds * rate)), numpy.float32)
    for begin_s in at_s:
        begin = round(begin_s * rate)
        beep = tone(1000, 0.05, rate)[: samples.shape[1] - begin]
        samples[0, begin : begin + len(beep)] = beep
    return samples


def make_film(path: Path, film: Film, container: str | None = None) -> Path:
    """Write the file."""
    with av.open(str(path), "w", format=container) as output:
        video = output.add_stream(film.codec, rate=film.rate)
        first = film.pictures[0]
        video.height, video.width = first.shape[0], first.shape[1]
        video.pix_fmt, video.options = film.pixel_format, dict(film.options)
        clock = Fraction(1, 1000) if film.times_s is not None else 1 / film.rate
        video.codec_context.time_base = clock
        for name, value in film.colour.items():
            setattr(video.codec_context, name, value)
        if film.pixel_aspect is not None:
            video.codec_context.sample_aspect_ratio = film.pixel_aspect
        if film.matrix is not None:
            video.set_display_matrix(list(film.matrix))
        streams = []
        for track in film.tracks:
            stream = output.add_stream(track.codec, rate=HERTZ, layout=track.layout)
            if track.is_default:
                stream.disposition = av.stream.Disposition.default
            streams.append(stream)
        for stream, track in zip(streams, film.tracks, strict=True):
            _write_sound(output, stream, track)
        for i, picture in enumerate(film.pictures):
            frame = av.VideoFrame.from_ndarray(picture, format=film.source_format)
            if film.source_format != film.pixel_format:
                space = film.colour.get("colorspace")
                wide = film.colour.get("color_range") == FULL_RANGE
                frame = frame.reformat(
                    format=film.pixel_format,
                    dst_colorspace=space,
                    dst_color_range="JPEG" if wide else "MPEG",
                )
            time_s = i / film.rate if film.times_s is None else film.times_s[i]
            frame.pts, frame.time_base = round(time_s / clock), clock
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def _write_sound(output: Any, stream: Any, track: Track) -> None:
    step, channels = 1024, len(track.samples)
    for first in range(0, track.samples.shape[1], step):
        piece = numpy.ascontiguousarray(track.samples[:, first : first + step].T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(piece, format="flt", layout=track.layout)
        frame.sample_rate, frame.time_base = HERTZ, Fraction(1, HERTZ)
        late = track.start_s
        if track.jump is not None and first >= track.jump[0]:
            late += track.jump[1]
        frame.pts = first + round(late * HERTZ)
        assert frame.samples * channels == piece.size
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


@dataclass(frozen=True, eq=False)
class Shown:
    """What a player shows of a file.

    pictures: (F, H, W, 3) in 8 bits. times_s: of each, after the first. length_s: of the picture.
    sound: (C, n) from the first picture on, by the times of the file; None for none.
    tags: colour numbers of the picture (primaries, transfer, matrix, range).
    """

    pictures: numpy.ndarray
    times_s: list[float]
    length_s: float
    rate: Fraction
    sound: numpy.ndarray | None
    hertz: int
    tags: tuple[int, int, int, int]

    def beeps_s(self) -> list[float]:
        """When beeps begin."""
        assert self.sound is not None
        loud = numpy.abs(self.sound).max(axis=0) > 0.15
        edges = numpy.flatnonzero(loud)
        begins = [i for k, i in enumerate(edges) if k == 0 or i - edges[k - 1] > self.hertz // 50]
        return [begin / self.hertz for begin in begins]

    def tones_hz(self) -> list[float]:
        """The strongest frequency of each channel."""
        assert self.sound is not None
        spectrum = numpy.abs(numpy.fft.rfft(self.sound, axis=1))
        return [float(k) * self.hertz / self.sound.shape[1] for k in spectrum.argmax(axis=1)]


def show(path: Path) -> Shown:
    """Read a file by its times and tags, with none of the pack's code."""
    pictures, times, last = [], [], 0.0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        for frame in container.decode(stream):
            pictures.append(frame.to_ndarray(format="rgb24"))
            times.append(float(frame.pts * frame.time_base))
            last = float((frame.duration or 0) * frame.time_base)
        tags = (
            int(context.color_primaries),
            int(context.color_trc),
            int(context.colorspace),
            int(context.color_range),
        )
        rate = Fraction(stream.average_rate)
    sound, hertz = _heard(path, times[0])
    return Shown(
        numpy.stack(pictures),
        [time - times[0] for time in times],
        times[-1] - times[0] + last,
        rate,
        sound,
        hertz,
        tags,
    )


def _heard(path: Path, start_s: float) -> tuple[numpy.ndarray | None, int]:
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None, 0
        pieces = []
        for frame in _passable(container, container.streams.audio[0]):
            # Planes, as PyAV's arrays fail for eight channels.
            count = frame.layout.nb_channels
            planes = [numpy.frombuffer(plane, numpy.float32) for plane in frame.planes[:count]]
            samples = numpy.stack([plane[: frame.samples] for plane in planes])
            hertz = frame.sample_rate
            begin = round((float(frame.time) - start_s) * hertz)
            # Players join pieces whose times are only rounded.
            if pieces and abs(begin - pieces[-1][0] - pieces[-1][1].shape[1]) < 0.005 * hertz:
                begin = pieces[-1][0] + pieces[-1][1].shape[1]
            pieces.append((begin, samples))
    end = max(begin + piece.shape[1] for begin, piece in pieces)
    sound = numpy.zeros((len(pieces[0][1]), max(end, 0)), numpy.float32)
    for begin, piece in pieces:
        cut = max(-begin, 0)
        if cut < piece.shape[1]:
            sound[:, max(begin, 0) : begin + piece.shape[1]] = piece[:, cut:]
    return sound, hertz


def _passable(container: Any, stream: Any) -> Iterator[Any]:
    """Frames, without those of damaged packets, as players do."""
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            continue


def psnr_db(one: numpy.ndarray, other: numpy.ndarray) -> float:
    """Between pictures in 8 bits."""
    error = ((one.astype(numpy.float64) - other.astype(numpy.float64)) / 255) ** 2
    return float(-10 * numpy.log10(max(error.mean(), 1e-10)))


@dataclass(frozen=True, eq=False)
class Passed:
    """A clip after one of the two ways through the nodes, and what was said of it.

    original: the clip itself, as the same player shows it.
    """

    shown: Shown
    said: str
    original: Path

    def shift(self) -> float:
        """The largest change of the mean of a colour, in 8 bits."""
        before, after = show(self.original).pictures, self.shown.pictures
        return float(numpy.abs(after.mean((0, 1, 2)) - before.mean((0, 1, 2))).max())


class ExactVAE:
    """Stands where a VAE stands, and loses nothing: latents (192, F, H / 8, W / 8) are the pixels.

    What is measured behind it comes from reading and writing alone.
    """

    RATIO = 8

    def latent(self, frames: torch.Tensor) -> torch.Tensor:
        """Of frames (F, 3, H, W)."""
        return torch.nn.functional.pixel_unshuffle(frames, self.RATIO).movedim(0, 1)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Frames (1, F, H, W, 3)."""
        shuffled = torch.nn.functional.pixel_shuffle(latents[0].movedim(1, 0), self.RATIO)
        return shuffled.movedim(1, -1)[None]


def by_fitting(comfy_api: Any, video: Any, target: Path) -> Passed:
    """Fit Video to Model with every frame, nothing edited, Restore Video, Save Video."""
    from memory_v2v.nodes.clips import FitVideo, RestoreVideo

    fitted, _, said, fitting = comfy_api.run_node(
        FitVideo,
        video=video,
        num_frames=1,
        width=4096,
        height=4096,
        temporal_ratio=1,
        mode="all frames",
        aspect="keep",
    ).args
    restored = comfy_api.run_node(
        RestoreVideo, frames=fitted, fitting=fitting, timing="every frame", size="original"
    ).args
    restored[0].save_to(str(target))
    return Passed(show(target), f"{said}\n{restored[2]}", Path(video.get_stream_source()))


def by_segments(comfy_api: Any, video: Any, target: Path) -> Passed:
    """The reading and the writing of Edit Long Video and Stitch Segments, nothing edited."""
    from memory_v2v.nodes.host.clips.segments import SplitSettings, read_segment, split_video
    from memory_v2v.nodes.host.clips.stitching import StitchSettings, write_stitched
    from memv2v_core.bases.base_info import BaseInfo
    from memv2v_core.cache.entry import MemoryEntry
    from memv2v_core.cameras.trajectory import static_trajectory
    from memv2v_core.shapes import VaeRatios

    vae = ExactVAE()
    base = BaseInfo("exact", "trained", VaeRatios(1, 8, 192), 64, "zero", has_cameras=False)
    settings = SplitSettings(9, 0, False, 0.5, 4096, 4096, "keep")
    with torch.inference_mode():
        split = split_video(base, settings, video, None, 16.0, None)
        read = split.clip.reader()
        entries = []
        for segment in split.plan.segments:
            latent = vae.latent(read_segment(split, read, segment).frames)
            camera = static_trajectory(latent.shape[1], is_assumed=True)
            entries.append(
                MemoryEntry.of(latent, camera, "exact", segment.num_frames, 1, 0.0, segment=segment)
            )
        stitching = StitchSettings("cut", False, "original", 4)
        path = write_stitched(split, entries, vae, stitching)
    path.replace(target)
    said = f"{split.describe()}\n{stitching.describe(split)}"
    return Passed(show(target), said, Path(video.get_stream_source()))

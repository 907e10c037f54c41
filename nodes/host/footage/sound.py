"""The sound of a clip: samples at their times, or packets for a written file.

C channels, n samples.
"""

import math
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from typing import Any, Protocol, cast

import av
import numpy
import torch

from ....memv2v_core.clips.sound import at_their_times, mixed_to_stereo
from .files import Stamp, VideoSource, opened_file, require_unchanged
from .tracks import LAYOUTS, Track

_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_OTHER_RATE = 48000
# Seconds of sound that are coded at once.
_SOUND_S = 1
# How far before the wanted sound decoding begins.
_SEEK_BACK_S = 5
# Samples of FFmpeg by name.
_TYPES: dict[str, numpy.dtype[Any]] = {
    "u8": numpy.dtype("uint8"),
    "s16": numpy.dtype("int16"),
    "s32": numpy.dtype("int32"),
    "s64": numpy.dtype("int64"),
    "flt": numpy.dtype("float32"),
    "dbl": numpy.dtype("float64"),
}

Packets = Generator[av.Packet, None, None]


class Sound(Protocol):
    """The sound beside the pictures of a clip, from the first picture on."""

    def waveform(self) -> dict:
        """ComfyUI's AUDIO: waveform (1, C, n) and sample_rate."""
        ...

    def packets(self, output: av.container.OutputContainer) -> Packets:
        """Coded packets for a new stream of `output`. The stream exists at once."""
        ...


@dataclass(frozen=True, eq=False)
class MemorySound:
    """ComfyUI's AUDIO beside frames in memory, cut to their length in a written file."""

    audio: dict
    duration_s: Fraction

    def waveform(self) -> dict:
        """The very AUDIO."""
        return self.audio

    def packets(self, output: av.container.OutputContainer) -> Packets:
        """AAC packets, no longer than the pictures."""
        rate = int(self.audio["sample_rate"])
        samples = self.audio["waveform"][0, :, : math.ceil(self.duration_s * rate)]
        samples = samples.detach().float().cpu()
        if not samples.shape[1]:
            return silence()
        return _coded(output, rate, len(samples), iter(samples.split(rate * _SOUND_S, dim=1)))


@dataclass(frozen=True, eq=False)
class FileSound:
    """A track of a file.

    start_s: the time of the first picture, in the file's time. picture_s: seconds of picture. No
    silence is put in behind them.
    is_trimmed: sound behind the pictures is cut; else all sound that follows is kept.
    is_whole: the sound begins with the pictures and has no hole, so it may be copied.
    stamp: of the file when it was opened.
    """

    source: VideoSource
    track: Track
    start_s: Fraction
    picture_s: Fraction
    is_trimmed: bool
    is_whole: bool
    stamp: Stamp = None

    def waveform(self) -> dict:
        """All samples; a file without any in the window gives none."""
        pieces = list(self._samples())
        samples = torch.cat(pieces, dim=1) if pieces else torch.zeros(self.track.channels, 0)
        return {"waveform": samples[None], "sample_rate": self.track.rate}

    def packets(self, output: av.container.OutputContainer) -> Packets:
        """The track's own packets where MP4 can hold them and they need no change, else AAC."""
        needs_no_change = self.is_whole and not self.is_trimmed
        if needs_no_change and self.track.can_be_copied and self._is_taken():
            return self._copied(output)
        return _coded(output, self.track.rate, self.track.channels, self._samples())

    def _samples(self) -> Iterator[torch.Tensor]:
        length = self.picture_s if self.is_trimmed else None
        pieces = self._decoded()
        return at_their_times(pieces, self.track.rate, self.start_s, self.picture_s, length)

    def _decoded(self) -> Iterator[tuple[Fraction | None, torch.Tensor]]:
        require_unchanged(self.source, self.stamp)
        with opened_file(self.source) as container:
            stream = _stream_of(container, self.track)
            begin = self.start_s - _SEEK_BACK_S
            if begin > _SEEK_BACK_S:
                # Early enough for long packets, and for coders that must find into the sound.
                container.seek(int(begin * av.time_base))
            for packet in container.demux(stream):
                for frame in _decoded(packet):
                    yield _seconds(frame), _like(samples_of(frame), frame, self.track)

    def _is_taken(self) -> bool:
        """Whether MP4 takes every packet, tried on a file in memory.

        Its writer looks into the packets of some codecs, and damaged ones would end the result.
        """
        require_unchanged(self.source, self.stamp)
        try:
            with av.open(BytesIO(), "w", format="mp4") as output:
                for packet in self._copied(output):
                    output.mux(packet)
        except av.error.FFmpegError:
            return False
        return True

    def _copied(self, output: av.container.OutputContainer) -> Packets:
        """The packets unchanged, but the first picture is now shown at 0."""
        with opened_file(self.source) as container:
            target = output.add_stream_from_template(_stream_of(container, self.track))
        return self._moved(target)

    def _moved(self, target: av.AudioStream) -> Packets:
        with opened_file(self.source) as container:
            for packet in container.demux(_stream_of(container, self.track)):
                # The last packet has no time: it only ends the stream.
                if packet.dts is None:
                    continue
                assert packet.pts is not None, "sound has both times, as it is shown in order"
                late = round(self.start_s / packet.time_base)
                # This sound ended before the first picture was shown.
                if late and packet.pts + (packet.duration or 0) <= late:
                    continue
                packet.pts, packet.dts = packet.pts - late, packet.dts - late
                packet.stream = target
                yield packet


def require_audio(audio: Mapping[str, Any]) -> None:
    """Raise ValueError unless this is ComfyUI's AUDIO of one clip.

    Other packs read the sound when it is asked for, so that is tried here.
    """
    try:
        waveform, rate = audio["waveform"], int(audio["sample_rate"])
    except Exception as error:
        raise ValueError(
            f"audio could not be read ({error}); disconnect audio if the clip has no sound"
        ) from error
    is_sound = isinstance(waveform, torch.Tensor) and waveform.ndim == 3
    if not is_sound or waveform.shape[0] != 1 or not waveform.shape[1] or rate <= 0:
        found = tuple(waveform.shape) if isinstance(waveform, torch.Tensor) else type(waveform)
        raise ValueError(
            f"audio got a waveform of shape {found} at {rate} samples a second, wanted (1, "
            "channels, samples) above 0; connect the AUDIO of one clip"
        )
    if not waveform.is_floating_point() or not torch.isfinite(waveform).all():
        raise ValueError(
            f"audio got {waveform.dtype} samples with other values than finite numbers in -1..1, "
            "wanted floats; load the sound again"
        )


def silence() -> Packets:
    """No packets, and no stream."""
    yield from ()


def samples_of(frame: av.AudioFrame) -> torch.Tensor:
    """Samples (C, n) in -1..1 of a decoded frame.

    Not through PyAV's resampler and arrays: they fail for 8 and more channels in planes, and for
    channels without places.
    """
    name, channels = frame.format.name.removesuffix("p"), frame.layout.nb_channels
    dtype = _TYPES[name]
    if frame.format.is_planar:
        planes = [
            numpy.frombuffer(memoryview(plane), dtype)[: frame.samples]
            for plane in frame.planes[:channels]
        ]
        samples = numpy.stack(planes)
    else:
        flat = numpy.frombuffer(memoryview(frame.planes[0]), dtype)[: frame.samples * channels]
        samples = flat.reshape(-1, channels).T
    if dtype.kind in "iu":
        full = 2.0 ** (8 * dtype.itemsize - 1)
        # Unsigned samples have their zero in the middle.
        samples = samples.astype(numpy.float64) / full - (dtype.kind == "u")
    # Floats of a file may be no numbers.
    whole = numpy.nan_to_num(numpy.ascontiguousarray(samples, numpy.float32), posinf=0, neginf=0)
    return torch.from_numpy(whole)


def _like(samples: torch.Tensor, frame: av.AudioFrame, track: Track) -> torch.Tensor:
    """Samples with the channels and the rate of the track; broadcasts change both in mid-stream."""
    if len(samples) != track.channels:
        stereo = samples.expand(2, -1) if len(samples) == 1 else mixed_to_stereo(samples)
        mono = stereo.mean(dim=0, keepdim=True)
        samples = stereo if track.channels == 2 else mono.expand(track.channels, -1)
    if frame.sample_rate != track.rate and samples.shape[1]:
        count = round(samples.shape[1] * track.rate / frame.sample_rate)
        samples = torch.nn.functional.interpolate(samples[None], count, mode="linear")[0]
    return samples


def _stream_of(container: av.container.InputContainer, track: Track) -> av.AudioStream:
    stream = container.streams[track.index]
    assert isinstance(stream, av.AudioStream), "the track was found among the sound streams"
    return stream


def _seconds(frame: av.AudioFrame) -> Fraction | None:
    if frame.pts is None or frame.time_base is None:
        return None
    return Fraction(frame.pts * frame.time_base)


def _decoded(packet: av.Packet) -> list[av.AudioFrame]:
    try:
        # PyAV says that every packet holds pictures.
        return cast("list[av.AudioFrame]", packet.decode())
    except av.error.FFmpegError:
        # The hole becomes silence.
        return []


def _coded(
    output: av.container.OutputContainer, rate: int, channels: int, pieces: Iterator[torch.Tensor]
) -> Packets:
    """AAC packets of samples (C, n).

    A rate that AAC does not have becomes another one: PyAV's encoder resamples its input. More
    channels than AAC has places for are mixed to stereo.
    """
    layout = LAYOUTS.get(channels, LAYOUTS[2])
    stream = output.add_stream(
        "aac", rate=rate if rate in _AAC_RATES else _OTHER_RATE, layout=layout
    )

    def packets() -> Packets:
        position = 0
        for piece in pieces:
            samples = piece if channels in LAYOUTS else mixed_to_stereo(piece)
            # Packed: PyAV cannot make frames of 8 planes.
            packed = samples.T.reshape(1, -1).contiguous().numpy()
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, position, Fraction(1, rate)
            position += samples.shape[1]
            yield from stream.encode(frame)
        # The encoder still holds samples; None makes it give them.
        yield from stream.encode(None)

    return packets()

"""Writes a video while its frames come, with the sound of the original clip.

Nothing is held in memory for long.
"""

import itertools
import math
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import torch

from ....memv2v_core.clips.fitting import Size
from .reading import Clip, FileClip, ImageClip, rewind

DEFAULT_CRF = 16
# Written into the file, so that every player shows the same colours.
_BT709, _LIMITED_RANGE = 1, 1
# Sound that MP4 can hold unchanged.
_COPIED_CODECS = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_OTHER_RATE = 48000
# Seconds of sound that are coded at once.
_SOUND_S = 1

Packets = Generator[av.Packet, None, None]


class VideoWriter:
    """Writes an H.264 file; use it in a `with` block. After an error it leaves no file.

    size: rows and columns of the frames. Odd sides need full colour resolution (4:4:4), which some
    players lack.
    """

    def __init__(self, path: Path, size: Size, clip: Clip, crf: int = DEFAULT_CRF) -> None:
        self._path, self._rate, self._num_frames = path, clip.frame_rate, 0
        # If a later step fails, the stack closes what is open; pop_all keeps it open on success.
        with ExitStack() as opened:
            self._output = opened.enter_context(
                av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
            )
            self._video = _video_stream(self._output, size, clip.frame_rate, crf)
            self._sound = opened.enter_context(closing(_sound_packets(self._output, clip)))
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
                    self._output.mux(self._video.encode(None))
                    self._add_sound(math.inf)
            is_whole = kind is None
        finally:
            if not is_whole:
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
            self._output.mux(self._video.encode(frame))
            self._num_frames += 1
        # Sound is written beside its pictures, so that players need not jump in the file.
        self._add_sound(float(self._num_frames / self._rate))

    def _add_sound(self, until_s: float) -> None:
        while self._next_sound is not None and _start_s(self._next_sound) <= until_s:
            self._output.mux(self._next_sound)
            self._next_sound = next(self._sound, None)


def require_sound(clip: Clip) -> None:
    """Raise ValueError where the sound beside frames has an unknown number of channels."""
    if isinstance(clip, FileClip) or clip.audio is None:
        return
    num_channels = clip.audio["waveform"].shape[1]
    if num_channels not in _LAYOUTS:
        raise ValueError(
            f"audio got {num_channels} channels, wanted {', '.join(map(str, _LAYOUTS))}; mix it "
            "down before"
        )


def _video_stream(
    output: av.container.OutputContainer, size: Size, frame_rate: Fraction, crf: int
) -> av.VideoStream:
    stream = output.add_stream("h264", rate=frame_rate)
    stream.height, stream.width = size
    stream.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
    # On CPUs with AVX-512, x264 with mbtree reads memory that it never wrote. Equal frames would
    # then make different files.
    stream.options = {"crf": str(crf), "mbtree": "0"}
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED_RANGE
    return stream


def _start_s(packet: av.Packet) -> float:
    assert packet.dts is not None, "copied and coded packets have one"
    return float(packet.dts * packet.time_base)


def _sound_packets(output: av.container.OutputContainer, clip: Clip) -> Packets:
    """Coded packets of the clip's sound, in a new stream of `output`, from the start on.

    The sound of a whole file is copied where MP4 can hold it. Other sound is coded as AAC.
    """
    if not isinstance(clip, FileClip):
        return _silence() if clip.audio is None else _coded_waveform(output, clip, clip.audio)
    rewind(clip.file)
    source = av.open(clip.file, mode="r")
    stream = next((s for s in reversed(source.streams.audio) if s.codec_context is not None), None)
    if stream is None:
        source.close()
        return _silence()
    if stream.codec_context.name in _COPIED_CODECS and not any(clip.window):
        return _copied(source, stream, output.add_stream_from_template(stream), clip.start_s)
    return _recoded(source, stream, output, clip)


def _silence() -> Packets:
    yield from ()


def _copied(
    source: av.container.InputContainer,
    stream: av.AudioStream,
    target: av.AudioStream,
    start_s: float,
) -> Packets:
    """The packets of a stream, unchanged but moved in time.

    The first frame was shown at `start_s` and is now shown at 0.
    """
    with source:
        for packet in source.demux(stream):
            # The last packet has no time: it only ends the stream.
            if packet.dts is None:
                continue
            if start_s:
                assert packet.pts is not None, "sound has both times, as it is shown in order"
                late = round(start_s / packet.time_base)
                # This sound ended before the first frame was shown.
                if packet.pts + (packet.duration or 0) <= late:
                    continue
                packet.pts, packet.dts = packet.pts - late, packet.dts - late
            packet.stream = target
            yield packet


def _recoded(
    source: av.container.InputContainer,
    stream: av.AudioStream,
    output: av.container.OutputContainer,
    clip: FileClip,
) -> Packets:
    rate, channels = stream.codec_context.sample_rate, stream.codec_context.layout
    # PCM does not say where its channels belong, so their number decides.
    layout = _LAYOUTS.get(channels.nb_channels, "stereo")
    assert stream.time_base is not None, "every stream of a file has one"
    # Pictures and sound of a file may start at different times.
    begins_s = float((stream.start_time or 0) * stream.time_base)
    first = round((clip.start_s - begins_s) * rate)
    wanted = math.ceil(clip.num_frames * rate / clip.frame_rate) if any(clip.window) else None
    pieces = _window_of(_decoded_samples(source, stream, layout), first, wanted)
    return _coded(output, rate, layout, pieces)


def _decoded_samples(
    source: av.container.InputContainer, stream: av.AudioStream, layout: str
) -> Iterator[torch.Tensor]:
    """Samples (C, n) from the first sample of the file on."""
    resampler = av.AudioResampler(
        format="fltp", layout=layout, rate=stream.codec_context.sample_rate
    )
    with source:
        # None at the end makes the resampler give its last samples.
        for frame in itertools.chain(source.decode(stream), (None,)):
            for piece in resampler.resample(frame):
                yield torch.from_numpy(piece.to_ndarray())


def _window_of(
    pieces: Iterator[torch.Tensor], first: int, wanted: int | None
) -> Iterator[torch.Tensor]:
    """Samples first..first+wanted-1 of all samples; without `wanted` all samples from `first` on.

    Silence fills the time before the first sample, where `first` is negative.
    """
    start, stop = min(first, 0), math.inf if wanted is None else first + wanted
    for piece in pieces:
        if start < 0:
            yield piece.new_zeros(len(piece), -start)
            start = 0
        low, high = max(first - start, 0), min(stop - start, piece.shape[1])
        if high > low:
            yield piece[:, low : int(high)]
        start += piece.shape[1]
        if start >= stop:
            return


def _coded_waveform(output: av.container.OutputContainer, clip: ImageClip, audio: dict) -> Packets:
    """The sound `audio` of frames in memory, cut to their length."""
    require_sound(clip)
    rate = int(audio["sample_rate"])
    waveform = (
        audio["waveform"][0, :, : math.ceil(clip.num_frames * rate / clip.frame_rate)].float().cpu()
    )
    if not waveform.shape[1]:
        return _silence()
    return _coded(
        output, rate, _LAYOUTS[len(waveform)], iter(waveform.split(rate * _SOUND_S, dim=1))
    )


def _coded(
    output: av.container.OutputContainer, rate: int, layout: str, pieces: Iterator[torch.Tensor]
) -> Packets:
    """AAC packets of samples (C, n).

    The stream exists at once, the packets are made when they are asked for. A rate that AAC does
    not have becomes another one: PyAV's encoder resamples its input.
    """
    stream = output.add_stream(
        "aac", rate=rate if rate in _AAC_RATES else _OTHER_RATE, layout=layout
    )

    def packets() -> Packets:
        position = 0
        for piece in pieces:
            frame = av.AudioFrame.from_ndarray(
                piece.contiguous().numpy(), format="fltp", layout=layout
            )
            frame.sample_rate, frame.pts, frame.time_base = rate, position, Fraction(1, rate)
            position += piece.shape[1]
            yield from stream.encode(frame)
        # The encoder still holds samples; None makes it give them.
        yield from stream.encode(None)

    return packets()

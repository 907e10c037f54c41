"""A clip as the nodes see it, read a few frames at a time from a file or from memory.

F frames, C channels, H rows, W columns.
"""

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import av
import comfy.model_management
import numpy
import torch
from comfy_api.latest import Input, InputImpl

from ....memv2v_core.clips.fitting import Size
from ....memv2v_core.clips.timing import (
    MAX_RATE_DENOMINATOR,
    FrameTimes,
    measured_times,
    steady_times,
)
from ..compat import trim_window
from .files import Stamp, VideoSource, file_name, require_unchanged, stamp_of
from .frames import Look, Window, decoded_frames
from .limits import CHUNK_PIXELS
from .pictures import ON_BLACK, PictureConverter, PictureKind, RoughConverter
from .probing import is_sound_whole, notes_of_look, probe_file
from .sound import FileSound, MemorySound, Sound, require_audio

FRAMES_AT_ONCE = 8
_RGB, _RGBA = 3, 4
# Sound and pictures of one clip may differ by this much, in seconds and as a share.
_LENGTH_S, _LENGTH_SHARE = 0.25, 0.03

# Called with start and stop, it yields chunks (F, C, H, W) of frames start..stop-1.
Reader = Callable[[int, int], Iterator[torch.Tensor]]
# Gets all frames of a clip once, in chunks.
Watch = Callable[[Iterator[torch.Tensor]], None]
# Gets what the user should know as soon as it is known.
Tell = Callable[[tuple[str, ...]], None]


@dataclass(frozen=True, eq=False)
class ImageClip:
    """Frames (F, H, W, C) in memory, with their times and sound.

    name: of the input that took them, for messages.
    """

    images: torch.Tensor
    times: FrameTimes
    sound: Sound | None
    notes: tuple[str, ...] = ()
    name: str = "images"

    @property
    def num_frames(self) -> int:
        return len(self.images)

    @property
    def size(self) -> Size:
        return self.images.shape[1], self.images.shape[2]

    @property
    def frame_rate(self) -> Fraction:
        """Frames per second."""
        return self.times.rate

    def reader(self) -> Reader:
        """A reader of any frames, in any order."""

        def read(start: int, stop: int) -> Iterator[torch.Tensor]:
            for first in range(start, stop, FRAMES_AT_ONCE):
                comfy.model_management.throw_exception_if_processing_interrupted()
                chunk = self.images[first : min(first + FRAMES_AT_ONCE, stop)].movedim(-1, 1)
                chunk = chunk.float().cpu()
                # Transparent parts are shown on black, as those of a file are.
                if chunk.shape[1] == _RGBA:
                    chunk = chunk[:, :_RGB] * chunk[:, _RGB:].clamp(0, 1)
                yield _require_finite(chunk[:, :_RGB], first, self.name)

        return read


@dataclass(frozen=True, eq=False)
class FileClip:
    """A video file, of which at most one segment is decoded at once.

    source: a path, or a file in memory. window: its used part.
    kind: how its frames become pictures.
    notes: what is changed or lost, in words. stamp: of the file when it was opened.
    """

    source: VideoSource
    window: Window
    kind: PictureKind
    times: FrameTimes
    sound: Sound | None = None
    notes: tuple[str, ...] = ()
    stamp: Stamp = None

    @property
    def num_frames(self) -> int:
        return self.times.num_frames

    @property
    def size(self) -> Size:
        """Rows and columns as a player shows them."""
        return self.kind.shown_size

    @property
    def frame_rate(self) -> Fraction:
        """Frames per second; the mean where they vary."""
        return self.times.rate

    def reader(self) -> Reader:
        """A reader of frames whose start never goes back, as segments do.

        It keeps the frames of the last call and no others.
        """
        require_unchanged(self.source, self.stamp)
        return _FileReader(self).read


Clip = ImageClip | FileClip


def exact_rate(frame_rate: float) -> Fraction:
    """The frames per second that a widget gives as a float, such as 30000 / 1001.

    Raises: ValueError for a rate that no clip has.
    """
    _require_rate(frame_rate)
    return Fraction(frame_rate).limit_denominator(MAX_RATE_DENOMINATOR)


def open_clip(
    images: torch.Tensor | None,
    video: Input.Video | None,
    frame_rate: Fraction,
    audio: dict | None,
    watch: Watch | None = None,
    tell: Tell | None = None,
    name: str = "images",
) -> Clip:
    """The connected clip.

    name: of the input that takes images.
    watch: gets all its frames once, in chunks; the colours of a file are rough then.
    tell: gets the notes of a file before all its frames are decoded, and once more with what the
    decoding told.

    Raises: ValueError unless exactly one of `images` and `video` is given, for images without
    colour, for sound beside a video or of another length than the images, and for a file without
    frames.
    """
    _require_one_clip(name, images, video, audio)
    if images is None and isinstance(video, InputImpl.VideoFromFile):
        return _open_file(video, watch, tell)
    clip = _in_memory(images, video, frame_rate, audio, name)
    if watch is not None:
        watch(clip.reader()(0, clip.num_frames))
    return clip


def _in_memory(
    images: torch.Tensor | None,
    video: Input.Video | None,
    frame_rate: Fraction,
    audio: dict | None,
    name: str,
) -> ImageClip:
    if images is None:
        assert video is not None, "one of the two is connected"
        parts = video.get_components()
        _require_rate(float(parts.frame_rate))
        images, frame_rate, audio = parts.images, Fraction(parts.frame_rate), parts.audio
    elif audio is not None:
        require_audio(audio)
        _require_same_length(len(images), frame_rate, audio, name)
    _require_pictures(images, name)
    times = getattr(video, "times", None) or steady_times(len(images), frame_rate)
    notes: tuple[str, ...] = ()
    if images.shape[-1] == _RGBA:
        notes = (ON_BLACK,)
    sound = None if audio is None else MemorySound(audio, times.duration)
    return ImageClip(images, times, sound, notes, name)


def _require_one_clip(
    name: str, images: torch.Tensor | None, video: Input.Video | None, audio: dict | None
) -> None:
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


def _require_same_length(num_frames: int, rate: Fraction, audio: dict, name: str) -> None:
    """Loaders that give frames and sound apart also give the rate, which is easily forgotten."""
    pictures_s = float(num_frames / rate)
    sound_s = audio["waveform"].shape[-1] / int(audio["sample_rate"])
    # A sound of no samples is no sound.
    if not sound_s or abs(pictures_s - sound_s) <= max(_LENGTH_S, _LENGTH_SHARE * sound_s):
        return
    raise ValueError(
        f"{name} got {num_frames} frames, which last {pictures_s:.2f} s at a frame_rate of "
        f"{float(rate):.3f}, and audio of {sound_s:.2f} s, wanted equal lengths; set frame_rate to "
        f"the clip's own ({num_frames / sound_s:.3f} would fit; from Load Video (VHS), connect "
        "video_info through Video Info), or trim the audio to the frames"
    )


def _open_file(video: Input.Video, watch: Watch | None, tell: Tell | None) -> FileClip:
    source = video.get_stream_source()
    # First of all, because a file that cannot be opened is named here.
    probe = probe_file(source)
    stamp = stamp_of(source)
    start, duration = (Fraction(part).limit_denominator(10**6) for part in trim_window(video))
    window = Window(start, duration)
    if tell is not None:
        tell(probe.notes)
    # Decoded once: many files have no frame count, or a wrong one.
    look = Look()
    frames = decoded_frames(source, window, look=look, track=probe.track)
    first = next(frames, None)
    if first is None:
        end = f"{float(start + duration):g} s" if duration else "its end"
        raise ValueError(
            f"video {probe.name} has no frames between {float(start):g} s and {end}, wanted some; "
            "set another trim"
        )
    frames = itertools.chain((first,), frames)
    if watch is not None:
        watch(_chunks(frames, RoughConverter(probe.kind)))
    # Without a watcher the frames still have to be counted.
    for _ in frames:
        comfy.model_management.throw_exception_if_processing_interrupted()
    times, num_repaired = measured_times(look.shown, look.last, probe.rates, probe.name)
    sound = None
    if probe.track is not None:
        sound = FileSound(
            source=source,
            track=probe.track,
            start_s=look.shown[0] or Fraction(0),
            picture_s=times.duration,
            is_trimmed=not window.is_whole,
            is_whole=is_sound_whole(look),
            stamp=stamp,
        )
    seen = notes_of_look(probe, look, window)
    notes = (*probe.notes, *seen, *_time_notes(times, num_repaired))
    if tell is not None:
        tell(notes)
    # Fields may begin in mid-file.
    kind = replace(probe.kind, is_interlaced=look.interlaced > 0)
    return FileClip(source, window, kind, times, sound, notes, stamp)


def _time_notes(times: FrameTimes, num_repaired: int) -> tuple[str, ...]:
    notes = []
    if num_repaired:
        notes.append(
            f"the times of {num_repaired} frames are missing or out of order, and were repaired"
        )
    if not times.is_steady:
        slow, fast = (float(rate) for rate in times.slowest_and_fastest())
        notes.append(
            f"the frame rate varies from {slow:.2f} to {fast:.2f} a second: a written file keeps "
            "the times, and models see the frames as if they were even"
        )
    return tuple(notes)


class _FileReader:
    """Frames of a file in order.

    The frames of the last call are kept, since the next segment may start among them.
    """

    def __init__(self, clip: FileClip) -> None:
        self._source = clip.source
        self._frames = decoded_frames(clip.source, clip.window, clip.kind.is_interlaced)
        self._kept: deque[av.VideoFrame] = deque()
        self._kept_from = 0
        self._convert = PictureConverter(clip.kind)

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
                f"video got {idx} frames, wanted more: {file_name(self._source)} changed since it "
                "was opened; load it again, and let no other program write it meanwhile"
            )
        return frame


def _require_rate(frame_rate: float) -> None:
    if not math.isfinite(frame_rate) or frame_rate < 1 / MAX_RATE_DENOMINATOR:
        raise ValueError(
            f"frame_rate got {frame_rate}, wanted a number above 0; connect the clip's own rate"
        )


def _require_pictures(images: torch.Tensor, name: str) -> None:
    if images.ndim != 4 or not images.is_floating_point() or not images.numel():
        raise ValueError(
            f"{name} got {images.dtype} of shape {tuple(images.shape)}, wanted floats of shape "
            "(frames, rows, columns, 3), none of them 0; connect an IMAGE"
        )
    if images.shape[-1] not in (_RGB, _RGBA):
        raise ValueError(
            f"{name} got {images.shape[-1]} channels, wanted 3; convert a mask with Mask To Image"
        )


def _require_finite(chunk: torch.Tensor, first: int, name: str) -> torch.Tensor:
    bad = (~torch.isfinite(chunk)).flatten(1).any(dim=1).nonzero().flatten().tolist()
    if bad:
        names = ", ".join(str(first + idx + 1) for idx in bad)
        raise ValueError(
            f"{name} got NaN or infinity in frames {names}, wanted finite numbers; make these "
            "frames again, as with a VAE in fp32"
        )
    return chunk


def _chunks(
    frames: Iterator[av.VideoFrame], convert: Callable[[av.VideoFrame], numpy.ndarray]
) -> Iterator[torch.Tensor]:
    """Frames in groups of at most `FRAMES_AT_ONCE` as (F, C, H, W) in 0..1; fewer large ones."""
    group: list[torch.Tensor] = []
    for frame in frames:
        group.append(torch.from_numpy(convert(frame)))
        rows, columns, _ = group[0].shape
        if len(group) == max(1, min(FRAMES_AT_ONCE, CHUNK_PIXELS // (rows * columns))):
            yield _stacked(group)
            group.clear()
    if group:
        yield _stacked(group)


def _stacked(group: list[torch.Tensor]) -> torch.Tensor:
    comfy.model_management.throw_exception_if_processing_interrupted()
    return torch.stack(group).movedim(-1, 1).float() / 255

"""A first look at a file: what it holds, and what of it will be changed or lost.

It takes less than a second, so that the user knows before anything is sampled.
"""

from dataclasses import dataclass
from fractions import Fraction

import av

from .files import VideoSource, file_name, opened_file
from .frames import Look, Window, first_frame, moving_streams, require_size, video_stream_of
from .limits import MAX_PIXELS
from .pictures import PictureKind, has_possible_pixels, kind_of, said_aspect
from .tracks import Track, check_tracks, chosen_track

# Sound that begins this close to the picture is in time. Coders put up to 2112 samples in front.
_TOGETHER_S, _PRIMING_S = Fraction(3, 100), Fraction(6, 100)
_KEPT_STREAMS = ("video", "audio")


@dataclass(frozen=True)
class Probe:
    """What the head of a file and its first frame tell.

    rates: what the file says of its frame rate, the likeliest first.
    said_frames: how many frames the file says that it has; 0 where it does not say.
    track: the sound that is kept. notes: what is changed or lost, in words.
    """

    name: str
    kind: PictureKind
    rates: tuple[Fraction, ...]
    said_frames: int
    track: Track | None
    notes: tuple[str, ...]


def probe_file(source: VideoSource) -> Probe:
    """Look at streams, tags, the first frame and the first second of every sound track.

    Raises: ValueError naming a file that cannot be opened or has no frame.
    """
    with opened_file(source) as container:
        has_sound = bool(container.streams.audio)
    checked = check_tracks(source) if has_sound else {}
    with opened_file(source) as container:
        stream = video_stream_of(container, file_name(source))
        rates = tuple(
            Fraction(rate)
            for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate)
            if rate
        )
        said_frames = stream.frames
        notes = _unused(container, stream)
        track, sound_notes = chosen_track(container, checked)
        frame = first_frame(container, stream)
        if frame is None:
            raise ValueError(
                f"video {file_name(source)} holds no frame that can be decoded, or none of at most "
                f"{MAX_PIXELS} pixels, wanted a clip; load another file, or convert it with a "
                "video program"
            )
        kind = kind_of(frame, stream)
        # Pixels that are not square make a picture larger.
        rows, columns = kind.shown_size
        require_size(rows, columns, file_name(source))
    notes = (*kind.notes(), *sound_notes, *notes)
    # Old cameras write no rate at all.
    return Probe(file_name(source), kind, rates or (Fraction(25),), said_frames, track, notes)


def notes_of_look(probe: Probe, look: Look, window: Window) -> tuple[str, ...]:
    """What the decoding of all frames told, in words."""
    notes, count = [], len(look.shown)
    if window.is_whole and probe.said_frames > look.packets:
        notes.append(
            f"{probe.name} says that it has {probe.said_frames} frames, but only {count} could be "
            "read: it is cut or damaged, and the result has these frames alone"
        )
    if look.damaged:
        notes.append(
            f"{look.damaged} packets of the picture are damaged and were passed over: their frames "
            "are missing; copy or convert the file again"
        )
    if look.corrupt:
        notes.append(f"{look.corrupt} frames are damaged, and were decoded as well as possible")
    if look.interlaced and not probe.kind.is_interlaced:
        notes.append(f"{look.interlaced} frames are interlaced: they are deinterlaced")
    if look.resized:
        rows, columns = probe.kind.shown_size
        notes.append(
            f"{look.resized} frames have another size than the first: they are scaled to its "
            f"{columns}x{rows}"
        )
    return (*notes, *_sound_notes(probe, look, window))


def begins_late(look: Look) -> Fraction:
    """Seconds of silence before the sound; negative where it begins before the picture."""
    first = look.shown[0] or Fraction(0)
    return look.sound[0][0] - first if look.sound else Fraction(0)


def is_sound_whole(look: Look) -> bool:
    """Whether the sound begins with the picture and has no hole."""
    return len(look.sound) == 1 and -_PRIMING_S <= begins_late(look) <= _TOGETHER_S


def _sound_notes(probe: Probe, look: Look, window: Window) -> tuple[str, ...]:
    if probe.track is None or not window.is_whole or not look.sound:
        return ()
    notes, late = [], begins_late(look)
    if late > _TOGETHER_S:
        notes.append(f"the sound begins {float(late):.2f} s after the picture: silence fills it")
    elif late < -_PRIMING_S:
        notes.append(f"the sound begins {-float(late):.2f} s before the picture: that part is cut")
    holes = len(look.sound) - 1
    if holes:
        pairs = zip(look.sound[:-1], look.sound[1:], strict=True)
        missing = sum((b[0] - a[1] for a, b in pairs if b[0] > a[1]), Fraction(0))
        notes.append(
            f"the times of the sound jump {holes} times: silence fills {float(missing):.2f} s"
        )
    return tuple(notes)


def _unused(container: av.container.InputContainer, stream: av.VideoStream) -> tuple[str, ...]:
    """Streams that no edited video keeps."""
    others = sorted({other.type for other in container.streams} - set(_KEPT_STREAMS))
    notes = [f"streams of {' and '.join(others)} are not kept"] if others else []
    # FFmpeg's own decoders of VP8 and VP9 do not read the second picture that holds it.
    tags = {name.lower(): value for name, value in stream.metadata.items()}
    if tags.get("alpha_mode") == "1":
        notes.append("its transparency (VP8, VP9) is not read: hidden colours are shown")
    count = len(moving_streams(container))
    if count > 1:
        notes.append(f"the file has {count} video streams: the first is edited")
    if not has_possible_pixels(stream):
        aspect = said_aspect(stream)
        said = f"{aspect.numerator}:{aspect.denominator}"
        notes.append(f"it says that its pixels are {said} wide: ignored")
    return tuple(notes)

"""The sound tracks of a file: which one is taken, and what is said of the others."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import av

from .files import VideoSource, rewind, stamp_of
from .limits import MAX_CHANNELS, MAX_SAMPLE_RATE

_CHECK = Path(__file__).with_name("sound_check.py")
_PATIENCE_S = 60
# What an AAC track can hold. PCM often does not say where its channels belong; then the usual
# places for their number are written.
LAYOUTS = {
    1: "mono",
    2: "stereo",
    3: "3.0",
    4: "4.0",
    5: "5.0",
    6: "5.1",
    7: "6.1",
    8: "7.1",
}


# Sound that MP4 can hold unchanged.
_COPIED_CODECS = ("aac", "mp3", "mp3float", "ac3", "eac3", "opus", "flac", "alac")


@dataclass(frozen=True)
class Track:
    """A sound track that one second of was decoded.

    index: of the stream in its file. rate: samples per second.
    layout: FFmpeg's name of the places of the channels, such as 5.1; "" where nothing says them.
    """

    index: int
    codec: str
    rate: int
    channels: int
    layout: str = ""

    @property
    def can_be_copied(self) -> bool:
        """Whether MP4 can hold the packets as they are."""
        return self.codec in _COPIED_CODECS


def chosen_track(
    container: av.container.InputContainer, checked: Mapping[int, dict[str, Any]]
) -> tuple[Track | None, tuple[str, ...]]:
    """The track to keep, and what the user should know; None where no sound can be kept.

    The default track is taken, else the first one that can be decoded.

    checked: from `check_tracks`.
    """
    # Only the index and the disposition are asked here: PyAV may not survive more.
    streams = list(container.streams.audio)
    if not streams:
        return None, ()
    good = [stream for stream in streams if "codec" in checked.get(stream.index, {})]
    notes = [
        f"sound track {place} {checked.get(stream.index, _UNKNOWN)['problem']}: it is left out"
        for place, stream in enumerate(streams, start=1)
        if stream not in good
    ]
    if not good:
        return None, (*notes, "the result has no sound")
    defaults = [s for s in good if s.disposition & av.stream.Disposition.default]
    stream = (defaults or good)[0]
    facts = checked[stream.index]
    if len(streams) > 1:
        kind = "the default" if defaults else "the first that can be decoded"
        notes.append(
            f"the file has {len(streams)} sound tracks: track {streams.index(stream) + 1}, {kind}, "
            "is kept"
        )
    track = Track(stream.index, facts["codec"], facts["rate"], facts["channels"], facts["layout"])
    if track.channels not in LAYOUTS:
        notes.append(
            f"{track.channels} channels of sound are mixed down to stereo in a written file"
        )
    elif not track.can_be_copied and track.layout not in ("", LAYOUTS[track.channels]):
        notes.append(
            f"the channels of the sound ({track.layout}) are written as {LAYOUTS[track.channels]}"
        )
    return track, tuple(notes)


_UNKNOWN = {"problem": "could not be checked"}


def check_tracks(source: VideoSource) -> dict[int, dict[str, Any]]:
    """What a process of its own finds out about the sound streams of a file, by their index.

    A stream has a `problem` where its sound cannot be used. No container may be open on a file in
    memory: this reads it to its end.
    """
    if isinstance(source, str):
        return _checked_file(source, *(stamp_of(source) or (0, 0)))
    rewind(source)
    return _judged("-", source.read())


@lru_cache(maxsize=64)
def _checked_file(path: str, _time_ns: int, _size: int) -> dict[int, dict[str, Any]]:
    return _judged(path, None)


def _judged(path: str, data: bytes | None) -> dict[int, dict[str, Any]]:
    """What the check says of each stream; a `problem` where its sound cannot be used."""
    facts: dict[int, dict[str, Any]] = {}
    while True:
        is_done, said = _check_from(path, data, after=max(facts, default=-1))
        facts |= said
        # A track that ends the check is known by then; the tracks behind it are checked anew.
        if is_done or not said:
            return facts


def _check_from(
    path: str, data: bytes | None, after: int
) -> tuple[bool, dict[int, dict[str, Any]]]:
    """Whether the check came to its end, and what it said of the streams behind `after`."""
    try:
        done = subprocess.run(
            [sys.executable, str(_CHECK), path, str(after)],
            input=data,
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return True, {}
    facts: dict[int, dict[str, Any]] = {}
    survived = set()
    for line in done.stdout.splitlines():
        said = json.loads(line)
        if said.pop("survived", False):
            survived.add(said["index"])
        else:
            facts[said["index"]] = said
    for index, said in facts.items():
        if index not in survived and "problem" not in said:
            facts[index] = {"problem": "ends the program that decodes it"}
        elif "codec" in said and not (
            0 < said["rate"] <= MAX_SAMPLE_RATE and 0 < said["channels"] <= MAX_CHANNELS
        ):
            got = f"{said['channels']} channels of {said['rate']} samples a second"
            facts[index] = {"problem": f"says that it has {got}"}
    return done.returncode == 0, facts

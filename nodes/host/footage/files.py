"""Video files opened for reading, with an error that helps."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import av

from .boxes import impossible_counts, outer_boxes
from .limits import MAX_PIXELS

VideoSource = str | BinaryIO
Stamp = tuple[int, int] | None

_INDEX_AT_END = b"moov"
_MOST_OUTER = 10_000
# Files that name other files or addresses, which FFmpeg would open too.
_LISTS = {
    *("concat", "dash", "hls", "imf", "sdp", "rtsp", "rtp", "sap", "webm_dash_manifest", "lavfi"),
}
# FFmpeg refuses larger pictures before it makes them.
_OPTIONS = {"max_pixels": str(MAX_PIXELS)}


@contextmanager
def opened_file(source: VideoSource) -> Iterator[av.container.InputContainer]:
    """The file, opened from its start and closed at the end.

    source: a path, or a file in memory.

    Raises: ValueError naming a file that is missing, cannot be read, or states impossible sizes.
    """
    try:
        _require_possible(source)
        rewind(source)
        container = av.open(
            source,
            mode="r",
            # Old files have titles in other alphabets than UTF-8.
            metadata_errors="replace",
            options=_OPTIONS,
            container_options={"format_whitelist": _formats()},
        )
    except FileNotFoundError as error:
        raise ValueError(
            f"video {file_name(source)} is no longer there, wanted the file that was loaded; put "
            "it back, or load another one"
        ) from error
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(_unreadable(source, error)) from error
    with container:
        for stream in container.streams.video:
            if stream.codec_context is not None:
                stream.codec_context.options = dict(_OPTIONS)
        yield container


def file_name(source: VideoSource) -> str:
    """The name of the file, for messages."""
    return Path(source).name if isinstance(source, str) else "in memory"


def stamp_of(source: VideoSource) -> Stamp:
    """When a file was written and its length; None for a file in memory."""
    if not isinstance(source, str):
        return None
    try:
        state = Path(source).stat()
    except OSError as error:
        raise ValueError(_unreadable(source, error)) from error
    return state.st_mtime_ns, state.st_size


def require_unchanged(source: VideoSource, stamp: Stamp) -> None:
    """Raise ValueError where a file is gone, or another one than was opened."""
    if stamp is None:
        return
    assert isinstance(source, str), "files in memory have no stamp"
    if not Path(source).exists() or stamp_of(source) != stamp:
        raise ValueError(
            f"video {file_name(source)} changed since it was opened, wanted the same file; put it "
            "back, or load it again, and let no other program write it meanwhile"
        )


def rewind(source: VideoSource) -> None:
    """Bring a file in memory back to its start."""
    if not isinstance(source, str):
        source.seek(0)


@cache
def _formats() -> str:
    """What FFmpeg may open."""
    return ",".join(sorted(av.formats_available - _LISTS))


def _require_possible(source: VideoSource) -> None:
    """Raise ValueError for an index that would fill the memory, and for what is no file.

    The open of a pipe may never return.
    """
    rewind(source)
    if isinstance(source, str):
        if Path(source).exists() and not Path(source).is_file():
            raise ValueError(
                f"video {file_name(source)} is a folder or a device, wanted a video file; load "
                "another one"
            )
        with Path(source).open("rb") as file:
            stated = impossible_counts(file)
    else:
        stated = impossible_counts(source)
    if stated:
        raise ValueError(
            f"video {file_name(source)} says that it has {stated} samples, wanted no more than it "
            "has bytes: its head is damaged; copy the file again, or convert it with a video "
            "program"
        )


def _unreadable(source: VideoSource, error: Exception) -> str:
    name = file_name(source)
    if isinstance(error, PermissionError):
        return f"video {name} may not be read; give yourself the right to read it, or load another"
    if _lacks_index(source):
        return (
            f"video {name} has no index (the moov part at its end), so no frame of it can be read: "
            "the recording or the copy stopped early; copy the file again, or repair it with a "
            "tool such as untrunc"
        )
    return (
        f"video {name} could not be opened ({_cause(error)}), wanted a video file; load another "
        "one, or convert it to MP4 with a video program"
    )


def _lacks_index(source: VideoSource) -> bool:
    """Whether an MP4 or QuickTime file has boxes, but no index among them."""
    rewind(source)
    if not isinstance(source, str):
        names = [box.name for box in islice(outer_boxes(source), _MOST_OUTER)]
    elif Path(source).is_file():
        with Path(source).open("rb") as file:
            names = [box.name for box in islice(outer_boxes(file), _MOST_OUTER)]
    else:
        return False
    return b"ftyp" in names and _INDEX_AT_END not in names


def _cause(error: Exception) -> str:
    # Not the whole error: it repeats the path, and with it what FFmpeg logged of the file.
    return str(getattr(error, "strerror", None) or type(error).__name__)

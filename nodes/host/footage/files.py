"""Video files opened for reading, with an error that helps."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import av

VideoSource = str | BinaryIO
Stamp = tuple[int, int] | None

_INDEX_AT_END = "moov"


@contextmanager
def opened_file(source: VideoSource) -> Iterator[av.container.InputContainer]:
    """The file, opened from its start and closed at the end.

    source: a path, or a file in memory.

    Raises: ValueError naming a file that is missing or cannot be read.
    """
    rewind(source)
    try:
        # Old files have titles in other alphabets than UTF-8.
        container = av.open(source, mode="r", metadata_errors="replace")
    except FileNotFoundError as error:
        raise ValueError(
            f"video {file_name(source)} is no longer there, wanted the file that was loaded; put "
            "it back, or load another one"
        ) from error
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(_unreadable(source, error)) from error
    with container:
        yield container


def file_name(source: VideoSource) -> str:
    """The name of the file, for messages."""
    return Path(source).name if isinstance(source, str) else "in memory"


def stamp_of(source: VideoSource) -> Stamp:
    """When a file was written and its length; None for a file in memory."""
    if not isinstance(source, str):
        return None
    state = Path(source).stat()
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


def _unreadable(source: VideoSource, error: Exception) -> str:
    name = file_name(source)
    if _lacks_index(source):
        return (
            f"video {name} has no index (the moov part at its end), so no frame of it can be read: "
            "the recording or the copy stopped early; copy the file again, or repair it with a "
            "tool such as untrunc"
        )
    return (
        f"video {name} could not be opened ({error}), wanted a video file; load another one, or "
        "convert it to MP4 with a video program"
    )


def _lacks_index(source: VideoSource) -> bool:
    """Whether an MP4 or QuickTime file has boxes, but no index among them."""
    rewind(source)
    if not isinstance(source, str):
        names = _box_names(source)
    elif Path(source).is_file():
        with Path(source).open("rb") as file:
            names = _box_names(file)
    else:
        return False
    return "ftyp" in names and _INDEX_AT_END not in names


def _box_names(file: BinaryIO) -> list[str]:
    """Names of the outermost boxes of an ISO media file; nonsense of other files ends the list."""
    names: list[str] = []
    place = file.tell()
    while len(head := file.read(16)) >= 8:
        size, name = int.from_bytes(head[:4], "big"), head[4:8]
        if size == 1:  # the true size follows the name
            size = int.from_bytes(head[8:16], "big")
        if size < 8 or not name.isascii():
            # Size 0: the last box goes to the end of the file.
            return [*names, name.decode("latin-1")]
        names.append(name.decode())
        place += size
        file.seek(place)
    return names

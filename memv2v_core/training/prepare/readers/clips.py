"""Videos of the readers that are clips in files."""

from pathlib import Path
from typing import NamedTuple

import av

from ....clips.clip_files import read_frames
from ...data.prepared_folder import VideoRole
from ...data.prepared_writing import file_safe
from .raw import RawVideo


class ClipHeader(NamedTuple):
    """What a clip's file says of itself, in frames and pixels."""

    num_frames: int
    height: int
    width: int


def read_header(path: Path) -> ClipHeader:
    """Frames and size of a clip, without decoding it.

    Raises: ValueError naming a file that is missing or no clip.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{path} got no video stream, wanted a clip; replace the file")
            stream = container.streams.video[0]
            return ClipHeader(stream.frames, stream.height, stream.width)
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); replace the file") from error


def view_name(item: str, view: str) -> str:
    """A name for a view that no view of another item gets.

    What follows the last dot is the view.
    """
    return f"{item}.{file_safe(view.replace('.', '/'))}"


def clip_video(
    path: Path, name: str, role: VideoRole, num_frames: int, caption: str, is_cut: bool = False
) -> RawVideo:
    """The first `num_frames` frames of a clip without cameras.

    is_cut: the whole clip, cut into segments of `num_frames`; what is left over is not used.
    """
    return RawVideo(
        name,
        role,
        lambda first: read_frames(path, num_frames, first).frames,
        caption,
        count_segments=(lambda: _count(path, num_frames, 0)) if is_cut else None,
        path=path,
    )


def extended_video(path: Path, name: str, num_frames: int, caption: str) -> RawVideo:
    """What was generated after the first `num_frames` frames of a clip, cut into segments.

    Raises: ValueError where the clip is not there.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not there, wanted the lengthened clip; run `prepare extend`")
    return RawVideo(
        name,
        "extended",
        lambda first: read_frames(path, num_frames, first).frames,
        caption,
        count_segments=lambda: _count(path, num_frames, num_frames),
        first=num_frames,
        path=path,
    )


def _count(path: Path, num_frames: int, first: int) -> int:
    total = read_header(path).num_frames
    if total < first + num_frames:
        raise ValueError(
            f"{path} got {total} frames, wanted at least {first + num_frames}; take another clip"
        )
    return (total - first) // num_frames

"""The session of a clip whose user named none."""

import hashlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import BinaryIO

import folder_paths
import torch
from comfy_api.latest import Input, InputImpl

from ....memv2v_core.cache.manifest import EMPTY, LatentShape, require_kind
from ....memv2v_core.cache.manifest_file import read_manifest
from ....memv2v_core.cache.session_names import session_name_like
from ..compat import trim_window
from ..footage.files import VideoSource
from .folders import folder_of

_HASH_LENGTH = 8
# Frames of a nameless clip that decide its name, and bytes at either end of a nameless file.
_NUM_FRAMES, _NUM_BYTES = 32, 2**20


def session_for(
    session: str,
    video: Input.Video | None,
    images: torch.Tensor | None,
    model_name: str,
    latent_shape: LatentShape,
) -> tuple[str, tuple[str, ...]]:
    """The session that a node works in, and a line that says which one where the user named none.

    An empty `session` takes the name of the clip. A session of that name that holds turns of
    another model or size stays untouched: the name gets a number then.

    model_name, latent_shape: (C, H, W), of the turns that will be saved.

    Raises: ValueError for a name that cannot be a folder name.
    """
    if session:
        folder_of(session)
        return session, ()
    stem = clip_name(video, images)
    name = next(name for name in _numbered(stem) if _fits(name, model_name, latent_shape))
    line = f"session {name!r}: named after the clip, because session is empty"
    if name != stem:
        line += f"; {stem!r} holds turns of another model or size"
    return name, (line,)


def clip_name(video: Input.Video | None, images: torch.Tensor | None) -> str:
    """A session name for a clip, the same whenever the same clip comes.

    A video file gives its name without the ending, and its trim. Frames, videos in memory and
    ComfyUI's temporary files give a short hash of what they show.
    """
    if not isinstance(video, InputImpl.VideoFromFile):
        if video is not None:
            images = video.get_components().images
        assert images is not None, "a node without a clip was refused before"
        return f"clip_{_hash_of_frames(images)}"
    source = video.get_stream_source()
    stem = ""
    # A temporary file has another name in every run.
    if isinstance(source, str) and not _is_temporary(Path(source)):
        stem = session_name_like(Path(source).stem)
    return (stem or f"clip_{_hash_of_file(source)}") + _trim_text(video)


def _trim_text(video: Input.Video) -> str:
    """What part of a file is used, as the end of a name: two parts are two clips."""
    start, duration = trim_window(video)
    if duration:
        return f"_{start:.2f}s-{start + duration:.2f}s"
    return f"_from_{start:.2f}s" if start else ""


def _is_temporary(path: Path) -> bool:
    return path.resolve().is_relative_to(Path(folder_paths.get_temp_directory()).resolve())


def _hash_of_frames(images: torch.Tensor) -> str:
    digest = hashlib.blake2b(str(tuple(images.shape)).encode())
    step = max(1, len(images) // _NUM_FRAMES)
    for frame in images[::step]:
        # In 8 bits: a float may differ in its last bit on another device.
        shown = (frame.float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
        digest.update(shown.contiguous().numpy().data)
    return digest.hexdigest()[:_HASH_LENGTH]


def _hash_of_file(source: VideoSource) -> str:
    if isinstance(source, str):
        with Path(source).open("rb") as file:
            return _hash_of_ends(file)
    return _hash_of_ends(source)


def _hash_of_ends(file: BinaryIO) -> str:
    num_bytes = file.seek(0, 2)
    digest = hashlib.blake2b(str(num_bytes).encode())
    for start in (0, max(0, num_bytes - _NUM_BYTES)):
        file.seek(start)
        digest.update(file.read(_NUM_BYTES))
    file.seek(0)
    return digest.hexdigest()[:_HASH_LENGTH]


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    yield from (f"{stem}_{number}" for number in count(2))


def _fits(name: str, model_name: str, latent_shape: LatentShape) -> bool:
    """Whether turns of this kind can be saved into the session."""
    try:
        manifest = read_manifest(folder_of(name)).manifest or EMPTY
        require_kind(manifest, model_name, latent_shape, name)
    except ValueError:
        return False
    return True

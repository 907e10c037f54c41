"""Writing a prepared folder, file by file, so that it can be stopped at any moment.

Several processes may write into one folder: each item belongs to one of them, captions are the same
whoever writes them, and the index is made of the records again.
"""

import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import torch

from ...atomic_files import is_temp, make_folder, remove_file, stamp_of, write_atomically
from ...cameras.trajectory import CameraTrajectory
from ...weights.weight_files import write_safetensors
from .prepared_folder import (
    CAMERAS,
    INDEX,
    ITEMS,
    REMEDY,
    TEXT,
    PreparedHeader,
    PreparedItem,
    PreparedVideo,
    VideoRole,
    cameras_path,
    fields_of,
    item_of,
    latent_path,
    record_path,
    text_path,
)

_HOUR_NS = 3_600_000_000_000
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
# Windows opens a device under these names, whatever follows the dot.
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_MOST_CHARS = 120


def file_safe(*parts: str) -> str:
    """A file's stem made of these names, joined by "_"; other names give another stem."""
    name = "_".join(parts)
    safe = _UNSAFE.sub("_", name).strip(".")[:_MOST_CHARS]
    if safe == name and safe and not _DEVICE.fullmatch(safe):
        return safe
    return f"{safe}-{hashlib.sha256(name.encode('utf-8')).hexdigest()[:8]}"


class PreparedWriter:
    """Writes into the prepared folder at `path`, which it makes."""

    def __init__(self, path: Path, header: PreparedHeader) -> None:
        self.path = path
        self.header = header
        for name in (*get_args(VideoRole), CAMERAS, TEXT, ITEMS):
            make_folder(path / name)

    def is_finished(self, name: str) -> bool:
        """Whether the item of this name is whole."""
        return record_path(self.path, name).exists()

    def has_text(self, caption: str) -> bool:
        return text_path(self.path, caption).exists()

    def write_latent(self, video: PreparedVideo, latent: torch.Tensor) -> None:
        """Store a latent (C, T, H, W) as fp16.

        Raises: ValueError for values that fp16 does not hold.
        """
        assert tuple(latent.shape) == video.latent_size
        stored = latent.half()
        if not stored.isfinite().all():
            raise ValueError(
                f"the latent of {video.name} got NaN, infinity or values above 65504, wanted "
                "finite ones of about 1; check the video and the VAE's file, or set dtype to fp32"
            )
        write_safetensors(latent_path(self.path, video), {"latent": stored}, {})

    def write_cameras(self, video: PreparedVideo, cameras: CameraTrajectory) -> None:
        """Store the cameras of a view, one a latent frame."""
        assert video.role == "view"
        assert cameras.num_frames == video.latent_size[1]
        is_assumed = torch.tensor([cameras.is_assumed], dtype=torch.uint8)
        tensors = {
            "c2w": cameras.c2w,
            "intrinsics": cameras.intrinsics,
            "is_assumed": is_assumed,
        }
        write_safetensors(cameras_path(self.path, video), tensors, {})

    def write_text(self, caption: str, tokens: torch.Tensor) -> None:
        """Store the tokens (L, D) of a caption in their own type.

        Raises: ValueError for tokens that are not finite.
        """
        if not tokens.isfinite().all():
            raise ValueError(
                f"the text tokens of {caption[:60]!r} got NaN or infinity, wanted finite numbers; "
                "check the text encoder's file, or set dtype to fp32"
            )
        # Zero tokens at the end are padding: 512 tokens of Wan's width take 4 MB.
        used = tokens.ne(0).any(1).nonzero().flatten()
        num_used = int(used[-1]) + 1 if len(used) else 0
        length = torch.tensor([len(tokens)], dtype=torch.int64)
        stored = {"tokens": tokens[:num_used], "length": length}
        write_safetensors(text_path(self.path, caption), stored, {})

    def finish(self, item: PreparedItem) -> None:
        """Write the item's record: from now on the item is whole."""
        text = json.dumps(fields_of(item), indent=1) + "\n"
        write_atomically(record_path(self.path, item.name), text.encode("utf-8"))

    def write_index(self) -> tuple[PreparedItem, ...]:
        """Join all records into the index; the items, sorted by name."""
        items = tuple(sorted(self._records(), key=lambda item: item.name))
        content = {"header": asdict(self.header), "items": [fields_of(item) for item in items]}
        write_atomically(self.path / INDEX, json.dumps(content).encode("utf-8"))
        return items

    def remove_unfinished(self) -> None:
        """Remove what killed processes left behind: temporary files that are an hour old."""
        for name in (*get_args(VideoRole), CAMERAS, TEXT, ITEMS):
            for path in (self.path / name).iterdir():
                if not is_temp(path.name):
                    continue
                stamp = stamp_of(path)
                # A younger file may be one that another process is writing.
                if stamp is not None and time.time_ns() - stamp[1] > _HOUR_NS:
                    remove_file(path)

    def _records(self) -> Iterator[PreparedItem]:
        for path in (self.path / ITEMS).glob("*.json"):
            try:
                yield item_of(json.loads(path.read_text(encoding="utf-8")))
            except (ValueError, LookupError, TypeError) as error:
                raise ValueError(
                    f"{path} is broken ({error}); delete it and {REMEDY} again"
                ) from error

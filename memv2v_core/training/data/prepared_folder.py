"""Reading what `python -m memv2v_core.training.prepare` writes: latents, cameras and text.

A prepared folder holds one folder a role, and beside them:

    view/NAME.safetensors  (source/, edited/, extended/)   latent (C, T, H, W), fp16
    cameras/NAME.safetensors    c2w (T, 4, 4) and intrinsics (T, 3, 3) of a view, float64
    text/HASH.safetensors       text tokens of one caption, without their padding
    items/NAME.json             record of one item; written last, so its files are whole
    index.json                  header and all records

C channels, T latent frames, H W rows and columns, L tokens, D width.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from ...cameras.trajectory import CameraTrajectory
from ...shapes import VaeRatios
from ...strict_yaml import build
from ...vocabulary import Task
from ...weights.weight_files import read_weights

Split = Literal["train", "held_out"]
VideoRole = Literal["view", "source", "edited", "extended"]

INDEX, ITEMS, CAMERAS, TEXT = "index.json", "items", "cameras", "text"
REMEDY = "run `python -m memv2v_core.training.prepare CONFIG.yaml`"
_HASH_DIGITS = 16


@dataclass(frozen=True)
class PreparedVideo:
    """One encoded video.

    name: stem of its files, unique within the role. latent_size: (C, T, H, W).
    num_frames: of its pixels.
    has_cameras: whether its cameras are there.
    """

    name: str
    role: VideoRole
    latent_size: tuple[int, int, int, int]
    num_frames: int
    caption: str = ""
    has_cameras: bool = False


@dataclass(frozen=True)
class PreparedItem:
    """A scene with its views, or one edit: its source, the edited video, perhaps its extension."""

    name: str
    split: Split
    videos: tuple[PreparedVideo, ...]


@dataclass(frozen=True)
class PreparedHeader:
    """What holds for every item.

    dataset: name and kind of the data, for an adapter's record.
    encoder: what made the latents and the text, such as "built-in: novel_view".
    text_width: D of the text tokens; None where no text was made.
    """

    task: Task
    dataset: str
    encoder: str
    ratios: VaeRatios
    text_width: int | None


@dataclass(frozen=True, eq=False)
class PreparedFolder:
    """A prepared data set; tensors are read when they are asked for."""

    path: Path
    header: PreparedHeader
    items: tuple[PreparedItem, ...]

    @classmethod
    def open(cls, path: Path) -> "PreparedFolder":
        """The prepared folder at `path`.

        Raises: ValueError naming what is missing, broken or outdated, and the command to run.
        """
        index, records = path / INDEX, path / ITEMS
        for each in (path, records, index):
            if not each.exists():
                raise ValueError(f"the prepared folder got no {each}; {REMEDY}")
        try:
            content = json.loads(index.read_text(encoding="utf-8"))
            header = build(PreparedHeader, content["header"], INDEX)
            items = tuple(item_of(fields) for fields in content["items"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ValueError(f"{index} is broken ({error}); {REMEDY} again") from error
        if (count := num_records(path)) != len(items):
            raise ValueError(
                f"{index} got {len(items)} items, wanted the {count} that {records} has; {REMEDY} "
                "again, it joins them"
            )
        return cls(path, header, items)

    def items_of(self, split: Split) -> tuple[PreparedItem, ...]:
        """The items for training, or the items that training must not see."""
        return tuple(item for item in self.items if item.split == split)

    def latent(self, video: PreparedVideo) -> torch.Tensor:
        """(C, T, H, W) float32, in the DiT's normalised latent space.

        Raises: ValueError for a file that is missing, broken or of another size.
        """
        path = latent_path(self.path, video)
        latent = _tensors(path, ("latent",))["latent"]
        if tuple(latent.shape) != video.latent_size:
            raise ValueError(
                f"{path} got a latent of {tuple(latent.shape)}, wanted {video.latent_size}; delete "
                f"the folder and {REMEDY}"
            )
        return latent.float()

    def cameras(self, video: PreparedVideo) -> CameraTrajectory:
        """One camera a latent frame: that of pixel frame 0, r, 2 r, ... at the temporal ratio r.

        Raises: ValueError for a video without cameras, and for a missing or broken file.
        """
        path = cameras_path(self.path, video)
        if not video.has_cameras:
            raise ValueError(
                f"{video.name} has no cameras, wanted a video of a data set with cameras; use "
                "another prepared folder"
            )
        found = _tensors(path, ("c2w", "intrinsics", "is_assumed"))
        return CameraTrajectory(found["c2w"], found["intrinsics"], bool(found["is_assumed"].any()))

    def text(self, caption: str) -> torch.Tensor:
        """Text tokens (L, D) float32 of a caption of this folder; "" is always there.

        Raises: ValueError for a caption that was not encoded.
        """
        path = text_path(self.path, caption)
        if self.header.text_width is None or not path.exists():
            raise ValueError(
                f"{self.path} got no text tokens of {caption[:60]!r}; set a text encoder and "
                f"{REMEDY} again"
            )
        found = _tensors(path, ("tokens", "length"))
        tokens = torch.zeros(int(found["length"].item()), self.header.text_width)
        # Files hold no padding, which is zero.
        tokens[: len(found["tokens"])] = found["tokens"].float()
        return tokens


def latent_path(folder: Path, video: PreparedVideo) -> Path:
    """The file of a video's latent."""
    return folder / video.role / f"{video.name}.safetensors"


def cameras_path(folder: Path, video: PreparedVideo) -> Path:
    """The file of a view's cameras."""
    return folder / CAMERAS / f"{video.name}.safetensors"


def text_path(folder: Path, caption: str) -> Path:
    """The file of a caption's text tokens."""
    digits = hashlib.sha256(caption.encode("utf-8")).hexdigest()[:_HASH_DIGITS]
    return folder / TEXT / f"{digits}.safetensors"


def record_path(folder: Path, name: str) -> Path:
    """The record of an item; the item is finished where it exists."""
    return folder / ITEMS / f"{name}.json"


def num_records(folder: Path) -> int:
    """How many items of a folder are finished."""
    records = folder / ITEMS
    return sum(path.suffix == ".json" for path in records.iterdir()) if records.is_dir() else 0


def item_of(fields: dict[str, Any]) -> PreparedItem:
    """The item of a record.

    Raises: LookupError or TypeError for fields that are no item's.
    """
    # By hand: a strict reading of 100,000 videos takes a minute.
    videos = (
        PreparedVideo(**{**video, "latent_size": tuple(video["latent_size"])})
        for video in fields["videos"]
    )
    return PreparedItem(fields["name"], fields["split"], tuple(videos))


def fields_of(item: PreparedItem) -> dict[str, Any]:
    """The fields of an item's record."""
    return asdict(item)


def _tensors(path: Path, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    if not path.exists():
        raise ValueError(
            f"{path} is not there, though the index names it; delete the item's record in {ITEMS} "
            f"and {REMEDY} again"
        )
    found = read_weights(path)
    for name in names:
        if name not in found:
            raise ValueError(f"{path} has no tensor {name!r}; delete the file and {REMEDY} again")
    return found

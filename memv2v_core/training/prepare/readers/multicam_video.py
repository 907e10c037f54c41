"""MultiCamVideo: rendered scenes, each filmed by ten cameras at once.

    train/f18_aperture10/scene1/videos/cam01.mp4 ... cam10.mp4    81 frames, 1280x1280, 15 fps
    train/f18_aperture10/scene1/cameras/camera_extrinsics.json    81 poses of every camera
    train/f24_aperture5/..., train/f35_aperture2.4/..., train/f50_aperture2.4/...
    metadata.csv                                                  file_name,text

The folder's name gives the lens, on a square sensor of 23.76 mm. The data set has no captions: its
users write metadata.csv, with paths below train/, as ReCamMaster's training reads it.

Source: KwaiVGI/ReCamMaster, README.md and train_recammaster.py.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ....cameras.formats.detection import load_cameras
from ....cameras.formats.reading.results import ImportSettings
from ....cameras.trajectory import CameraTrajectory
from ....vocabulary import Task
from ...data.prepared_writing import file_safe
from ..config import MultiCamVideoOptions
from .clips import clip_video, view_name
from .raw import ClipSize, RawItem, RawVideo, require_folder

_LENS_FOLDER = re.compile(r"f\d+(\.\d+)?_aperture\d+(\.\d+)?")
_CAMERA = re.compile(r"cam\d{2}\.mp4")
_TRAIN = "train"
_DIGITS = re.compile(r"(\d+)")
_COLUMNS = ("file_name", "text")


@dataclass(frozen=True)
class MultiCamVideoReader:
    """root: the data set, or its folder `train`."""

    root: Path
    options: MultiCamVideoOptions
    clip: ClipSize

    @property
    def task(self) -> Task:
        return "novel_view"

    def items(self) -> Iterator[RawItem]:
        require_folder(self.root, "MultiCamVideo")
        base = self.root / _TRAIN if (self.root / _TRAIN).is_dir() else self.root
        lenses = sorted(each for each in base.iterdir() if _LENS_FOLDER.fullmatch(each.name))
        if not lenses:
            raise ValueError(
                f"{base} got no folder such as f18_aperture10, wanted MultiCamVideo; check its name"
            )
        captions = self._captions(base)
        for lens in lenses:
            for scene in sorted(filter(Path.is_dir, lens.iterdir()), key=_counted):
                yield self._item(base, scene, captions)

    def _item(self, base: Path, scene: Path, captions: dict[str, str] | None) -> RawItem:
        name = file_safe(scene.parent.name, scene.name)
        videos = partial(self._videos, name, base, scene, captions)
        return RawItem(name, videos, aliases=(f"{scene.parent.name}/{scene.name}",))

    def _videos(
        self, name: str, base: Path, scene: Path, captions: dict[str, str] | None
    ) -> tuple[RawVideo, ...]:
        folder, poses = scene / "videos", scene / "cameras" / "camera_extrinsics.json"
        clips = sorted(folder.iterdir()) if folder.is_dir() else []
        clips = [clip for clip in clips if _CAMERA.fullmatch(clip.name)]
        if len(clips) < 2:
            raise ValueError(f"{folder} got {len(clips)} clips camNN.mp4, wanted at least 2")
        if not poses.is_file():
            raise ValueError(f"{poses} is not there, wanted the poses of the scene's cameras")
        videos = []
        for clip in clips:
            place = clip.relative_to(base).as_posix()
            caption = "" if captions is None else captions.get(place, "")
            if captions is not None and not caption:
                raise ValueError(f"{place} has no caption in the table of captions; add its line")
            cameras = partial(_cameras, poses, clip.stem)
            video_name = view_name(name, clip.stem)
            video = clip_video(clip, video_name, "view", self.clip.num_frames, caption)
            videos.append(replace(video, cameras=cameras))
        return tuple(videos)

    def _captions(self, base: Path) -> dict[str, str] | None:
        """The caption of each clip, by its path below `base`; None where none are wanted.

        Raises: ValueError for a table that is missing or lacks a column.
        """
        path = self.options.captions
        if path is None:
            return None
        path = path if path.is_absolute() else self.root / path
        try:
            # Tables of Windows begin with a mark that is no part of the first column's name.
            with path.open(encoding="utf-8-sig", newline="") as file:
                table = csv.DictReader(file)
                if missing := [each for each in _COLUMNS if each not in (table.fieldnames or ())]:
                    raise ValueError(f"{path} has no column {missing[0]!r}, wanted file_name,text")
                rows = [(row["file_name"] or "", row["text"] or "") for row in table]
        except OSError as error:
            raise ValueError(
                f"{path} cannot be read ({error.strerror}), wanted a table file_name,text of the "
                "captions; write it, or set captions: null"
            ) from error
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is no table of captions ({error}); write it again") from error
        inside = f"{base.name}/"
        return {name.removeprefix("./").removeprefix(inside): text.strip() for name, text in rows}


def _cameras(poses: Path, camera: str, aspect: float) -> CameraTrajectory:
    """The path of one camera; `aspect` is that of its clip."""
    return load_cameras(poses, ImportSettings(camera=camera, aspect=aspect)).trajectory


def _counted(path: Path) -> tuple[tuple[str, int], ...]:
    """scene2 before scene10."""
    words = _DIGITS.split(path.name)
    return tuple(("", int(word)) if word.isdigit() else (word, 0) for word in words)

"""A plain folder of clips: scenes with their views, or clips with their edits.

Views, where a folder is a scene:

    SCENE/NAME.mp4                       at least two
    SCENE/NAME.txt or SCENE/scene.txt    caption of the view, or of all views of the scene
    SCENE/NAME.cameras.json (or .txt)    its cameras, in any format that the nodes import
    SCENE/NAME.cameras/images.bin (or .txt)              its cameras, from COLMAP
    SCENE/camera_extrinsics.json         cameras of every view, ReCamMaster's form: camera NAME

All cameras of a scene share one world. Edits, in the folder or in folders below it:

    NAME.mp4, NAME_edited.mp4, NAME.txt  before, after, and the instruction
    NAME_extended.mp4                    may be there: the edited clip, lengthened forward
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from ....cameras.formats.detection import load_cameras
from ....cameras.formats.reading.results import ImportSettings
from ....cameras.trajectory import CameraTrajectory, lens_intrinsics, static_trajectory
from ....clips.clip_files import read_frames
from ....vocabulary import Task
from ...data.prepared_writing import file_safe
from ..config import FolderOptions
from ..fitting import without_repeats
from .clips import clip_video, extended_video, view_name
from .raw import ClipSize, RawItem, RawVideo, require_folder

_ENDING = ".mp4"
_EDITED, _EXTENDED = "_edited", "_extended"
_SCENE_CAMERAS, _SCENE_TEXT = "camera_extrinsics.json", "scene.txt"
_OWN_CAMERAS = (".cameras.json", ".cameras.txt", ".cameras/images.bin", ".cameras/images.txt")


@dataclass(frozen=True)
class FolderReader:
    """root: the folder of the scenes, or of the clips."""

    root: Path
    options: FolderOptions
    clip: ClipSize

    @property
    def task(self) -> Task:
        return "novel_view" if self.options.layout == "views" else "text_edit"

    def items(self) -> Iterator[RawItem]:
        require_folder(self.root, "scenes or clips")
        if self.options.extended is not None:
            require_folder(self.options.extended, "the edits that `prepare extend` lengthened")
        if self.options.layout == "views":
            for scene in sorted(each for each in self.root.iterdir() if each.is_dir()):
                name = file_safe(scene.name)
                yield RawItem(name, partial(self._views, name, scene), aliases=(scene.name,))
            return
        for source in _clips(self.root.rglob(f"*{_ENDING}")):
            if source.stem.endswith((_EDITED, _EXTENDED)) and _source_of(source).is_file():
                continue
            place = source.relative_to(self.root).with_suffix("")
            name = file_safe(*place.parts)
            yield RawItem(name, partial(self._edit, name, source), aliases=(place.as_posix(),))

    def _views(self, name: str, scene: Path) -> tuple[RawVideo, ...]:
        clips = _clips(scene.glob(f"*{_ENDING}"))
        if len(clips) < 2:
            raise ValueError(f"{scene} got {len(clips)} clips, wanted at least 2 NAME.mp4")
        return tuple(self._view(name, clip) for clip in clips)

    def _view(self, item: str, clip: Path) -> RawVideo:
        video = clip_video(
            clip, view_name(item, clip.stem), "view", self.clip.num_frames, self._caption(clip)
        )
        if self.options.drop_repeats:
            video = replace(video, frames=partial(_frames_that_move, clip, self.clip.num_frames))
        if (path := _camera_file(clip)) is not None:
            settings = ImportSettings(camera=clip.stem, fov_deg=self.options.fov_deg)
            return replace(video, cameras=partial(_cameras, path, settings))
        if self.options.unknown_cameras == "broken":
            raise ValueError(
                f"{clip} has no cameras, wanted {clip.stem}.cameras.json or {_SCENE_CAMERAS}; add "
                "them, or set unknown_cameras: static"
            )
        return replace(video, cameras=partial(_still, self.clip.num_frames, self.options.fov_deg))

    def _caption(self, clip: Path) -> str:
        for path in (clip.with_suffix(".txt"), clip.with_name(_SCENE_TEXT)):
            if path.is_file():
                return _text(path)
        if self.options.captions == "required":
            raise ValueError(
                f"{clip} has no caption, wanted {clip.stem}.txt or {_SCENE_TEXT}; write one, or "
                "set captions: optional"
            )
        return ""

    def _edit(self, name: str, source: Path) -> tuple[RawVideo, ...]:
        edited, text = _beside(source, _EDITED), source.with_suffix(".txt")
        # A clip of this name without its source belongs to an edit too.
        for path in (_source_of(source), edited, text):
            if not path.is_file():
                raise ValueError(f"{path} is not there, wanted it beside {source.name}")
        caption, num_frames = _text(text), self.clip.num_frames
        longer = self._longer(name, source)
        # With an extension the clip is one segment: what comes after it would stand twice.
        is_cut = longer is None
        videos = (
            clip_video(source, name, "source", num_frames, caption, is_cut),
            clip_video(edited, name, "edited", num_frames, caption, is_cut),
        )
        if longer is None:
            return videos
        return (*videos, extended_video(longer, name, num_frames, caption))

    def _longer(self, name: str, source: Path) -> Path | None:
        """The lengthened clip of an edit; None where there need not be any."""
        if self.options.extended is not None:
            return self.options.extended / f"{name}{_ENDING}"
        beside = _beside(source, _EXTENDED)
        return beside if beside.is_file() else None


def _clips(found: Iterable[Path]) -> list[Path]:
    # Some systems put hidden files of their own beside ours.
    return sorted(path for path in found if not path.name.startswith("."))


def _beside(clip: Path, ending: str) -> Path:
    return clip.with_name(f"{clip.stem}{ending}{_ENDING}")


def _source_of(clip: Path) -> Path:
    stem = clip.stem.removesuffix(_EDITED).removesuffix(_EXTENDED)
    return clip.with_name(f"{stem}{_ENDING}")


def _text(path: Path) -> str:
    try:
        text = " ".join(path.read_text(encoding="utf-8-sig").split())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}), wanted UTF-8 text") from error
    if not text:
        raise ValueError(f"{path} is empty, wanted a text")
    return text


def _camera_file(clip: Path) -> Path | None:
    """The file with the clip's cameras; None where there is none.

    Raises: ValueError where there are two.
    """
    own = [clip.parent / f"{clip.stem}{ending}" for ending in _OWN_CAMERAS]
    found = [path for path in own if path.is_file()]
    if len(found) > 1:
        raise ValueError(f"{clip} got {found[0].name} and {found[1].name}; delete one of them")
    of_scene = clip.with_name(_SCENE_CAMERAS)
    return found[0] if found else of_scene if of_scene.is_file() else None


def _cameras(path: Path, settings: ImportSettings, aspect: float) -> CameraTrajectory:
    return load_cameras(path, replace(settings, aspect=aspect)).trajectory


def _still(num_frames: int, fov_deg: float, aspect: float) -> CameraTrajectory:
    lens = lens_intrinsics(fov_deg, aspect, aspect)
    return static_trajectory(num_frames, lens, is_assumed=True)


def _frames_that_move(path: Path, num_frames: int, first: int) -> torch.Tensor:
    frames = without_repeats(read_frames(path).frames)
    if len(frames) < first + num_frames:
        raise ValueError(
            f"{path} got {len(frames)} frames that differ from the frame before, wanted "
            f"{first + num_frames}; take another clip"
        )
    return frames[first : first + num_frames]

"""Senorita-2M: instructions with a clip before and after the edit, a list a task.

    updated_data_obj_swap_videos.json       a list of edits, or a list of such lists
    obj_swap_upload/60/HASH.mp4, obj_removal_videos_upload2/..., style_transfer_upload/...

An edit has source_video_path, target_video_path, instruction and enhanced_instruction. Its paths
name folders as they were before the upload, such as ./obj_swap_videos/60/HASH_org.mp4. So a folder
is found by its name without the endings _videos, _upload and a number.

Only registered users see the data set. This layout is the one that public programs which read it
state; their paths were not checked against the files.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ....vocabulary import Task
from ...data.prepared_writing import file_safe
from ..config import SenoritaOptions
from .clips import clip_video, extended_video
from .raw import ClipSize, RawItem, RawVideo, require_folder

_LISTS = "updated_data_*.json"
_LIST_NAME = re.compile(r"updated_data_(.+?)(_videos)?")
_ENDING = re.compile(r"(_videos|_upload|\d+)$")
_SOURCE, _TARGET = "source_video_path", "target_video_path"
# The clip that was filmed has this at its end, whichever of the two it is.
_ORIGINAL = "_org"


@dataclass(frozen=True)
class SenoritaReader:
    """root: the folder of the lists and of the unpacked videos."""

    root: Path
    options: SenoritaOptions
    clip: ClipSize

    @property
    def task(self) -> Task:
        return "text_edit"

    def items(self) -> Iterator[RawItem]:
        require_folder(self.root, "Senorita-2M")
        lists = [self.root / name for name in self.options.lists]
        lists = lists or sorted(self.root.glob(_LISTS))
        if not lists:
            raise ValueError(f"{self.root} got no {_LISTS}, wanted Senorita-2M; check its name")
        if self.options.extended is not None:
            require_folder(self.options.extended, "the edits that `prepare extend` lengthened")
        places = _Places(self.root)
        for path in lists:
            match = _LIST_NAME.fullmatch(path.stem)
            task = match[1] if match else path.stem
            for number, edit in enumerate(_edits(path)):
                yield self._item(task, number, edit, places)

    def _item(self, task: str, number: int, edit: Any, places: "_Places") -> RawItem:
        fields = edit if isinstance(edit, dict) else {}
        target = fields.get(_TARGET)
        stem = Path(target).stem if isinstance(target, str) else ""
        clip_id = stem.removesuffix(_ORIGINAL)
        # The number tells apart the edits of one clip.
        name = file_safe(task, f"{number:07d}", *([clip_id] if clip_id else []))
        aliases = tuple(dict.fromkeys(each for each in (clip_id, stem, target) if each))
        return RawItem(name, partial(self._videos, name, fields, places), aliases)

    def _videos(self, name: str, fields: dict[str, Any], places: "_Places") -> tuple[RawVideo, ...]:
        before, after = (places.find(fields.get(key), key) for key in (_SOURCE, _TARGET))
        text = fields.get(self.options.instruction)
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"the list got no {self.options.instruction} for it, wanted a text")
        num_frames, extended = self.clip.num_frames, self.options.extended
        # With an extension the clip is one segment: what comes after it would stand twice.
        is_cut = extended is None
        source = clip_video(before, name, "source", num_frames, text.strip(), is_cut)
        edited = clip_video(after, name, "edited", num_frames, text.strip(), is_cut)
        if extended is None:
            return source, edited
        longer = extended / f"{name}.mp4"
        return source, edited, extended_video(longer, name, num_frames, text.strip())


class _Places:
    """Finds the clips of the lists in folders that were renamed for the upload."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: dict[str, list[str]] = {}
        for folder in sorted(each.name for each in root.iterdir() if each.is_dir()):
            self._folders.setdefault(_bare(folder), []).append(folder)

    def find(self, place: Any, key: str) -> Path:
        """The file that a list calls `place`.

        Raises: ValueError where the key has no path, or the file is not there.
        """
        parts = Path(place).parts if isinstance(place, str) else ()
        # A list names files of its own folder, and no other file of this computer.
        if len(parts) < 2 or Path(place).is_absolute() or ".." in parts:
            raise ValueError(f"the list got {place!r} for {key}, wanted FOLDER/.../NAME.mp4")
        for folder in (parts[0], *self._folders.get(_bare(parts[0]), ())):
            path = self.root.joinpath(folder, *parts[1:])
            if path.is_file():
                return path
        raise ValueError(f"{place} is not below {self.root}; unpack its folder there")


def _bare(folder: str) -> str:
    """A folder's name without _videos, _upload and a number at its end."""
    while bare := _ENDING.sub("", folder):
        if bare == folder:
            break
        folder = bare
    return folder


def _edits(path: Path) -> Iterator[Any]:
    """The edits of a list, which may hold lists of edits.

    Raises: ValueError for a file that is no list.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); check its name") from error
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); download it again") from error
    if not isinstance(content, list):
        raise ValueError(f"{path} got no list, wanted a list of edits; check its name")
    for entry in content:
        yield from entry if isinstance(entry, list) else (entry,)

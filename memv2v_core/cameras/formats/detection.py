"""A camera path from a file; the format is detected from the file's content."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..trajectory import CameraTrajectory
from .camera_path import is_camera_path, read_camera_path
from .colmap import is_colmap_binary, is_colmap_text, other_colmap_file, read_colmap
from .ns_export import is_ns_export, read_ns_export
from .omnicam import is_omnicam, read_omnicam
from .opencv_list import is_opencv_list, read_opencv_list
from .reading.content import data_lines, file_error, parse_json, read_text
from .reading.found import kind_of, known_keys
from .reading.results import ImportedCameras, ImportSettings
from .realestate10k import is_realestate10k, read_realestate10k
from .recammaster import is_recammaster, read_recammaster, recammaster_cameras
from .transforms import is_transforms, read_transforms


@dataclass(frozen=True)
class _JsonFormat:
    """name: what messages call it. matches: whether a content is of this format."""

    name: str
    matches: Callable[[Any], bool]
    read: Callable[[Any, Path, ImportSettings], ImportedCameras]


# The first that matches reads the file. None of their keys overlap.
_JSON_FORMATS = (
    _JsonFormat("transforms.json of nerfstudio or Blender", is_transforms, read_transforms),
    _JsonFormat("camera_path.json of nerfstudio's viewer", is_camera_path, read_camera_path),
    _JsonFormat("poses of ns-export cameras", is_ns_export, read_ns_export),
    _JsonFormat("camera_extrinsics.json of ReCamMaster", is_recammaster, read_recammaster),
    _JsonFormat("motion scene or track of OmniCam", is_omnicam, read_omnicam),
    _JsonFormat("list of OpenCV cameras (c2w, w2c, R and t)", is_opencv_list, read_opencv_list),
)
_TEXT_FORMATS = ("txt of RealEstate10K or CameraCtrl", "images and cameras of COLMAP (txt, bin)")
# The keys that tell these formats apart; a message says which of them a file has.
_KEYS = (
    *("frames", "camera_path", "cameras", "keyframes", "timeline", "canvas", "duration_frames"),
    *("file_path", "transform", "transform_matrix", "c2w", "w2c", "R", "t", "rotation", "position"),
)


def load_cameras(path: str | Path, settings: ImportSettings | None = None) -> ImportedCameras:
    """A path of a camera file in any known format, and what was assumed.

    settings: what the file may leave open; None knows nothing.

    Raises: ValueError naming the file, the kind of content found, what was wanted and the remedy;
    it repeats no text of the file.
    """
    path, settings = Path(path), settings or ImportSettings()
    if is_colmap_binary(path):
        return read_colmap(path, settings)
    text = read_text(path)
    # A file that says it is JSON gets JSON's error message.
    if path.suffix == ".json" or text.lstrip()[0] in "{[":
        return _read_json(parse_json(text, path), path, settings)
    if is_realestate10k(text, path):
        return read_realestate10k(text, path, settings)
    if is_colmap_text(text, path):
        return read_colmap(path, settings)
    raise _unknown(path, f"a text{_first_line(text, path)}")


def load_trajectory(path: str | Path, *, camera: str = "cam01") -> CameraTrajectory:
    """The path in a camera file, without the notes.

    camera: which path of a file with several.

    Raises: as `load_cameras`.
    """
    return load_cameras(path, ImportSettings(camera=camera)).trajectory


def may_be_camera_file(path: Path) -> bool:
    """Whether a file's name is that of a camera file; only its content tells for sure."""
    return path.suffix in (".json", ".txt") or is_colmap_binary(path)


def camera_names(path: str | Path) -> tuple[str, ...]:
    """Names of the paths in a file that lists them, in file order; empty for any other file.

    Raises: ValueError for a file that cannot be read.
    """
    path = Path(path)
    return recammaster_cameras(parse_json(read_text(path), path)) if path.suffix == ".json" else ()


def parts_of_camera_file(path: str | Path) -> tuple[Path, ...]:
    """The file, and the other file of the same COLMAP model where there is one."""
    path = Path(path)
    other = other_colmap_file(path)
    return (path,) if other is None or not other.is_file() else (path, other)


def _read_json(content: Any, path: Path, settings: ImportSettings) -> ImportedCameras:
    for known in _JSON_FORMATS:
        if known.matches(content):
            return known.read(content, path, settings)
    if isinstance(content, dict):
        got = f"an object with {known_keys(content, _KEYS)}"
    elif isinstance(content, list) and content and isinstance(content[0], dict):
        got = f"a list of objects with {known_keys(content[0], _KEYS)}"
    elif isinstance(content, list) and content and isinstance(content[0], list):
        got = "a list of bare matrices, which does not say if they are c2w or w2c"
    else:
        got = f"JSON of {kind_of(content)} without cameras"
    raise _unknown(path, got)


def _first_line(text: str, path: Path) -> str:
    for number, line in data_lines(text, path):
        if line:
            return f" whose first line ({number}) has {len(line)} characters"
    return " of comments alone"


def _unknown(path: Path, got: str) -> ValueError:
    known = "; ".join((*(form.name for form in _JSON_FORMATS), *_TEXT_FORMATS))
    return file_error(path, got, f"one of: {known}", "export the path in one of these formats")

"""The poses that `ns-export cameras` of nerfstudio writes, to our convention.

The file, transforms_train.json or transforms_eval.json, is a list of pictures, each with an OpenGL
camera-to-world matrix of 3x4 numbers in nerfstudio's own world. It holds no lens.

Source: nerfstudio, exporter/exporter_utils.py (collect_camera_poses).
"""

from pathlib import Path
from typing import Any

from .reading.content import file_error, require_objects
from .reading.found import kind_of
from .reading.frames import PlacedFrame, path_of_frames
from .reading.lenses import lens_of_settings
from .reading.poses import opencv_from_opengl, read_pose
from .reading.results import ImportedCameras, ImportSettings


def is_ns_export(content: Any) -> bool:
    """Whether a JSON file's content is the list of `ns-export cameras`."""
    return (
        isinstance(content, list)
        and bool(content)
        and isinstance(content[0], dict)
        and {"file_path", "transform"} <= content[0].keys()
    )


def read_ns_export(content: list[Any], path: Path, settings: ImportSettings) -> ImportedCameras:
    """The path in the order of the picture names.

    Pictures that nerfstudio set apart for its evaluation are gaps.

    Raises: ValueError naming the file, the frame, what was found and the remedy.
    """
    lens, note = lens_of_settings(settings)
    frames = []
    for frame_idx, entry in enumerate(require_objects(content, path, "a transform")):
        where = f"frame {frame_idx}"
        pose = read_pose(entry.get("transform"), path, where)
        name = entry.get("file_path")
        if not isinstance(name, str | None):
            raise file_error(
                path, f"{kind_of(name)} as file_path of {where}", "a text", "export the file again"
            )
        frames.append(PlacedFrame(name, opencv_from_opengl(pose), lens))
    return path_of_frames(frames, path, settings, (note,))

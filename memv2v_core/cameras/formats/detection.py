"""A camera path from a file; the format is detected from the file's content."""

from pathlib import Path

from ..trajectory import CameraTrajectory
from .reading import file_error, read_json
from .recammaster import is_recammaster, read_recammaster
from .transforms import is_transforms, read_transforms


def load_trajectory(path: str | Path, *, camera: str = "cam01") -> CameraTrajectory:
    """The path in a camera file of either known format.

    camera: which path of a ReCamMaster file; a transforms.json holds one path and ignores it.

    Raises: ValueError naming the file, the content found, the content wanted and the remedy.
    FileNotFoundError.
    """
    path = Path(path)
    content = read_json(path)
    if is_transforms(content):
        return read_transforms(content, path)
    if is_recammaster(content):
        return read_recammaster(content, path, camera)
    # The first keys are usually enough to recognise the program.
    found = ", ".join(list(content)[:5]) or "nothing"
    wanted = "frame0, frame1, ... (ReCamMaster) or a list 'frames' (transforms.json)"
    raise file_error(
        path, f"top-level keys {found}", wanted, "export the path in one of the two formats"
    )

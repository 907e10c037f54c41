"""An imported path at the length and the aspect of a clip."""

from dataclasses import replace

from ..resampling import resample_trajectory
from .reading.results import ImportedCameras


def fit_to_clip(
    imported: ImportedCameras,
    *,
    num_frames: int = 0,
    clip_frames: int | None = None,
    aspect: float | None = None,
) -> ImportedCameras:
    """The path in as many frames as wanted, its lens for the middle of the picture; both are said.

    num_frames: wins over the clip; 0 takes the clip's number, or the file's where no clip is known.
    clip_frames: frames of the clip. aspect: width divided by height of the clip.

    Raises: ValueError where a file that numbers its frames has fewer cameras than the clip has
    frames: nobody knows which end is missing.
    """
    path, notes = imported.trajectory, list(imported.notes)
    wanted = num_frames or clip_frames or path.num_frames
    if not num_frames and imported.is_numbered and path.num_frames < wanted:
        raise ValueError(
            f"the camera file got cameras for {path.num_frames} frames, wanted the {wanted} of the "
            "clip; cut the clip to these frames, or set num_frames to spread the path over it"
        )
    if wanted != path.num_frames:
        notes.append(
            f"{path.num_frames} cameras are spread evenly over {wanted} frames; the first and the "
            "last one stay."
        )
        path = resample_trajectory(path, wanted)
    if aspect is not None and (cropped := path.cropped_to(aspect)) is not path:
        old = float(path.intrinsics[0, 1, 1] / path.intrinsics[0, 0, 0])
        notes.append(
            f"The file's picture has width / height {old:.2f}, the clip {aspect:.2f}: the lens is "
            "that of the middle of the picture."
        )
        path = cropped
    return replace(imported, trajectory=path, notes=tuple(notes))

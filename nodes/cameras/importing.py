"""Camera paths from files."""

from pathlib import Path

import folder_paths
import torch
from comfy_api.latest import io, ui

from ...memv2v_core.cameras.formats.clip_fitting import fit_to_clip
from ...memv2v_core.cameras.formats.detection import (
    camera_names,
    load_cameras,
    may_be_camera_file,
    parts_of_camera_file,
)
from ...memv2v_core.cameras.formats.reading.results import DEFAULT_MAX_GAP, ImportSettings
from ...memv2v_core.cameras.formats.recammaster import known_cameras
from ...memv2v_core.cameras.trajectory import CameraTrajectory
from ..host.clip_size import clip_aspect, clip_length
from ..host.compat import shows_result
from ..host.menu import in_menu
from ..host.named_files import input_file, shown_name
from ..io_types import CameraSocket

NO_FILE = "no camera file in the input folder"


class ImportCameraTrajectory(io.ComfyNode):
    """A camera path from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VImportCameraTrajectory",
            display_name="Import Camera Trajectory",
            **in_menu("MemV2VImportCameraTrajectory"),
            description="Reads a camera path from the input folder and converts it to this pack's "
            "convention. The program is detected: nerfstudio, Blender, COLMAP, RealEstate10K or "
            "CameraCtrl, ReCamMaster or MultiCamVideo, OpenCV lists, OmniCam. The node says what "
            "it assumed.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=_camera_files() or [NO_FILE],
                    tooltip="A .json, .txt or .bin file in ComfyUI's input folder or in a folder "
                    "inside it. The button below uploads one.",
                ),
                io.String.Input(
                    "camera",
                    default="cam01",
                    tooltip="Which path of a file with several: cam01 to cam10 in ReCamMaster's, a "
                    "part of the picture names of a rig. Files with one path do not use it.",
                ),
                io.Int.Input(
                    "num_frames",
                    default=0,
                    min=0,
                    max=2000,
                    tooltip="Resample to this many frames; the first and the last camera stay. 0 "
                    "takes the number of the connected clip, or keeps the file's number.",
                ),
                io.Boolean.Input(
                    "start_at_source",
                    default=True,
                    tooltip="Make the path start at the source's first camera. Turn it off to keep "
                    "the path's place in the world, if the source's path comes from the same "
                    "world.",
                ),
                io.Image.Input(
                    "clip",
                    optional=True,
                    tooltip="The clip of this path, as it goes to the model. The path takes its "
                    "frame count, and the lens its aspect.",
                ),
                CameraSocket.Input(
                    "source_camera",
                    optional=True,
                    tooltip="Its lens is used for files that hold none.",
                ),
                io.Float.Input(
                    "aspect",
                    default=0.0,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    optional=True,
                    advanced=True,
                    tooltip="Width divided by height of the clip, if no clip is connected. 0: "
                    "unknown. Only some files need it, and ask for it.",
                ),
                io.Float.Input(
                    "fov_deg",
                    default=0.0,
                    min=0.0,
                    max=170.0,
                    step=0.5,
                    optional=True,
                    advanced=True,
                    tooltip="Horizontal field of view in degrees, for files that hold no lens. 0: "
                    "the default lens (24 mm, 52.7 degrees).",
                ),
                io.Int.Input(
                    "max_gap",
                    default=DEFAULT_MAX_GAP,
                    min=0,
                    max=2000,
                    optional=True,
                    advanced=True,
                    tooltip="How many frames in sequence may lack a camera. They are interpolated "
                    "between their neighbours, and the node says which.",
                ),
            ],
            outputs=[CameraSocket.Output(display_name="camera", tooltip="One camera a frame.")],
            **shows_result(),
        )

    @classmethod
    def validate_inputs(cls, file: str | None, camera: str | None = None) -> bool | str:
        # A linked value is not known yet.
        if file is None:
            return True
        try:
            path = _path_of(file)
        except ValueError as error:
            return str(error)
        return _refused_camera(path, camera) or True

    @classmethod
    def fingerprint_inputs(cls, file: str | None = None, **_others: object) -> str:
        if file is None:
            return ""
        parts = parts_of_camera_file(_path_of(file))
        return " ".join(f"{part.stat().st_mtime_ns}-{part.stat().st_size}" for part in parts)

    @classmethod
    def execute(
        cls,
        file: str,
        camera: str,
        num_frames: int,
        start_at_source: bool,
        clip: torch.Tensor | None = None,
        source_camera: CameraTrajectory | None = None,
        aspect: float = 0.0,
        fov_deg: float = 0.0,
        max_gap: int = DEFAULT_MAX_GAP,
    ) -> io.NodeOutput:
        aspect_of_clip = clip_aspect(clip) or aspect or None
        lens = source_camera.intrinsics[0] if source_camera is not None else None
        settings = ImportSettings(camera, aspect_of_clip, lens, fov_deg, max_gap)
        imported = fit_to_clip(
            load_cameras(_path_of(file), settings),
            num_frames=num_frames,
            clip_frames=clip_length(clip),
            aspect=aspect_of_clip,
        )
        path = imported.trajectory
        report = "\n".join((f"{file}: {path.num_frames} cameras.", *imported.notes))
        # Relative to its own first camera, the path starts at the identity.
        if start_at_source:
            path = path.relative_to(path)
        return io.NodeOutput(path, ui=ui.PreviewText(report))


def _path_of(file: object) -> Path:
    """Path of a listed file.

    Raises: ValueError for a name that is not in the list, with the first names that are.
    """
    path = input_file("file", file, may_be_camera_file)
    if path is None:
        found = ", ".join(_camera_files()[:8]) or "none"
        folder = folder_paths.get_input_directory()
        raise ValueError(
            f"file got {shown_name(file)}, wanted a camera file in {folder}, which has {found}; "
            "upload one or copy it there"
        )
    return path


def _refused_camera(path: Path, camera: str | None) -> str | None:
    """Why a file has no such path; None where it has one, or where only loading can tell."""
    try:
        names = camera_names(path)
    except ValueError:
        # Loading the file reports the problem.
        return None
    if camera is None or not names or camera in names:
        return None
    return (
        f"camera got {shown_name(camera)}, wanted one of the paths in {path.name}: "
        f"{known_cameras(names)}; choose one of them"
    )


def _camera_files() -> list[str]:
    folder = Path(folder_paths.get_input_directory())
    if not folder.is_dir():
        return []
    paths = (path for path in folder.rglob("*") if may_be_camera_file(path))
    return sorted(path.relative_to(folder).as_posix() for path in paths)


NODES = [ImportCameraTrajectory]

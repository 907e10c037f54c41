"""Camera paths from files, and to files."""

from pathlib import Path

import folder_paths
from comfy_api.latest import io, ui

from ..memv2v_core.cameras.formats.detection import load_trajectory
from ..memv2v_core.cameras.formats.recammaster import recammaster_cameras, save_recammaster
from ..memv2v_core.cameras.formats.transforms import save_transforms
from ..memv2v_core.cameras.resampling import resample_trajectory
from ..memv2v_core.cameras.trajectory import CameraTrajectory
from .io_types import CATEGORY, CameraSocket

NO_FILE = "no .json file in the input folder"
TRANSFORMS, RECAMMASTER = "transforms.json", "ReCamMaster"


class ImportCameraTrajectory(io.ComfyNode):
    """A camera path from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VImportCameraTrajectory",
            display_name="Import Camera Trajectory",
            category=CATEGORY,
            description="Reads a camera path from the input folder and converts it to this pack's "
            "convention. It knows ReCamMaster's camera_extrinsics.json and the transforms.json of "
            "nerfstudio and Blender.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=_json_files() or [NO_FILE],
                    tooltip="A .json file in ComfyUI's input folder or in a folder inside it. The "
                    "button below uploads one.",
                ),
                io.String.Input(
                    "camera",
                    default="cam01",
                    tooltip="Which path of a ReCamMaster file: cam01 to cam10 in the published "
                    "one. A transforms.json holds one path; it does not use this name.",
                ),
                io.Int.Input(
                    "num_frames",
                    default=0,
                    min=0,
                    max=2000,
                    tooltip="Resample to this many frames; the first and the last camera stay. 0 "
                    "keeps the file's number.",
                ),
                io.Boolean.Input(
                    "start_at_source",
                    default=True,
                    tooltip="Make the path start at the source's first camera. Turn it off to keep "
                    "the path's place in the world, if the source's path comes from the same "
                    "world.",
                ),
            ],
            outputs=[CameraSocket.Output(display_name="camera", tooltip="One camera a frame.")],
        )

    @classmethod
    def validate_inputs(cls, file: str | None, camera: str | None = None) -> bool | str:
        # A linked value is not known yet.
        if file is None:
            return True
        if not file or file == NO_FILE or not folder_paths.exists_annotated_filepath(file):
            found = ", ".join(_json_files()[:8]) or "none"
            folder = folder_paths.get_input_directory()
            return (
                f"file got {file!r}, wanted a camera file in {folder}, which has {found}; upload "
                "one or copy it there"
            )
        return _refused_camera(file, camera) or True

    @classmethod
    def fingerprint_inputs(cls, file: str, **_others: object) -> str:
        status = Path(folder_paths.get_annotated_filepath(file)).stat()
        return f"{status.st_mtime_ns}-{status.st_size}"

    @classmethod
    def execute(
        cls, file: str, camera: str, num_frames: int, start_at_source: bool
    ) -> io.NodeOutput:
        path = load_trajectory(folder_paths.get_annotated_filepath(file), camera=camera)
        # Relative to its own first camera, the path starts at the identity.
        if start_at_source:
            path = path.relative_to(path)
        return io.NodeOutput(resample_trajectory(path, num_frames) if num_frames else path)


class ExportCameraTrajectory(io.ComfyNode):
    """A camera path as a file that other tools read."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VExportCameraTrajectory",
            display_name="Export Camera Trajectory",
            category=CATEGORY,
            description="Writes a camera path into the output folder, as transforms.json "
            "(nerfstudio, Blender add-ons, gaussian splatting tools) or as ReCamMaster's "
            "camera_extrinsics.json. Import Camera Trajectory reads both again.",
            inputs=[
                CameraSocket.Input("camera", tooltip="The path to save."),
                io.String.Input(
                    "filename_prefix",
                    default="memory_v2v/camera",
                    tooltip="Folder and beginning of the file's name in ComfyUI's output folder; a "
                    "number is added.",
                ),
                io.Combo.Input(
                    "format",
                    options=[TRANSFORMS, RECAMMASTER],
                    default=TRANSFORMS,
                    tooltip=f"{TRANSFORMS}: poses and lens. {RECAMMASTER}: poses only, in "
                    "centimetres.",
                ),
                io.Int.Input(
                    "width",
                    default=832,
                    min=1,
                    max=16384,
                    tooltip="Width of the video in pixels, for the lens in transforms.json.",
                ),
                io.Int.Input(
                    "height",
                    default=480,
                    min=1,
                    max=16384,
                    tooltip="Height of the video in pixels, for the lens in transforms.json.",
                ),
                io.String.Input(
                    "camera_name",
                    default="cam01",
                    tooltip="Name of the path in a ReCamMaster file.",
                ),
            ],
            outputs=[io.String.Output(display_name="path", tooltip="The file that was written.")],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, camera_name: str | None) -> bool | str:
        if camera_name is not None and not camera_name.strip():
            return "camera_name is empty, wanted a name such as cam01; type one"
        return True

    @classmethod
    def execute(
        cls,
        camera: CameraTrajectory,
        filename_prefix: str,
        format: str,
        width: int,
        height: int,
        camera_name: str,
    ) -> io.NodeOutput:
        # ComfyUI finds the next free number.
        folder, name, number, _, _ = folder_paths.get_save_image_path(
            filename_prefix, folder_paths.get_output_directory()
        )
        path = Path(folder) / f"{name}_{number:05}_.json"
        if format == RECAMMASTER:
            save_recammaster({camera_name: camera}, path)
        else:
            save_transforms(camera, path, height=height, width=width)
        return io.NodeOutput(str(path), ui=ui.PreviewText(f"{camera.num_frames} cameras: {path}"))


def _refused_camera(file: str, camera: str | None) -> str | None:
    """Why a file has no such path; None where it has one, or where only loading can tell."""
    try:
        names = recammaster_cameras(folder_paths.get_annotated_filepath(file))
    except (OSError, ValueError):
        # Loading the file reports the problem.
        return None
    if camera is None or not names or camera in names:
        return None
    return (
        f"camera got {camera!r}, wanted one of the paths in {file}: {', '.join(names)}; choose one "
        "of them"
    )


def _json_files() -> list[str]:
    folder = Path(folder_paths.get_input_directory())
    if not folder.is_dir():
        return []
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))


NODES = [ImportCameraTrajectory, ExportCameraTrajectory]

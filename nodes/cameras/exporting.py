"""Camera paths to files."""

import torch
from comfy_api.latest import io, ui

from ...memv2v_core.cameras.formats.camera_path import save_camera_path
from ...memv2v_core.cameras.formats.recammaster import save_recammaster
from ...memv2v_core.cameras.formats.transforms import save_transforms
from ...memv2v_core.cameras.trajectory import CameraTrajectory
from ..host.menu import in_menu
from ..host.named_files import contained, new_output_file
from ..io_types import CameraSocket

TRANSFORMS, RECAMMASTER, CAMERA_PATH = "transforms.json", "ReCamMaster", "nerfstudio camera_path"


class ExportCameraTrajectory(io.ComfyNode):
    """A camera path as a file that other tools read."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VExportCameraTrajectory",
            display_name="Export Camera Trajectory",
            **in_menu("MemV2VExportCameraTrajectory"),
            description="Writes a camera path into the output folder, as transforms.json "
            "(nerfstudio, Blender add-ons, gaussian splatting tools), as ReCamMaster's "
            "camera_extrinsics.json or as the camera_path.json of nerfstudio's viewer. Import "
            "Camera Trajectory reads all of them again.",
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
                    options=[TRANSFORMS, RECAMMASTER, CAMERA_PATH],
                    default=TRANSFORMS,
                    tooltip=f"{TRANSFORMS}: poses and lens. {RECAMMASTER}: poses only, in "
                    f"centimetres. {CAMERA_PATH}: poses and the angle of view, for ns-render.",
                ),
                io.Int.Input(
                    "width",
                    default=832,
                    min=1,
                    max=16384,
                    tooltip="Width of the video in pixels, for the lens. Not used if a clip is "
                    "connected.",
                ),
                io.Int.Input(
                    "height",
                    default=480,
                    min=1,
                    max=16384,
                    tooltip="Height of the video in pixels, for the lens. Not used if a clip is "
                    "connected.",
                ),
                io.String.Input(
                    "camera_name",
                    default="cam01",
                    tooltip="Name of the path in a ReCamMaster file.",
                ),
                io.Image.Input(
                    "clip",
                    optional=True,
                    tooltip="The clip of this path: width and height are its own.",
                ),
                io.Float.Input(
                    "fps",
                    default=24.0,
                    min=0.1,
                    max=1000.0,
                    step=0.01,
                    optional=True,
                    tooltip=f"Frames a second, for {CAMERA_PATH}.",
                ),
            ],
            outputs=[io.String.Output(display_name="path", tooltip="The file that was written.")],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(
        cls, camera_name: str | None, filename_prefix: str | None = None
    ) -> bool | str:
        # A linked value is not known yet.
        if filename_prefix is not None:
            try:
                contained("filename_prefix", filename_prefix)
            except ValueError as error:
                return str(error)
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
        clip: torch.Tensor | None = None,
        fps: float = 24.0,
    ) -> io.NodeOutput:
        if clip is not None:
            height, width = clip.shape[1:3]
        path = new_output_file("filename_prefix", filename_prefix, ".json")
        if format == RECAMMASTER:
            save_recammaster({camera_name: camera}, path)
        elif format == CAMERA_PATH:
            save_camera_path(camera, path, height=height, width=width, fps=fps)
        else:
            save_transforms(camera, path, height=height, width=width)
        said = f"{camera.num_frames} cameras: {path}"
        if camera.times is not None:
            said += (
                "\nThe file has no place for the path's playback time: set it again after import."
            )
        if format == TRANSFORMS and camera.cropped_to(width / height) is not camera:
            own = float(camera.intrinsics[0, 1, 1] / camera.intrinsics[0, 0, 0])
            said += (
                f"\nThe lens is of a picture with width / height {own:.2f}, not {width}x{height}: "
                "its pixels are not square there. Connect the clip, or set its width and height."
            )
        return io.NodeOutput(str(path), ui=ui.PreviewText(said))


NODES = [ExportCameraTrajectory]

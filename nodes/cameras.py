"""Making, loading and looking at camera paths."""

import math
from pathlib import Path

import folder_paths
import torch
from comfy.sd import VAE
from comfy_api.latest import io

from ..memv2v_core.cameras.formats.detection import load_trajectory
from ..memv2v_core.cameras.presets import EASINGS, MOTIONS, PresetConfig, combine_paths, make_preset
from ..memv2v_core.cameras.resampling import resample_trajectory
from ..memv2v_core.cameras.trajectory import (
    CameraTrajectory,
    default_intrinsics,
    intrinsics_matrix,
    pose_vectors,
    static_trajectory,
)
from ..memv2v_core.pictures.paths import draw_path, path_summary
from ..memv2v_core.shapes import latent_frame_indices, num_latent_frames
from .io_types import CATEGORY, Camera
from .pictures import PictureAndText

NO_MOTION = "none"
NO_FILE = "no .json file in the input folder"

FOV_INPUT = io.Float.Input(
    "fov_deg",
    default=60.0,
    min=0.0,
    max=170.0,
    step=0.5,
    tooltip="Horizontal field of view in degrees. 60 is the built-in model's lens. 0 takes the "
    "default lens of 832x480 video (24 mm, 52.7 degrees), whatever the aspect.",
)
ASPECT_INPUT = io.Float.Input(
    "aspect",
    default=1.0,
    min=0.1,
    max=10.0,
    step=0.01,
    tooltip="Width divided by height of the video, for fov_deg above 0: 1 for the built-in model, "
    "1.73 for 832x480.",
)


class CameraTrajectoryNode(io.ComfyNode):
    """A camera path from presets."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CameraTrajectory",
            display_name="Camera Trajectory",
            category=CATEGORY,
            description="A camera path that starts at the source's first camera. Directions are "
            "the viewer's: pan_left turns the view left. A second motion happens at "
            "the same time.",
            inputs=[
                io.Combo.Input(
                    "motion",
                    options=list(MOTIONS),
                    default="pan_right",
                    tooltip="What the camera does. pan, tilt, roll and sweep turn on the spot, "
                    "which is all that the built-in model knows; orbit circles a point 1 "
                    "pose unit ahead; dolly moves.",
                ),
                io.Float.Input(
                    "amplitude",
                    default=30.0,
                    min=0.0,
                    max=180.0,
                    step=0.5,
                    tooltip="How far: degrees, or pose units for dolly_in and dolly_out.",
                ),
                io.Int.Input(
                    "num_frames",
                    default=9,
                    min=1,
                    max=2000,
                    tooltip="Frames of the video; the path must match it.",
                ),
                io.Combo.Input(
                    "easing",
                    options=list(EASINGS),
                    default="ease_in_out",
                    tooltip="Soft or hard start and stop.",
                ),
                io.Float.Input(
                    "speed",
                    default=1.0,
                    min=0.05,
                    max=20.0,
                    step=0.05,
                    tooltip="1 fills the video; 2 arrives half-way and holds; 0.5 is cut off "
                    "half-way.",
                ),
                io.Boolean.Input(
                    "returns", default=False, tooltip="Come back to the start within the same time."
                ),
                FOV_INPUT,
                ASPECT_INPUT,
                io.Combo.Input(
                    "second_motion",
                    options=[NO_MOTION, *MOTIONS],
                    default=NO_MOTION,
                    tooltip="A motion at the same time, as seen from the moving camera; same "
                    "easing, speed and return.",
                ),
                io.Float.Input(
                    "second_amplitude",
                    default=10.0,
                    min=0.0,
                    max=180.0,
                    step=0.5,
                    tooltip="How far the second motion goes.",
                ),
            ],
            outputs=[Camera.Output(display_name="camera", tooltip="One camera a frame.")],
        )

    @classmethod
    def execute(
        cls,
        motion: str,
        amplitude: float,
        num_frames: int,
        easing: str,
        speed: float,
        returns: bool,
        fov_deg: float,
        aspect: float,
        second_motion: str,
        second_amplitude: float,
    ) -> io.NodeOutput:
        lens = lens_matrix(fov_deg, aspect)
        path = make_preset(
            PresetConfig(motion, amplitude, num_frames, speed, easing, returns), lens
        )
        if second_motion != NO_MOTION:
            second = PresetConfig(
                second_motion, second_amplitude, num_frames, speed, easing, returns
            )
            path = combine_paths(path, make_preset(second, lens))
        return io.NodeOutput(path)


class ImportCameraTrajectory(io.ComfyNode):
    """A camera path from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImportCameraTrajectory",
            display_name="Import Camera Trajectory",
            category=CATEGORY,
            description="Reads ReCamMaster's camera_extrinsics.json and nerfstudio or Blender "
            "transforms.json from the input folder, and brings them to this pack's "
            "convention.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=_json_files() or [NO_FILE],
                    tooltip="A .json file in ComfyUI's input folder, or in a folder inside it; the "
                    "button below uploads one.",
                ),
                io.String.Input(
                    "camera",
                    default="cam01",
                    tooltip="Which path of a ReCamMaster file, cam01 to cam10 in its own. A "
                    "transforms.json holds one path and ignores this.",
                ),
                io.Int.Input(
                    "num_frames",
                    default=0,
                    min=0,
                    max=2000,
                    tooltip="Resample to this many frames, first and last stay; 0 keeps the "
                    "file's.",
                ),
                io.Boolean.Input(
                    "start_at_source",
                    default=True,
                    tooltip="Take the path relative to its own first camera, as if it began where "
                    "the source begins. Turn off to keep its place in the world, when the "
                    "source's path comes from the same world.",
                ),
            ],
            outputs=[Camera.Output(display_name="camera", tooltip="One camera a frame.")],
        )

    @classmethod
    def validate_inputs(cls, file: str) -> bool | str:
        if file and file != NO_FILE and folder_paths.exists_annotated_filepath(file):
            return True
        found = ", ".join(_json_files()[:8]) or "none"
        folder = folder_paths.get_input_directory()
        return (
            f"file got {file!r}, wanted a camera file in {folder}, which has {found}; upload "
            "one or copy it there"
        )

    @classmethod
    def fingerprint_inputs(cls, file: str, **kwargs) -> str:
        status = Path(folder_paths.get_annotated_filepath(file)).stat()
        return f"{status.st_mtime_ns}-{status.st_size}"

    @classmethod
    def execute(
        cls, file: str, camera: str, num_frames: int, start_at_source: bool
    ) -> io.NodeOutput:
        path = load_trajectory(folder_paths.get_annotated_filepath(file), camera=camera)
        if start_at_source:
            path = path.relative_to(path)
        return io.NodeOutput(resample_trajectory(path, num_frames) if num_frames else path)


class PreviewCameraTrajectory(io.ComfyNode):
    """A picture of a camera path."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PreviewCameraTrajectory",
            display_name="Preview Camera Trajectory",
            category=CATEGORY,
            description="Draws the very numbers that condition the model, [R|t] of every latent "
            "frame relative to the source's first camera: from above, from the side, "
            "from the front, and the directions seen on a sphere.",
            inputs=[
                Camera.Input("camera", tooltip="The path to draw."),
                Camera.Input(
                    "source_camera",
                    optional=True,
                    tooltip="The source's path, drawn in grey; poses are relative to its first "
                    "camera, as in Apply Memory. Left out, the source is taken as static "
                    "at the origin.",
                ),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="The model's VAE: only the frames that stand for a latent frame are "
                    "drawn, as only those reach the model. Left out, every frame is drawn.",
                ),
            ],
            outputs=[io.Image.Output(display_name="picture", tooltip="The drawing.")],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        camera: CameraTrajectory,
        source_camera: CameraTrajectory | None = None,
        vae: VAE | None = None,
    ) -> io.NodeOutput:
        chosen = latent_cameras(camera, vae)
        poses = pose_vectors(chosen, source_camera or static_trajectory(1))
        source = source_camera.relative_to(source_camera) if source_camera is not None else None
        picture = draw_path(poses, chosen.intrinsics, source)[None]
        return io.NodeOutput(picture, ui=PictureAndText(picture, path_summary(chosen), cls))


def lens_matrix(fov_deg: float, aspect: float) -> torch.Tensor:
    """Normalised intrinsics (3, 3) of a lens that sees `fov_deg` across, pixels square; the default
    lens for 0.
    """
    if fov_deg == 0:
        return default_intrinsics(1)[0]
    focal = 0.5 / math.tan(math.radians(fov_deg) / 2)
    return intrinsics_matrix(focal, focal * aspect)


def latent_cameras(camera: CameraTrajectory, vae: VAE | None) -> CameraTrajectory:
    """The cameras of the frames that stand for latent frames; all of them without a VAE.

    Raises: ValueError when the path's length is not ratio * n + 1.
    """
    ratio = vae.temporal_compression_decode() if vae is not None else 1
    if not ratio or ratio == 1:  # a VAE of single pictures has no ratio
        return camera
    return camera.frames(latent_frame_indices(num_latent_frames(camera.num_frames, ratio), ratio))


def _json_files() -> list[str]:
    folder = Path(folder_paths.get_input_directory())
    return (
        sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))
        if folder.is_dir()
        else []
    )


NODES = [CameraTrajectoryNode, ImportCameraTrajectory, PreviewCameraTrajectory]

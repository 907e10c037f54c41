"""Nodes that make and show camera paths."""

import torch
from comfy.sd import VAE
from comfy_api.latest import io

from ...memv2v_core.cameras.presets import (
    EASINGS,
    MOTIONS,
    PresetConfig,
    combine_paths,
    make_preset,
)
from ...memv2v_core.cameras.trajectory import (
    CameraTrajectory,
    lens_intrinsics,
    pose_vectors,
    require_length,
    static_trajectory,
)
from ...memv2v_core.pictures.paths import draw_path, path_summary
from ...memv2v_core.shapes import latent_frame_indices, num_latent_frames
from ..host.clip_size import clip_aspect, clip_length
from ..host.menu import in_menu
from ..host.shown import PictureAndText
from ..io_types import CameraSocket

NO_MOTION = "none"


class CameraTrajectoryNode(io.ComfyNode):
    """A camera path from presets."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VCameraTrajectory",
            display_name="Camera Trajectory",
            **in_menu("MemV2VCameraTrajectory"),
            description="Makes a camera path that starts at the source's first camera. Directions "
            "are the viewer's: pan_left turns the view left. A second motion happens at the same "
            "time.",
            inputs=[
                io.Combo.Input(
                    "motion",
                    options=list(MOTIONS),
                    default="pan_right",
                    tooltip="What the camera does. pan, tilt, roll and sweep turn on the spot; the "
                    "built-in model knows only these. orbit circles a point 1 pose unit ahead. "
                    "dolly moves.",
                ),
                io.Float.Input(
                    "amplitude",
                    default=30.0,
                    min=0.0,
                    max=180.0,
                    step=0.5,
                    tooltip="How far: in degrees, or in pose units for dolly_in and dolly_out.",
                ),
                io.Int.Input(
                    "num_frames",
                    default=9,
                    min=1,
                    max=2000,
                    tooltip="Frames of the video; the path must have the same number. Not used if "
                    "a clip or source_camera is connected.",
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
                    tooltip="1 arrives at the end of the video. 2 arrives half-way and holds. 0.5 "
                    "is only half-way at the end.",
                ),
                io.Boolean.Input(
                    "returns",
                    default=False,
                    tooltip="Go back to the start within the same time.",
                ),
                io.Float.Input(
                    "fov_deg",
                    default=60.0,
                    min=0.0,
                    max=170.0,
                    step=0.5,
                    tooltip="Horizontal field of view in degrees. The built-in model's lens has "
                    "60. 0 uses the default lens of 832x480 video (24 mm, 52.7 degrees) and "
                    "ignores aspect. Not used if source_camera is connected.",
                ),
                io.Float.Input(
                    "aspect",
                    default=1.0,
                    min=0.1,
                    max=10.0,
                    step=0.01,
                    tooltip="Width divided by height of the video: 1 for the built-in model, 1.73 "
                    "for 832x480. Not used if fov_deg is 0, or if a clip or source_camera is "
                    "connected.",
                ),
                io.Combo.Input(
                    "second_motion",
                    options=[NO_MOTION, *MOTIONS],
                    default=NO_MOTION,
                    tooltip="A motion at the same time, seen from the moving camera, with the same "
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
                io.Image.Input(
                    "clip",
                    optional=True,
                    tooltip="The clip, as it goes to the model: the path takes its frame count and "
                    "aspect.",
                ),
                CameraSocket.Input(
                    "source_camera",
                    optional=True,
                    tooltip="The source's camera: the path takes its lens and frame count.",
                ),
            ],
            outputs=[CameraSocket.Output(display_name="camera", tooltip="One camera a frame.")],
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
        clip: torch.Tensor | None = None,
        source_camera: CameraTrajectory | None = None,
    ) -> io.NodeOutput:
        num_frames = clip_length(clip) or num_frames
        lens = lens_intrinsics(fov_deg, aspect, clip_aspect(clip))
        if source_camera is not None:
            if clip is not None:
                require_length(source_camera, num_frames, "source")
            num_frames = source_camera.num_frames
            lens = source_camera.intrinsics[0]

        def path_of(motion: str, amplitude: float) -> CameraTrajectory:
            config = PresetConfig(
                motion, amplitude, num_frames, speed=speed, easing=easing, returns=returns
            )
            return make_preset(config, lens)

        # The second move is seen from the moving camera of the first.
        path = path_of(motion, amplitude)
        if second_motion != NO_MOTION:
            path = combine_paths(path, path_of(second_motion, second_amplitude))
        return io.NodeOutput(path)


class PreviewCameraTrajectory(io.ComfyNode):
    """A picture of a camera path."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VPreviewCameraTrajectory",
            display_name="Preview Camera Trajectory",
            **in_menu("MemV2VPreviewCameraTrajectory"),
            description="Draws the numbers that the model is given: [R|t] of every latent frame, "
            "relative to the source's first camera. The picture shows the path from above, from "
            "the side and from the front, and the directions that are seen, on a sphere.",
            inputs=[
                CameraSocket.Input("camera", tooltip="The path to draw."),
                CameraSocket.Input(
                    "source_camera",
                    optional=True,
                    tooltip="The source's path, drawn in grey. Poses are relative to its first "
                    "camera, as in Apply Memory. If it is not connected, the source counts as "
                    "static at the origin.",
                ),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="The model's VAE: draws one camera per latent frame, which is what the "
                    "model is given. If it is not connected, every frame is drawn.",
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
        # The numbers that the model gets: relative to the first camera of the source.
        poses = pose_vectors(chosen, source_camera or static_trajectory(1))
        # The source in the same frame of reference as the poses.
        source = source_camera.relative_to(source_camera) if source_camera is not None else None
        picture = draw_path(poses, chosen.intrinsics, source)[None]
        return io.NodeOutput(picture, ui=PictureAndText(picture, path_summary(chosen), cls))


def latent_cameras(camera: CameraTrajectory, vae: VAE | None) -> CameraTrajectory:
    """The cameras of the frames that stand for latent frames; without a VAE, all cameras.

    Raises: ValueError when the length of the path is not ratio * n + 1.
    """
    ratio = vae.temporal_compression_decode() if vae is not None else 1
    # A VAE for single pictures has no ratio.
    if not ratio or ratio == 1:
        return camera
    return camera.frames(latent_frame_indices(num_latent_frames(camera.num_frames, ratio), ratio))


NODES = [CameraTrajectoryNode, PreviewCameraTrajectory]

"""The node that makes camera paths, from presets or drawn by hand."""

import torch
from comfy_api.latest import io

from ...memv2v_core.cameras.authored import NO_MOTION, PathSettings, authored_path
from ...memv2v_core.cameras.keyframe_text import parse_keyframes
from ...memv2v_core.cameras.presets import EASINGS, MOTIONS
from ...memv2v_core.cameras.trajectory import (
    CameraTrajectory,
    lens_intrinsics,
    require_length,
)
from ..host.clip_size import clip_aspect, clip_length
from ..host.menu import in_menu
from ..io_types import CameraSocket

# Of a STRING that holds a path: web/camera_path/ draws it. Without that page it is a plain input.
KEYFRAME_EDITOR = {"widgetType": "MEMV2V_CAMERA_PATH"}

# Their places in saved workflows never change.
_MOTION_INPUTS = [
    io.Combo.Input(
        "motion",
        options=list(MOTIONS),
        default="pan_right",
        tooltip="What the camera does. pan, tilt, roll and sweep turn on the spot; the built-in "
        "novel_view knows only these. orbit circles a point 1 pose unit ahead. dolly moves.",
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
        tooltip="Frames of the video; the path must have the same number. Not used if a clip or "
        "source_camera is connected.",
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
        tooltip="1 arrives at the end of the video. 2 arrives half-way and holds. 0.5 is only "
        "half-way at the end.",
    ),
    io.Boolean.Input(
        "returns",
        default=False,
        tooltip="Go back to the start within the same time.",
    ),
]
_LENS_INPUTS = [
    io.Float.Input(
        "fov_deg",
        default=60.0,
        min=0.0,
        max=170.0,
        step=0.5,
        tooltip="Horizontal field of view in degrees. The built-in models' lens has 60. 0 uses the "
        "default lens of 832x480 video (24 mm, 52.7 degrees) and ignores aspect. Not used if "
        "source_camera is connected.",
    ),
    io.Float.Input(
        "aspect",
        default=1.0,
        min=0.1,
        max=10.0,
        step=0.01,
        tooltip="Width divided by height of the video: 1 for the built-in models, 1.73 for "
        "832x480. Not used if fov_deg is 0, or if a clip or source_camera is connected.",
    ),
]
_SECOND_MOTION_INPUTS = [
    io.Combo.Input(
        "second_motion",
        options=[NO_MOTION, *MOTIONS],
        default=NO_MOTION,
        tooltip="A motion at the same time, seen from the moving camera, with the same easing, "
        "speed and return.",
    ),
    io.Float.Input(
        "second_amplitude",
        default=10.0,
        min=0.0,
        max=180.0,
        step=0.5,
        tooltip="How far the second motion goes.",
    ),
]
_SOURCE_INPUTS = [
    io.Image.Input(
        "clip",
        optional=True,
        tooltip="The clip, as it goes to the model: the path takes its frame count and aspect.",
    ),
    CameraSocket.Input(
        "source_camera",
        optional=True,
        tooltip="The source's camera: the path takes its lens and frame count.",
    ),
]
_KEYFRAMES_INPUT = io.String.Input(
    "keyframes",
    default="",
    optional=True,
    extra_dict=KEYFRAME_EDITOR,
    tooltip="A path drawn by hand, made by the editor below. Empty: the motions decide. "
    "Otherwise the keyframes decide, and motion, amplitude, easing, speed, returns and second "
    "motion are not used.",
)


class CameraTrajectoryNode(io.ComfyNode):
    """A camera path from presets, or drawn by hand."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VCameraTrajectory",
            display_name="Camera Trajectory",
            **in_menu("MemV2VCameraTrajectory"),
            description="Makes a camera path that starts at the source's first camera. Directions "
            "are the viewer's: pan_left turns the view left. A second motion happens at the same "
            "time. Draw a path of your own on the map below.",
            inputs=[
                *_MOTION_INPUTS,
                *_LENS_INPUTS,
                *_SECOND_MOTION_INPUTS,
                *_SOURCE_INPUTS,
                _KEYFRAMES_INPUT,
            ],
            outputs=[CameraSocket.Output(display_name="camera", tooltip="One camera a frame.")],
        )

    @classmethod
    def validate_inputs(cls, keyframes: str = "") -> bool | str:
        # A linked text is not known yet.
        try:
            if keyframes:
                parse_keyframes(keyframes)
        except ValueError as error:
            return str(error)
        return True

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
        keyframes: str = "",
    ) -> io.NodeOutput:
        num_frames = clip_length(clip) or num_frames
        lens = lens_intrinsics(fov_deg, aspect, clip_aspect(clip))
        if source_camera is not None:
            if clip is not None:
                require_length(source_camera, num_frames, "source")
            num_frames = source_camera.num_frames
            lens = source_camera.intrinsics[0]
        settings = PathSettings(
            motion,
            amplitude,
            easing,
            speed,
            returns,
            second_motion,
            second_amplitude,
            keyframes,
        )
        return io.NodeOutput(authored_path(settings, num_frames, lens))


NODES = [CameraTrajectoryNode]

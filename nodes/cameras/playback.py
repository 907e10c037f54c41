"""A node that says which moment of the source each frame of a path shows."""

from comfy_api.latest import io, ui

from ...memv2v_core.cameras.playback import FREEZE, PLAYBACKS, playback_summary, with_playback
from ...memv2v_core.cameras.trajectory import CameraTrajectory
from ..host.compat import shows_result
from ..host.menu import in_menu
from ..io_types import CameraSocket


class PlaybackTime(io.ComfyNode):
    """A camera path with a playback of the source."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VPlaybackTime",
            display_name="Playback Time",
            **in_menu("MemV2VPlaybackTime"),
            description="Says which moment of the source each frame of the target shows, while the "
            "camera moves along its path: backwards, there and back, slowly or standing still. For "
            "SpaceTimePilot; other models refuse a path with a playback time.",
            inputs=[
                CameraSocket.Input(
                    "camera",
                    tooltip="The target's path. An earlier playback time of this path is replaced.",
                ),
                io.Combo.Input(
                    "pattern",
                    options=list(PLAYBACKS),
                    default="reverse",
                    tooltip="forward, reverse: the whole source. pingpong: from the middle to the "
                    "end and back. bounce_early, bounce_late: from a quarter or three quarters to "
                    "just behind the end, and back. slowmo: half of the source at half speed. "
                    "ramp_then_freeze: the first half, then its last moment. freeze: one moment.",
                ),
                io.Int.Input(
                    "freeze_frame",
                    default=0,
                    min=0,
                    max=2000,
                    tooltip=f"The frame of the source that {FREEZE} shows, from 0. Other patterns "
                    "do not use it.",
                ),
            ],
            outputs=[
                CameraSocket.Output(
                    display_name="camera",
                    tooltip="The same path with a playback time, for target_camera.",
                )
            ],
            **shows_result(),
        )

    @classmethod
    def execute(cls, camera: CameraTrajectory, pattern: str, freeze_frame: int) -> io.NodeOutput:
        path = with_playback(camera, pattern, freeze_frame)
        text = f"{path.num_frames} frames: {playback_summary(path.moments())}"
        return io.NodeOutput(path, ui=ui.PreviewText(text))


NODES = [PlaybackTime]

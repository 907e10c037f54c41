"""The camera of a clip, estimated from its pictures."""

from typing import Any

import torch
from comfy_api.latest import io, ui

from ...memv2v_core.cameras.trajectory import CameraTrajectory
from ...memv2v_core.cameras.views import trajectory_of_views
from ...memv2v_core.pictures.paths import path_summary
from ..host.compat import shows_result
from ..host.depth_anything import median_depth, views_of_geometry
from ..host.menu import in_menu
from ..io_types import CameraSocket, GeometrySocket

ONE_LENS, LENS_PER_FRAME = "one for the clip", "one a frame"


class EstimateSourceCamera(io.ComfyNode):
    """A camera path from what Depth Anything 3 says about a clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VEstimateSourceCamera",
            display_name="Estimate Source Camera",
            **in_menu("MemV2VEstimateSourceCamera"),
            description="Turns the result of Run Depth Anything 3 (mode multiview) into the "
            "source's camera path. Views may be single frames of the clip: frames in between are "
            "interpolated. Needs ComfyUI 0.30.0.",
            inputs=[
                io.Image.Input(
                    "clip",
                    tooltip="All frames of the clip, as they go to the model. The path gets one "
                    "camera for each.",
                ),
                GeometrySocket.Input(
                    "geometry",
                    optional=True,
                    tooltip="Of Run Depth Anything 3 in mode multiview, from frames of this clip: "
                    "all of them, or some with the first and the last. Its node is not in older "
                    "ComfyUIs.",
                ),
                io.Float.Input(
                    "scale",
                    default=1.0,
                    min=0.001,
                    max=1000.0,
                    step=0.001,
                    tooltip="Multiplies how far the camera moves. Depth Anything 3 Small and Base "
                    "know no metres: only the proportions are real.",
                ),
                io.Combo.Input(
                    "lens",
                    options=[ONE_LENS, LENS_PER_FRAME],
                    default=ONE_LENS,
                    tooltip=f"{ONE_LENS}: the median of all views, for clips that do not zoom. "
                    f"{LENS_PER_FRAME}: as estimated.",
                ),
            ],
            outputs=[
                CameraSocket.Output(
                    display_name="camera",
                    tooltip="One camera a frame, relative to the first one: the source_camera.",
                )
            ],
            **shows_result(),
        )

    @classmethod
    def execute(
        cls,
        clip: torch.Tensor,
        scale: float,
        lens: str,
        geometry: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        views = views_of_geometry(geometry)
        # The geometry holds pictures without transparency.
        path = trajectory_of_views(views, clip[..., :3], scale=scale, has_one_lens=lens == ONE_LENS)
        depth = scale * median_depth(geometry or {})
        return io.NodeOutput(path, ui=ui.PreviewText(_report(path, len(views.w2c), depth)))


def _report(path: CameraTrajectory, num_views: int, depth: float) -> str:
    between = path.num_frames - num_views
    return "\n".join(
        (
            f"{num_views} views estimated, {between} of {path.num_frames} frames interpolated.",
            f"{path_summary(path)}.",
            f"The scale is relative: the scene's median distance is {depth:.3g} units, not metres.",
        )
    )


NODES = [EstimateSourceCamera]

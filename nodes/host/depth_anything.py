"""ComfyUI's Depth Anything 3: what its DA3_GEOMETRY holds, as our views."""

import importlib.util
from typing import Any

import torch

from ...memv2v_core.cameras.views import EstimatedViews

NO_DEPTH_ANYTHING = (
    "this ComfyUI has no Depth Anything 3 (nodes Load Depth Anything 3 and Run Depth Anything 3), "
    "wanted one of at least 0.30.0; update ComfyUI, or bring the camera from another program with "
    "Import Camera Trajectory"
)
# Depth Anything 3 runs at multiples of it.
_PATCH_PX = 14
_REMEDY = "in Run Depth Anything 3 set mode to multiview, with the model Small or Base"


def has_depth_anything() -> bool:
    """Whether this ComfyUI ships the nodes of Depth Anything 3."""
    return importlib.util.find_spec("comfy_extras.nodes_depth_anything_3") is not None


def views_of_geometry(geometry: dict[str, Any] | None) -> EstimatedViews:
    """The views of a DA3_GEOMETRY of the multi-view mode.

    Its extrinsics are world-to-camera [R|t] in OpenCV axes, (1, V, 3, 4). Its intrinsics, (1, V, 3,
    3), are in pixels of the size at which the model ran, which the geometry does not hold.

    Our choice: that size is twice the image centre, rounded to whole patches. The camera decoder
    puts the centre exactly in the middle; pose_method ray_pose nearly, and then the centre counts.

    Raises: ValueError where the geometry has no cameras, or is not connected.
    """
    if geometry is None:
        got = "geometry is not connected, wanted DA3_GEOMETRY; connect Run Depth Anything 3"
        raise ValueError(got if has_depth_anything() else NO_DEPTH_ANYTHING)
    if "extrinsics" not in geometry or "intrinsics" not in geometry:
        mode = geometry.get("mode", "unknown")
        raise ValueError(f"geometry got mode {mode} without cameras, wanted multiview; {_REMEDY}")
    extrinsics, intrinsics_px = geometry["extrinsics"][0], geometry["intrinsics"][0]
    pictures = geometry["image"]
    num_views = pictures.shape[0]
    # In place of cameras that a model did not give, ComfyUI puts identity matrices.
    is_placeholder = bool((intrinsics_px == torch.eye(3)).all())
    if num_views < 2 or len(extrinsics) != num_views or is_placeholder:
        raise ValueError(
            f"geometry got {num_views} views without estimated cameras, wanted at least 2 with "
            f"cameras; {_REMEDY}"
        )
    w2c = torch.eye(4, dtype=torch.float64).repeat(num_views, 1, 1)
    w2c[:, :3] = extrinsics[:, :3].to(torch.float64)
    intrinsics = intrinsics_px.to(torch.float64).clone()
    # All views ran at one size: width and height (2, 1).
    size_px = (2 * intrinsics[:, :2, 2:]).median(dim=0).values
    size_px = (size_px / _PATCH_PX).round().clamp(min=1) * _PATCH_PX
    intrinsics[:, :2] /= size_px
    return EstimatedViews(w2c, intrinsics, pictures)


def median_depth(geometry: dict[str, Any]) -> float:
    """The distance of the scene in the unit of the translations."""
    depth = geometry["depth"]
    return float(depth[torch.isfinite(depth)].median())

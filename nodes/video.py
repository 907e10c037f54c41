"""Source clips: a rendered one that always works, and any clip fitted to a model."""

import torch
from comfy_api.latest import io, ui

from ..memv2v_core.builtin.codec import RATIOS
from ..memv2v_core.cameras.projection import SHARED_CENTRE_TOLERANCE, pixel_rays
from ..memv2v_core.cameras.trajectory import CameraTrajectory
from ..memv2v_core.shapes import padded_num_frames
from ..memv2v_core.training.scenes import SceneConfig, make_scene, render, rotation_path
from .io_types import CATEGORY, Camera

# Seeds that neither training nor evaluation draws from; torch reads the lowest 32 bits of a seed alone.
SCENE_SEED_OFFSET = 0xD000_0000


class DemoScene(io.ComfyNode):
    """A procedural scene to try the pack on."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DemoScene",
            display_name="Demo Scene",
            category=CATEGORY,
            description="Renders a procedural scene of coloured shapes, of the kind that the built-in model was "
            "trained on (this one it never saw). Without a camera it is the source clip; with one it is the truth "
            "that a turn along that path should match.",
            inputs=[
                io.Int.Input("scene", default=3, min=0, max=2**20, tooltip="Which scene."),
                io.Int.Input("num_frames", default=9, min=1, max=2000, tooltip="Frames; 9 for the built-in model."),
                io.Int.Input("size", default=128, min=64, max=1024, step=16, tooltip="Pixels a side; 128 as trained."),
                io.Float.Input(
                    "drift_deg", default=3.0, min=0.0, max=30.0, tooltip="How far the source camera pans by itself."
                ),
                Camera.Input(
                    "camera", optional=True, tooltip="Render the truth along this path instead of the source."
                ),
            ],
            outputs=[
                io.Image.Output(display_name="frames", tooltip="The clip."),
                Camera.Output(display_name="camera", tooltip="Its exact camera."),
            ],
        )

    @classmethod
    def execute(
        cls, scene: int, num_frames: int, size: int, drift_deg: float, camera: CameraTrajectory | None = None
    ) -> io.NodeOutput:
        config = SceneConfig()
        world = make_scene(config, torch.Generator().manual_seed(SCENE_SEED_OFFSET + scene))
        drift = torch.linspace(0, 1, num_frames)[:, None] * torch.tensor([drift_deg, 0.0, 0.0])
        path = rotation_path(drift, config.fov_deg) if camera is None else require_inside(camera, config)
        return io.NodeOutput(render(world, path, size, size).movedim(1, -1).contiguous(), path)


def require_inside(camera: CameraTrajectory, config: SceneConfig) -> CameraTrajectory:
    """The same path.

    Raises: ValueError when it leaves the scene's centre, or looks past the scene's edge.
    """
    moved = float(camera.c2w[:, :3, 3].norm(dim=1).max())
    if moved > SHARED_CENTRE_TOLERANCE:
        raise ValueError(
            f"camera got {moved:.3g} pose units away from the scene's centre, wanted 0; demo scenes are painted on a "
            "sphere and have no depth: choose pan, tilt, roll or sweep"
        )
    rays = pixel_rays(camera.c2w, camera.intrinsics, 8, 8)
    longitude = float(torch.rad2deg(torch.atan2(rays[..., 0], rays[..., 2]).abs().max()))
    latitude = float(torch.rad2deg(torch.asin(rays[..., 1].clamp(-1, 1)).abs().max()))
    if longitude > config.half_width_deg or latitude > config.half_height_deg:
        raise ValueError(
            f"camera got {longitude:.0f} degrees to the side and {latitude:.0f} up or down into view, wanted at most "
            f"{config.half_width_deg:.0f} and {config.half_height_deg:.0f}, where the scene ends; lower the amplitude"
        )
    return camera


class FitVideo(io.ComfyNode):
    """Any clip at a model's size and length."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="FitVideo",
            display_name="Fit Video to Model",
            category=CATEGORY,
            description="Picks frames evenly, crops to the model's aspect and scales. A frame count that the VAE's "
            "temporal ratio does not fit is padded by holding the last frame, and said.",
            inputs=[
                io.Image.Input("frames", tooltip="The clip, any size and length."),
                io.Int.Input(
                    "num_frames", default=9, min=1, max=2000, tooltip="Frames to pick; 9 for the built-in model."
                ),
                io.Int.Input("width", default=128, min=16, max=4096, step=16, tooltip="128 for the built-in model."),
                io.Int.Input("height", default=128, min=16, max=4096, step=16, tooltip="128 for the built-in model."),
                io.Int.Input(
                    "temporal_ratio",
                    default=RATIOS.temporal,
                    min=1,
                    max=16,
                    tooltip="Frames per latent frame of the VAE: 1 for the built-in model, 4 for Wan.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="frames", tooltip="The fitted clip."),
                io.Int.Output(display_name="num_frames", tooltip="Frames picked, before padding: cut back to this."),
                io.String.Output(display_name="report", tooltip="What was done."),
            ],
        )

    @classmethod
    def execute(
        cls, frames: torch.Tensor, num_frames: int, width: int, height: int, temporal_ratio: int
    ) -> io.NodeOutput:
        fitted, report = fit_video(frames, num_frames, width, height, temporal_ratio)
        return io.NodeOutput(fitted, num_frames, report, ui=ui.PreviewText(report))


def fit_video(
    frames: torch.Tensor, num_frames: int, width: int, height: int, temporal_ratio: int
) -> tuple[torch.Tensor, str]:
    """`num_frames` frames (F, height, width, 3) picked evenly from a clip, padded to the ratio, and a report."""
    count, rows, columns = frames.shape[:3]
    chosen = torch.linspace(0, count - 1, num_frames).round().long()
    scale = max(height / rows, width / columns)
    images = frames[chosen][..., :3].movedim(-1, 1)
    size = (max(height, round(rows * scale)), max(width, round(columns * scale)))
    images = torch.nn.functional.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    images = images[:, :, top : top + height, left : left + width].movedim(1, -1).clamp(0, 1)
    padding = padded_num_frames(num_frames, temporal_ratio) - num_frames
    report = (
        f"{count} frames of {columns}x{rows}: {num_frames} picked evenly, scaled by {scale:.3f} and cropped to "
        f"{width}x{height}"
    )
    if padding:
        images = torch.cat([images, images[-1:].expand(padding, -1, -1, -1)])
        report += f"; the last frame is held {padding} times more, as the VAE needs {temporal_ratio} n + 1 frames"
    return images.contiguous(), report


NODES = [DemoScene, FitVideo]

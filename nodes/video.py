"""Source clips: a rendered one that always works, and any clip fitted to a model and put back after
the edit.
"""

from dataclasses import dataclass
from fractions import Fraction

import torch
from comfy_api.latest import Input, InputImpl, Types, io, ui

from ..memv2v_core.cameras.projection import SHARED_CENTRE_TOLERANCE, pixel_rays
from ..memv2v_core.cameras.trajectory import CameraTrajectory
from ..memv2v_core.clips.fitting import (
    ASPECTS,
    FittingPlan,
    describe_fitting,
    fit_frames,
    plan_fitting,
    restore_frames,
)
from ..memv2v_core.synthetic.panoramas import (
    SceneConfig,
    make_scene,
    render_panorama,
    rotation_path,
)
from .io_types import CATEGORY, Camera, Fitting, rate_and_sound_of

PICK_EVENLY, ALL_FRAMES = "pick evenly", "all frames"
EVERY_FRAME, EDITED_FRAMES = "every frame", "edited frames"
MODEL_SIZE, ORIGINAL_SIZE = "model", "original"
MAX_RATE_DENOMINATOR = (
    1001  # of broadcast rates such as 30000 / 1001, which widgets and nodes carry as floats
)

# Seeds that neither training nor evaluation draws from; torch reads the lowest 32 bits of a seed
# alone.
SCENE_SEED_OFFSET = 0xD000_0000


@dataclass(frozen=True, eq=False)
class FittedClip:
    """How a clip was fitted, and what of it frames cannot carry: exact frames a second, and
    ComfyUI's AUDIO.
    """

    plan: FittingPlan
    frame_rate: Fraction
    audio: dict | None


class DemoScene(io.ComfyNode):
    """A procedural scene to try the pack on."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DemoScene",
            display_name="Demo Scene",
            category=CATEGORY,
            description="Renders a procedural scene of coloured shapes, of the kind that the "
            "built-in novel_view was trained on (this one it never saw). Without a "
            "camera it is the source clip; with one it is the truth that a turn along "
            "that path should match.",
            inputs=[
                io.Int.Input("scene", default=3, min=0, max=2**20, tooltip="Which scene."),
                io.Int.Input(
                    "num_frames", default=9, min=1, max=2000, tooltip="Frames; 9 for novel_view."
                ),
                io.Int.Input(
                    "size",
                    default=128,
                    min=64,
                    max=1024,
                    step=16,
                    tooltip="Pixels a side; 128 as trained.",
                ),
                io.Float.Input(
                    "drift_deg",
                    default=3.0,
                    min=0.0,
                    max=30.0,
                    tooltip="How far the source camera pans by itself.",
                ),
                Camera.Input(
                    "camera",
                    optional=True,
                    tooltip="Render the truth along this path instead of the source.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="frames", tooltip="The clip."),
                Camera.Output(display_name="camera", tooltip="Its exact camera."),
            ],
        )

    @classmethod
    def execute(
        cls,
        scene: int,
        num_frames: int,
        size: int,
        drift_deg: float,
        camera: CameraTrajectory | None = None,
    ) -> io.NodeOutput:
        config = SceneConfig()
        world = make_scene(config, torch.Generator().manual_seed(SCENE_SEED_OFFSET + scene))
        drift = torch.linspace(0, 1, num_frames)[:, None] * torch.tensor([drift_deg, 0.0, 0.0])
        path = (
            rotation_path(drift, config.fov_deg)
            if camera is None
            else require_inside(camera, config)
        )
        return io.NodeOutput(
            render_panorama(world, path, size, size).movedim(1, -1).contiguous(), path
        )


def require_inside(camera: CameraTrajectory, config: SceneConfig) -> CameraTrajectory:
    """The same path.

    Raises: ValueError when it leaves the scene's centre, or looks past the scene's edge.
    """
    moved = float(camera.c2w[:, :3, 3].norm(dim=1).max())
    if moved > SHARED_CENTRE_TOLERANCE:
        raise ValueError(
            f"camera got {moved:.3g} pose units away from the scene's centre, wanted 0; demo "
            "scenes are painted on a sphere and have no depth: choose pan, tilt, roll or sweep"
        )
    rays = pixel_rays(camera.c2w, camera.intrinsics, 8, 8)
    longitude = float(torch.rad2deg(torch.atan2(rays[..., 0], rays[..., 2]).abs().max()))
    latitude = float(torch.rad2deg(torch.asin(rays[..., 1].clamp(-1, 1)).abs().max()))
    if longitude > config.half_width_deg or latitude > config.half_height_deg:
        raise ValueError(
            f"camera got {longitude:.0f} degrees to the side and {latitude:.0f} up or down into "
            f"view, wanted at most {config.half_width_deg:.0f} and {config.half_height_deg:.0f}, "
            "where the scene ends; lower the amplitude"
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
            description="Brings a clip of any length, size and frame rate to what a model takes, "
            "and says what was done. A frame count that the VAE's temporal ratio does "
            "not fit is padded by holding the last frame. Restore Video undoes all of "
            "it on the edited result.",
            inputs=[
                io.Image.Input(
                    "frames",
                    optional=True,
                    tooltip="The clip as frames, any size and length. Or a video.",
                ),
                io.Int.Input(
                    "num_frames",
                    default=9,
                    min=1,
                    max=2000,
                    tooltip="Frames to pick; 9 for the built-in models, 81 for Wan. Not read with "
                    "'all frames'.",
                ),
                io.Int.Input(
                    "width",
                    default=128,
                    min=16,
                    max=4096,
                    step=16,
                    tooltip="Of the built-in models, 128 for novel_view and 96 for text_edit.",
                ),
                io.Int.Input(
                    "height",
                    default=128,
                    min=16,
                    max=4096,
                    step=16,
                    tooltip="Of the built-in models, 128 for novel_view and 96 for text_edit.",
                ),
                io.Int.Input(
                    "temporal_ratio",
                    default=1,  # both built-in models' codecs keep every frame
                    min=1,
                    max=16,
                    tooltip="Frames per latent frame of the VAE: 1 for the built-in models, 4 for "
                    "Wan.",
                ),
                io.Video.Input(
                    "video", optional=True, tooltip="The clip as a video, instead of frames."
                ),
                io.Combo.Input(
                    "mode",
                    options=[PICK_EVENLY, ALL_FRAMES],
                    default=PICK_EVENLY,
                    optional=True,
                    tooltip="pick evenly: num_frames of the clip. all frames: every frame, however "
                    "many.",
                ),
                io.Combo.Input(
                    "aspect",
                    options=list(ASPECTS),
                    default="crop",
                    optional=True,
                    tooltip="A clip of another aspect: crop its margins, pad with black bars, "
                    "stretch it, or keep its aspect: as many pixels as width x height, in "
                    "multiples of 16, never enlarged.",
                ),
                *rate_and_sound_of("frames"),
            ],
            outputs=[
                io.Image.Output(display_name="frames", tooltip="The fitted clip."),
                io.Int.Output(
                    display_name="num_frames",
                    tooltip="Frames picked, before padding: cut back to this.",
                ),
                io.String.Output(display_name="report", tooltip="What was done."),
                Fitting.Output(
                    display_name="fitting",
                    tooltip="For Restore Video: how to undo it, rate and audio.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        num_frames: int,
        width: int,
        height: int,
        temporal_ratio: int,
        frames: torch.Tensor | None = None,
        video: Input.Video | None = None,
        mode: str = PICK_EVENLY,
        aspect: str = "crop",
        frame_rate: float = 16.0,
        audio: dict | None = None,
    ) -> io.NodeOutput:
        images, rate, sound = clip_parts(frames, video, frame_rate, audio)
        count = None if mode == ALL_FRAMES else num_frames
        plan = plan_fitting(
            len(images), images.shape[1:3], (height, width), count, temporal_ratio, aspect
        )
        fitted = fit_frames(images[..., :3].movedim(-1, 1), plan).movedim(1, -1).contiguous()
        report = describe_fitting(plan, aspect, temporal_ratio)
        return io.NodeOutput(
            fitted,
            len(plan.chosen),
            report,
            FittedClip(plan, rate, sound),
            ui=ui.PreviewText(report),
        )


class RestoreVideo(io.ComfyNode):
    """The edited frames as a video like the one that came in."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestoreVideo",
            display_name="Restore Video",
            category=CATEGORY,
            description="Undoes Fit Video on the edited frames: cuts the held frames and black "
            "bars away, and gives a video with the frame count, frame rate and sound "
            "of the one that came in.",
            inputs=[
                io.Image.Input(
                    "frames", tooltip="The edited clip, as decoded; an upscaled one fits too."
                ),
                Fitting.Input("fitting", tooltip="From the Fit Video that the edit started from."),
                io.Combo.Input(
                    "timing",
                    options=[EVERY_FRAME, EDITED_FRAMES],
                    default=EVERY_FRAME,
                    tooltip="Where frames were picked. every frame: as many as the original, each "
                    "edited one held. edited frames: those alone, at a lower rate that "
                    "keeps the duration.",
                ),
                io.Combo.Input(
                    "size",
                    options=[MODEL_SIZE, ORIGINAL_SIZE],
                    default=MODEL_SIZE,
                    tooltip="model: as edited, without bars. original: scaled to the pixels of the "
                    "original, or of the part of it that was not cropped.",
                ),
            ],
            outputs=[
                io.Video.Output(display_name="video", tooltip="For Save Video."),
                io.Image.Output(display_name="frames", tooltip="Its frames."),
                io.String.Output(display_name="report", tooltip="What was done."),
            ],
        )

    @classmethod
    def execute(
        cls, frames: torch.Tensor, fitting: FittedClip, timing: str, size: str
    ) -> io.NodeOutput:
        plan, every_frame = fitting.plan, timing == EVERY_FRAME
        images = restore_frames(frames.movedim(-1, 1), plan, every_frame, size == ORIGINAL_SIZE)
        images = images.movedim(1, -1).contiguous()
        rate = (
            fitting.frame_rate
            if every_frame
            else fitting.frame_rate * len(images) / plan.num_source
        )
        video = InputImpl.VideoFromComponents(
            Types.VideoComponents(images=images, audio=fitting.audio, frame_rate=rate)
        )
        report = describe_restored(images, fitting, rate)
        return io.NodeOutput(video, images, report, ui=ui.PreviewText(report))


def clip_parts(
    frames: torch.Tensor | None, video: Input.Video | None, frame_rate: float, audio: dict | None
) -> tuple[torch.Tensor, Fraction, dict | None]:
    """Frames (F, H, W, C), their exact rate and their sound, of whichever is connected.

    Raises: ValueError unless exactly one of `frames` and `video` is, and for sound beside a video.
    """
    if (frames is None) == (video is None):
        got = "neither" if frames is None else "both"
        raise ValueError(
            f"frames and video got {got}, wanted exactly one of the two; connect the clip to one "
            "of them"
        )
    if frames is not None:
        return frames, Fraction(frame_rate).limit_denominator(MAX_RATE_DENOMINATOR), audio
    if audio is not None:
        raise ValueError(
            "audio got a sound beside a video, wanted one or the other; connect frames, or leave "
            "it out"
        )
    parts = video.get_components()
    return parts.images, Fraction(parts.frame_rate), parts.audio


def describe_restored(images: torch.Tensor, clip: FittedClip, rate: Fraction) -> str:
    """What Restore Video gives, and what of the original it is."""
    plan = clip.plan
    num_frames, rows, columns = images.shape[:3]
    text = (
        f"{num_frames} frames of {columns}x{rows} at {float(rate):.3f} a second, "
        f"{float(num_frames / rate):.2f} s"
    )
    text += ", with its sound" if clip.audio is not None else ", without sound"
    if not plan.is_every_frame:
        num_edited = len(set(plan.chosen))
        how = (
            "held until the next is nearer"
            if num_frames == plan.num_source
            else "at a rate that keeps the duration"
        )
        text += f"; only {num_edited} of {plan.num_source} frames were edited, {how}"
    held = plan.num_frames - len(plan.chosen)
    if held:
        text += f"; {held} padded frames cut"
    if plan.kept_size != plan.source_size:
        lost = (
            f"{plan.kept_size[1]}x{plan.kept_size[0]} of the original's "
            f"{plan.source_size[1]}x{plan.source_size[0]}"
        )
        text += f"; shows {lost}, the rest was cropped"
    if rows % 2 or columns % 2:
        text += "; MP4 files need even sides: crop one pixel before Save Video"
    return text


NODES = [DemoScene, FitVideo, RestoreVideo]

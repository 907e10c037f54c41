"""Any clip fitted to a model, and restored after the edit."""

import torch
from comfy_api.latest import Input, io, ui

from ..memv2v_core.clips.fitting import ASPECTS, Aspect, describe_fitting, plan_fitting
from .host.clips.fitted import (
    EDITED_FRAMES,
    EVERY_FRAME,
    MODEL_SIZE,
    ORIGINAL_SIZE,
    FittedClip,
    fitted_frames,
)
from .host.compat import shows_result
from .host.footage.reading import exact_rate, open_clip
from .host.menu import in_menu
from .host.shared_inputs import rate_and_sound_of
from .host.shown import teller
from .io_types import FittingSocket

PICK_EVENLY, ALL_FRAMES = "pick evenly", "all frames"


class FitVideo(io.ComfyNode):
    """Any clip at a model's size and length."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VFitVideo",
            display_name="Fit Video to Model",
            **in_menu("MemV2VFitVideo"),
            description="Brings a clip of any length, size and frame rate to what a model takes, "
            "and reports what it did. If the VAE cannot take the frame count, the last frame is "
            "repeated. Restore Video undoes all changes on the edited result.",
            inputs=[
                io.Image.Input(
                    "frames",
                    optional=True,
                    tooltip="The clip as frames of any size and length. Or connect a video.",
                ),
                io.Int.Input(
                    "num_frames",
                    default=9,
                    min=1,
                    max=2000,
                    tooltip="Frames to pick; 9 for the built-in models, 81 for Wan. 'all frames' "
                    "does not use it.",
                ),
                io.Int.Input(
                    "width",
                    default=128,
                    min=16,
                    max=4096,
                    step=16,
                    tooltip="Width in pixels; 128 for both novel_view models, 96 for text_edit.",
                ),
                io.Int.Input(
                    "height",
                    default=128,
                    min=16,
                    max=4096,
                    step=16,
                    tooltip="Height in pixels; 128 for both novel_view models, 96 for text_edit.",
                ),
                io.Int.Input(
                    "temporal_ratio",
                    # The codecs of both built-in models keep every frame.
                    default=1,
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
                    tooltip="pick evenly: num_frames frames of the clip. all frames: every frame.",
                ),
                io.Combo.Input(
                    "aspect",
                    options=list(ASPECTS),
                    default="crop",
                    optional=True,
                    tooltip="For a clip of another aspect. crop: cut the margins. pad: add black "
                    "bars. stretch: distort. keep: the clip's aspect with as many pixels as width "
                    "x height, in multiples of 16, never enlarged.",
                ),
                *rate_and_sound_of("frames"),
            ],
            outputs=[
                io.Image.Output(display_name="frames", tooltip="The fitted clip."),
                io.Int.Output(
                    display_name="num_frames",
                    tooltip="Frames that were picked, without repeated ones.",
                ),
                io.String.Output(display_name="report", tooltip="What was done."),
                FittingSocket.Output(
                    display_name="fitting",
                    tooltip="For Restore Video: how the clip was fitted, its times and sound.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
            **shows_result(),
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
        aspect: Aspect = "crop",
        frame_rate: float = 16.0,
        audio: dict | None = None,
    ) -> io.NodeOutput:
        rate, tell = exact_rate(frame_rate), teller(cls.hidden)
        clip = open_clip(frames, video, rate, audio, tell=tell, name="frames")
        count = None if mode == ALL_FRAMES else num_frames
        plan = plan_fitting(
            clip.num_frames, clip.size, (height, width), count, temporal_ratio, aspect
        )
        fitted = fitted_frames(clip, plan)
        report = "\n".join((describe_fitting(plan, aspect, temporal_ratio), *clip.notes))
        fitting = FittedClip(plan, clip.times, clip.sound)
        return io.NodeOutput(fitted, len(plan.chosen), report, fitting, ui=ui.PreviewText(report))


class RestoreVideo(io.ComfyNode):
    """The edited frames as a video like the original."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VRestoreVideo",
            display_name="Restore Video",
            **in_menu("MemV2VRestoreVideo"),
            description="Undoes Fit Video to Model on the edited frames: removes repeated frames "
            "and black bars, and gives a video with the frame count, frame rate and sound of the "
            "original.",
            inputs=[
                io.Image.Input("frames", tooltip="The decoded edit; it may have been upscaled."),
                FittingSocket.Input(
                    "fitting",
                    tooltip="From the Fit Video to Model node that the edit started from.",
                ),
                io.Combo.Input(
                    "timing",
                    options=[EVERY_FRAME, EDITED_FRAMES],
                    default=EVERY_FRAME,
                    tooltip="If frames were picked. every frame: as many as the original, each "
                    "edited frame repeated. edited frames: only those, at a lower rate that keeps "
                    "the duration.",
                ),
                io.Combo.Input(
                    "size",
                    options=[MODEL_SIZE, ORIGINAL_SIZE],
                    default=MODEL_SIZE,
                    tooltip="model: the size of the edit, without bars. original: scaled to the "
                    "size of the original, or of its part that was not cropped.",
                ),
            ],
            outputs=[
                io.Video.Output(display_name="video", tooltip="For Save Video."),
                io.Image.Output(display_name="frames", tooltip="Its frames."),
                io.String.Output(display_name="report", tooltip="What was done."),
                io.Float.Output(
                    display_name="frame_rate",
                    tooltip="Frames per second, for nodes of other packs such as Video Combine.",
                ),
                io.Audio.Output(
                    display_name="audio",
                    tooltip="The sound of the original, for nodes of other packs.",
                ),
            ],
            **shows_result(),
        )

    @classmethod
    def execute(
        cls, frames: torch.Tensor, fitting: FittedClip, timing: str, size: str
    ) -> io.NodeOutput:
        clip = fitting.restored(frames, timing, size)
        report = clip.describe()
        video = clip.video()
        return io.NodeOutput(
            video,
            clip.images,
            report,
            float(clip.frame_rate),
            video.get_components().audio,
            ui=ui.PreviewText(report),
        )


NODES = [FitVideo, RestoreVideo]

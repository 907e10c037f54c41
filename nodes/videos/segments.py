"""A long video as segments, and the edited segments as one video again."""

from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import Input, InputImpl, io, ui

from ...memv2v_core.cache.memory_cache import MemoryCache
from ...memv2v_core.long_edit.recipe import finished_entries
from ...memv2v_core.resuming.recipe import stale_entries
from ..host.clips.segments import SplitSettings, SplitVideo, split_video
from ..host.clips.stitching import StitchSettings, write_stitched
from ..host.menu import in_menu
from ..host.models.attachment import base_info
from ..host.shared_inputs import (
    SPLIT_INPUTS,
    STITCH_INPUTS,
    VIDEO_INPUTS,
    rate_and_sound_of,
    settings_from,
)
from ..host.shown import VideoAndText, teller
from ..io_types import CacheSocket, SegmentsSocket


class SplitSegments(io.ComfyNode):
    """Pieces that a model can edit."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VSplitSegments",
            display_name="Split Segments",
            **in_menu("MemV2VSplitSegments"),
            description="Plans the segments of a video of any length. Each segment is as long as "
            "the model can see, and no segment crosses a cut. Long videos need little memory: a "
            "segment is decoded when it is edited.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The model that will edit: it sets the window, the size and the VAE's "
                    "temporal ratio.",
                ),
                *VIDEO_INPUTS,
                *SPLIT_INPUTS,
                *rate_and_sound_of("images"),
            ],
            outputs=[
                SegmentsSocket.Output(
                    display_name="segments",
                    tooltip="For DINO Segment Retrieve and Stitch Segments.",
                ),
                io.Int.Output(display_name="count", tooltip="How many segments there are."),
                io.String.Output(
                    display_name="info", tooltip="Every segment with its frames and shot."
                ),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        video: Input.Video | None = None,
        images: torch.Tensor | None = None,
        frame_rate: float = 16.0,
        audio: dict | None = None,
        **widgets: Any,
    ) -> io.NodeOutput:
        settings = settings_from(SplitSettings, widgets)
        tell = teller(cls.hidden)
        split = split_video(base_info(model), settings, video, images, frame_rate, audio, tell=tell)
        text = split.describe()
        return io.NodeOutput(split, len(split.plan.segments), text, ui=ui.PreviewText(text))


class StitchSegments(io.ComfyNode):
    """The edited video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StitchSegments",
            display_name="Stitch Segments",
            **in_menu("StitchSegments"),
            description="Decodes the edited segments of a long video and joins them, with exactly "
            "the frame count, frame rate and sound of the original clip. If a segment has several "
            "edits, the pinned one is used, else the newest.",
            inputs=[
                SegmentsSocket.Input("segments", tooltip="From Split Segments."),
                CacheSocket.Input(
                    "cache",
                    tooltip="With every segment edited, from the last sampler or Memory Cache.",
                ),
                io.Vae.Input("vae", tooltip="The model's VAE."),
                *STITCH_INPUTS,
            ],
            outputs=[
                io.Video.Output(display_name="video", tooltip="For Save Video."),
                io.Image.Output(display_name="frames", tooltip="Its frames, all in memory."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, segments: SplitVideo, cache: MemoryCache, vae: VAE, **widgets: Any
    ) -> io.NodeOutput:
        entries = finished_entries(segments.plan, cache)
        settings = settings_from(StitchSettings, widgets)
        # The node has an image output, so here all frames are held in memory.
        frames = torch.empty(segments.clip.num_frames, *settings.result_size(segments), 3)
        path = write_stitched(segments, entries, vae, settings, frames)
        # An entry may have seen an edit that was replaced later.
        text, stale = settings.describe(segments), stale_entries(entries)
        if stale:
            numbers = (str(i + 1) for i, entry in enumerate(entries) if entry.entry_id in stale)
            text += (
                f"\nsegments {', '.join(numbers)} saw an edit of another segment that was replaced "
                "since: edit them again"
            )
        video = InputImpl.VideoFromFile(str(path))
        return io.NodeOutput(video, frames, ui=VideoAndText(path, text))


NODES = [SplitSegments, StitchSegments]

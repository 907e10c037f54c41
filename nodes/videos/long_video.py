"""EditLongVideo: a video of any length, edited in one node."""

from typing import Any, get_args

import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import Input, InputImpl, io

from ...memv2v_core.clips.blending import SegmentStitcher
from ...memv2v_core.long_edit.loop import edit_segments
from ...memv2v_core.long_edit.report import describe_edit, describe_leftovers
from ...memv2v_core.long_edit.settings import (
    LongEdit,
    MemorySettings,
    SamplerSettings,
)
from ...memv2v_core.sampling.reuse import describe_reuse
from ...memv2v_core.vocabulary import EditMode
from ..host.batches import batch_notes
from ..host.clips.segments import SplitSettings, split_video
from ..host.clips.stitching import EarlyVideo, StitchSettings
from ..host.live.run import LiveRun
from ..host.long_edit.host import ComfyHost, checked_negative, open_session
from ..host.menu import in_menu
from ..host.models.attachment import LoadedAdapter, base_info, with_adapter
from ..host.patch.attention_kernel import describe_attention
from ..host.resuming_inputs import REDO_INPUTS, TOKEN_INPUTS, redo_settings
from ..host.sampling.experts import describe_experts
from ..host.sampling.prompt_text import typed_prompt
from ..host.sessions.by_hand import hand_changes
from ..host.sessions.folders import refused_name
from ..host.shared_inputs import (
    ADAPTER_INPUT,
    FAST_ATTENTION_INPUT,
    LOW_NOISE_INPUT,
    MAX_SEED,
    MEMORY_FRAMES_INPUT,
    REUSE_INPUTS,
    SEGMENT_RETRIEVAL_INPUTS,
    SPLIT_INPUTS,
    STITCH_INPUTS,
    VIDEO_INPUTS,
    defaults_of,
    folded,
    rate_and_sound_of,
    sampler_inputs,
    settings_from,
)
from ..host.shown import VideoAndText, teller
from ..io_types import SESSION_LIST, CacheSocket

# Optional, so that requests of older versions still run.
_LATER_INPUTS = [
    *TOKEN_INPUTS,
    *rate_and_sound_of("images"),
    ADAPTER_INPUT,
    LOW_NOISE_INPUT,
    MEMORY_FRAMES_INPUT,
    *REUSE_INPUTS,
    FAST_ATTENTION_INPUT,
]


class EditLongVideo(io.ComfyNode):
    """The whole loop."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VEditLongVideo",
            display_name="Edit Long Video",
            **in_menu("MemV2VEditLongVideo"),
            description="Edits a video of any length by a prompt, segment by segment. Each segment "
            "sees the earlier ones that show the same things, so the hat stays the same hat. "
            "Finished segments are saved at once: an interrupted run resumes where it stopped, "
            "and an unchanged run makes nothing twice.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The editing model: built-in text_edit or reference_edit, LucyEdit, "
                    "Bernini-R or Wan.",
                ),
                io.Vae.Input("vae", tooltip="That model's VAE."),
                io.Conditioning.Input("positive", optional=True, tooltip="The edit, as a prompt."),
                io.Conditioning.Input(
                    "negative", optional=True, tooltip="The negative prompt. Not used at cfg 1."
                ),
                *VIDEO_INPUTS,
                io.String.Input(
                    "session",
                    default="",
                    extra_dict=SESSION_LIST,
                    tooltip="Name of the session on disk (output/memory_v2v/NAME) that holds the "
                    "finished segments. Empty: the clip's name. Use one session per video and "
                    "prompt: another prompt replaces the segments.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(get_args(EditMode)),
                    default="memory",
                    advanced=True,
                    tooltip="memory: each segment sees earlier ones; if it sees none, the built-in "
                    "editor first edits its middle frame. independent: no segment sees another. "
                    "fifo: diagonal denoising of the whole video (FIFO-Diffusion), for models of "
                    "LucyEdit's form; it does not use overlap and sampler_name. The last two are "
                    "baselines.",
                ),
                *folded(SPLIT_INPUTS, ("length", "overlap")),
                *folded(SEGMENT_RETRIEVAL_INPUTS, ("k",)),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    # Another seed makes the whole video again.
                    control_after_generate=io.ControlAfterGenerate.fixed,
                    tooltip="Noise of the video; each segment's noise follows from it. Another "
                    "seed makes every segment again.",
                ),
                *sampler_inputs(
                    steps=20,
                    steps_tooltip="Denoising steps of each segment.",
                    cfg_tooltip="Strength of the prompt; 1 for none.",
                ),
                *REDO_INPUTS,
                *folded(STITCH_INPUTS),
                *_LATER_INPUTS,
            ],
            outputs=[
                io.Video.Output(
                    display_name="video", tooltip="With the clip's frame count, rate and sound."
                ),
                CacheSocket.Output(
                    display_name="cache", tooltip="The session, with every segment as an entry."
                ),
                io.String.Output(
                    display_name="report",
                    tooltip="What each segment saw, and which segments are new or stale.",
                ),
            ],
            hidden=[io.Hidden.dynprompt, io.Hidden.unique_id, io.Hidden.extra_pnginfo],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, session: str | None) -> bool | str:
        return refused_name(session) or True

    @classmethod
    def fingerprint_inputs(cls, session: str | None = "", **_others: object) -> str:
        # What a user pins or forgets in the Memory Bank decides what the segments see.
        return hand_changes(session)

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        vae: VAE,
        session: str,
        mode: EditMode,
        positive: list | None = None,
        negative: list | None = None,
        video: Input.Video | None = None,
        images: torch.Tensor | None = None,
        frame_rate: float = 16.0,
        audio: dict | None = None,
        adapter: LoadedAdapter | None = None,
        low_noise_model: ModelPatcher | None = None,
        **widgets: Any,
    ) -> io.NodeOutput:
        widgets = defaults_of(_LATER_INPUTS) | widgets
        stitching = settings_from(StitchSettings, widgets)
        splitting = settings_from(SplitSettings, widgets)
        sampler = settings_from(SamplerSettings, widgets)
        memory = settings_from(MemorySettings, widgets)

        # Step 1: what can be refused is refused before anything is sampled.
        model = with_adapter(model, adapter)
        info, is_whole = base_info(model), mode == "fifo"
        negative = checked_negative(info, positive, negative, sampler.cfg)
        experts = describe_experts(model, low_noise_model, sampler, mode)
        tell = teller(cls.hidden)
        split = split_video(info, splitting, video, images, frame_rate, audio, is_whole, tell)
        SegmentStitcher(split.plan, stitching.config)
        redo = redo_settings(widgets, len(split.plan.segments), "segments of this video")

        # Step 2: edit every segment, or keep it from an earlier run; then finish the video.
        live = LiveRun(cls.hidden, model, "segment", len(split.plan.segments))
        result = EarlyVideo(split, vae, stitching)
        host = ComfyHost(
            live=live,
            result=result,
            model=model,
            vae=vae,
            positive=positive,
            negative=negative,
            split=split,
            mode=mode,
            sampler=sampler,
            memory=memory,
            asks_download=widgets["allow_download"],
            window=splitting.length,
            low_noise_model=low_noise_model,
            fast_attention=widgets["fast_attention"],
        )
        edit = LongEdit(
            base=info,
            plan=split.plan,
            mode=mode,
            seed=sampler.seed,
            memory=memory,
            redo=redo,
            settings_hash=host.settings_hash(),
            prompt=typed_prompt(cls.hidden),
        )
        cache, notes = open_session(session, cls.hidden, video, images, split)
        with live, result:
            edited = edit_segments(edit, cache, host)
            path = result.finish(edited.entries)
        report = [
            describe_edit(edited.segments),
            *experts,
            *describe_attention(model, widgets["fast_attention"] and not is_whole),
            *describe_reuse(host.reuse_reports),
            split.summary,
            stitching.describe(split),
        ]
        report += (*split.clip.notes, *batch_notes(cls.hidden))
        report += (*describe_leftovers(edited.segments, edited.cache), *notes, *edited.repairs)
        text = "\n".join(report)
        stitched = InputImpl.VideoFromFile(str(path))
        shown = VideoAndText(path, text, edited.cache.session)
        return io.NodeOutput(stitched, edited.cache, text, ui=shown)


NODES = [EditLongVideo]

"""EditLongVideo: a video of any length, edited in one node."""

from pathlib import Path

import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import Input, InputImpl, io

from ..memv2v_core.cache.storage import session_folder
from ..memv2v_core.clips.blending import SegmentStitcher
from ..memv2v_core.long_edit.settings import parse_segments
from ..memv2v_core.shapes import num_latent_frames, padded_num_frames
from .attachment import LoadedAdapter, base_info, with_adapter
from .cache import open_cache
from .conditioning import ADAPTER_INPUT, negative_or_unread
from .io_types import CATEGORY, Cache
from .long_video_loop import (
    FIFO,
    MEMORY,
    MODES,
    LongEdit,
    MemorySettings,
    RedoSettings,
    SamplerSettings,
    describe_edit,
    describe_leftovers,
    edit_segments,
)
from .pictures import VideoAndText
from .segment_retrieval import RETRIEVAL_INPUTS, RetrievalSettings
from .stitching import (
    CLIP_INPUTS,
    SPLIT_INPUTS,
    STITCH_INPUTS,
    SplitSettings,
    StitchSettings,
    describe_result,
    describe_split,
    split_video,
    write_stitched,
)

KEEP_STALE, REDO_STALE = "keep and mark", "redo"
MAX_SEED = 0xFFFFFFFFFFFFFFFF
NO_SESSION = (
    "session got nothing, wanted a name; finished segments are kept under it, so that "
    "nothing is lost"
)

SAMPLER_INPUTS = [
    io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=MAX_SEED,
        # Another seed starts the whole video over
        control_after_generate=io.ControlAfterGenerate.fixed,
        tooltip="Noise of the video; each segment has its own, made from it. Another seed makes "
        "every segment anew.",
    ),
    io.Int.Input("steps", default=20, min=1, max=200, tooltip="Denoising steps of each segment."),
    io.Float.Input(
        "cfg",
        default=1.0,
        min=0.0,
        max=30.0,
        step=0.1,
        tooltip="Strength of the prompt; 1 for none.",
    ),
    io.Combo.Input(
        "sampler_name", options=comfy.samplers.SAMPLER_NAMES, default="euler", tooltip="Solver."
    ),
    io.Combo.Input(
        "scheduler",
        options=comfy.samplers.SCHEDULER_NAMES,
        default="simple",
        tooltip="Noise levels.",
    ),
]
REDO_INPUTS = [
    io.String.Input(
        "redo",
        default="",
        tooltip="Numbers of segments to make anew with other noise, such as 3 or 2,5. Empty for "
        "none. Made once for each redo_seed, however often the graph runs, and kept when "
        "this is emptied.",
    ),
    io.Int.Input(
        "redo_seed",
        default=1,
        min=0,
        max=MAX_SEED,
        tooltip="The other noise; change it for another try. The seed itself brings the first "
        "noise back.",
    ),
    io.Combo.Input(
        "stale",
        options=[KEEP_STALE, REDO_STALE],
        default=KEEP_STALE,
        tooltip="Segments that saw the old edit of one that was made anew, directly or through "
        "others: keep them and say so in the report, or make them again.",
    ),
]
TOKEN_INPUTS = [
    io.Combo.Input(
        "unresponsive",
        options=["merge", "discard", "keep"],
        default="merge",
        optional=True,
        tooltip="As in Dynamic Tokenize: what happens to frames that the target hardly attends to.",
    ),
    io.Combo.Input(
        "memory_range",
        options=["own", "source"],
        default="own",
        optional=True,
        tooltip="As in Dynamic Tokenize: temporal positions of memories; source may suit a base "
        "without an adapter.",
    ),
]


class EditLongVideo(io.ComfyNode):
    """The whole loop."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditLongVideo",
            display_name="Edit Long Video",
            category=CATEGORY,
            description="Edits a video of any length by a prompt, segment by segment, each in view "
            "of the earlier ones that show the same, so that the hat stays the same "
            "hat. Finished segments are on disk at once: what was interrupted goes on "
            "where it stopped, and an unchanged rerun makes nothing twice.",
            inputs=[
                io.Model.Input(
                    "model", tooltip="The editing model: built-in text_edit, LucyEdit, Wan."
                ),
                io.Vae.Input("vae", tooltip="That model's VAE."),
                io.Conditioning.Input("positive", optional=True, tooltip="The edit, as a prompt."),
                io.Conditioning.Input(
                    "negative", optional=True, tooltip="The negative prompt; unused at cfg 1."
                ),
                *CLIP_INPUTS[:2],
                io.String.Input(
                    "session",
                    default="",
                    tooltip="Name of the session on disk (output/memory_v2v/NAME) that holds the "
                    "finished segments. One for each video and prompt: another prompt in "
                    "the same session replaces its segments.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default=MEMORY,
                    tooltip="memory: each segment sees earlier ones; with the built-in editor one "
                    "that sees none is led by its middle frame, edited first. independent: "
                    "none sees any. fifo: diagonal denoising of the whole video "
                    "(FIFO-Diffusion), for models of LucyEdit's form; overlap and "
                    "sampler_name do not count for it. The last two are baselines.",
                ),
                *SPLIT_INPUTS,
                *RETRIEVAL_INPUTS,
                *SAMPLER_INPUTS,
                *REDO_INPUTS,
                *STITCH_INPUTS,
                *TOKEN_INPUTS,
                *CLIP_INPUTS[2:],
                ADAPTER_INPUT,
            ],
            outputs=[
                io.Video.Output(
                    display_name="video", tooltip="With the clip's frame count, rate and sound."
                ),
                Cache.Output(
                    display_name="cache", tooltip="The session, with every segment as an entry."
                ),
                io.String.Output(
                    display_name="report",
                    tooltip="What each segment saw, and which are new or stale.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, session: str | None) -> bool | str:
        if session is None:  # linked: not known yet
            return True
        if not session:
            return NO_SESSION
        try:
            session_folder(Path(), session)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        vae: VAE,
        session: str,
        mode: str,
        positive: list | None = None,
        negative: list | None = None,
        video: Input.Video | None = None,
        images: torch.Tensor | None = None,
        frame_rate: float = 16.0,
        audio: dict | None = None,
        unresponsive: str = "merge",
        memory_range: str = "own",
        adapter: LoadedAdapter | None = None,
        **settings: object,
    ) -> io.NodeOutput:
        if not session:
            raise ValueError(NO_SESSION)
        model = with_adapter(model, adapter)
        info = base_info(model)
        given = _Widgets(settings)
        splitting = given.splitting(mode)
        split = split_video(
            info, splitting, video, images, frame_rate, audio, is_whole=mode == FIFO
        )
        SegmentStitcher(
            split.plan, given.stitching.config
        )  # what it refuses it refuses before anything is sampled
        window = splitting.length or padded_num_frames(info.num_frames, info.ratios.temporal)
        edit = LongEdit(
            model,
            vae,
            positive,
            negative_or_unread(positive, negative, given.sampler.cfg),
            split,
            mode,
            given.sampler,
            MemorySettings(given.retrieval, unresponsive, memory_range),
            given.redo(len(split.plan.segments)),
            num_latent_frames(window, info.ratios.temporal),
        )
        cache, notes = open_cache(session)
        cache, edited = edit_segments(edit, cache)
        entries = [part.entry for part in edited]
        path = write_stitched(split, entries, vae, given.stitching)
        summary = describe_split(split).splitlines()[0]
        notes = (*describe_leftovers(edited, cache), *notes)
        report = "\n".join(
            (describe_edit(edited), summary, describe_result(split, given.stitching), *notes)
        )
        return io.NodeOutput(
            InputImpl.VideoFromFile(str(path)), cache, report, ui=VideoAndText(path, report)
        )


class _Widgets:
    """The values of the node's many widgets, as the settings of each part of the loop."""

    def __init__(self, values: dict[str, object]) -> None:
        self._values = values

    def _of(self, *names: str) -> list:
        return [self._values[name] for name in names]

    def splitting(self, mode: str) -> SplitSettings:
        length, overlap, shots, sensitivity, aspect = self._of(
            "length", "overlap", "shots", "sensitivity", "aspect"
        )
        looks_for_cuts = shots and mode != FIFO
        size = tuple(self._of("height", "width"))
        return SplitSettings(length, overlap, sensitivity if looks_for_cuts else None, size, aspect)

    @property
    def retrieval(self) -> RetrievalSettings:
        return RetrievalSettings(*self._of(*(given.id for given in RETRIEVAL_INPUTS)))

    @property
    def sampler(self) -> SamplerSettings:
        return SamplerSettings(*self._of(*(given.id for given in SAMPLER_INPUTS)))

    @property
    def stitching(self) -> StitchSettings:
        return StitchSettings(*self._of(*(given.id for given in STITCH_INPUTS)))

    def redo(self, num_segments: int) -> RedoSettings:
        text, seed, stale = self._of("redo", "redo_seed", "stale")
        return RedoSettings(parse_segments(text, num_segments), seed, stale == REDO_STALE)


NODES = [EditLongVideo]

"""A long video in segments, and the edited segments as one video again."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from uuid import uuid4

import comfy.model_management
import comfy.utils
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import Input, InputImpl, io, ui

from ..memv2v_core.bases.base_info import BaseInfo
from ..memv2v_core.cache.entry import MemoryEntry
from ..memv2v_core.cache.memory_cache import MemoryCache
from ..memv2v_core.clips.blending import STITCH_MODES, StitchConfig, stitch
from ..memv2v_core.clips.fitting import ASPECTS, Size, describe_fitting, restore_frames
from ..memv2v_core.clips.segments import plan_segments
from ..memv2v_core.clips.shots import ShotConfig, detect_shots
from ..memv2v_core.long_edit.recipe import chosen_of, stale_entries
from ..memv2v_core.clips.segments import segment_text
from ..memv2v_core.shapes import padded_num_frames
from .attachment import base_info
from .clips import FileClip, SplitVideo, open_clip
from .io_types import CATEGORY, Cache, Segments, rate_and_sound_of
from .pictures import VideoAndText
from .video import MAX_RATE_DENOMINATOR, MODEL_SIZE, ORIGINAL_SIZE
from .video_writing import DEFAULT_CRF, VideoWriter, require_sound

_NOTED_DRIFT_S = 0.1

SPLIT_INPUTS = [
    io.Int.Input(
        "length",
        default=0,
        min=0,
        max=2001,
        tooltip="Frames of a segment, as the VAE takes them (4 n + 1 for Wan). 0 is the model's "
        "own window.",
    ),
    io.Int.Input(
        "overlap",
        default=0,
        min=0,
        max=2000,
        tooltip="Frames that neighbours share, to fade from one to the other.",
    ),
    io.Boolean.Input(
        "shots",
        default=True,
        tooltip="Find the cuts, and let no segment reach over one. Off: one shot, as in the paper.",
    ),
    io.Float.Input(
        "sensitivity",
        default=ShotConfig().sensitivity,
        min=0.0,
        max=1.0,
        step=0.05,
        tooltip="Of the search for cuts: 0 finds only the hardest, 1 takes fast motion for one.",
    ),
    io.Int.Input(
        "width",
        default=0,
        min=0,
        max=4096,
        step=16,
        tooltip="Pixels that the model sees. 0 is the model's own size.",
    ),
    io.Int.Input(
        "height",
        default=0,
        min=0,
        max=4096,
        step=16,
        tooltip="Pixels that the model sees. 0 is the model's own size.",
    ),
    io.Combo.Input(
        "aspect",
        options=list(ASPECTS),
        default="keep",
        tooltip="A clip of another aspect: keep it (as many pixels as width x height), crop its "
        "margins, pad with black bars, or stretch it.",
    ),
]
CLIP_INPUTS = [
    io.Video.Input(
        "video",
        optional=True,
        tooltip="The clip as a video: read as it is needed, however long it is.",
    ),
    io.Image.Input("images", optional=True, tooltip="The clip as frames, instead of a video."),
    *rate_and_sound_of("images"),
]
STITCH_INPUTS = [
    io.Combo.Input(
        "stitch_mode",
        options=list(STITCH_MODES),
        default="cross_fade",
        tooltip="cut: every frame from one segment. cross_fade: neighbours are mixed over their "
        "overlap, never over a cut of the video.",
    ),
    io.Boolean.Input(
        "match_colours",
        default=False,
        tooltip="Give each segment the colours that the one before has in the frames that they "
        "share. Needs overlap.",
    ),
    io.Combo.Input(
        "size",
        options=[ORIGINAL_SIZE, MODEL_SIZE],
        default=ORIGINAL_SIZE,
        tooltip="original: scaled to the clip's own pixels. model: as edited.",
    ),
    io.Int.Input(
        "crf",
        default=DEFAULT_CRF,
        min=0,
        max=51,
        tooltip="Quality of the H.264 file: 0 loses nothing, 51 is worst; 16 is hardly told from "
        "the original.",
    ),
]


@dataclass(frozen=True)
class SplitSettings:
    """How a clip is split and fitted; 0 leaves a number to the model. shot_sensitivity: None looks
    for no cuts."""

    length: int
    overlap: int
    shot_sensitivity: float | None
    size: Size
    aspect: str


@dataclass(frozen=True)
class StitchSettings:
    """How the result is put together and written."""

    mode: str
    match_colours: bool
    size: str
    crf: int

    @property
    def config(self) -> StitchConfig:
        """Of the stitcher."""
        return StitchConfig(self.mode, self.match_colours)


class SplitSegments(io.ComfyNode):
    """Pieces that a model can edit."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SplitSegments",
            display_name="Split Segments",
            category=CATEGORY,
            description="Plans the segments of a video of any length, each as long as the model "
            "can see, none over a cut of the video. Nothing is decoded for long: "
            "segments are read when they are edited.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The model that will edit: its window, size and VAE ratio count.",
                ),
                *CLIP_INPUTS[:2],
                *SPLIT_INPUTS,
                *CLIP_INPUTS[2:],
            ],
            outputs=[
                Segments.Output(
                    display_name="segments",
                    tooltip="For DINO Segment Retrieve and Stitch Segments.",
                ),
                io.Int.Output(display_name="count", tooltip="How many segments there are."),
                io.String.Output(
                    display_name="info", tooltip="Every segment with its frames and shot."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        length: int,
        overlap: int,
        shots: bool,
        sensitivity: float,
        width: int,
        height: int,
        aspect: str,
        video: Input.Video | None = None,
        images: torch.Tensor | None = None,
        frame_rate: float = 16.0,
        audio: dict | None = None,
    ) -> io.NodeOutput:
        settings = SplitSettings(
            length, overlap, sensitivity if shots else None, (height, width), aspect
        )
        split = split_video(base_info(model), settings, video, images, frame_rate, audio)
        text = describe_split(split)
        return io.NodeOutput(split, len(split.plan.segments), text, ui=ui.PreviewText(text))


class StitchSegments(io.ComfyNode):
    """The edited video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StitchSegments",
            display_name="Stitch Segments",
            category=CATEGORY,
            description="Decodes the edited segments of a long video and joins them: exactly the "
            "frame count, frame rate and sound of the clip that came in. Of several "
            "edits of a segment the pinned one is taken, else the newest.",
            inputs=[
                Segments.Input("segments", tooltip="From Split Segments."),
                Cache.Input(
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
        cls,
        segments: SplitVideo,
        cache: MemoryCache,
        vae: VAE,
        stitch_mode: str,
        match_colours: bool,
        size: str,
        crf: int,
    ) -> io.NodeOutput:
        entries = finished_entries(segments, cache)
        settings = StitchSettings(stitch_mode, match_colours, size, crf)
        frames = torch.empty(segments.clip.num_frames, *result_size(segments, settings), 3)
        path = write_stitched(segments, entries, vae, settings, frames)
        stale = stale_entries(entries)
        names = ", ".join(
            str(entry.segment.idx + 1) for entry in entries if entry.entry_id in stale
        )
        text = describe_result(segments, settings)
        if stale:
            text += (
                f"\nsegments {names} saw an edit of another segment that was replaced since: "
                "edit them again"
            )
        return io.NodeOutput(
            InputImpl.VideoFromFile(str(path)), frames, ui=VideoAndText(path, text)
        )


def split_video(
    info: BaseInfo,
    settings: SplitSettings,
    video: Input.Video | None,
    images: torch.Tensor | None,
    frame_rate: float,
    audio: dict | None,
    is_whole: bool = False,
) -> SplitVideo:
    """The clip that is connected, split for a model; `is_whole` makes one segment of it, however
    long.

    Raises: ValueError for a clip, sound, size, length or overlap that cannot be; see `open_clip`
    and `plan_segments`.
    """
    spatial = info.ratios.spatial
    rows, columns = (
        asked or side * spatial for asked, side in zip(settings.size, info.latent_size, strict=True)
    )
    if settings.aspect != "keep":
        _require_sides({"height": rows, "width": columns}, spatial)
    rate, shots = Fraction(frame_rate).limit_denominator(MAX_RATE_DENOMINATOR), []

    def find_shots(chunks: Iterator[torch.Tensor]) -> None:
        shots.extend(detect_shots(chunks, ShotConfig(sensitivity=settings.shot_sensitivity)))

    watch = None if settings.shot_sensitivity is None else find_shots
    clip = open_clip(images, video, rate, audio, watch)
    require_sound(clip)
    ratio = info.ratios.temporal
    if is_whole:
        plan = plan_segments(clip.num_frames, padded_num_frames(clip.num_frames, ratio), 0, ratio)
    else:
        length = settings.length or padded_num_frames(info.num_frames, ratio)
        plan = plan_segments(clip.num_frames, length, settings.overlap, ratio, tuple(shots) or None)
    return SplitVideo(clip, plan, info, (rows, columns), settings.aspect)


def _require_sides(sides: dict[str, int], multiple: int) -> None:
    for name, side in sides.items():
        if side % multiple:
            below = max(side // multiple, 1) * multiple
            raise ValueError(
                f"{name} got {side}, wanted a multiple of {multiple} for this model's VAE; use "
                f"{below} or {below + multiple}, or the aspect 'keep'"
            )


def describe_split(split: SplitVideo) -> str:
    """The plan in words, a line for every segment."""
    plan = split.plan
    num_shots = len({segment.shot for segment in plan.segments})
    fitted = describe_fitting(split.fitting(split.clip.num_frames), split.aspect, 1)
    lines = [
        f"{fitted}; {len(plan.segments)} segments of {plan.length}, overlap {plan.overlap}, in "
        f"{num_shots} shots"
    ]
    return "\n".join((*lines, *map(segment_text, plan.segments)))


def finished_entries(split: SplitVideo, cache: MemoryCache) -> tuple[MemoryEntry, ...]:
    """The edit of every segment, of several the pinned, else the newest, in order.

    Raises: ValueError naming the segments that are missing.
    """
    found = [chosen_of(cache, segment) for segment in split.plan.segments]
    missing = [str(i + 1) for i, entry in enumerate(found) if entry is None]
    if missing:
        raise ValueError(
            f"cache lacks segments {', '.join(missing)} of {len(found)}; edit them with this Split "
            "Segments, and connect the cache of the last sampler"
        )
    return tuple(found)


def write_stitched(
    split: SplitVideo,
    entries: Iterable[MemoryEntry],
    vae: VAE,
    settings: StitchSettings,
    kept: torch.Tensor | None = None,
) -> Path:
    """A new file in ComfyUI's temporary folder with the whole result; frames leave as soon as they
    are finished.

    kept: (num_frames, H, W, 3), where to put all frames as well.

    Raises: ValueError where the file cannot be written.
    """
    is_original, num_done = settings.size == ORIGINAL_SIZE, 0
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"memory_v2v_{uuid4().hex}.mp4"
    pieces = stitch(
        split.plan, decoded_segments(entries, vae, len(split.plan.segments)), settings.config
    )
    try:
        with VideoWriter(path, result_size(split, settings), split.clip, settings.crf) as writer:
            for piece in pieces:
                frames = restore_frames(piece, split.fitting(len(piece)), True, is_original)
                writer.add(frames)
                if kept is not None:
                    kept[num_done : num_done + len(frames)] = frames.movedim(1, -1)
                num_done += len(frames)
    except OSError as error:
        raise ValueError(
            f"{path} could not be written ({error}); make room on that disk, see that the clip is "
            "still where it was, and queue again: what is sampled is in the cache"
        ) from error
    return path


def result_size(split: SplitVideo, settings: StitchSettings) -> Size:
    """Rows and columns of the result."""
    fitting = split.fitting(1)
    return fitting.kept_size if settings.size == ORIGINAL_SIZE else fitting.content


def decoded_segments(
    entries: Iterable[MemoryEntry], vae: VAE, count: int
) -> Iterator[torch.Tensor]:
    """Frames (F, C, h, w) of one segment after the other."""
    progress = comfy.utils.ProgressBar(count)
    for entry in entries:
        comfy.model_management.throw_exception_if_processing_interrupted()
        frames = vae.decode(entry.latent.unsqueeze(0).float())
        frames = frames.reshape(-1, *frames.shape[-3:]).movedim(-1, 1).cpu()
        progress.update(1)
        yield frames


def describe_result(split: SplitVideo, settings: StitchSettings) -> str:
    """What was written, in words."""
    clip = split.clip
    rows, columns = result_size(split, settings)
    text = f"{clip.num_frames} frames of {columns}x{rows} at {float(clip.frame_rate):.3f} a second"
    if rows % 2 or columns % 2:
        text += "; odd sides need 4:4:4 colours, which some players cannot show"
    if isinstance(clip, FileClip) and clip.drift_s > max(_NOTED_DRIFT_S, 1 / clip.frame_rate):
        text += (
            f"; the clip's frame rate varies, so pictures and sound are up to {clip.drift_s:.1f} s "
            "apart: convert the clip to a constant frame rate first"
        )
    return text


NODES = [SplitSegments, StitchSegments]

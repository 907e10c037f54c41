"""Inputs that several nodes share, and how widgets become settings.

Every widget has the name of the setting that it fills, so no order can swap two of them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import fields
from typing import Any, TypeVar, get_args

import comfy.samplers
from comfy_api.latest import io

from ...memv2v_core.clips.blending import STITCH_MODES
from ...memv2v_core.clips.fitting import ASPECTS
from ...memv2v_core.clips.shots import ShotConfig
from ...memv2v_core.retrieval.descriptors import DESCRIPTOR_NAMES, LIGHT
from ...memv2v_core.tokens.reuse import AUTOMATIC
from ...memv2v_core.vocabulary import KeptPrecision, UnresponsiveChoice
from ..io_types import AdapterSocket, CameraSocket, PlanSocket
from .clips.fitted import MODEL_SIZE, ORIGINAL_SIZE
from .footage.writing import DEFAULT_CRF
from .sessions.makers import NEW_TAKE, REPLACE

# The largest seed of ComfyUI, 64 bits.
MAX_SEED = 0xFFFFFFFFFFFFFFFF
UNRESPONSIVE_CHOICES = list(get_args(UnresponsiveChoice))
UNRESPONSIVE_DEFAULT = "automatic"

Settings = TypeVar("Settings")


def settings_from(kind: type[Settings], widgets: Mapping[str, Any]) -> Settings:
    """The dataclass `kind`, filled from widgets with the names of its fields.

    Raises: KeyError for a field without a widget.
    """
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # kind is a dataclass
    return kind(**{name: widgets[name] for name in names})


def defaults_of(inputs: Iterable[io.Input]) -> dict[str, Any]:
    """What a request that leaves a widget out means."""
    return {
        each.id: each.default
        for each in inputs
        if isinstance(each, io.WidgetInput) and each.default is not None
    }


def folded(inputs: Sequence[io.Input], shown: Collection[str] = ()) -> list[io.Input]:
    """The inputs, with every widget folded away that is not `shown`.

    ComfyUI shows the folded ones with a press on "Show advanced inputs", and a link to one always.
    """

    def as_seen(given: io.Input) -> io.Input:
        if not isinstance(given, io.WidgetInput) or given.id in shown:
            return given
        # Copied: other nodes share it.
        changed = copy(given)
        changed.advanced = True
        return changed

    return [as_seen(given) for given in inputs]


def rate_and_sound_of(frames: str) -> list[io.Input]:
    """The inputs for rate and sound beside the frames input `frames`.

    A video has its own rate and sound.
    """
    return [
        io.Float.Input(
            "frame_rate",
            default=16.0,
            min=0.1,
            max=1000.0,
            step=0.001,
            optional=True,
            tooltip=f"Frames per second of `{frames}`. Not used with a video, which has its own.",
        ),
        io.Audio.Input(
            "audio",
            optional=True,
            tooltip=f"The sound of `{frames}`, as long as they are. A video has its own sound: the "
            "node refuses both.",
        ),
    ]


def sampler_inputs(steps: int, steps_tooltip: str, cfg_tooltip: str) -> list[io.Input]:
    """The widgets of a sampler, without its seed."""
    return [
        io.Int.Input("steps", default=steps, min=1, max=200, tooltip=steps_tooltip),
        io.Float.Input("cfg", default=1.0, min=0.0, max=30.0, step=0.1, tooltip=cfg_tooltip),
        io.Combo.Input(
            "sampler_name",
            options=comfy.samplers.SAMPLER_NAMES,
            default="euler",
            advanced=True,
            tooltip="Solver.",
        ),
        io.Combo.Input(
            "scheduler",
            options=comfy.samplers.SCHEDULER_NAMES,
            default="simple",
            advanced=True,
            tooltip="Noise levels.",
        ),
    ]


TURN_INPUTS = [
    io.Model.Input(
        "model",
        tooltip="From Load Memory-V2V Model. LoRAs and other patches may come before or after.",
    ),
    io.Conditioning.Input(
        "positive",
        optional=True,
        tooltip="The prompt. Leave it unconnected for a model that reads no prompt.",
    ),
    io.Conditioning.Input(
        "negative", optional=True, tooltip="The negative prompt. Not used at cfg 1."
    ),
    io.Latent.Input(
        "source", optional=True, tooltip="The source video, encoded by this model's VAE."
    ),
    PlanSocket.Input(
        "plan",
        optional=True,
        tooltip="Memories from Dynamic Tokenize. Leave it unconnected on a first turn.",
    ),
    CameraSocket.Input(
        "source_camera",
        optional=True,
        tooltip="The source's camera. If it is not connected, the source counts as static.",
    ),
    CameraSocket.Input(
        "target_camera",
        optional=True,
        tooltip="The camera path of this turn. Leave it unconnected for a model without camera "
        "weights.",
    ),
]
ADAPTER_INPUT = AdapterSocket.Input(
    "adapter",
    optional=True,
    tooltip="From Load Memory Adapter, for a model from another loader.",
)
STRENGTH_INPUT = io.Float.Input(
    "strength",
    default=1.0,
    min=0.0,
    max=3.0,
    step=0.05,
    optional=True,
    advanced=True,
    tooltip="How strongly the turn follows its memories: 1 as trained, 0 not at all, between them "
    "more freedom for the prompt, above 1 more insistence. Any value but 1 takes one more call of "
    "the model a step, without memories.",
)
MEMORY_FRAMES_INPUT = io.Int.Input(
    "memory_frames",
    default=0,
    min=0,
    max=81,
    optional=True,
    advanced=True,
    tooltip="0: memories are seen whole. Else: how many latent frames of each memory are seen, the "
    "ones that show most of what this turn shows. Cheaper and less exact. On Bernini-R each frame "
    "is a reference image.",
)
REUSE_INPUTS = [
    io.Int.Input(
        "refresh_every",
        default=AUTOMATIC,
        min=0,
        max=200,
        optional=True,
        advanced=True,
        tooltip="How often source and memories are computed anew. Between two refreshes the model "
        "sees what it kept of them, which is faster. n: in every n-th call of the model (a sampler "
        "of second order makes two a step). 1: in every call. 0: as rarely as was measured to be "
        "harmless for this model; 1 where nobody has measured it, once a run where the adapter "
        "makes that exact.",
    ),
    io.Combo.Input(
        "kept_precision",
        options=list(get_args(KeptPrecision)),
        default="full",
        optional=True,
        advanced=True,
        tooltip="How keys and values are kept between refreshes: full, or fp8 in half of the "
        "memory of bf16 and a little less exact. Not used where every call refreshes.",
    ),
]
FAST_ATTENTION_INPUT = io.Boolean.Input(
    "fast_attention",
    default=True,
    optional=True,
    advanced=True,
    tooltip="On an NVIDIA GPU: time the exact attention kernels once and use the fastest one, "
    "cuDNN's on an H100. Results differ by rounding alone. A kernel that you or another node has "
    "chosen stays. Off: ComfyUI's own order. On a CPU it changes nothing.",
)
LOW_NOISE_INPUT = io.Model.Input(
    "low_noise_model",
    optional=True,
    tooltip="The second of two experts (Wan2.2-A14B, Bernini-R 14B): it takes over where the noise "
    "falls below the boundary of its base. It sees the same memory. The adapter input is for the "
    "first model alone.",
)
TAKE_INPUT = io.Combo.Input(
    "take",
    options=[REPLACE, NEW_TAKE],
    default=REPLACE,
    optional=True,
    tooltip="What running again does in a named session. replace: a turn that nothing changed "
    "stays, and a changed one replaces the turn that this node made in this workflow. new take: "
    "every run adds a turn, which sees the earlier takes too.",
)
WITHOUT_MEMORY_INPUT = io.Boolean.Input(
    "also_without_memory",
    default=False,
    optional=True,
    advanced=True,
    tooltip="Make a turn that sees memories once more without them, from the same noise: Compare "
    "Turns then shows what memory changed. It takes the time of another turn. No turn sees it.",
)
K_INPUT = io.Int.Input(
    "k",
    default=3,
    min=0,
    max=64,
    tooltip="How many memories to use; 0 for none. Pinned turns are always used, and they count.",
)
SEGMENT_RETRIEVAL_INPUTS = [
    io.Int.Input(
        "k",
        default=4,
        min=0,
        max=64,
        tooltip="How many memories to use; 0 for none. Pinned segments are always used, and they "
        "count.",
    ),
    io.Combo.Input(
        "descriptor",
        options=list(DESCRIPTOR_NAMES),
        default=LIGHT,
        tooltip="What the sources are compared by. dinov2-base is the paper's; its files belong in "
        f"models/dinov2/dinov2-base. '{LIGHT}' needs no download: it sees colours and edges, but "
        "no objects.",
    ),
    io.Boolean.Input(
        "recent_first",
        default=True,
        advanced=True,
        tooltip="The previous segment ranks first, as in the paper. It also gets the finest "
        "tokens.",
    ),
    io.Boolean.Input(
        "shot_aware",
        default=True,
        advanced=True,
        tooltip="Segments of another shot are used only if their sources look alike. So an edit "
        "does not leak over a cut, and a shot that comes back finds its earlier edit. Off: the "
        "paper's ranking.",
    ),
    io.Float.Input(
        "min_similarity",
        default=0.0,
        min=0.0,
        max=1.0,
        step=0.01,
        advanced=True,
        tooltip="For shot_aware: how alike the sources must be, 0 to 1. 0 uses the descriptor's "
        "default.",
    ),
    io.Boolean.Input(
        "allow_download",
        default=False,
        advanced=True,
        tooltip="Ask for a download of missing DINOv2 weights from huggingface.co (346 MB for "
        "dinov2-base). It happens only if this machine allows it, outside any workflow: the "
        'environment variable MEMV2V_ALLOW_DOWNLOAD=1, or {"allow_download": true} in '
        "memory_v2v/settings.json in ComfyUI's user folder.",
    ),
]
SPLIT_INPUTS = [
    io.Int.Input(
        "length",
        default=0,
        min=0,
        max=2001,
        tooltip="Frames of a segment, a count that the VAE takes (4 n + 1 for Wan). 0 uses the "
        "model's window.",
    ),
    io.Int.Input(
        "overlap",
        default=0,
        min=0,
        max=2000,
        tooltip="Frames that neighbouring segments share, for a fade from one to the next.",
    ),
    io.Boolean.Input(
        "shots",
        default=True,
        tooltip="Find the cuts of the clip; no segment crosses a cut. Off: the clip is one shot, "
        "as in the paper.",
    ),
    io.Float.Input(
        "sensitivity",
        default=ShotConfig().sensitivity,
        min=0.0,
        max=1.0,
        step=0.05,
        advanced=True,
        tooltip="How easily a cut is found: 0 finds only the hardest cuts, 1 also mistakes fast "
        "motion for a cut.",
    ),
    io.Int.Input(
        "width",
        default=0,
        min=0,
        max=4096,
        step=16,
        advanced=True,
        tooltip="Width in pixels that the model sees. 0 uses the model's size.",
    ),
    io.Int.Input(
        "height",
        default=0,
        min=0,
        max=4096,
        step=16,
        advanced=True,
        tooltip="Height in pixels that the model sees. 0 uses the model's size.",
    ),
    io.Combo.Input(
        "aspect",
        options=list(ASPECTS),
        default="keep",
        advanced=True,
        tooltip="For a clip of another aspect. keep: the clip's aspect with as many pixels as "
        "width x height. crop: cut the margins. pad: add black bars. stretch: distort.",
    ),
]
VIDEO_INPUTS = [
    io.Video.Input(
        "video",
        optional=True,
        tooltip="The clip as a video. It is read piece by piece, so it may be of any length.",
    ),
    io.Image.Input("images", optional=True, tooltip="The clip as frames, instead of a video."),
]
STITCH_INPUTS = [
    io.Combo.Input(
        "stitch_mode",
        options=list(STITCH_MODES),
        default="cross_fade",
        tooltip="cut: every frame comes from one segment. cross_fade: neighbouring segments are "
        "mixed where they overlap, never across a cut.",
    ),
    io.Boolean.Input(
        "match_colours",
        default=False,
        tooltip="Match each segment's colours to those of the previous segment in the frames that "
        "both share. Needs overlap.",
    ),
    io.Combo.Input(
        "size",
        options=[ORIGINAL_SIZE, MODEL_SIZE],
        default=ORIGINAL_SIZE,
        tooltip="original: scale to the clip's size. model: keep the size of the edit.",
    ),
    io.Int.Input(
        "crf",
        default=DEFAULT_CRF,
        min=0,
        max=51,
        advanced=True,
        tooltip="Quality of the H.264 file: 0 is lossless, 16 is visually almost lossless, 51 is "
        "worst.",
    ),
]

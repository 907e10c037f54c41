"""Inputs of Re-shoot Video."""

import copy
from collections.abc import Iterable

from comfy_api.latest import io

from ....memv2v_core.cameras.written import MAX_PATHS
from ...io_types import CameraSocket
from ..clips.fitted import EDITED_FRAMES, EVERY_FRAME, MODEL_SIZE, ORIGINAL_SIZE
from ..footage.writing import DEFAULT_CRF
from ..resuming_inputs import KEEP_STALE, REDO_INPUTS, REDO_STALE, TOKEN_INPUTS
from ..shared_inputs import (
    ADAPTER_INPUT,
    FAST_ATTENTION_INPUT,
    LOW_NOISE_INPUT,
    MAX_SEED,
    MEMORY_FRAMES_INPUT,
    REUSE_INPUTS,
    SPLIT_INPUTS,
    VIDEO_INPUTS,
    WITHOUT_MEMORY_INPUT,
    folded,
    rate_and_sound_of,
    sampler_inputs,
)

MAX_CAMERAS = 16
# Both see much that a usual clip never showed, and the second one sees the first one's view again.
DEFAULT_PATHS = "pan_left 35\nsweep 35"
assert MAX_CAMERAS <= MAX_PATHS

PATHS_INPUT = io.String.Input(
    "paths",
    default=DEFAULT_PATHS,
    multiline=True,
    tooltip="The camera paths, one a line: a motion of Camera Trajectory and how far it goes, in "
    "degrees or pose units. '+' joins motions at the same time. After them may follow an easing, "
    "'returns' and 'speed 2'. Example: sweep 40 + tilt_down 4 linear. Not used where a camera is "
    "connected.",
)
_CAMERAS = io.Autogrow.Input(
    "cameras",
    optional=True,
    tooltip="Camera paths from other nodes, one turn each, instead of the words in paths. A free "
    "socket is always left.",
    template=io.Autogrow.TemplateNames(
        CameraSocket.Input("camera", optional=True, tooltip="The path of one turn."),
        names=[f"camera_{number}" for number in range(1, MAX_CAMERAS + 1)],
        min=1,
    ),
)
_MEMORY = [
    io.Int.Input(
        "k",
        default=3,
        min=0,
        max=64,
        tooltip="How many earlier turns a turn may see; 0 for none. Pinned turns are always seen, "
        "and they count.",
    ),
]
_SEED = io.Int.Input(
    "seed",
    default=0,
    min=0,
    max=MAX_SEED,
    # Another seed makes every turn again.
    control_after_generate=io.ControlAfterGenerate.fixed,
    tooltip="Noise of the first turn; the noise of each other turn follows from it. Another seed "
    "makes every turn again.",
)
_REDO = io.String.Input(
    "redo",
    default="",
    tooltip="Numbers of turns to make again with other noise, such as 2 or 1,3; empty for none. "
    "Each is made once per redo_seed, however often the graph runs, and stays when you empty this "
    "field.",
)
_STALE = io.Combo.Input(
    "stale",
    options=[KEEP_STALE, REDO_STALE],
    default=KEEP_STALE,
    tooltip="What to do with turns that saw the old result of a turn that was made again: keep "
    "them and say so in the report, or make them again.",
)
_SIZE = io.Combo.Input(
    "size",
    options=[ORIGINAL_SIZE, MODEL_SIZE],
    default=ORIGINAL_SIZE,
    tooltip="original: scale to the clip's size. model: keep the size of the turn.",
)
_SOCKETS = [
    _CAMERAS,
    CameraSocket.Input(
        "source_camera",
        optional=True,
        tooltip="The clip's own camera, from Import Camera Trajectory or Estimate Source Camera: "
        "one camera a frame. If it is not connected, the clip counts as filmed by a static camera.",
    ),
    io.Conditioning.Input(
        "positive",
        optional=True,
        tooltip="The prompt. Leave it unconnected for a model that reads no prompt.",
    ),
    io.Conditioning.Input(
        "negative", optional=True, tooltip="The negative prompt. Not used at cfg 1."
    ),
    ADAPTER_INPUT,
    LOW_NOISE_INPUT,
]
_RARE = [
    *(each for each in REDO_INPUTS if each.id == "redo_seed"),
    io.Int.Input(
        "num_frames",
        default=0,
        min=0,
        max=2001,
        tooltip="How many frames of the clip the model sees, picked evenly. 0 uses the model's "
        "window: 9 for both novel_view models, 81 for Wan.",
    ),
    *(each for each in SPLIT_INPUTS if each.id in ("width", "height", "aspect")),
    io.Float.Input(
        "fov_deg",
        default=0.0,
        min=0.0,
        max=170.0,
        step=0.5,
        tooltip="Horizontal field of view of the paths in words, in degrees. 0 uses the model's "
        "lens: 60 for both novel_view models, 52.7 (24 mm) for others. Not used if source_camera "
        "is connected.",
    ),
    io.Float.Input(
        "radius",
        default=1.0,
        min=0.001,
        max=1000.0,
        step=0.001,
        tooltip="As in VideoFOV Retrieve: about the distance of what you film, in pose units. 4 "
        "fits novel_view_depth. It does not matter while cameras only rotate.",
    ),
    io.Combo.Input(
        "timing",
        options=[EVERY_FRAME, EDITED_FRAMES],
        default=EVERY_FRAME,
        tooltip="If frames were picked. every frame: as many as the clip, each re-shot frame "
        "repeated. edited frames: only those, at a lower rate that keeps the duration.",
    ),
    io.Int.Input(
        "crf",
        default=DEFAULT_CRF,
        min=0,
        max=51,
        tooltip="Quality of the H.264 files: 0 is lossless, 16 is visually almost lossless, 51 is "
        "worst.",
    ),
    *TOKEN_INPUTS,
    MEMORY_FRAMES_INPUT,
    *REUSE_INPUTS,
    FAST_ATTENTION_INPUT,
]


def _optional(inputs: Iterable[io.Input]) -> list[io.Input]:
    """The inputs as ones that a request may leave out."""
    given = [copy.copy(each) for each in inputs]
    for each in given:
        each.optional = True
    return given


def reshoot_inputs(session: io.Input, model: io.Input, vae: io.Input) -> list[io.Input]:
    """All inputs in their order."""
    steps, cfg, *solver = sampler_inputs(
        steps=12,
        steps_tooltip="Denoising steps of each turn; 12 for the built-in model.",
        cfg_tooltip="Strength of the prompt; 1 for the built-in model.",
    )
    rate, sound = rate_and_sound_of("images")
    usual = [session, *_MEMORY, _SEED, steps, cfg, _REDO, _STALE, _SIZE]
    return [
        model,
        vae,
        PATHS_INPUT,
        *VIDEO_INPUTS,
        *_SOCKETS,
        sound,
        *_optional(usual),
        *_optional(folded([*solver, *_RARE, rate])),
        WITHOUT_MEMORY_INPUT,
    ]

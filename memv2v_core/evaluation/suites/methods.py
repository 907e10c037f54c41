"""The methods of a suite, and what belongs to their videos."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...builtin.bundle import builtin_names
from ...tokens.budget import KERNELS
from ...tokens.merging import MAX_SHARE, MIN_SHARE
from ...tokens.reuse import AUTOMATIC
from ...vocabulary import MemoryOrder, UnresponsiveChoice

# What a turn sees beside the source. "previous": nothing, but its source is the turn before.
Arm = Literal["none", "previous", "memory"]
# How a long clip is edited: segment by segment without memory, by FIFO-Diffusion, or with memory.
LongArm = Literal["independent", "fifo", "memory"]


def _require_counts(config: object, **least: int) -> None:
    """Raise ValueError naming a number below its least value; None is no number."""
    for name, lowest in least.items():
        value = getattr(config, name)
        if value is not None and value < lowest:
            raise ValueError(f"{name} got {value}, wanted at least {lowest}; raise it")


def _require_builtin(name: str, task: str) -> None:
    """Raise ValueError for a model that is not there or has another task."""
    fitting = builtin_names(task)
    if name not in fitting:
        other = ", which has another task" if name in builtin_names() else ""
        raise ValueError(f"builtin got {name!r}{other}, wanted one of {', '.join(fitting)}")


# A stored number of as many bits is the one that was made.
_WHOLE_BITS = 16


@dataclass(frozen=True)
class MadeConfig:
    """How a built-in model makes the turns of a method, of the suite's scenes.

    arm: "none" is the model turn by turn (k = 0, equal to the base); "previous" edits the turn
    before, as an autoregressive use of the base does; "memory" retrieves earlier turns.
    k: most memories a turn. unresponsive, share: as in Dynamic Tokenize. num_top, top_kernel,
    rest_kernel: kernels by rank. memory_frames: latent frames of each memory that are seen, the
    best ones; 0 for all. refresh_every: as in Dynamic Tokenize.
    steps: the model's if not given. builtin: the model.

    For measurements of open questions: pose_noise_deg turns each stored camera about a random axis
    by an angle of this standard deviation, before VideoFOV compares it. recency weighs the score of
    a memory of age a (1 for the turn before) by recency^(a - 1), so 1 leaves it as it is.
    stored_bits: of each number of a stored memory; 16 stores it as it is.
    strength: of memory, see `tokens.budget.TokenPlan`.
    """

    arm: Arm = "memory"
    k: int = 3
    unresponsive: UnresponsiveChoice = "keep"
    share: float = 0.0
    num_top: int = 3
    top_kernel: int = 4
    rest_kernel: int = 8
    memory_frames: int = 0
    refresh_every: int = AUTOMATIC
    steps: int | None = None
    builtin: str = "novel_view"
    pose_noise_deg: float = 0.0
    recency: float = 1.0
    strength: float = 1.0
    stored_bits: int = 16

    def __post_init__(self) -> None:
        _require_counts(self, k=0, num_top=0, memory_frames=0, refresh_every=0, steps=1)
        _require_builtin(self.builtin, "novel_view")
        if self.unresponsive != "keep" and self.share and not MIN_SHARE <= self.share <= MAX_SHARE:
            raise ValueError(
                f"share got {self.share:g}, wanted 0 for automatic or {MIN_SHARE} to {MAX_SHARE}"
            )
        for name in ("top_kernel", "rest_kernel"):
            if getattr(self, name) not in KERNELS:
                raise ValueError(f"{name} got {getattr(self, name)}, wanted one of {KERNELS}")
        if self.pose_noise_deg < 0:
            raise ValueError(f"pose_noise_deg got {self.pose_noise_deg:g}, wanted 0 or more")
        if not 0 < self.recency <= 1:
            raise ValueError(f"recency got {self.recency:g}, wanted more than 0 and at most 1")
        if not 2 <= self.stored_bits <= _WHOLE_BITS:
            raise ValueError(
                f"stored_bits got {self.stored_bits}, wanted 2 to {_WHOLE_BITS}; correct it"
            )
        if self.strength < 0:
            raise ValueError(f"strength got {self.strength:g}, wanted 0 or more")


@dataclass(frozen=True)
class EditedConfig:
    """How a built-in editor edits the suite's long clips.

    arm: see `LongArm`. k: most memories a segment. shot_aware: whether memories of other shots are
    left out. recent_first: whether the segment before ranks first. order: of the memories' temporal
    indices (Fig. 16); the model's own if not given. unresponsive, memory_frames: as in Dynamic
    Tokenize. steps: the model's if not given. builtin: the model.
    """

    arm: LongArm = "memory"
    k: int = 4
    shot_aware: bool = True
    recent_first: bool = True
    order: MemoryOrder | None = None
    unresponsive: UnresponsiveChoice = "automatic"
    memory_frames: int = 0
    steps: int | None = None
    builtin: str = "text_edit"

    def __post_init__(self) -> None:
        _require_counts(self, k=0, memory_frames=0, steps=1)
        _require_builtin(self.builtin, "text_edit")
        if self.arm == "fifo" and self.steps is not None:
            raise ValueError(
                f"steps got {self.steps} for the arm fifo, whose queue has the model's steps; "
                "leave steps out"
            )


@dataclass(frozen=True)
class WorkflowConfig:
    """How a running ComfyUI makes the turns of a method, of the suite's sources.

    file: a workflow in API format (Export (API) in ComfyUI's menu); a relative one is meant from
    the suite's file. In its texts {clip} stands for the uploaded source, {previous} for the
    video of the turn before (the source in the first one), {cameras} for all paths, one a line,
    {camera} for the path of one turn, {turn} for its number, {instruction} for the text beside the
    source, {session} for a name that no other run has. An input that is "{seed}" alone becomes a
    number.
    With {camera}, {turn} or {previous} the workflow runs once a turn and saves one video; else it
    runs once and saves one video a turn, in their order.
    set: inputs that differ from the file, each as "NODE.INPUT = VALUE" with VALUE in JSON.
    nodes: numbers of the nodes that save, in the order of the turns; the one that saves, if not
    given.
    server: its address. timeout_s: most seconds a run may take.
    """

    file: Path
    set: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    server: str = "http://127.0.0.1:8188"
    timeout_s: float = 86_400.0


@dataclass(frozen=True)
class MethodConfig:
    """Videos of one method: made by anything, in a folder, or made by a model.

    name: in tables. folder: of its videos; a relative one is meant from the suite's file.
    file: how a video is named in it, with {clip}, {turn} and {seed}.
    made, edited, workflow: instead of a folder.
    """

    name: str
    folder: Path = Path()
    file: str = ""
    made: MadeConfig | None = None
    edited: EditedConfig | None = None
    workflow: WorkflowConfig | None = None

    def __post_init__(self) -> None:
        ways = {"made": self.made, "edited": self.edited, "workflow": self.workflow}
        given = [repr(name) for name, config in ways.items() if config is not None]
        if len(given) > 1:
            raise ValueError(
                f"the method {self.name!r} got {' and '.join(given)}, wanted one; leave the others "
                "out"
            )


@dataclass(frozen=True)
class FitConfig:
    """The shape to which every video is brought; without it videos are scored as they are.

    num_frames: the first ones are kept. height, width: pixels, resized with antialiasing.
    """

    num_frames: int
    height: int
    width: int

    def __post_init__(self) -> None:
        for name in ("num_frames", "height", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} got {getattr(self, name)}, wanted at least 1; raise it")


@dataclass(frozen=True)
class CameraConfig:
    """The paths that were asked for, in the words of Re-shoot Video: one a turn.

    "file NAME CAMERA" stands for a camera file in any format that Import Camera Trajectory reads,
    and for a path of it where it has several; its own lens counts, and it is spread over the video.
    source: of the source clips. fov_deg: horizontal field of view of all.
    """

    turns: tuple[str, ...]
    source: str = "static"
    fov_deg: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.fov_deg < 180:
            raise ValueError(
                f"fov_deg got {self.fov_deg:g}, wanted more than 0 and less than 180 degrees"
            )

"""Frozen configurations of a training run, read from YAML; unknown keys are errors."""

import dataclasses
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import yaml

from ..builtin.info import DitConfig
from ..model.adapter import AdapterConfig
from ..synthetic.edits import TRAINED_KINDS, EditKind
from ..synthetic.panoramas import SceneConfig
from ..synthetic.worlds import WorldConfig
from ..vocabulary import CleanTimestep, Task

# What clean tokens are told by every model that is trained here.
CLEAN_TIMESTEP: CleanTimestep = "zero"


@dataclass(frozen=True)
class ModelConfig(DitConfig):
    """Sizes of the DiT, whether its adapter has cameras, and rays beside poses (departs from the
    paper), and whether a text encoder as wide as `text_dim` is trained with it.
    """

    has_rays: bool = True
    has_cameras: bool = True
    has_text: bool = False

    @property
    def adapter(self) -> AdapterConfig:
        """The adapter that is trained with the DiT."""
        return AdapterConfig(
            self.dim,
            self.num_layers,
            self.in_channels,
            has_rays=self.has_rays and self.has_cameras,
            clean_timestep=CLEAN_TIMESTEP,
            has_cameras=self.has_cameras,
            has_keyframe=self.has_source_channels,
        )


@dataclass(frozen=True)
class DataConfig:
    """Examples: pixel size, frames of a full video, and what a step draws.

    Steps may draw a few frames of every video, each with its true temporal index: frames of one
    video look alike, so more scenes of fewer frames teach more.
    """

    size: int = 128
    num_frames: int = 9
    target_frames: int = 4
    source_frames: int = 3
    memory_frames: int = 3
    num_scenes: int = 2000
    first_scenes: int = 160
    memory_counts: tuple[float, ...] = (0.25, 0.5, 0.25)
    irrelevant_share: float = 0.15
    memory_noise: float = 0.3
    drop_source: float = 0.05
    single_kernel_share: float = 0.5
    merge_probability: float = 0.5
    scenes: SceneConfig = field(default_factory=SceneConfig)


@dataclass(frozen=True)
class EditDataConfig:
    """Examples of the second task: segments of rendered clips, before and after an edit.

    kinds: of edits. memory_counts: shares of steps with 0, 1, 2 ... memories. previous_share: of
    the steps with memory, those whose first memory is the segment before the target.
    irrelevant_share: of the memories, those of another shot, with the same instruction and another
    answer. fault_share: of the memories of hats, those whose hat is faint and mixed with another,
    as a model may have drawn it. own_share: of the steps with memory, those whose memories the
    model draws itself. named_share: of new colours and hats, those that the instruction names.
    empty_share: of the rows, those with the empty prompt, which asks for no change. away_share: of
    the clips, those whose edited object leaves and returns. edit_weight: of the error where the
    edit changes a latent or one next to it, against 1.
    """

    size: int = 96
    num_frames: int = 9
    target_frames: int = 4
    memory_frames: int = 3
    num_canvases: int = 600
    first_canvases: int = 100
    num_segments: int = 12
    kinds: tuple[EditKind, ...] = TRAINED_KINDS
    memory_counts: tuple[float, ...] = (0.25, 0.3, 0.25, 0.1, 0.1)
    previous_share: float = 0.8
    irrelevant_share: float = 0.15
    memory_noise: float = 0.3
    fault_share: float = 0.0
    own_share: float = 0.0
    named_share: float = 0.25
    empty_share: float = 0.03
    away_share: float = 0.3
    edit_weight: float = 4.0
    single_kernel_share: float = 0.5
    merge_probability: float = 0.5
    worlds: WorldConfig = field(default_factory=WorldConfig)


@dataclass(frozen=True)
class OptimConfig:
    """Optimiser and schedule; progress is measured in `seconds` of training, summed over resumed
    sessions, or in `steps` where that is given (a busy machine then changes nothing).

    A share `full_frames_share` of the steps draws whole clips, and every step after the part
    `full_frames_from`.
    has_bfloat16: matrices are multiplied in bfloat16, for processors with units for it; weights
    stay in fp32.
    """

    batch_size: int = 8
    seconds: float = 5400.0
    steps: int | None = None
    muon_lr: float = 0.02
    adam_lr: float = 2e-3
    weight_decay: float = 0.01
    warmup_steps: int = 100
    cooldown: float = 0.4
    ema: float = 0.998
    clip: float = 1.0
    shift: float = 3.0
    checkpoint_seconds: float = 300.0
    full_frames_share: float = 0.0
    full_frames_from: float = 0.85
    has_bfloat16: bool = False


@dataclass(frozen=True)
class Phase:
    """How a run begins or ends, with other examples and another optimisation. `optim.seconds`
    counts from the run's beginning, so a phase ends where they are reached."""

    edits: EditDataConfig = field(default_factory=EditDataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)


@dataclass(frozen=True)
class TrainConfig:
    """One run: the task, the model, its data, the optimiser, seconds for the codec, and the seed of
    everything random.

    Of `data` and `edits`, the task's own is read. first, last: how the run begins and ends, if
    otherwise.
    """

    task: Task = "novel_view"
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    edits: EditDataConfig = field(default_factory=EditDataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    codec_seconds: float = 2400.0
    seed: int = 0
    first: Phase | None = None
    last: Phase | None = None

    @property
    def phases(self) -> tuple["TrainConfig", ...]:
        """The run as configurations to train one after another."""
        rest = replace(self, first=None, last=None)
        parts = (self.first, self, self.last)
        return tuple(
            replace(rest, edits=part.edits, optim=part.optim) for part in parts if part is not None
        )


def load_config(path: Path) -> TrainConfig:
    """The configuration in a YAML file.

    Raises: ValueError for a key that no configuration has.
    """
    return _build(TrainConfig, yaml.safe_load(path.read_text(encoding="utf-8")) or {}, path.name)


def _build(kind: type, values: dict[str, Any], where: str) -> Any:
    fields = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ValueError(
            f"{where} got the key {unknown[0]!r}, wanted one of {sorted(fields)}; correct its "
            "spelling"
        )
    arguments = {}
    for name, value in values.items():
        possible = (fields[name].type, *get_args(fields[name].type))  # T, or T | None
        nested = next(
            (t for t in possible if isinstance(t, type) and dataclasses.is_dataclass(t)), None
        )
        arguments[name] = (
            _as_tuple(value) if nested is None else _build(nested, value, f"{where}: {name}")
        )
    return kind(**arguments)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

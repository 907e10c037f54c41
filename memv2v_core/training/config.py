"""Frozen configurations of a training run, read from YAML.

Unknown keys are errors.
"""

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

# Which timestep clean tokens get in every model that is trained here.
CLEAN_TIMESTEP: CleanTimestep = "zero"


@dataclass(frozen=True)
class ModelConfig(DitConfig):
    """Sizes of the DiT and its helpers.

    has_rays: per-token rays beside poses (departs from the paper).
    has_cameras: whether its adapter has cameras.
    has_text: whether a text encoder, as wide as `text_dim`, is trained with it.
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
    """Examples of the first task, and what one step draws.

    size: pixels per side. num_frames: frames of a whole video.
    target_frames, source_frames, memory_frames: how many frames of each video a step draws, each
    with its true temporal index. Frames of one video look alike, so more scenes with fewer frames
    teach more.
    num_scenes, first_scenes: size of the pool of scenes, when full and at the start.
    memory_counts: shares of steps with 0, 1, 2 ... memories.
    irrelevant_share: share of memories that show another scene.
    memory_noise: largest noise on memories (Eq. 15).
    drop_source: share of steps with memories that have no source.
    single_kernel_share: share of steps whose memories all have one kernel.
    merge_probability: share of steps that merge.
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

    kinds: of edits.
    memory_counts: shares of steps with 0, 1, 2 ... memories.
    previous_share: share of steps with memory whose first memory is the segment before the target.
    irrelevant_share: share of memories from another shot, with the same instruction and another
    answer.
    fault_share: share of memories of hats with a faint hat that is mixed with another, as a model
    may have drawn it.
    own_share: share of steps with memory in which the model draws the memories itself.
    named_share: share of new colours and hats that the instruction names.
    empty_share: share of rows with the empty prompt, which asks for no change.
    away_share: share of clips whose edited object leaves and returns.
    edit_weight: weight of the error where the edit changes a latent or one next to it; elsewhere 1.
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
    """Optimiser and schedule.

    seconds: length of the training, summed over resumed sessions.
    steps: its length in steps; where given it replaces `seconds`, so that a busy machine changes
    nothing.
    full_frames_share: share of steps that draw whole clips.
    full_frames_from: progress after which every step draws whole clips.
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
    """The beginning or the end of a run, with other examples and another optimisation.

    `optim.seconds` counts from the start of the run: the phase ends when they are reached.
    """

    edits: EditDataConfig = field(default_factory=EditDataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)


@dataclass(frozen=True)
class TrainConfig:
    """One run.

    task: the run reads `data` for novel_view and `edits` for text_edit.
    codec_seconds: time for training the codec. seed: of everything random.
    first, last: the beginning and the end of the run, where they differ.
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
        """The run as configurations that are trained one after another."""
        # A phase has no phases of its own.
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
        # The type of a field is T, or T | None.
        possible = (fields[name].type, *get_args(fields[name].type))
        # A field that is a configuration itself is built from nested keys.
        nested = next(
            (t for t in possible if isinstance(t, type) and dataclasses.is_dataclass(t)), None
        )
        arguments[name] = (
            _as_tuple(value) if nested is None else _build(nested, value, f"{where}: {name}")
        )
    return kind(**arguments)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

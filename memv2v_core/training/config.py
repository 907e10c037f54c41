"""Frozen configurations of a training run, read from YAML; unknown keys are errors."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..builtin.bundle import DitConfig
from .scenes import SceneConfig


@dataclass(frozen=True)
class ModelConfig(DitConfig):
    """Sizes of the DiT, and whether its adapter has rays beside poses (departs from the paper)."""

    has_rays: bool = True


@dataclass(frozen=True)
class DataConfig:
    """Examples: pixel size, frames of a full video, and what a step draws.

    Steps may draw a few frames of every video, each with its true temporal index: frames of one video look alike,
    so more scenes of fewer frames teach more.
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
class OptimConfig:
    """Optimiser and schedule; progress is measured in `seconds` of training, summed over resumed sessions, or in
    `steps` where that is given (a busy machine then changes nothing).

    A share `full_frames_share` of the steps draws whole clips, and every step after the part `full_frames_from`.
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


@dataclass(frozen=True)
class TrainConfig:
    """One run: the model, its data, the optimiser, seconds for the codec, and the seed of everything random."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    codec_seconds: float = 2400.0
    seed: int = 0


def load_config(path: Path) -> TrainConfig:
    """The configuration in a YAML file.

    Raises: ValueError for a key that no configuration has.
    """
    return _build(TrainConfig, yaml.safe_load(path.read_text(encoding="utf-8")) or {}, path.name)


def _build(kind: type, values: dict[str, Any], where: str) -> Any:
    fields = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ValueError(f"{where} got the key {unknown[0]!r}, wanted one of {sorted(fields)}; correct its spelling")
    arguments = {}
    for name, value in values.items():
        nested = fields[name].type
        is_config = isinstance(nested, type) and dataclasses.is_dataclass(nested)
        arguments[name] = _build(nested, value, f"{where}: {name}") if is_config else _as_tuple(value)
    return kind(**arguments)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

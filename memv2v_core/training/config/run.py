"""One run, read from YAML. Unknown keys are errors."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...strict_yaml import build, load_yaml
from ...vocabulary import Task
from ..prepare.config import PrepareConfig
from ..prepare.extension import ExtensionConfig
from .data import PreparedConfig, ScenesConfig, WorldsConfig
from .model import AdapterOptions, BaseConfig
from .recipes import recipe_path, recipe_values
from .trained import KeepConfig, OptimConfig, TrainedConfig


@dataclass(frozen=True)
class Phase:
    """The beginning or the end of a run, with other examples and another optimisation.

    `optim.minutes` or `optim.steps` count from the start of the run: the phase ends when they are
    reached.
    """

    optim: OptimConfig
    worlds: WorldsConfig | None = None


@dataclass(frozen=True)
class TrainConfig:
    """One run.

    scenes, worlds, prepared: the examples; one of them is given.
    prepare, extend: how the prepared folder is made, and how edited clips are lengthened before;
    the command `prepare` reads them.
    codec_minutes: time for training the codec of a new model. decoder_minutes: time for training on
    the decoder of the built-in model that a run begins with, whose encoder stays.
    seed: of everything random.
    first, last: the beginning and the end of the run, where they differ.
    """

    task: Task
    base: BaseConfig
    trained: TrainedConfig
    optim: OptimConfig
    adapter: AdapterOptions = AdapterOptions()
    scenes: ScenesConfig | None = None
    worlds: WorldsConfig | None = None
    prepared: PreparedConfig | None = None
    keep: KeepConfig = field(default_factory=KeepConfig)
    prepare: PrepareConfig | None = None
    extend: ExtensionConfig | None = None
    codec_minutes: float = 40.0
    decoder_minutes: float = 0.0
    seed: int = 0
    first: Phase | None = None
    last: Phase | None = None

    def __post_init__(self) -> None:
        given = [
            name for name in ("scenes", "worlds", "prepared") if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise ValueError(
                f"examples got {' and '.join(given) or 'none'}, wanted one of scenes, worlds and "
                "prepared; give that one"
            )
        for phase in (self, self.first, self.last):
            if phase is None or phase.worlds is None:
                continue
            own_share, workers = phase.worlds.own_share, phase.optim.draw_workers
            if own_share > 0 and workers:
                raise ValueError(
                    f"draw_workers got {workers} with own_share {own_share}, "
                    "wanted one of them to be 0: only the process that trains the model can draw "
                    "memories with it"
                )
        wrong = {"scenes": "text_edit", "worlds": "novel_view"}.get(given[0])
        if wrong == self.task:
            raise ValueError(
                f"task got {self.task} with {given[0]}, which belong to the other task"
            )
        self._check_codec()

    def _check_codec(self) -> None:
        for name in ("codec_minutes", "decoder_minutes"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} got {getattr(self, name)}, wanted 0 or more")
        # Published models have a VAE of their own, which no run trains.
        if self.decoder_minutes and self.base.kind != "new":
            raise ValueError(
                f"decoder_minutes got {self.decoder_minutes} with base.kind {self.base.kind}, "
                "wanted 0: only a new model has a decoder to train; set decoder_minutes to 0"
            )

    @property
    def phases(self) -> tuple["TrainConfig", ...]:
        """The run as configurations that are trained one after another."""
        # A phase has no phases of its own.
        rest = replace(self, first=None, last=None)
        before = [] if self.first is None else [_phase(rest, self.first)]
        after = [] if self.last is None else [_phase(rest, self.last)]
        return (*before, rest, *after)


def _phase(config: TrainConfig, phase: Phase) -> TrainConfig:
    return replace(config, optim=phase.optim, worlds=phase.worlds or config.worlds)


def load_config(path: Path) -> TrainConfig:
    """The run in a YAML file; a bare name is one of the shipped recipes.

    Raises: ValueError naming the file, and the place of a key or value that is wrong.
    """
    return load_yaml(TrainConfig, recipe_path(path))


def changed_config(path: Path, changes: Sequence[str]) -> TrainConfig:
    """The run in a YAML file with changes such as `optim.steps=100`.

    Raises: ValueError as `load_config`, and for a change that is no KEY=VALUE.
    """
    return build(TrainConfig, recipe_values(path, changes), recipe_path(path).name)

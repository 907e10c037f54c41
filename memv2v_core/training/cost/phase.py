"""The cost of one phase of a run, as numbers."""

from dataclasses import dataclass

from ..config.run import TrainConfig
from .activations import Activations, counted_activations
from .clips import Clips, clips_of
from .compute import Work, Works, works_of
from .memory import State, Way, Weights, gpu_bytes, is_possible, state_of, weights_of
from .planned_model import planned_model

TERA, GIB = 1e12, 2**30


@dataclass(frozen=True)
class Machine:
    """GPUs to train on. tflops: of one GPU as it is used, per second. gib: its memory."""

    gpus: int = 8
    tflops: float = 400.0
    gib: float = 80.0

    def __post_init__(self) -> None:
        for name, value in (("gpus", self.gpus), ("tflops", self.tflops), ("gb", self.gib)):
            if value <= 0:
                raise ValueError(f"{name} got {value}, wanted more than 0; correct it")


@dataclass(frozen=True)
class Fleet:
    """A number of GPUs that train together in one way."""

    way: Way
    gpus: int

    @property
    def title(self) -> str:
        return self.way if self.gpus == 1 else f"{self.way} on {self.gpus}"


@dataclass(frozen=True)
class PhaseCost:
    """The cost of a phase.

    origin: where the model's sizes come from, in words.
    """

    config: TrainConfig
    clips: Clips
    works: tuple[Works, ...]
    weights: Weights
    activations: Activations
    origin: str

    def fleets(self, gpus: int) -> tuple[Fleet, ...]:
        """One GPU, and the ways in which `gpus` GPUs can train this recipe."""
        fleets = [Fleet("one GPU", 1)]
        if gpus > 1 and divides(self.works, gpus):
            fleets += [Fleet("DDP", gpus), Fleet("FSDP2", gpus)]
        return tuple(each for each in fleets if is_possible(self.config, self.weights, each.way))

    def state(self, fleet: Fleet) -> State:
        """What stays on each GPU between steps."""
        num_blocks = self.activations.num_blocks
        return state_of(self.config, self.weights, fleet.way, fleet.gpus, num_blocks)

    def rows_at_once(self, kind: Works, gpus: int = 1) -> int:
        """Rows of one forward pass of one GPU."""
        return min(self.config.optim.rows_at_once, -(-kind.rows // gpus))

    def activation_bytes(self, kind: Works, work: Work, gpus: int = 1) -> float:
        """Activations of one GPU at the fullest moment of a draw."""
        return self.activations.peak(work.tokens * self.rows_at_once(kind, gpus))

    def bytes_on(self, fleet: Fleet, kind: Works, work: Work) -> float:
        """Memory of each GPU at the fullest moment of a draw."""
        return gpu_bytes(self.state(fleet), self.activation_bytes(kind, work, fleet.gpus))


def phase_cost(config: TrainConfig) -> PhaseCost:
    """The cost of one phase, counted on the device meta.

    Raises: ValueError for a recipe whose base or clips have no known size.
    """
    planned = planned_model(config)
    model = planned.model
    clips = clips_of(config, model.base_info.ratios)
    return PhaseCost(
        config,
        clips,
        works_of(config, model, clips),
        weights_of(config, planned),
        counted_activations(config, clips.whole, len(model.blocks)),
        planned.origin,
    )


def divides(works: tuple[Works, ...], gpus: int) -> bool:
    """Whether every step's rows can be shared evenly."""
    return all(kind.rows % gpus == 0 for kind in works)

"""A suite that measures inside a model: no videos, but rows and columns as in any table."""

from dataclasses import dataclass
from typing import Literal

ProbeName = Literal["responsiveness", "cost"]
# Published bases; their weights are random, since only cost is measured.
PublishedNetwork = Literal["wan2.1-1.3b"]
Spread = Literal["interval", "deviation"]


@dataclass(frozen=True)
class ResponsivenessConfig:
    """Table 1: whether later blocks also ignore a frame that one block ignores.

    num_scenes: held-out scenes, one value each. builtin: the model.
    rotated_keys: whether queries and keys are compared after RoPE; the paper does not say.
    """

    num_scenes: int = 16
    builtin: str = "novel_view"
    rotated_keys: bool = False

    def __post_init__(self) -> None:
        if self.num_scenes < 1:
            raise ValueError(f"num_scenes got {self.num_scenes}, wanted at least 1; raise it")


@dataclass(frozen=True)
class CostConfig:
    """Figs. 9 and 17: FLOPs and time of one forward against the number of memories.

    memories: numbers of memories. num_repeats: timed forwards of each, in turns.
    share: of the frames that each merging block merges.
    builtin: the model, if `network` is not given. network: a published base, with random weights.
    latent: (T, h, w) of the published base's videos.
    is_timed: False counts FLOPs and tokens alone, at any size on any machine.
    """

    memories: tuple[int, ...] = (0, 1, 3, 6, 10)
    num_repeats: int = 5
    share: float = 0.5
    builtin: str = "novel_view"
    network: PublishedNetwork | None = None
    latent: tuple[int, int, int] = (21, 60, 104)
    is_timed: bool = True

    def __post_init__(self) -> None:
        if (
            not self.memories
            or min(self.memories) < 0
            or sorted({*self.memories}) != [*self.memories]
        ):
            raise ValueError(
                f"memories got {list(self.memories)}, wanted numbers from 0 on, rising, each once"
            )
        if self.num_repeats < 1:
            raise ValueError(f"num_repeats got {self.num_repeats}, wanted at least 1; raise it")
        if min(self.latent) < 1 or self.latent[1] % 2 or self.latent[2] % 2:
            raise ValueError(
                f"latent got {list(self.latent)}, wanted positive frames and even rows and columns"
            )


@dataclass(frozen=True)
class ProbeSuite:
    """What is measured. The configuration of the other probe is not used.

    spread: how tables show that values differ: their 95 % interval, or their standard deviation.
    """

    probe: ProbeName
    name: str = ""
    responsiveness: ResponsivenessConfig = ResponsivenessConfig()
    cost: CostConfig = CostConfig()
    spread: Spread = "interval"

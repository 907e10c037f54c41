"""How many tokens each retrieved video gets.

Source: Sec. 3.3, arXiv:2601.16296v2.
"""

import math
from dataclasses import dataclass, field, replace

from ..cache.entry import MemoryEntry
from ..retrieval.selection import Retrieval
from ..vocabulary import CameraChoice, MemoryRange, Pool, TurnMode, UnresponsiveChoice
from .merging import MAX_SHARE, MIN_SHARE, MergeConfig, share_for
from .reuse import ReuseConfig
from .tokenizers import BASE_KERNEL

# Sec. 3.3: the top three memories get finer tokens.
NUM_TOP_RANKS = 3
# All tokenizers: 1x2x2, 1x4x4 and 1x8x8.
KERNELS = (2, 4, 8)


@dataclass(frozen=True)
class BudgetConfig:
    """Kernels by rank: the first `num_top` memories get `top_kernel`, the others `rest_kernel`.

    The segment before the target gets `previous_kernel` and counts for no rank. Our choice: the
    paper is silent.

    Raises: ValueError for a kernel that has no tokenizer.
    """

    num_top: int = NUM_TOP_RANKS
    top_kernel: int = 4
    rest_kernel: int = 8
    previous_kernel: int = BASE_KERNEL

    def __post_init__(self) -> None:
        for name in ("top_kernel", "rest_kernel", "previous_kernel"):
            if getattr(self, name) not in KERNELS:
                raise ValueError(
                    f"{name} got {getattr(self, name)}, wanted one of {KERNELS}; choose a trained "
                    "tokenizer"
                )


@dataclass(frozen=True, eq=False)
class TokenPlan:
    """Retrieved memories, the kernel of each, and how the DiT treats their tokens.

    kernels: one per ranked entry.
    merging: None leaves every frame whole. Read it through `merging_for`.
    memory_range: see `positions`.
    camera_conditioning: Eq. 17 or Eq. 16, see `MemoryInputs`, or as the base was trained.
    is_automatic: only weights that were trained to merge do so, see `merging_for`.
    memory_frames: how many latent frames of each memory the DiT sees, the best ones (see
    `retrieval.frames`); 0 is the whole video. Our choice.
    reuse: how often clean tokens are computed anew. Our choice.
    strength: of memory. A step goes from the turn without memories to the turn with them by this
    factor: 0 is the first, 1 the second, and more insists on memory. Our choice. But for 1 it costs
    one more forward a step, without memories.
    """

    retrieval: Retrieval
    kernels: tuple[int, ...]
    merging: MergeConfig | None = None
    memory_range: MemoryRange = "own"
    camera_conditioning: CameraChoice = "as_trained"
    is_automatic: bool = False
    memory_frames: int = 0
    reuse: ReuseConfig = field(default_factory=ReuseConfig)
    strength: float = 1.0

    @property
    def is_blended(self) -> bool:
        """Whether each step needs the turn without memories too."""
        return self.strength != 1 and bool(self.kernels)

    def without_memories(self) -> "TokenPlan":
        """The same plan where nothing was retrieved: how videos are conditioned stays."""
        nothing = Retrieval(self.retrieval.query, ())
        return replace(self, retrieval=nothing, kernels=(), merging=None)

    def frames_of(self, entry: MemoryEntry) -> int:
        """How many latent frames of this memory the DiT sees."""
        count = entry.num_latent_frames
        return min(self.memory_frames, count) if self.memory_frames else count

    def merging_for(self, mode: TurnMode) -> MergeConfig | None:
        """How a base of this mode treats unresponsive frames.

        Our choice: without memories nothing is merged, so that k = 0 is the base itself. An
        automatic plan keeps every frame in training-free mode: merging would average frames, and
        such weights never learnt to read averages.
        """
        if not self.kernels or (self.is_automatic and mode == "training-free"):
            return None
        return self.merging

    def describe(self, mode: TurnMode | None = None) -> str:
        """Kernels and merging in words.

        mode: the mode of the base, where it is known.
        """
        if not self.kernels:
            return "no memory; nothing merged"
        names = ", ".join(f"1x{kernel}x{kernel}" for kernel in self.kernels)
        text = f"memories by rank: {names}"
        if self.memory_frames:
            text += f", the best {self.memory_frames} latent frames of each"
        if self.is_blended:
            text += f", at strength {self.strength:g} (one more call without memories a step)"
        merging = self.merging if mode is None else self.merging_for(mode)
        if merging is None:
            return f"{text}; nothing merged"
        pool = "source and memory frames" if merging.pool == "conditioning" else "memory frames"
        text += f"; {merging.unresponsive} {merging.share:.0%} of the {pool}, twice"
        # Without a mode, an automatic plan is not decided yet.
        is_open = self.is_automatic and mode is None
        return f"{text}, if the model's memory is trained" if is_open else text


def plan_tokens(
    retrieval: Retrieval,
    config: BudgetConfig | None = None,
    unresponsive: UnresponsiveChoice = "automatic",
    share: float = 0.0,
    pool: Pool = "conditioning",
    memory_range: MemoryRange = "own",
    camera_conditioning: CameraChoice = "as_trained",
    memory_frames: int = 0,
    reuse: ReuseConfig | None = None,
    strength: float = 1.0,
) -> TokenPlan:
    """The plan for retrieved memories: kernels by rank, and the share of frames to merge.

    unresponsive: "automatic" merges where memory is trained, see `TokenPlan.merging_for`.
    share: 0 takes the share that suits the number of videos (`share_for`).
    memory_frames: 0 shows whole memories; n shows the best n latent frames of each.
    reuse: None takes what was measured for the base.
    strength: of memory, see `TokenPlan`.
    Without memories nothing is merged: an empty retrieval is the base itself.

    Raises: ValueError for a share outside the range of the training, and for a strength that is
    negative or no number.
    """
    if not 0 <= strength < math.inf:
        raise ValueError(
            f"strength got {strength:g}, wanted 0 or more: 0 is no memory, 1 the trained memory; "
            "correct it"
        )
    kernels = retrieval_kernels(retrieval, config or BudgetConfig())
    if unresponsive != "keep" and share != 0 and not MIN_SHARE <= share <= MAX_SHARE:
        raise ValueError(
            f"share got {share:g}, wanted 0 for automatic or {MIN_SHARE} to {MAX_SHARE}, the range "
            "of the paper's training; to merge nothing set unresponsive to keep"
        )
    # The plan does not know its base yet, so "automatic" is decided in `merging_for`.
    is_automatic = unresponsive == "automatic"
    merging = None
    if kernels and unresponsive != "keep":
        # The source counts as a conditioning video too, hence + 1.
        treatment = "merge" if unresponsive == "automatic" else unresponsive
        merging = MergeConfig(share or share_for(len(kernels) + 1), pool, treatment)
    return TokenPlan(
        retrieval,
        kernels,
        merging,
        memory_range,
        camera_conditioning,
        is_automatic,
        memory_frames,
        reuse or ReuseConfig(),
        strength,
    )


def kernels_by_rank(num_entries: int, config: BudgetConfig) -> tuple[int, ...]:
    """Kernel of every rank, best first.

    Source: Sec. 3.3, arXiv:2601.16296v2: 1x4x4 for the top three, 1x8x8 for the rest.
    """
    return tuple(
        config.top_kernel if rank < config.num_top else config.rest_kernel
        for rank in range(num_entries)
    )


def retrieval_kernels(retrieval: Retrieval, config: BudgetConfig) -> tuple[int, ...]:
    """Kernel of every ranked entry, by rank.

    The previous segment of a long video gets its own kernel and takes no rank.
    """
    # The previous segment takes no rank, so the others move up.
    by_rank = iter(
        kernels_by_rank(sum(not ranked.is_previous for ranked in retrieval.ranked), config)
    )
    return tuple(
        config.previous_kernel if ranked.is_previous else next(by_rank)
        for ranked in retrieval.ranked
    )

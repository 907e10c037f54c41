"""The arms of the held-out comparison: which turn is made with which memories.

Arms that are compared share one noise. No turn uses the noise of an earlier turn: that alone would
make turns agree. Turns are sampled as the nodes sample them (`sampling.sample`).

C channels, T latent frames, H rows and W columns of latents.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ...bases.base_info import BaseInfo
from ...builtin.bundle import Bundle
from ...builtin.sampler import BundleSampler
from ...cache.entry import MemoryEntry
from ...cache.memory_cache import MemoryCache
from ...retrieval.selection import RankedEntry, Retrieval
from ...sampling.entries import finished_entry
from ...sampling.sample import sample_turn
from ...sampling.turn import Turn, checked_turn
from ...synthetic.panoramas import FilmedView
from ...tokens.budget import BudgetConfig, plan_tokens
from ...vocabulary import UnresponsiveChoice
from ..held_out_seeds import held_out_generator
from .scenes import FIRST, OPPOSITE, SECOND, SWEEP, HeldOutScene

# Share of the frames merged before each of the two merging blocks. One half, the default, leaves a
# quarter of the frames whole in the end; 0.3 leaves half (0.7 squared).
MERGE_SHARE, HALF_IN_ALL_SHARE = 0.5, 0.3
# Every memory at the kernel of the fourth rank and later ones.
AS_RANK_4 = BudgetConfig(num_top=0)


@dataclass(frozen=True, eq=False)
class SceneTurns:
    """Makes turns in one held-out scene.

    source: the latent (C, T, H, W) of the scene's source.
    """

    bundle: Bundle
    base: BaseInfo
    scene: HeldOutScene
    source: torch.Tensor

    @classmethod
    def of(cls, bundle: Bundle, scene: HeldOutScene) -> "SceneTurns":
        source = bundle.codec.encode_frames(scene.source.frames)
        return cls(bundle, bundle.base_info(), scene, source)

    def encode(self, view: FilmedView) -> torch.Tensor:
        """The latent (C, T, H, W) of a true view."""
        return self.bundle.codec.encode_frames(view.frames)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """Frames (F, 3, H, W) in [0, 1], on the CPU."""
        return self.bundle.codec.decode_frames(latent)

    def memory(self, latent: torch.Tensor, view: FilmedView) -> MemoryEntry:
        """A latent as a memory, filmed along the path of `view`."""
        # As if this turn had been made along the path of `view`.
        turn = Turn(self.base, self.source, self.scene.source.path, view.path)
        return finished_entry(turn, latent, MemoryCache(), seed=0)

    def turn(
        self,
        view: FilmedView,
        memories: Sequence[MemoryEntry] = (),
        budget: BudgetConfig | None = None,
        unresponsive: UnresponsiveChoice = "keep",
        share: float = 0.0,
    ) -> Turn:
        """The turn along the path of `view` with these memories, best first."""
        # Memories are given best first, so their score does not matter.
        ranked = tuple(RankedEntry(entry, score=1.0) for entry in memories)
        plan = plan_tokens(Retrieval(view.path, ranked), budget, unresponsive, share)
        return checked_turn(self.base, self.source, plan, self.scene.source.path, view.path)

    def noise(self, purpose: int) -> torch.Tensor:
        """Noise (C, T, H, W) for one turn, always drawn on the CPU."""
        generator = held_out_generator(self.scene.index, purpose)
        return torch.randn(self.source.shape, generator=generator)

    def sample(self, turn: Turn, noise: torch.Tensor) -> torch.Tensor:
        """The finished latent (C, T, H, W) of a turn."""
        context = self.bundle.empty_context(1).to(self.source.device)
        return sample_turn(turn, BundleSampler(self.bundle, context, lambda _turn: noise))


@dataclass(frozen=True, eq=False)
class Arms:
    """Latents (C, T, H, W) of the main arms.

    first: turn 1, made without memory.
    second_none: turn 2 without memory. second_memory: with `first` as memory.
    second_truth: with the true view along the path of `first`. second_foreign: with a view of
    another scene.
    """

    first: torch.Tensor
    second_none: torch.Tensor
    second_memory: torch.Tensor
    second_truth: torch.Tensor
    second_foreign: torch.Tensor


@dataclass(frozen=True, eq=False)
class DetailArms:
    """Latents (C, T, H, W) of the other arms.

    second_rank_4: turn 2 with `first` at the fourth rank's kernel.
    second_merge, second_discard: with frames merged or discarded.
    second_merge_half: merged so that half of the frames are merged in the end.
    opposite: made without memory, like `first`.
    sweep_none, sweep_first, sweep_opposite, sweep_both: turn 3 without memory, with either of the
    two, with both.
    """

    second_rank_4: torch.Tensor
    second_merge: torch.Tensor
    second_merge_half: torch.Tensor
    second_discard: torch.Tensor
    opposite: torch.Tensor
    sweep_none: torch.Tensor
    sweep_first: torch.Tensor
    sweep_opposite: torch.Tensor
    sweep_both: torch.Tensor


def sample_arms(turns: SceneTurns) -> Arms:
    """The main arms of one scene."""
    scene, noise = turns.scene, turns.noise(SECOND)
    first = turns.sample(turns.turn(scene.first), turns.noise(FIRST))

    def second(*latents: torch.Tensor) -> torch.Tensor:
        memories = [turns.memory(latent, scene.first) for latent in latents]
        return turns.sample(turns.turn(scene.second, memories), noise)

    # All versions of turn 2 share one noise: only their memories differ.
    return Arms(
        first=first,
        second_none=second(),
        second_memory=second(first),
        second_truth=second(turns.encode(scene.first)),
        second_foreign=second(turns.encode(scene.foreign)),
    )


def sample_detail_arms(turns: SceneTurns, arms: Arms) -> DetailArms:
    """The other arms of the same scene."""
    scene = turns.scene
    opposite = turns.sample(turns.turn(scene.opposite), turns.noise(OPPOSITE))
    # The noise of turn 2 is the noise of the main arms, so that they can be compared.
    second_noise, sweep_noise = turns.noise(SECOND), turns.noise(SWEEP)
    first_memory, opposite_memory = sweep_memories(turns, arms.first, opposite)

    def second(
        budget: BudgetConfig | None = None,
        unresponsive: UnresponsiveChoice = "keep",
        share: float = MERGE_SHARE,
    ) -> torch.Tensor:
        turn = turns.turn(scene.second, (first_memory,), budget, unresponsive, share)
        return turns.sample(turn, second_noise)

    # Turn 3 with none, one or both memories, all from one noise.
    def sweep(*memories: MemoryEntry) -> torch.Tensor:
        return turns.sample(turns.turn(scene.sweep, memories), sweep_noise)

    return DetailArms(
        second_rank_4=second(AS_RANK_4),
        second_merge=second(unresponsive="merge"),
        second_merge_half=second(unresponsive="merge", share=HALF_IN_ALL_SHARE),
        second_discard=second(unresponsive="discard"),
        opposite=opposite,
        sweep_none=sweep(),
        sweep_first=sweep(first_memory),
        sweep_opposite=sweep(opposite_memory),
        sweep_both=sweep(first_memory, opposite_memory),
    )


def sweep_memories(
    turns: SceneTurns, first: torch.Tensor, opposite: torch.Tensor
) -> tuple[MemoryEntry, MemoryEntry]:
    """Both memories of turn 3, from their latents."""
    scene = turns.scene
    return turns.memory(first, scene.first), turns.memory(opposite, scene.opposite)

"""The turn of one run of Memory-V2V Sampler: made and remembered, or kept from an earlier run."""

from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from comfy.model_patcher import ModelPatcher

from ....memv2v_core.cache.entry import MemoryEntry
from ....memv2v_core.cache.memory_cache import MemoryCache
from ....memv2v_core.cache.storage import SavedSession
from ....memv2v_core.retrieval.segments import SegmentQuery
from ....memv2v_core.sampling.entries import finished_entry
from ....memv2v_core.sampling.reuse import ReuseReport, describe_reuse
from ....memv2v_core.sampling.sample import TurnSampler, sample_turn, sample_without_memory
from ....memv2v_core.sampling.turn import Turn
from ..live.run import LiveRun
from ..sessions.saving import remember, saved_or_kept
from .takes import in_place_of, kept_in, made_before, name_of
from .thumbnail import thumbnail


@dataclass(frozen=True, eq=False)
class TakenTurn:
    """A finished turn.

    latent: (C, T, H, W). name: number and id in words. reuse: how often clean tokens were computed
    anew, in words. notes: what saving had to say.
    """

    latent: torch.Tensor
    cache: MemoryCache
    name: str
    is_kept: bool
    reuse: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class TurnTaking:
    """What one run of the node has for its turn.

    reports: what the sampler tells of reused tokens.
    maker, recipe: see `MemoryEntry`; a turn of the same two is kept.
    """

    turn: Turn
    cache: MemoryCache
    model: ModelPatcher
    sampler: TurnSampler
    reports: list[ReuseReport]
    live: LiveRun
    segment: SegmentQuery | None
    maker: str
    recipe: str
    seed: int
    prompt: str

    def taken(self, also_without_memory: bool) -> TakenTurn:
        """The turn, kept or made, saved at once; then, if wanted, once more without memory."""
        kept = made_before(self.cache, self.maker, self.recipe)
        compares = also_without_memory and (kept is None or kept.lacks_comparison)
        # A page that shows the run that made the turn goes on showing it.
        with self.live if kept is None or compares else nullcontext():
            if kept is None:
                entry, saved = self._made()
            else:
                entry, saved = kept, kept_in(self.cache, kept)
                if compares:
                    self.live.finished(1, "kept", latent=kept.latent)
            reuse = describe_reuse(self.reports)
            if compares and entry.lacks_comparison:
                saved = self._compared(entry, saved)
        # A turn that the cache held already keeps its number there.
        same = (each for each in saved.cache.entries if each.entry_id == entry.entry_id)
        held = next(same, entry)
        name = name_of(held)
        if held.has_without_memory:
            name += ", also made without memory"
        return TakenTurn(entry.latent, saved.cache, name, kept is not None, reuse, saved.notices)

    @property
    def _is_segment(self) -> bool:
        # A turn with a segment is part of a long video, so a keyframe may lead it.
        return self.segment is not None

    def _made(self) -> tuple[MemoryEntry, SavedSession]:
        self.live.started(1, [memory.turn for memory in self.turn.memories])
        latent = sample_turn(self.turn, self.sampler, self._is_segment)
        entry = finished_entry(
            self.turn,
            latent,
            self.cache,
            seed=self.seed,
            prompt=self.prompt,
            thumbnail=thumbnail(self.model, latent),
            query=self.segment,
            recipe=self.recipe,
        )
        saved = remember(self.cache, in_place_of(self.cache, self.maker, entry))
        self.live.finished(1, "new", latent=latent)
        return entry, saved

    def _compared(self, entry: MemoryEntry, saved: SavedSession) -> SavedSession:
        """The cache whose turn also holds itself without memory, saved at once."""
        # The turn is finished: what goes wrong here must not take it away.
        try:
            if self.turn.source is None:
                raise ValueError(
                    "source is not connected, so nothing but noise would be left; connect VAE "
                    "Encode"
                )
            self.live.compares(1)
            plain = sample_without_memory(self.turn, self.sampler, self._is_segment)
            grown = saved.cache.with_content_of(entry.beside(plain))
        except ValueError as error:
            return replace(saved, notices=(*saved.notices, f"not made without memory: {error}"))
        again = saved_or_kept(grown)
        # A first save that failed says so; the second one knows better.
        first = saved.notices if saved.is_written else ()
        return replace(again, notices=tuple(dict.fromkeys((*first, *again.notices))))

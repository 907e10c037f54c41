"""Running a graph again: a turn that nothing changed stays, and a changed one replaces its own."""

from dataclasses import replace

import torch
from comfy.model_patcher import ModelPatcher

from ....memv2v_core.cache.entry import MemoryEntry
from ....memv2v_core.cache.memory_cache import MemoryCache
from ....memv2v_core.cache.storage import SavedSession
from ....memv2v_core.long_edit.settings import SamplerSettings
from ....memv2v_core.resuming.recipe import content_hash
from ....memv2v_core.retrieval.segments import SegmentQuery
from ....memv2v_core.sampling.turn import Turn
from ....memv2v_core.sampling.turn_parts import turn_parts
from ..sessions.saving import saved_or_kept
from .fingerprints import models_parts

KEPT = (
    "kept: nothing that decides this turn has changed since it was made; choose 'new take' to make "
    "another"
)


def turn_recipe(
    turn: Turn,
    model: ModelPatcher,
    low_noise_model: ModelPatcher | None,
    prompts: tuple[list | None, list | None],
    settings: SamplerSettings,
    segment: SegmentQuery | None,
) -> str:
    """Hash of everything that decides the turn's result, its memories included."""
    return content_hash(
        models_parts(model, low_noise_model),
        prompts,
        tuple(vars(settings).values()),
        turn_parts(turn),
        None if segment is None else tuple(vars(segment.segment).values()),
    )


def made_before(cache: MemoryCache, maker: str, recipe: str) -> MemoryEntry | None:
    """The sound turn that this maker made by this recipe; None where it must be made."""
    held = (entry for entry in cache.made_by(maker) if entry.recipe == recipe)
    return next((entry for entry in held if entry.problem() is None), None)


def kept_in(cache: MemoryCache, entry: MemoryEntry) -> SavedSession:
    """The cache in which a turn that was made before has its place again.

    Nothing is written, unless other turns of its maker go.
    """
    grown = cache.replacing(entry)
    return saved_or_kept(grown) if grown.forgotten else SavedSession(grown)


def in_place_of(cache: MemoryCache, maker: str, entry: MemoryEntry) -> MemoryEntry:
    """A new turn with its maker, and with number and pin of the turn that it replaces."""
    earlier = cache.made_by(maker)
    if not earlier:
        return replace(entry, maker=maker)
    is_pinned = entry.is_pinned or any(old.is_pinned for old in earlier)
    return replace(entry, maker=maker, turn=earlier[-1].turn, is_pinned=is_pinned)


def name_of(entry: MemoryEntry) -> str:
    """Number and short id of a turn, in words."""
    return f"turn {entry.turn} is {entry.entry_id[:8]}"


def finished_latent(latent: torch.Tensor) -> dict[str, torch.Tensor]:
    """A turn's latent (C, T, H, W) as a LATENT.

    Cloned: a node that changes the output in place must not change the memory.
    """
    return {"samples": latent.unsqueeze(0).clone()}

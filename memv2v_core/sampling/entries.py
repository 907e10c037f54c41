"""The cache entry of a finished turn."""

import time
from typing import NamedTuple

import torch

from ..cache.entry import MemoryEntry
from ..cache.memory_cache import MemoryCache
from ..cameras.trajectory import static_trajectory
from ..retrieval.segments import SegmentQuery
from ..shapes import num_latent_frames, padded_num_frames
from ..vocabulary import TurnMode
from .turn import Turn


class Thumbnail(NamedTuple):
    """Small pictures by which people recognise a turn.

    still: (h, w, 3) uint8. loop: the bytes (N,) uint8 of an animated WebP.
    """

    still: torch.Tensor
    loop: torch.Tensor | None = None


def require_fit(cache: MemoryCache, turn: Turn) -> None:
    """Raise ValueError unless the finished turn will fit into `cache`, before it is made."""
    channels, _, height, width = turn.latent_shape
    cache.require_fit(turn.base.model_name, (channels, height, width))


def finished_entry(
    turn: Turn,
    latent: torch.Tensor,
    cache: MemoryCache,
    *,
    seed: int,
    prompt: str = "",
    thumbnail: Thumbnail | None = None,
    mode: TurnMode | None = None,
    number: int | None = None,
    query: SegmentQuery | None = None,
    recipe: str = "",
    is_pinned: bool = False,
) -> MemoryEntry:
    """The entry of a finished turn, to append to `cache`.

    latent: (C, T, H, W) in the VAE's unnormalised space.
    mode: None takes the base's mode. number: from 1; None takes the next number of the cache.
    query: the segment of a long video that the turn edited.
    recipe: hash of everything else that decided the result.
    A base without cameras gets a static path, marked as assumed.

    Raises: ValueError when the result is not as long as the segment.
    """
    ratio = turn.base.ratios.temporal
    camera = turn.target_path
    if camera is None:
        # As many cameras as the VAE decodes frames.
        camera = static_trajectory((latent.shape[1] - 1) * ratio + 1, is_assumed=True)
    if query is not None:
        _require_segment_length(query, latent.shape[1], ratio)
    # The turn before this one is its parent.
    newest = cache.newest
    return MemoryEntry.of(
        latent=latent.detach().cpu(),
        camera=camera,
        model_name=turn.base.model_name,
        mode=mode or turn.base.mode,
        num_frames=camera.num_frames if query is None else query.segment.num_frames,
        turn=cache.next_turn if number is None else number,
        seed=seed,
        prompt=prompt,
        created_s=time.time(),
        source_latent=None if turn.source is None else turn.source.cpu(),
        source_descriptor=None if query is None else query.descriptor,
        descriptor_name="" if query is None else query.descriptor_name,
        parent_id=newest.entry_id if newest is not None else None,
        thumbnail=None if thumbnail is None else thumbnail.still,
        loop=None if thumbnail is None else thumbnail.loop,
        is_pinned=is_pinned,
        segment=None if query is None else query.segment,
        memory_ids=tuple(entry.entry_id for entry in turn.memories),
        memory_kernels=tuple(turn.kernels),
        recipe=recipe,
    )


def _require_segment_length(query: SegmentQuery, num_latent: int, ratio: int) -> None:
    count = query.segment.num_frames
    wanted = num_latent_frames(padded_num_frames(count, ratio), ratio)
    if num_latent != wanted:
        raise ValueError(
            f"segment got a result of {num_latent} latent frames, wanted {wanted} for the {count} "
            f"frames of segment {query.segment.idx + 1}; connect the frames of that very segment "
            "as source"
        )

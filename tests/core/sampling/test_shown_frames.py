"""Memories seen by their best frames, and videos that their numbers tell apart."""

from dataclasses import replace

import pytest
import torch

from memv2v_core.bases.base_info import BaseInfo
from memv2v_core.bases.bernini import BERNINI
from memv2v_core.bases.wan import WAN21
from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.retrieval.selection import RankedEntry, Retrieval
from memv2v_core.sampling.entries import finished_entry
from memv2v_core.sampling.turn import Turn
from memv2v_core.tokens.budget import BudgetConfig, TokenPlan, plan_tokens
from memv2v_core.tokens.tokenizers import BASE_KERNEL

NUM_LATENT = 4
NUMBERED, RANGED = BERNINI.info("a base"), WAN21.info("a base")


def latent(seed: int) -> torch.Tensor:
    return torch.randn(16, NUM_LATENT, 8, 8, generator=torch.Generator().manual_seed(seed))


def entry(base: BaseInfo, seed: int, source: torch.Tensor) -> MemoryEntry:
    return finished_entry(Turn(base, source), latent(seed), MemoryCache(), number=seed, seed=seed)


def turn_of(base: BaseInfo, num_memories: int, memory_frames: int = 0) -> Turn:
    """A turn with memories whose sources hold one frame of the turn's source, at place 2."""
    source, memories = latent(0), []
    for i in range(num_memories):
        other = latent(50 + i)
        other[:, 2] = source[:, 1]
        memories.append(RankedEntry(entry(base, 10 + i, other), 1 - i / 100))
    plan = plan_tokens(
        Retrieval(None, tuple(memories)),
        BudgetConfig(top_kernel=BASE_KERNEL, rest_kernel=BASE_KERNEL),
        memory_frames=memory_frames,
    )
    return Turn(base, source, plan=plan)


def inputs_of(turn: Turn):
    return turn.inputs(lambda x: x)


def test_numbers_follow_the_rank_and_every_video_begins_at_frame_zero() -> None:
    streams = inputs_of(turn_of(NUMBERED, 3)).streams
    assert [stream.role for stream in streams] == ["source", "memory", "memory", "memory"]
    assert [stream.source_id for stream in streams] == [1, 2, 3, 4]
    assert all(stream.frame_indices == (0, 1, 2, 3) for stream in streams)


def test_more_videos_than_training_saw_share_its_range() -> None:
    numbers = [stream.source_id for stream in inputs_of(turn_of(NUMBERED, 10)).streams]
    assert numbers == pytest.approx([1 + 4 * i / 10 for i in range(11)])


def test_without_a_source_memories_begin_at_one() -> None:
    turn = replace(turn_of(NUMBERED, 2), source=None)
    assert [stream.source_id for stream in inputs_of(turn).streams] == [1, 2]


def test_every_best_frame_is_a_reference_image_with_its_own_number() -> None:
    turn = turn_of(NUMBERED, 2, memory_frames=1)
    source, *images = inputs_of(turn).streams
    assert source.latent.shape[2] == NUM_LATENT
    assert [image.source_id for image in images] == [2, 3]
    for image, memory in zip(images, turn.memories, strict=True):
        assert image.frame_indices == (0,)
        # The frame that was edited from a frame of this turn's source.
        assert torch.equal(image.latent[0], memory.latent[:, 2:3])


def test_a_base_of_temporal_ranges_keeps_the_places_of_the_frames() -> None:
    turn = turn_of(RANGED, 1, memory_frames=2)
    _, memory = inputs_of(turn).streams
    assert memory.source_id is None
    places = tuple(index - 2 * NUM_LATENT for index in memory.frame_indices)
    assert len(places) == 2
    assert 2 in places
    assert torch.equal(memory.latent[0], turn.memories[0].latent[:, list(places)])


def test_fewer_frames_cost_fewer_tokens() -> None:
    whole, some = turn_of(NUMBERED, 3).plan, turn_of(NUMBERED, 3, memory_frames=2).plan
    assert isinstance(whole, TokenPlan)
    assert isinstance(some, TokenPlan)
    memory = turn_of(NUMBERED, 3).memories[0]
    assert (whole.frames_of(memory), some.frames_of(memory)) == (NUM_LATENT, 2)
    assert "the best 2 latent frames of each" in some.describe("training-free")


def test_more_frames_than_a_memory_has_show_it_whole() -> None:
    streams = inputs_of(turn_of(NUMBERED, 1, memory_frames=9)).streams
    assert [stream.latent.shape[2] for stream in streams] == [NUM_LATENT, NUM_LATENT]

"""Retrieval with wrong cameras, or with scores that fade: known answers."""

import pytest
import torch

from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cameras.trajectory import lens_intrinsics
from memv2v_core.evaluation.making.disturbances import quantised, retrieve_disturbed
from memv2v_core.evaluation.suites.methods import MadeConfig
from memv2v_core.retrieval.selection import retrieve_by_fov
from memv2v_core.synthetic.panoramas import rotation_path

FRAMES, FOV_DEG = 5, 60.0


def path(pan_deg: float):
    turns = torch.zeros(FRAMES, 3)
    turns[:, 0] = pan_deg
    return rotation_path(turns, FOV_DEG)


@pytest.fixture
def cache() -> MemoryCache:
    """Turn 1 looks where the query looks, turn 2 beside it, turn 3 away from it."""
    held = MemoryCache()
    for turn, pan in enumerate((0.0, 20.0, 40.0), 1):
        latent = torch.randn(4, FRAMES, 8, 8, generator=torch.Generator().manual_seed(turn))
        held = held.append(MemoryEntry.of(latent, path(pan), "model", FRAMES, turn, float(turn)))
    return held


def turns_of(cache: MemoryCache, config: MadeConfig, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    found = retrieve_disturbed(cache, path(0.0), 2, config, generator)
    return [entry.turn for entry in found.entries]


def test_without_a_disturbance_it_is_the_retrieval_of_users(cache: MemoryCache) -> None:
    assert lens_intrinsics(FOV_DEG, 1.0).allclose(path(0.0).intrinsics[0])
    plain = [entry.turn for entry in retrieve_by_fov(cache, path(0.0), 2).entries]
    assert turns_of(cache, MadeConfig()) == plain == [1, 2]


def test_a_small_weight_leaves_the_newest(cache: MemoryCache) -> None:
    assert turns_of(cache, MadeConfig(recency=0.01)) == [3, 2]
    # One that hardly fades changes nothing.
    assert turns_of(cache, MadeConfig(recency=0.99)) == [1, 2]


def test_wrong_cameras_choose_wrong_memories_more_often_the_wronger_they_are(
    cache: MemoryCache,
) -> None:
    def share_right(noise_deg: float) -> float:
        config = MadeConfig(pose_noise_deg=noise_deg)
        return sum(turns_of(cache, config, seed) == [1, 2] for seed in range(40)) / 40

    shares = [share_right(noise) for noise in (0.01, 10, 60)]
    assert shares[0] == 1
    assert shares[0] > shares[1] > shares[2]


def test_an_entry_keeps_its_error_when_the_cache_grows(cache: MemoryCache) -> None:
    def scores(held: MemoryCache) -> dict[int, float]:
        generator = torch.Generator().manual_seed(3)
        found = retrieve_disturbed(held, path(0.0), 9, MadeConfig(pose_noise_deg=20), generator)
        return {ranked.entry.turn: ranked.score for ranked in found.ranked}

    shorter = MemoryCache()
    for entry in cache.entries[:2]:
        shorter = shorter.append(entry)
    two, three = scores(shorter), scores(cache)
    assert {turn: three[turn] for turn in two} == two


def test_a_latent_of_few_bits_has_as_many_levels_and_is_as_near_as_they_allow() -> None:
    latent = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    spread = latent.amax((1, 2, 3)) - latent.amin((1, 2, 3))
    for bits in (2, 4, 8):
        rough = quantised(latent, bits)
        assert all(len(channel.unique()) <= 2**bits for channel in rough)
        errors = (rough - latent).abs().amax((1, 2, 3))
        assert (errors <= spread / (2**bits - 1) / 2 + 1e-5).all()

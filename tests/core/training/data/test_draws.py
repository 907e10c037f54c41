"""What a step draws of memory.

Source of the shares: Sec. 4.1 and App. D.1, arXiv:2601.16296v2.
"""

from dataclasses import replace

import pytest
import torch

from memv2v_core.training.config.data import MemoryDraws
from memv2v_core.training.data.draws import MemoryStructure, draw_memories, some_frames, with_noise
from memv2v_core.training.seeds import seeded

PAPER = MemoryDraws()


def structures(config: MemoryDraws, count: int = 1200) -> list[MemoryStructure]:
    generator = torch.Generator().manual_seed(1)
    return [draw_memories(config, generator) for _ in range(count)]


def share_of(drawn: list[MemoryStructure], is_true) -> float:
    return sum(bool(is_true(structure)) for structure in drawn) / len(drawn)


def test_numbers_of_memories_have_their_shares():
    drawn = structures(PAPER)
    for count, expected in enumerate((0, *(1 / 6,) * 6)):
        share = share_of(drawn, lambda s, count=count: len(s.kernels) == count)
        assert share == pytest.approx(expected, abs=0.04), count


def test_half_of_the_steps_have_one_kernel_and_every_kernel_occurs():
    six = [s.kernels for s in structures(PAPER, 4000) if len(s.kernels) == 6]
    alike = sum(len(set(kernels)) == 1 for kernels in six) / len(six)
    assert alike == pytest.approx(0.5, abs=0.06)
    for kernel in (2, 4, 8):
        assert share_of(six, lambda kernels, k=kernel: k in kernels) > 0.5


def test_half_of_the_steps_merge_at_shares_in_the_papers_range():
    drawn = structures(PAPER)
    shares = [structure.share for structure in drawn if structure.share is not None]
    assert len(shares) / len(drawn) == pytest.approx(0.5, abs=0.05)
    assert 0.3 <= min(shares) < 0.33
    assert 0.67 < max(shares) <= 0.7


def test_the_source_is_dropped_with_its_probability_and_only_beside_memories():
    config = replace(PAPER, counts=(0.5, 0.5), drop_source=0.4)
    drawn = structures(config)
    with_memory = [structure for structure in drawn if structure.kernels]
    assert share_of(with_memory, lambda s: not s.has_source) == pytest.approx(0.4, abs=0.06)
    assert all(structure.has_source for structure in drawn if not structure.kernels)


def test_a_step_without_videos_merges_nothing():
    structure = MemoryStructure((), 0.5, True)
    assert structure.merging(has_videos=False) is None
    assert structure.merging().share == 0.5
    assert MemoryStructure((4,), None, True).merging() is None


def test_frames_are_drawn_in_order_or_all_of_them():
    generator = torch.Generator().manual_seed(2)
    for _ in range(50):
        frames = some_frames(3, 7, generator)
        assert len(set(frames)) == 3
        assert list(frames) == sorted(frames)
        assert set(frames) <= set(range(7))
    assert some_frames(9, 7, generator) == tuple(range(7))


def noise_of(config: MemoryDraws, has_source: bool = True, num_rows: int = 4) -> torch.Tensor:
    """The noise that memories of 500 values get, (rows, 2 channels)."""
    latent = torch.ones(num_rows, 3, 2, 25, 10)
    latent[:, 2] = 0
    rows = [seeded(0, "row", number) for number in range(num_rows)]
    added = with_noise(latent, config, has_source, rows) - latent
    assert added[:, 2].abs().max() == 0
    return added[:, :2].flatten(2)


def test_memories_get_noise_of_sigma_where_a_source_is_present():
    """Eq. 15: z + e, e ~ N(0, sigma^2)."""
    config = replace(PAPER, noise=0.1)
    added = noise_of(config)
    assert added.mean().item() == pytest.approx(0, abs=0.01)
    assert added.std(dim=2).flatten().tolist() == pytest.approx(8 * [0.1], rel=0.12)
    assert noise_of(config, has_source=False).abs().max() == 0
    assert noise_of(replace(config, noise_beside_source=False), has_source=False).std() > 0.05
    assert noise_of(replace(config, noise=0.0)).abs().max() == 0


def test_noise_of_any_level_is_one_level_a_row_up_to_sigma():
    added = noise_of(replace(PAPER, noise=0.4, has_fixed_noise=False), num_rows=40).std(dim=2)
    assert (added[:, 0] / added[:, 1]).tolist() == pytest.approx(40 * [1], rel=0.2)
    assert added.min() < 0.06
    assert 0.34 < added.max() < 0.45

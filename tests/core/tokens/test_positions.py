import pytest
import torch

from memv2v_core.tokens.positions import temporal_indices, token_positions


def test_target_source_and_memory_take_three_ranges_in_turn():
    # Eq. 11-13 with T = 4
    assert temporal_indices("target", 4, 4) == (0, 1, 2, 3)
    assert temporal_indices("source", 4, 4) == (4, 5, 6, 7)
    assert temporal_indices("memory", 4, 4) == (8, 9, 10, 11)


def test_ranges_start_at_the_targets_length_whatever_the_videos_length():
    assert temporal_indices("source", 4, 2) == (4, 5)
    assert temporal_indices("memory", 4, 6) == (8, 9, 10, 11, 12, 13)


def test_memory_may_share_the_sources_range():
    assert (
        temporal_indices("memory", 4, 3, "source") == temporal_indices("source", 4, 3) == (4, 5, 6)
    )


def test_the_segment_before_the_target_takes_the_sources_range():
    # App. D.2 with T = 4: previous segment T..2T-1, the other memories 2T..3T-1
    assert temporal_indices("previous", 4, 4) == (4, 5, 6, 7)
    assert temporal_indices("memory", 4, 4) == (8, 9, 10, 11)


def test_reversed_memories_count_backwards_within_their_ranges():
    # Fig. 16c with T = 4: frame f of the previous segment gets T+(T-1-f), of other memories
    # 2T+(T-1-f)
    assert temporal_indices("previous", 4, 4, memory_order="reversed") == (7, 6, 5, 4)
    assert temporal_indices("memory", 4, 4, memory_order="reversed") == (11, 10, 9, 8)
    assert temporal_indices("target", 4, 4, memory_order="reversed") == (0, 1, 2, 3)
    assert temporal_indices("source", 4, 4, memory_order="reversed") == (4, 5, 6, 7)


@pytest.mark.parametrize(
    ("kernel", "expected"), [(2, [0.0, 1.0, 2.0]), (4, [0.5, 2.5, 4.5]), (8, [1.5, 5.5, 9.5])]
)
def test_tokens_sit_at_the_centre_of_the_base_tokens_they_cover(kernel: int, expected: list[float]):
    positions = token_positions((7,), 3, 3, kernel).view(3, 3, 3)
    assert positions[:, 0, 1].tolist() == expected
    assert positions[0, :, 2].tolist() == expected
    factor = kernel // 2
    base = token_positions((7,), 3 * factor, 3 * factor, 2).view(3, factor, 3, factor, 3)
    torch.testing.assert_close(positions, base.mean((1, 3)))


def test_positions_run_frame_by_frame_and_row_by_row():
    positions = token_positions((5, 9), 2, 3, 2)
    assert positions.shape == (12, 3)
    assert positions.dtype == torch.float32
    assert positions[:4].tolist() == [[5, 0, 0], [5, 0, 1], [5, 0, 2], [5, 1, 0]]
    assert positions[6].tolist() == [9, 0, 0]

import math

import pytest
import torch

from memv2v_core.tokens.layout import SequenceLayout, build_layout
from memv2v_core.tokens.merging import (
    MergeConfig,
    frame_responsiveness,
    merge_average,
    merge_blocks,
    merged_counts,
    merged_layout,
    plan_merge,
    pool_groups,
    share_for,
    will_merge,
)

HEADS, WIDTH = 2, 8


@pytest.fixture
def layout() -> SequenceLayout:
    """A target, a source of 4 frames, memories of 6 and 5 frames; 3 x 5 tokens a frame and
    coarser."""
    return build_layout(
        [
            ("target", 2, 4, 3, 5),
            ("source", 2, 4, 3, 5),
            ("memory", 4, 6, 2, 3),
            ("memory", 8, 5, 1, 2),
        ]
    )


def random_scores(rows: int, frames: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(rows, frames, generator=torch.Generator().manual_seed(seed))


def literal_responsiveness(query: list, keys_of_frame: list[list]) -> list[float]:
    """Eq. 4-5 read word by word for one head: lists of query vectors, and of every frame's key
    vectors.
    """
    mean_keys = [
        [sum(axis) / len(keys) for axis in zip(*keys, strict=True)] for keys in keys_of_frame
    ]
    best = [0.0] * len(mean_keys)
    for q in query:
        logits = [
            sum(a * b for a, b in zip(q, key, strict=True)) / math.sqrt(len(q)) for key in mean_keys
        ]
        total = sum(math.exp(logit) for logit in logits)
        best = [max(old, math.exp(logit) / total) for old, logit in zip(best, logits, strict=True)]
    return best


def test_responsiveness_equals_a_literal_reading_of_eq_4_and_5(layout: SequenceLayout):
    generator = torch.Generator().manual_seed(3)
    first, total = layout.num_target_tokens, layout.num_tokens
    query = 2 * torch.randn(2, first, HEADS, WIDTH, generator=generator)
    key = 2 * torch.randn(2, total - first, HEADS, WIDTH, generator=generator)
    got = frame_responsiveness(query, key, layout.conditioning, first)
    assert got.shape == (2, 15)
    for row in range(2):
        per_head = []
        for head in range(HEADS):
            frames = []
            for group in layout.conditioning:
                tokens = key[row, group.start - first :][: group.num_tokens, head].tolist()
                size = group.tokens_per_frame
                frames += [tokens[f * size : (f + 1) * size] for f in range(group.num_frames)]
            per_head.append(literal_responsiveness(query[row, :, head].tolist(), frames))
        expected = torch.tensor(per_head).mean(0)
        torch.testing.assert_close(got[row], expected, atol=1e-5, rtol=1e-5)


def test_many_queries_are_scored_in_pieces_to_the_same_end(
    layout: SequenceLayout, monkeypatch: pytest.MonkeyPatch
):
    generator = torch.Generator().manual_seed(4)
    first = layout.num_target_tokens
    query = torch.randn(1, first, HEADS, WIDTH, generator=generator)
    key = torch.randn(1, layout.num_tokens - first, HEADS, WIDTH, generator=generator)
    whole = frame_responsiveness(query, key, layout.conditioning, first)
    monkeypatch.setattr("memv2v_core.tokens.merging._QUERY_CHUNK", 7)
    torch.testing.assert_close(frame_responsiveness(query, key, layout.conditioning, first), whole)


def test_a_row_scores_as_it_does_alone(layout: SequenceLayout):
    generator = torch.Generator().manual_seed(5)
    first = layout.num_target_tokens
    query = torch.randn(2, first, HEADS, WIDTH, generator=generator)
    key = torch.randn(2, layout.num_tokens - first, HEADS, WIDTH, generator=generator)
    both = frame_responsiveness(query, key, layout.conditioning, first)
    for row in range(2):
        alone = frame_responsiveness(
            query[row : row + 1], key[row : row + 1], layout.conditioning, first
        )
        torch.testing.assert_close(both[row : row + 1], alone)


@pytest.mark.parametrize("unresponsive", ["merge", "discard"])
def test_counts_never_depend_on_content(layout: SequenceLayout, unresponsive: str):
    config = MergeConfig(share=0.4, unresponsive=unresponsive)
    for seed in range(10):
        plan = plan_merge(layout, config, random_scores(3, 15, seed))
        assert plan.layout == merged_layout(layout, config)
        values = torch.zeros(3, layout.num_tokens, 1)
        assert plan.apply(values, merge_average).shape[1] == plan.layout.num_tokens


def test_half_of_the_pool_is_merged_and_odd_frames_even_out_between_groups(layout: SequenceLayout):
    assert merged_counts(layout.conditioning, 0.5) == [2, 3, 3]  # of 4, 6, 5: 7.5 rounds to 8
    assert merged_counts(layout.conditioning, 0.0) == [0, 0, 0]
    assert merged_counts(layout.conditioning, 1.0) == [4, 6, 5]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_applying_a_plan_equals_a_literal_reading_of_eq_6(layout: SequenceLayout, share: float):
    config = MergeConfig(share=share)
    scores = random_scores(2, 15, 7)
    values = torch.randn(2, layout.num_tokens, 4, generator=torch.Generator().manual_seed(8))
    got = plan_merge(layout, config, scores).apply(values, merge_average)
    for row in range(2):
        expected = [values[row, : layout.num_target_tokens]]
        first_frame = 0
        for group, count in zip(
            layout.conditioning, merged_counts(layout.conditioning, share), strict=True
        ):
            own = scores[row, first_frame : first_frame + group.num_frames].tolist()
            first_frame += group.num_frames
            unresponsive = sorted(sorted(range(group.num_frames), key=lambda f: own[f])[:count])
            frames = values[row, group.tokens].view(group.num_frames, group.rows, group.columns, 4)
            expected += [
                frames[f].flatten(0, 1) for f in range(group.num_frames) if f not in unresponsive
            ]
            for f in unresponsive:
                for y in range(0, group.rows, 2):
                    for x in range(0, group.columns, 2):
                        ys = [min(y + i, group.rows - 1) for i in (0, 1)]
                        xs = [min(x + i, group.columns - 1) for i in (0, 1)]
                        expected.append(
                            torch.stack([frames[f, i, j] for i in ys for j in xs]).mean(
                                0, keepdim=True
                            )
                        )
        torch.testing.assert_close(got[row], torch.cat(expected))


def test_rows_of_a_batch_merge_their_own_frames(layout: SequenceLayout):
    scores = torch.stack((torch.arange(15.0), -torch.arange(15.0)))
    plan = plan_merge(layout, MergeConfig(share=0.5), scores)
    split = plan.pieces[1]
    assert split.merged.tolist() == [[0, 1], [2, 3]]
    assert split.kept.tolist() == [[2, 3], [0, 1]]
    frame_numbers = (
        torch.arange(8).repeat_interleave(15)[None, :, None].float()
    )  # target and source
    values = torch.cat((frame_numbers, torch.zeros(1, layout.num_tokens - 120, 1)), dim=1).expand(
        2, -1, -1
    )
    tokens = plan.apply(values, merge_average)[..., 0]
    kept, merged = plan.layout.groups[1:3]
    assert tokens[:, kept.tokens].unique(dim=1).tolist() == [[6, 7], [4, 5]]
    assert tokens[:, merged.tokens].unique(dim=1).tolist() == [[4, 5], [6, 7]]


def test_equal_scores_merge_the_earlier_frames(layout: SequenceLayout):
    plan = plan_merge(layout, MergeConfig(share=0.5), torch.full((1, 15), 0.25))
    assert [piece.merged.tolist() for piece in plan.pieces[1:]] == [
        [[0, 1]],
        [[0, 1, 2]],
        [[0, 1, 2]],
    ]


def test_merged_groups_follow_the_kept_ones_and_know_their_grid(layout: SequenceLayout):
    groups = merged_layout(layout, MergeConfig(share=0.5)).groups
    assert [(g.kernel, g.is_merged, g.num_frames, g.rows, g.columns) for g in groups] == [
        (2, False, 4, 3, 5),
        (2, False, 2, 3, 5),
        (2, True, 2, 2, 3),
        (4, False, 3, 2, 3),
        (4, True, 3, 1, 2),
        (8, False, 2, 1, 2),
        (8, True, 3, 1, 1),
    ]
    assert [g.start for g in groups] == [0, 60, 90, 102, 120, 126, 130]


def test_full_size_frames_of_15_x_26_become_8_x_13():
    layout = build_layout([("target", 2, 1, 30, 52), ("memory", 4, 2, 15, 26)])
    merged = merged_layout(layout, MergeConfig(share=0.5)).groups[2]
    assert (merged.rows, merged.columns) == (8, 13)
    assert merge_average(torch.zeros(1, 2, 15, 26, 3)).shape == (1, 2, 8, 13, 3)


def test_the_second_merging_takes_its_share_of_the_frames_still_whole(layout: SequenceLayout):
    config = MergeConfig(share=0.5)
    once = merged_layout(layout, config)
    assert [group.num_frames for group in pool_groups(once, config)] == [2, 3, 2]
    twice = merged_layout(once, config)
    assert [g.num_frames for g in twice.conditioning if not g.is_merged] == [1, 1, 1]
    assert sum(g.num_frames for g in twice.conditioning) == 15


def test_discarding_drops_the_frames_that_merging_would_merge(layout: SequenceLayout):
    scores = random_scores(2, 15, 9)
    merge, discard = (
        plan_merge(layout, MergeConfig(unresponsive=kind), scores) for kind in ("merge", "discard")
    )
    values = torch.randn(2, layout.num_tokens, 3, generator=torch.Generator().manual_seed(1))
    merged, discarded = merge.apply(values, merge_average), discard.apply(values, merge_average)
    whole = torch.cat(
        [merged[:, group.tokens] for group in merge.layout.groups if not group.is_merged], dim=1
    )
    assert torch.equal(discarded, whole)
    assert discard.layout.num_tokens == discarded.shape[1] == 60 + 2 * 15 + 3 * 6 + 2 * 2


def test_the_source_stays_whole_when_the_pool_is_memory_alone(layout: SequenceLayout):
    config = MergeConfig(share=0.5, pool="memory")
    assert [group.role for group in pool_groups(layout, config)] == ["memory", "memory"]
    plan = plan_merge(layout, config, random_scores(1, 11))
    assert plan.pieces[:2] == layout.groups[:2]
    assert plan.layout.groups[:2] == layout.groups[:2]


def test_averages_repeat_the_border_of_odd_grids():
    grid = torch.tensor([[1.0, 2.0, 5.0], [3.0, 4.0, 7.0], [10.0, 20.0, 30.0]])
    merged = merge_average(grid[None, None, ..., None])
    assert merged[0, 0, :, :, 0].tolist() == [[2.5, 6.0], [15.0, 30.0]]


def test_share_grows_with_the_videos_and_stays_in_the_papers_range():
    assert [share_for(count) for count in (1, 2, 4)] == [0.5, 0.5, 0.5]
    assert share_for(11) == share_for(30) == 0.7
    shares = [share_for(count) for count in range(1, 20)]
    assert shares == sorted(shares)
    assert min(shares) >= 0.3


def test_merging_happens_at_one_and_two_thirds_of_any_depth():
    assert merge_blocks(30) == (10, 20)
    assert merge_blocks(6) == (2, 4)
    assert merge_blocks(40) == (13, 26)


def test_nothing_merges_without_a_config_a_pool_or_the_wish(layout: SequenceLayout):
    without_memory = build_layout([("target", 2, 4, 3, 5), ("source", 2, 4, 3, 5)])
    assert will_merge(layout, MergeConfig())
    assert will_merge(without_memory, MergeConfig(unresponsive="discard"))
    assert not will_merge(layout, None)
    assert not will_merge(layout, MergeConfig(unresponsive="keep"))
    assert not will_merge(without_memory, MergeConfig(pool="memory"))

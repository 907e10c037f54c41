"""Tokens, FLOPs and hours of a recipe."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from instruments.cost_recipes import TWO_WAY, paper_recipe, works_of_recipe
from instruments.training_runs import TEXT_EDIT, recipe

from memv2v_core.shapes import VaeRatios
from memv2v_core.training.cost.clips import clips_of
from memv2v_core.training.cost.compute import mean_flops, step_flops, typical, worst
from memv2v_core.training.cost.draws import possible_draws
from memv2v_core.training.data.draws import draw_memories
from memv2v_core.training.data.prepared_folder import PreparedVideo

# All memories of a step have one kernel; a tenth of the steps drop the source, half merge.
UNIFORM = (*TWO_WAY, "prepared.memory.single_kernel_share=1")


def test_uniform_kernels_cost_2_66_pflop_on_average_and_13_4_at_worst():
    works = works_of_recipe(paper_recipe(*UNIFORM))
    assert mean_flops(works.each) / 1e15 == pytest.approx(2.66, rel=0.005)
    most = worst(works.each)
    assert (most.draw.kernels, most.tokens) == ((2,) * 6, 262_080)
    assert most.flops / 1e15 == pytest.approx(13.4, rel=0.005)


def test_two_thousand_steps_of_32_rows_take_470_hours_of_a_gpu():
    config = paper_recipe(*UNIFORM)
    whole = 2000 * step_flops(config, (works_of_recipe(config),))
    assert whole / 400e12 / 3600 == pytest.approx(470, rel=0.01)


def test_one_way_attention_saves_the_pairs_that_clean_tokens_do_not_see():
    both = [worst(works_of_recipe(paper_recipe(*each)).each).flops for each in (TWO_WAY, ())]
    # 30 blocks; the source and six memories of 32,760 tokens do not see the target's. Two products
    # of a multiply and an add a channel.
    assert both[0] - both[1] == 30 * (7 * 32_760) * 32_760 * 4 * 1536


def test_without_checkpointing_a_step_is_three_forward_passes():
    costs = []
    for has_checkpointing in ("true", "false"):
        config = paper_recipe(f"optim.has_checkpointing={has_checkpointing}")
        costs.append(step_flops(config, (works_of_recipe(config),)))
    assert costs[1] == pytest.approx(costs[0] * 3 / 4)


def test_the_typical_draw_is_the_median_and_merges_nothing():
    works = works_of_recipe(paper_recipe())
    work = typical(works.of_count(3))
    # Half of the draws of three memories have more than three of 1x4x4 beside the source.
    assert (work.draw.kernels, work.draw.has_source, work.draw.share) == ((4, 4, 4), True, None)
    assert work.tokens == 2 * 32_760 + 3 * 8190


def test_draws_have_the_probabilities_of_the_trainers_draws():
    config = paper_recipe("prepared.memory.counts=[1, 1, 2]", "prepared.memory.kernels=[1, 2, 1]")
    draws = possible_draws(config, has_source_tokens=True)
    assert sum(draw.probability for draw in draws) == pytest.approx(1)
    expected: Counter = Counter()
    for draw in draws:
        key = (draw.kernels, draw.has_source, draw.share is not None)
        expected[key] += draw.probability
    generator, num_draws = torch.Generator().manual_seed(0), 4000
    assert config.prepared is not None
    found: Counter = Counter()
    for _ in range(num_draws):
        drawn = draw_memories(config.prepared.memory, generator)
        key = (tuple(sorted(drawn.kernels)), drawn.has_source, drawn.share is not None)
        found[key] += 1 / num_draws
    assert set(found) <= set(expected)
    # Three deviations of the likeliest share.
    assert max(abs(found[key] - p) for key, p in expected.items()) < 0.02


def test_the_segment_before_the_target_has_the_bases_kernel():
    config = recipe(
        TEXT_EDIT,
        "worlds.previous_share=1",
        "worlds.memory={counts: [0, 0, 1], kernels: [0, 1, 0], merge_probability: 0}",
    )
    (draw,) = possible_draws(config, has_source_tokens=False)
    assert (draw.kernels, draw.has_source, draw.share) == ((2, 4), False, None)


def test_a_prepared_folder_gives_the_size_of_its_latents(tmp_path: Path):
    video = PreparedVideo("a", "view", (16, 7, 10, 12), 25)
    ratios = VaeRatios(4, 8, 16)
    header = {
        "task": "novel_view",
        "dataset": "d",
        "encoder": "e",
        "ratios": asdict(ratios),
        "text_width": None,
    }
    item = {"name": "a", "split": "train", "videos": [asdict(video)]}
    (tmp_path / "items").mkdir()
    (tmp_path / "items/a.json").write_text(json.dumps(item), encoding="utf-8")
    index = {"header": header, "items": [item]}
    (tmp_path / "index.json").write_text(json.dumps(index), encoding="utf-8")
    config = paper_recipe(f"prepared.folder={tmp_path}", "prepared.num_frames=5")
    whole = clips_of(config, ratios).whole
    assert (whole.target_frames, whole.height, whole.width) == (5, 10, 12)


def test_clips_without_folder_and_prepare_are_refused(tmp_path: Path):
    config = paper_recipe(f"prepared.folder={tmp_path / 'none'}", "prepare=null")
    with pytest.raises(ValueError, match="the recipe has no `prepare` that gives a size"):
        clips_of(config, VaeRatios(4, 8, 16))

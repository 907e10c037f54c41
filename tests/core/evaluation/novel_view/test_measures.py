import pytest
import torch

from memv2v_core.evaluation.novel_view.measures import (
    region_measures,
    second_measures,
    sweep_measures,
)


def test_true_views_differ_by_the_cost_of_warping_alone(scenes) -> None:
    scene = scenes[0]
    measures = second_measures(scene, scene.first.frames, {"truth": scene.second.frames})
    assert measures["unseen_mae_truth"] == region_measures(scene)["unseen_mae_floor"]
    assert measures["unseen_mae_truth"] < 0.02
    assert measures["seen_psnr_truth"] > 90


def test_a_constant_offset_is_measured_exactly_where_it_lies(scenes) -> None:
    scene = scenes[0]
    base = scene.second.frames * 0.5
    flat = torch.full_like(base, 0.25)
    measures = second_measures(scene, torch.zeros_like(base), {"flat": flat})
    assert measures["unseen_mae_flat"] == pytest.approx(0.25, abs=1e-6)
    assert measures["unseen_gradient_flat"] < 1e-5


def test_a_turn_that_repeats_one_memory_agrees_with_that_one_alone(scenes) -> None:
    scene = scenes[0]
    videos = {
        name: scene.sweep.frames
        for name in ("sweep_none", "sweep_first", "sweep_opposite", "sweep_both")
    }
    videos |= {"first": scene.first.frames, "opposite": 1 - scene.opposite.frames}
    measures = sweep_measures(scene, videos)
    assert measures["sweep_mae_both_on_first"] < 0.02
    assert measures["sweep_mae_both_on_opposite"] > 0.05

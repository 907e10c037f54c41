"""Pictures of disagreement show what was measured."""

import torch

from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import intrinsics_matrix, static_trajectory
from memv2v_core.evaluation.metrics.consistency import turn_disagreement
from memv2v_core.pictures.heat_maps import (
    ComparedPair,
    draw_message,
    draw_pairs,
    heat_colours,
    heat_map_video,
)

LENS = intrinsics_matrix(0.866, 0.866)
CAMERA = make_preset(PresetConfig("pan_right", 40, 3), LENS)
GREY = torch.full((3, 3, 32, 32), 0.5)


def compared(offset: float) -> ComparedPair:
    result = turn_disagreement(GREY, CAMERA, GREY + offset, CAMERA, static_trajectory(3, LENS))
    return ComparedPair("turn 1 and turn 2", GREY, GREY + offset, result)


def test_heat_grows_brighter_with_the_difference() -> None:
    brightness = heat_colours(torch.linspace(0, 1, 9)).mean(-1)
    assert (brightness.diff() > 0).all()
    assert torch.equal(heat_colours(torch.tensor(2.0)), heat_colours(torch.tensor(1.0)))


def test_heat_map_video_colours_the_region_alone() -> None:
    pair = compared(0.2)
    frames = heat_map_video(pair.turn_b, pair.disagreement)
    assert frames.shape == (3, 32, 32, 3)
    outside = frames[~pair.disagreement.mask[:, 0]]
    assert torch.equal(outside, outside[:, :1].expand(-1, 3))
    inside = frames[pair.disagreement.mask[:, 0]]
    assert (inside.amax(1) - inside.amin(1) > 0.1).all()


def test_pictures_have_one_row_a_pair() -> None:
    one, two = draw_pairs([compared(0.0)]), draw_pairs([compared(0.0), compared(0.3)])
    assert one.shape[1:] == two.shape[1:]
    assert one.shape[0] < two.shape[0]
    assert two.min() >= 0
    assert two.max() <= 1
    assert draw_message("nothing").shape[1:] == one.shape[1:]

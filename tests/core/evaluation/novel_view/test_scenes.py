import torch

from memv2v_core.cameras.projection import seen_mask
from memv2v_core.evaluation.held_out_seeds import HELD_OUT_SEED, MAX_SCENES, held_out_generator
from memv2v_core.evaluation.novel_view.scenes import (
    FIRST,
    PROBE,
    SCENE,
    SECOND,
    HeldOutScene,
    held_out_scene,
    unseen_overlap,
)


def test_seeds_fit_into_the_bits_that_torch_reads_and_stay_clear_of_training() -> None:
    highest = HELD_OUT_SEED + (PROBE + 1) * MAX_SCENES
    assert highest < 2**32
    # training: seed * 1_000_003 + step + 1, for steps of any run that ends
    assert HELD_OUT_SEED > 3700 * 1_000_003 + 10_000_000


def test_generators_of_purposes_and_scenes_all_differ() -> None:
    draws = {
        torch.rand((), generator=held_out_generator(i, purpose)).item()
        for i in range(4)
        for purpose in range(SCENE, PROBE + 1)
    }
    assert len(draws) == 4 * (PROBE + 1)


def test_turns_never_share_noise() -> None:
    first, second = (
        torch.randn(8, generator=held_out_generator(3, turn)) for turn in (FIRST, SECOND)
    )
    assert not torch.equal(first, second)


def test_a_scene_is_the_same_every_time(bundle, scenes: tuple[HeldOutScene, ...]) -> None:
    again = held_out_scene(1, bundle.info)
    for name in ("source", "first", "second", "opposite", "sweep", "foreign"):
        assert torch.equal(getattr(again, name).frames, getattr(scenes[1], name).frames)
        assert torch.equal(getattr(again, name).path.c2w, getattr(scenes[1], name).path.c2w)


def test_paths_start_at_the_sources_first_pose_and_turns_1_and_2_pan_to_one_side(scenes) -> None:
    for scene in scenes:
        sides = {}
        for name in ("first", "second", "opposite", "sweep"):
            path = getattr(scene, name).path
            assert torch.allclose(path.c2w[0], scene.source.path.c2w[0], atol=1e-6)
            sides[name] = path.c2w[:, 0, 2]  # to the right where the view direction's x is positive
        side = sides["first"][-1].sign()
        assert sides["second"][-1].sign() == side
        assert sides["opposite"][-1].sign() == -side
        assert sides["sweep"][2].sign() == side
        assert sides["sweep"][-1].sign() == -side


def test_foreign_view_has_the_first_turns_cameras_and_another_place(scenes) -> None:
    assert torch.equal(scenes[0].foreign.path.c2w, scenes[0].first.path.c2w)
    assert (scenes[0].foreign.frames - scenes[0].first.frames).abs().mean() > 0.05


def test_unseen_overlap_is_large_and_outside_every_source_frame(scenes) -> None:
    for scene in scenes:
        region = unseen_overlap(scene.second, scene.first, scene.source)
        seen = seen_mask(scene.second.path, scene.source.path, *scene.second.frames.shape[-2:])
        assert region.float().mean() > 0.05
        assert not (region & seen).any()
        assert not region[0].any()  # all paths start where the source looks


def test_sweep_meets_both_earlier_turns_where_the_other_never_looked(scenes) -> None:
    for scene in scenes:
        of_first = unseen_overlap(scene.sweep, scene.first, scene.source, scene.opposite)
        of_opposite = unseen_overlap(scene.sweep, scene.opposite, scene.source, scene.first)
        assert of_first.float().mean() > 0.02
        assert of_opposite.float().mean() > 0.02
        assert not (of_first & of_opposite).any()

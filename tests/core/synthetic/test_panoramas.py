import pytest
import torch

from memv2v_core.cameras.projection import warp_by_rotation
from memv2v_core.synthetic.panoramas import (
    Scene,
    SceneConfig,
    make_scene,
    random_edit_path,
    random_source_path,
    render_panorama,
    rotation_path,
)

CONFIG = SceneConfig(num_shapes=12)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(CONFIG, generator(0))


def turned(*angles: tuple[float, float, float]):
    return rotation_path(torch.tensor(angles), CONFIG.fov_deg)


def test_two_cameras_agree_through_the_exact_warp(scene: Scene):
    one = turned((0.0, 0.0, 0.0), (10.0, -5.0, 3.0))
    other = turned((12.0, 4.0, 0.0), (-8.0, 0.0, -10.0))
    warped, known = warp_by_rotation(render_panorama(scene, one, 128, 128), one, other)
    seen = render_panorama(scene, other, 128, 128)
    known = known.expand_as(seen)
    assert known.float().mean() > 0.4
    error = (warped - seen)[known].abs()
    assert error.mean() < 0.004  # both pictures are sampled bilinearly
    shuffled = (warped.flip(0) - seen)[known].abs()
    assert shuffled.mean() > 10 * error.mean()


def test_the_same_generator_gives_the_same_scene_and_another_gives_another(scene: Scene):
    again, held_out = make_scene(CONFIG, generator(0)), make_scene(CONFIG, generator(1))
    assert torch.equal(scene.panorama, again.panorama)
    assert (scene.panorama - held_out.panorama).abs().mean() > 0.05


def test_paths_follow_their_generator():
    for draw in (random_source_path, random_edit_path):
        assert torch.equal(draw(CONFIG, 5, generator(4)).c2w, draw(CONFIG, 5, generator(4)).c2w)
        assert not torch.equal(draw(CONFIG, 5, generator(4)).c2w, draw(CONFIG, 5, generator(5)).c2w)


def test_pictures_are_colours_of_the_asked_size(scene: Scene):
    frames = render_panorama(scene, turned((0.0, 0.0, 0.0), (40.0, 10.0, 0.0)), 24, 32)
    assert frames.shape == (2, 3, 24, 32)
    assert frames.min() >= 0
    assert frames.max() <= 1
    assert frames.std() > 0.05


def test_a_frame_does_not_depend_on_the_others(scene: Scene):
    path = turned((0.0, 0.0, 0.0), (30.0, 5.0, 8.0))
    alone = render_panorama(scene, path.frames((1,)), 32, 32)
    torch.testing.assert_close(render_panorama(scene, path, 32, 32)[1:], alone)


@pytest.mark.parametrize(
    ("angles", "axis", "sign"),
    [((10.0, 0.0, 0.0), 0, 1), ((0.0, 10.0, 0.0), 1, 1), ((-10.0, 0.0, 0.0), 0, -1)],
)
def test_pan_looks_right_and_tilt_looks_down(
    angles: tuple[float, float, float], axis: int, sign: int
):
    forward = turned(angles).c2w[0, :3, 2]  # +X right, +Y down
    assert forward[axis].item() == pytest.approx(
        sign * torch.tensor(torch.pi / 18).sin().item(), abs=1e-6
    )


def test_all_cameras_are_rotations_about_one_centre():
    for seed in range(5):
        path = random_edit_path(CONFIG, 7, generator(seed))
        rotation = path.c2w[:, :3, :3]
        identity = torch.eye(3, dtype=torch.float64).expand(7, 3, 3)
        torch.testing.assert_close(rotation @ rotation.mT, identity, atol=1e-12, rtol=0)
        assert path.c2w[:, :3, 3].abs().max() == 0
        torch.testing.assert_close(path.c2w[0], torch.eye(4, dtype=torch.float64))


def test_edits_leave_the_sources_view_and_some_return():
    ends = [random_edit_path(CONFIG, 5, generator(seed)).c2w[-1, :3, 2] for seed in range(40)]
    away = [abs(torch.atan2(end[0], end[2]).item()) for end in ends]
    returned = sum(angle < 1e-6 for angle in away)
    assert 2 <= returned <= 20
    assert all(angle > torch.pi / 180 * 15 for angle in away if angle >= 1e-6)

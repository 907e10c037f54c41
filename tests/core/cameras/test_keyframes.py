import math

import pytest
import torch

from memv2v_core.cameras.keyframes import (
    EASES,
    NUMBERS,
    Keyframe,
    KeyframedPath,
    keyframed_trajectory,
    numbers_at,
    path_times,
    poses_at,
)
from memv2v_core.cameras.presets import EASINGS

WANDERING = KeyframedPath(
    (
        Keyframe(0.0),
        Keyframe(0.2, yaw_deg=40, pitch_deg=20, dolly=0.5),
        Keyframe(0.55, yaw_deg=-30, pitch_deg=35, roll_deg=5, orbit_deg=40),
        Keyframe(1.0, yaw_deg=200, truck=1, pedestal=-0.5),
    )
)


def grid(count: int) -> tuple[float, ...]:
    return tuple(idx / (count - 1) for idx in range(count))


def test_the_path_passes_through_every_keyframe() -> None:
    times = tuple(keyframe.time for keyframe in WANDERING.keyframes)
    reached = numbers_at(WANDERING, times)
    for row, keyframe in zip(reached.tolist(), WANDERING.keyframes, strict=True):
        assert row == pytest.approx([getattr(keyframe, name) for name in NUMBERS], abs=1e-12)


@pytest.mark.parametrize(
    ("numbers", "axis", "expected"),
    [
        ({"yaw_deg": 30}, 2, [0.5, 0.0, 0.8660254]),
        ({"pitch_deg": 30}, 2, [0.0, -0.5, 0.8660254]),
        ({"roll_deg": 30}, 1, [-0.5, 0.8660254, 0.0]),
        ({"truck": 2}, 3, [2.0, 0.0, 0.0]),
        ({"pedestal": 2}, 3, [0.0, -2.0, 0.0]),
        ({"dolly": 2}, 3, [0.0, 0.0, 2.0]),
        # A quarter around the point 1 ahead, to its right.
        ({"orbit_deg": 90}, 3, [1.0, 0.0, 1.0]),
    ],
)
def test_numbers_have_the_signs_of_the_viewer(
    numbers: dict[str, float], axis: int, expected: list[float]
) -> None:
    (c2w,) = poses_at(KeyframedPath((Keyframe(0.0, **numbers),)), (0.0,))
    assert c2w[:3, axis].tolist() == pytest.approx(expected, abs=1e-7)


def test_an_orbit_keeps_looking_at_its_pivot() -> None:
    path = KeyframedPath((Keyframe(0.0), Keyframe(1.0, orbit_deg=-150)), pivot=2.5)
    c2w = poses_at(path, grid(9))
    towards = torch.tensor([0.0, 0.0, 2.5], dtype=torch.float64) - c2w[:, :3, 3]
    assert torch.allclose(towards, 2.5 * c2w[:, :3, 2], atol=1e-12)


def test_smooth_keyframes_have_one_speed_from_both_sides() -> None:
    step = 1e-6
    for keyframe in WANDERING.keyframes[1:-1]:
        before, at, after = numbers_at(
            WANDERING, (keyframe.time - step, keyframe.time, keyframe.time + step)
        )
        assert torch.allclose((at - before) / step, (after - at) / step, atol=1e-2)


def test_a_smooth_segment_takes_over_the_speed_of_its_neighbour() -> None:
    path = KeyframedPath(
        (
            Keyframe(0.0, ease="linear"),
            Keyframe(0.5, yaw_deg=10),
            Keyframe(0.75, yaw_deg=20),
            Keyframe(1.0, yaw_deg=60),
        )
    )
    step = 1e-6
    before, at, after = numbers_at(path, (0.5 - step, 0.5, 0.5 + step))[:, 0].tolist()
    assert (at - before) / step == pytest.approx(20, abs=1e-3)
    assert (after - at) / step == pytest.approx(20, abs=1e-2)


def test_no_number_goes_beyond_the_keyframes_that_it_lies_between() -> None:
    generator = torch.Generator().manual_seed(0)
    times = grid(401)
    for _ in range(20):
        yaws = (torch.rand(6, generator=generator) * 400 - 200).tolist()
        eases = torch.randint(len(EASES), (6,), generator=generator).tolist()
        path = KeyframedPath(
            tuple(
                Keyframe(time, yaw_deg=yaw, ease=EASES[ease])
                for time, yaw, ease in zip(grid(6), yaws, eases, strict=True)
            )
        )
        reached = numbers_at(path, times)[:, 0].tolist()
        for time, yaw in zip(times, reached, strict=True):
            leg = min(int(time * 5 + 1e-9), 4)
            low, high = sorted(yaws[leg : leg + 2])
            assert low - 1e-9 <= yaw <= high + 1e-9


def test_a_pan_at_one_height_stays_there_and_level() -> None:
    path = KeyframedPath(
        (Keyframe(0.0, yaw_deg=-80, pitch_deg=60), Keyframe(1.0, yaw_deg=80, pitch_deg=60))
    )
    c2w = poses_at(path, grid(33))
    # The camera's right stays level, its view at 60 degrees.
    assert c2w[:, 1, 0].abs().max() < 1e-12
    assert torch.allclose(-c2w[:, 1, 2], torch.tensor(math.sin(math.radians(60))).double())


def test_the_view_turns_without_a_jump_even_past_the_pole() -> None:
    path = KeyframedPath(
        (
            Keyframe(0.0, yaw_deg=170, pitch_deg=80),
            Keyframe(0.5, yaw_deg=200, pitch_deg=100),
            Keyframe(1.0, yaw_deg=350, pitch_deg=-120, roll_deg=30),
        )
    )
    rotation = poses_at(path, grid(2001))[:, :3, :3]
    turn = rotation[:-1].transpose(1, 2) @ rotation[1:]
    cosines = ((turn.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1)
    steps_deg = torch.rad2deg(torch.arccos(cosines))
    # 220 degrees of pitch within half of the time; no step is a jump.
    assert steps_deg.max() < 0.6


@pytest.mark.parametrize("curve", [*EASINGS, (0.9, 0.0, 0.1, 1.0), (0.0, 1.0, 1.0, 0.0)])
def test_time_never_runs_back(curve: object) -> None:
    path = KeyframedPath((Keyframe(0.0), Keyframe(1.0, yaw_deg=90)), curve)
    times = path_times(path, 301)
    assert times[0] == 0
    assert times[-1] == pytest.approx(1, abs=1e-12)
    assert all(before <= after + 1e-12 for before, after in zip(times, times[1:], strict=False))


def test_straight_handles_are_linear_and_speed_holds_or_cuts() -> None:
    path = KeyframedPath((Keyframe(0.0),), (0.25, 0.25, 0.75, 0.75))
    assert path_times(path, 5) == pytest.approx((0, 0.25, 0.5, 0.75, 1), abs=1e-12)
    fast, slow = (
        KeyframedPath((Keyframe(0.0),), speed=2),
        KeyframedPath((Keyframe(0.0),), speed=0.5),
    )
    assert path_times(fast, 5) == (0, 0.5, 1, 1, 1)
    assert path_times(slow, 5) == (0, 0.125, 0.25, 0.375, 0.5)
    assert path_times(slow, 1) == (0,)


def test_one_keyframe_stands_still_with_the_lens_of_the_video() -> None:
    lens = torch.diag(torch.tensor([1.2, 1.8, 1.0], dtype=torch.float64))
    path = keyframed_trajectory(KeyframedPath((Keyframe(0.5, yaw_deg=10),)), 4, lens)
    assert (path.c2w == path.c2w[0]).all()
    assert torch.equal(path.intrinsics, lens.expand(4, 3, 3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keyframes": ()}, "keyframes got 0 of them, wanted 1 to 64; delete some"),
        ({"keyframes": (Keyframe(0.5), Keyframe(0.5))}, "keyframe 2 got time 0.5, wanted more"),
        ({"speed": math.nan}, "speed got nan, wanted 0.05 to 20"),
        ({"pivot": 0.0}, "pivot got 0, wanted 0.01 to 1000"),
        ({"curve": "bouncy"}, "curve got 'bouncy', wanted one of linear"),
        ({"curve": (0.0, -0.1, 1.0, 1.0)}, "so that time never runs back; move the handles"),
    ],
)
def test_a_path_out_of_range_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KeyframedPath(**{"keyframes": (Keyframe(0.0),), **changes})


def test_a_keyframe_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="pitch_deg got 181, wanted -180 to 180; choose"):
        Keyframe(0.0, pitch_deg=181)
    with pytest.raises(ValueError, match="ease got 'bounce', wanted one of smooth, linear"):
        Keyframe(0.0, ease="bounce")
    with pytest.raises(ValueError, match="num_frames got 0, wanted at least 1"):
        path_times(KeyframedPath((Keyframe(0.0),)), 0)

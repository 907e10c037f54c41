import math

import pytest
import torch

from memv2v_core.cameras.keyframes import Keyframe, KeyframedPath, keyframed_trajectory
from memv2v_core.cameras.trajectory import CameraTrajectory, lens_intrinsics, static_trajectory
from memv2v_core.pictures.direction_map import mask_outlines, turned_deg, view_outlines
from memv2v_core.retrieval.video_fov import video_fov_mask

LENS = lens_intrinsics(60.0, 1.0)


def looking(yaw_deg: float, pitch_deg: float = 0.0, num_frames: int = 1) -> CameraTrajectory:
    keyframe = Keyframe(0.0, yaw_deg=yaw_deg, pitch_deg=pitch_deg)
    return keyframed_trajectory(KeyframedPath((keyframe,)), num_frames, LENS)


def inside(point: tuple[float, float], lines: list[list[tuple[float, float]]]) -> bool:
    """The even-odd rule, as a page fills."""
    x, y = point
    crossings = 0
    for line in lines:
        for (x0, y0), (x1, y1) in zip(line, [*line[1:], line[0]], strict=True):
            if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                crossings += 1
    return crossings % 2 == 1


def test_a_view_ahead_reaches_half_its_angle() -> None:
    (line,) = view_outlines(looking(0.0))
    right = [x for x, _ in line]
    assert (min(right), max(right)) == (-30.0, 30.0)
    # The upper left corner: atan(tan 30 / hypot(1, tan 30)).
    corner = math.degrees(math.atan(math.tan(math.radians(30)) / math.hypot(1, 3**-0.5)))
    assert line[0] == (-30.0, round(corner, 2))


def test_a_line_behind_the_camera_does_not_jump() -> None:
    (line,) = view_outlines(looking(175.0))
    steps = [abs(b[0] - a[0]) for a, b in zip(line, line[1:], strict=False)]
    assert max(steps) < 20
    path = keyframed_trajectory(
        KeyframedPath((Keyframe(0.0, yaw_deg=100), Keyframe(1.0, yaw_deg=260))), 41, LENS
    )
    assert [x for x, _ in turned_deg(path)][::20] == pytest.approx([100, 180, 260], abs=0.01)


@pytest.mark.parametrize("pitch_deg", [-90.0, -75.0, 0.0, 50.0, 75.0, 90.0])
@pytest.mark.parametrize("yaw_deg", [0.0, 140.0])
def test_both_outlines_enclose_what_the_scored_mask_sees(yaw_deg: float, pitch_deg: float) -> None:
    path = looking(yaw_deg, pitch_deg)
    mask = video_fov_mask(path, static_trajectory(1))
    traced, (line,) = mask_outlines(mask), view_outlines(path)
    # Every line also counts a turn to the left and to the right, as a page draws it.
    copies = [[(x + turn, y) for x, y in line] for turn in (-360, 0, 360)]
    wrong_traced = wrong_line = 0
    for row in range(0, 180, 4):
        for column in range(0, 360, 4):
            point = (column + 0.5 - 180, 90 - row - 0.5)
            seen = bool(mask[row, column])
            wrong_traced += inside(point, traced) != seen
            wrong_line += any(inside(point, [copy]) for copy in copies) != seen
    assert wrong_traced == 0
    # Curved edges are drawn with eight straight pieces.
    assert wrong_line <= 12


def test_holes_and_points_that_touch_at_a_corner_are_lines_of_their_own() -> None:
    mask = torch.zeros(6, 12, dtype=torch.bool)
    mask[1:4, 1:4] = True
    mask[2, 2] = False
    mask[4, 4] = True
    lines = mask_outlines(mask)
    for row in range(6):
        for column in range(12):
            point = (30 * column - 165.0, 75.0 - 30 * row)
            assert inside(point, lines) == bool(mask[row, column])
    assert mask_outlines(torch.zeros(4, 8, dtype=torch.bool)) == []

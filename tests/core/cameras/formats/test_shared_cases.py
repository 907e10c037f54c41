"""Small files of other programs, where MEMV2V_TEST_DATA names a folder that has them."""

import math
import os
from pathlib import Path

import pytest
import torch

from memv2v_core.cameras.formats.detection import load_cameras
from memv2v_core.cameras.formats.reading.results import ImportSettings
from memv2v_core.cameras.presets import PresetConfig, make_preset

# All hold nine frames that pan left by three degrees a frame.
NINE_FRAMES = (
    "blender_nerf_format.json",
    "nerfstudio_camera_path.json",
    "nerfstudio_ns_export_cameras.json",
    "realestate10k.txt",
    "transforms_3x4.json",
)


def case(name: str) -> Path:
    folder = os.environ.get("MEMV2V_TEST_DATA")
    if not folder:
        pytest.skip("MEMV2V_TEST_DATA is unset; it names a folder with cases/cameras")
    path = Path(folder) / "cases" / "cameras" / name
    if not path.is_file():
        pytest.skip(f"MEMV2V_TEST_DATA has no {path}")
    return path


@pytest.mark.parametrize("name", NINE_FRAMES)
def test_every_program_gives_the_same_pan(name: str):
    path = load_cameras(case(name), ImportSettings(aspect=832 / 480)).trajectory
    expected = make_preset(PresetConfig("pan_left", 24.0, 9, easing="linear"))
    assert torch.allclose(path.relative_to(path).c2w, expected.c2w, atol=1e-8)


def test_frames_that_colmap_did_not_place_are_refused_or_right():
    path = case("colmap_unregistered_frames.json")
    with pytest.raises(ValueError, match=r"frames 6 to 40 \(35 in sequence\)"):
        load_cameras(path)
    imported = load_cameras(path, ImportSettings(max_gap=35))
    assert imported.trajectory.num_frames == 45
    turned = imported.trajectory.relative_to(imported.trajectory).c2w[24]
    # Frame 25 is at 24 degrees to the left.
    assert math.degrees(math.atan2(-turned[0, 2], turned[2, 2])) == pytest.approx(24.0, abs=1e-6)
    assert "35 of 45 frames have no camera in the file and are interpolated: 6 to 40." in (
        imported.notes
    )

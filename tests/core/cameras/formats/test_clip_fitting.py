"""Imported paths at the length and the aspect of a clip."""

import pytest
import torch

from memv2v_core.cameras.formats.clip_fitting import fit_to_clip
from memv2v_core.cameras.formats.reading.results import ImportedCameras
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import lens_intrinsics

PAN = make_preset(PresetConfig("pan_left", 40.0, 9, easing="linear"), lens_intrinsics(60.0, 2.0))


def test_a_path_that_fits_stays_and_nothing_is_said():
    imported = ImportedCameras(PAN, is_numbered=True)
    for lengths in ({}, {"clip_frames": 9}, {"num_frames": 9, "clip_frames": 40}):
        fitted = fit_to_clip(imported, aspect=2.0, **lengths)
        assert fitted.trajectory is PAN
        assert fitted.notes == ()


def test_the_clip_gives_the_length_and_a_typed_number_wins():
    for lengths in ({"clip_frames": 17}, {"num_frames": 17, "clip_frames": 40}):
        fitted = fit_to_clip(ImportedCameras(PAN, ("first",)), **lengths)
        assert torch.allclose(fitted.trajectory.c2w[::2], PAN.c2w, atol=1e-9)
        assert fitted.notes[0] == "first"
        assert "9 cameras are spread evenly over 17 frames" in fitted.notes[1]


def test_numbered_frames_that_are_too_few_are_refused():
    numbered = ImportedCameras(PAN, is_numbered=True)
    with pytest.raises(ValueError, match="cameras for 9 frames, wanted the 11 of the clip; cut"):
        fit_to_clip(numbered, clip_frames=11)
    assert fit_to_clip(numbered, clip_frames=5).trajectory.num_frames == 5
    assert fit_to_clip(numbered, num_frames=11, clip_frames=11).trajectory.num_frames == 11


def test_another_aspect_is_the_middle_of_the_picture_and_said():
    fitted = fit_to_clip(ImportedCameras(PAN), aspect=1.0)
    focal = PAN.intrinsics[0, 0, 0]
    assert fitted.trajectory.intrinsics[3, 0, 0] == pytest.approx(2 * focal)
    assert fitted.trajectory.intrinsics[3, 1, 1] == pytest.approx(2 * focal)
    assert "width / height 2.00, the clip 1.00: the lens is that of the middle" in fitted.notes[0]

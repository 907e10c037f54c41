"""The pose lists of `ns-export cameras`."""

import json
from pathlib import Path

import pytest
import torch

from memv2v_core.cameras.formats.detection import load_cameras, load_trajectory
from memv2v_core.cameras.formats.reading.results import ImportSettings
from memv2v_core.cameras.trajectory import default_intrinsics, intrinsics_matrix


def written(folder: Path, *numbers: int, **changes: object) -> Path:
    entries = [
        {
            "file_path": f"/data/images/frame_{number:05d}.png",
            "transform": [[1, 0, 0, number], [0, 1, 0, 0], [0, 0, 1, 0]],
            **changes,
        }
        for number in numbers
    ]
    path = folder / "transforms_train.json"
    path.write_text(json.dumps(entries))
    return path


def test_pictures_set_apart_for_evaluation_are_interpolated_and_said(tmp_path: Path):
    imported = load_cameras(written(tmp_path, 1, 2, 4, 3, 6))
    assert imported.trajectory.c2w[:, 0, 3].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    # OpenGL's camera looks along -Z.
    assert imported.trajectory.c2w[0, :3, 2].tolist() == [0.0, 0.0, -1.0]
    assert "1 of 6 frames have no camera in the file and are interpolated: 5." in imported.notes


def test_the_lens_comes_from_outside_and_is_said(tmp_path: Path):
    path = written(tmp_path, 1, 2)
    assumed = load_cameras(path)
    assert torch.allclose(assumed.trajectory.intrinsics, default_intrinsics(2))
    assert "no lens: 52.7 degrees across" in assumed.notes[0]
    known = intrinsics_matrix(1.2, 1.3)
    imported = load_cameras(path, ImportSettings(lens=known))
    assert torch.equal(imported.trajectory.intrinsics[1], known)
    assert "the lens of source_camera is used" in imported.notes[0]


def test_broken_files_are_named(tmp_path: Path):
    with pytest.raises(ValueError, match="9 numbers in frame 0, wanted 16 or 12"):
        load_trajectory(written(tmp_path, 1, transform=[[1, 0, 0], [0, 1, 0], [0, 0, 1]]))
    path = tmp_path / "list.json"
    path.write_text('[{"file_path": "a1.png", "transform": [[1]]}, 3]')
    with pytest.raises(ValueError, match="frames that are no objects"):
        load_trajectory(path)

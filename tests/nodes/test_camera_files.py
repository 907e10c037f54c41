"""Import and export of camera files: what the nodes say, and how they follow a clip."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from memv2v_core.cameras.formats.recammaster import save_recammaster
from memv2v_core.cameras.formats.transforms import save_transforms
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, lens_intrinsics, static_trajectory

WIDE = lens_intrinsics(80.0, 2.0)
PAN = make_preset(PresetConfig("pan_left", 16.0, 9, easing="linear"), WIDE)


@pytest.fixture(autouse=True)
def own_input_folder(comfy_api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has an input folder of its own."""
    (tmp_path / "input").mkdir()
    monkeypatch.setattr(comfy_api.folder_paths, "input_directory", str(tmp_path / "input"))


def imported(comfy_api, file: str, **changes: Any) -> tuple[CameraTrajectory, str]:
    """The path, and what the node says."""
    from memory_v2v.nodes.cameras.importing import ImportCameraTrajectory

    inputs = {"file": file, "camera": "cam01", "num_frames": 0, "start_at_source": True, **changes}
    output = comfy_api.run_node(ImportCameraTrajectory, **inputs)
    return output[0], output.ui.as_dict()["text"][0]


def exported(comfy_api, camera: CameraTrajectory, **changes: Any) -> Path:
    return Path(export(comfy_api, camera, **changes)[0])


def export(comfy_api, camera: CameraTrajectory, **changes: Any) -> Any:
    """What the node returns."""
    from memory_v2v.nodes.cameras.exporting import ExportCameraTrajectory

    inputs = {
        "camera": camera,
        "filename_prefix": "paths/one",
        "format": "transforms.json",
        "width": 200,
        "height": 100,
        "camera_name": "cam01",
        **changes,
    }
    return comfy_api.run_node(ExportCameraTrajectory, **inputs)


def input_file(comfy_api, name: str) -> Path:
    return Path(comfy_api.folder_paths.get_input_directory()) / name


def clip(num_frames: int, width: int, height: int) -> torch.Tensor:
    return torch.zeros(num_frames, height, width, 3)


def test_a_file_that_says_everything_is_only_counted(comfy_api) -> None:
    save_transforms(PAN, input_file(comfy_api, "full.json"), height=100, width=200)
    path, report = imported(comfy_api, "full.json", clip=clip(9, 64, 32))
    assert report == "full.json: 9 cameras."
    assert torch.allclose(path.intrinsics, PAN.intrinsics)


def test_the_path_follows_the_clip_in_length_and_aspect(comfy_api) -> None:
    save_recammaster({"cam01": PAN}, input_file(comfy_api, "recam.json"))
    path, report = imported(comfy_api, "recam.json", clip=clip(17, 30, 20))
    assert path.num_frames == 17
    assert path.intrinsics[0, 1, 1] == pytest.approx(1.5 * path.intrinsics[0, 0, 0])
    assert "The file has no lens: 52.7 degrees across" in report
    assert "9 cameras are spread evenly over 17 frames" in report


def test_files_without_a_lens_take_the_one_of_the_source_camera(comfy_api) -> None:
    save_recammaster({"cam01": PAN}, input_file(comfy_api, "recam.json"))
    source = static_trajectory(3, WIDE)
    path, report = imported(comfy_api, "recam.json", source_camera=source)
    assert torch.allclose(path.intrinsics[8], WIDE)
    assert "the lens of source_camera is used" in report
    typed, report = imported(comfy_api, "recam.json", fov_deg=90.0, aspect=2.0)
    assert typed.intrinsics[0].diag()[:2].tolist() == pytest.approx([0.5, 1.0])
    assert "90.0 degrees across (fov_deg)" in report


def test_gaps_are_said_or_refused(comfy_api) -> None:
    file = input_file(comfy_api, "gaps.json")
    save_transforms(PAN, file, height=100, width=200)
    content = json.loads(file.read_text(encoding="utf-8"))
    del content["frames"][3:6]
    file.write_text(json.dumps(content), encoding="utf-8")
    path, report = imported(comfy_api, "gaps.json")
    assert torch.allclose(path.c2w, PAN.c2w, atol=1e-9)
    assert "3 of 9 frames have no camera in the file and are interpolated: 3 to 5." in report
    with pytest.raises(ValueError, match="no camera for frames 3 to 5 .*raise max_gap"):
        imported(comfy_api, "gaps.json", max_gap=2)


def test_an_angle_alone_takes_the_clips_aspect(comfy_api) -> None:
    frame = {"file_path": "./train/r_0", "transform_matrix": torch.eye(4).tolist()}
    file = input_file(comfy_api, "blender.json")
    file.write_text(json.dumps({"camera_angle_x": math.pi / 2, "frames": [frame]}))
    path, _ = imported(comfy_api, "blender.json", clip=clip(1, 30, 20))
    assert path.intrinsics[0].diag()[:2].tolist() == pytest.approx([0.5, 0.75])
    with pytest.raises(ValueError, match="connect the clip, or enter its aspect"):
        imported(comfy_api, "blender.json")


def test_texts_are_listed_and_both_files_of_colmap_are_watched(comfy_api) -> None:
    from memory_v2v.nodes.cameras.importing import ImportCameraTrajectory

    images, cameras = input_file(comfy_api, "images.txt"), input_file(comfy_api, "cameras.txt")
    images.write_text("1 1 0 0 0 0 0 0 1 f_1.png\n\n2 1 0 0 0 -1 0 0 1 f_2.png\n\n")
    cameras.write_text("1 SIMPLE_PINHOLE 200 100 100 100 50\n")
    input_file(comfy_api, "points3D.bin").write_bytes(b"")
    options = ImportCameraTrajectory.define_schema().inputs[0].options
    assert {"images.txt", "cameras.txt"} <= set(options)
    assert "points3D.bin" not in options
    path, _ = imported(comfy_api, "images.txt")
    assert path.c2w[:, 0, 3].tolist() == [0.0, 1.0]
    assert ImportCameraTrajectory.validate_inputs("images.txt", "cam01") is True
    before = ImportCameraTrajectory.fingerprint_inputs(file="images.txt")
    cameras.write_text("1 SIMPLE_PINHOLE 200 100 111 100 50\n# another lens\n")
    assert before != ImportCameraTrajectory.fingerprint_inputs(file="images.txt")


@pytest.mark.parametrize("name", ["transforms.json", "ReCamMaster", "nerfstudio camera_path"])
def test_every_exported_format_is_imported_again(comfy_api, name: str) -> None:
    file = exported(comfy_api, PAN, format=name)
    (input_file(comfy_api, "again.json")).write_text(file.read_text(encoding="utf-8"))
    path, _ = imported(comfy_api, "again.json", source_camera=static_trajectory(1, WIDE))
    assert torch.allclose(path.c2w, PAN.c2w, atol=1e-9)
    assert torch.allclose(path.intrinsics, PAN.intrinsics)


def test_an_export_follows_the_clip(comfy_api) -> None:
    file = exported(
        comfy_api, PAN, format="nerfstudio camera_path", clip=clip(9, 64, 32), width=7, fps=12.0
    )
    content = json.loads(file.read_text(encoding="utf-8"))
    assert (content["render_width"], content["render_height"]) == (64, 32)
    assert content["seconds"] == pytest.approx(0.75)


def test_an_export_at_another_aspect_says_so(comfy_api) -> None:
    assert "\n" not in export(comfy_api, PAN).ui.as_dict()["text"][0]
    said = export(comfy_api, PAN, width=100).ui.as_dict()["text"][0]
    assert "picture with width / height 2.00, not 100x100: its pixels are not square" in said

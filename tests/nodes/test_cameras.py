"""Camera nodes: presets, files and pictures."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from memv2v_core.cameras.formats.recammaster import save_recammaster
from memv2v_core.cameras.formats.transforms import save_transforms
from memv2v_core.cameras.keyframe_text import parse_keyframes
from memv2v_core.cameras.keyframes import keyframed_trajectory
from memv2v_core.cameras.presets import PresetConfig, combine_paths, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, default_intrinsics, static_trajectory

PRESET = {
    "motion": "pan_right",
    "amplitude": 30.0,
    "num_frames": 9,
    "easing": "linear",
    "speed": 1.0,
    "returns": False,
    "fov_deg": 60.0,
    "aspect": 1.0,
    "second_motion": "none",
    "second_amplitude": 10.0,
}


def made(comfy_api, **changes) -> CameraTrajectory:
    from memory_v2v.nodes.cameras.paths import CameraTrajectoryNode

    return comfy_api.run_node(CameraTrajectoryNode, **{**PRESET, **changes})[0]


def imported(comfy_api, file: str, **changes) -> CameraTrajectory:
    from memory_v2v.nodes.cameras.importing import ImportCameraTrajectory

    inputs = {"file": file, "camera": "cam01", "num_frames": 0, "start_at_source": True, **changes}
    return comfy_api.run_node(ImportCameraTrajectory, **inputs)[0]


def input_file(comfy_api, name: str) -> Path:
    return Path(comfy_api.folder_paths.get_input_directory()) / name


def test_preset_has_the_lens_that_was_asked_for(comfy_api) -> None:
    path = made(comfy_api)
    focal = 0.5 / math.tan(math.radians(30))
    assert path.num_frames == 9
    assert path.intrinsics[0, 0, 0] == pytest.approx(focal)
    assert path.intrinsics[0, 1, 1] == pytest.approx(focal)
    wide = made(comfy_api, aspect=2.0)
    assert wide.intrinsics[0, 1, 1] == pytest.approx(2 * focal)


def test_no_angle_is_the_default_lens(comfy_api) -> None:
    assert torch.equal(made(comfy_api, fov_deg=0.0).intrinsics, default_intrinsics(9))
    near = made(comfy_api, fov_deg=math.degrees(2 * math.atan(23.76 / 48)), aspect=832 / 480)
    assert torch.allclose(near.intrinsics, default_intrinsics(9))


def test_second_motion_is_added_to_the_first(comfy_api) -> None:
    lens = made(comfy_api).intrinsics[0]
    pan = make_preset(PresetConfig("pan_right", 30.0, 9, easing="linear"), lens)
    tilt = make_preset(PresetConfig("tilt_up", 10.0, 9, easing="linear"), lens)
    both = made(comfy_api, second_motion="tilt_up")
    assert torch.equal(both.c2w, combine_paths(pan, tilt).c2w)


def test_keyframes_decide_in_place_of_the_motions(comfy_api) -> None:
    text = '{"keyframes":[{"time":0},{"time":1,"yaw_deg":-40,"pitch_deg":10}]}'
    lens = made(comfy_api).intrinsics[0]
    expected = keyframed_trajectory(parse_keyframes(text), 9, lens)
    path = made(comfy_api, keyframes=text, motion="dolly_in", second_motion="tilt_up")
    assert torch.equal(path.c2w, expected.c2w)
    assert torch.equal(path.intrinsics, expected.intrinsics)
    # Length and lens come from the clip, as without keyframes.
    assert made(comfy_api, keyframes=text, clip=torch.zeros(5, 20, 30, 3)).num_frames == 5


def test_no_keyframes_are_the_motions_bit_for_bit(comfy_api) -> None:
    assert torch.equal(made(comfy_api, keyframes="").c2w, made(comfy_api).c2w)


def test_bad_keyframes_are_refused_before_a_run(comfy_api) -> None:
    from memory_v2v.nodes.cameras.paths import CameraTrajectoryNode

    assert CameraTrajectoryNode.validate_inputs("") is True
    assert CameraTrajectoryNode.validate_inputs(keyframes='{"keyframes":[{"time":0}]}') is True
    message = CameraTrajectoryNode.validate_inputs('{"keyframes":[{"time":2}]}')
    assert message == (
        "keyframe 1: time got 2, wanted a number in 0 to 1; choose one in this range"
    )
    with pytest.raises(ValueError, match="keyframes got no JSON"):
        made(comfy_api, keyframes="pan left, please")


def test_import_reads_both_formats_at_the_length_asked_for(comfy_api) -> None:
    path = made(comfy_api, motion="orbit_left")
    save_recammaster({"cam03": path}, input_file(comfy_api, "recam.json"))
    save_transforms(path, input_file(comfy_api, "transforms.json"), height=128, width=128)
    recam = imported(comfy_api, "recam.json", camera="cam03")
    nerf = imported(comfy_api, "transforms.json")
    assert torch.allclose(recam.c2w, path.c2w, atol=1e-9)
    assert torch.allclose(nerf.c2w, path.c2w, atol=1e-9)
    assert torch.allclose(nerf.intrinsics, path.intrinsics)
    longer = imported(comfy_api, "transforms.json", num_frames=17)
    assert longer.num_frames == 17
    assert torch.allclose(longer.c2w[::2], path.c2w, atol=1e-9)


def test_import_starts_at_the_source_unless_told_otherwise(comfy_api) -> None:
    path = made(comfy_api)
    moved = CameraTrajectory(path.c2w[-1:] @ path.c2w, path.intrinsics)
    save_transforms(moved, input_file(comfy_api, "elsewhere.json"), height=64, width=64)
    assert torch.allclose(imported(comfy_api, "elsewhere.json").c2w, path.c2w, atol=1e-9)
    kept = imported(comfy_api, "elsewhere.json", start_at_source=False)
    assert torch.allclose(kept.c2w, moved.c2w, atol=1e-9)


def test_import_names_the_cameras_of_the_file(comfy_api) -> None:
    save_recammaster({"cam03": made(comfy_api)}, input_file(comfy_api, "recam.json"))
    with pytest.raises(
        ValueError, match="recam.json got in frame0 cameras cam03, wanted camera 'cam01'"
    ):
        imported(comfy_api, "recam.json")


def test_import_refuses_poses_that_are_not_numbers(comfy_api) -> None:
    file = input_file(comfy_api, "broken.json")
    save_transforms(made(comfy_api), file, height=64, width=64)
    content = json.loads(file.read_text(encoding="utf-8"))
    content["frames"][2]["transform_matrix"][0][3] = math.nan
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match="broken.json got NaN or infinity in frame 2"):
        imported(comfy_api, "broken.json")


def test_import_says_which_files_there_are(comfy_api) -> None:
    from memory_v2v.nodes.cameras.importing import ImportCameraTrajectory

    input_file(comfy_api, "present.json").write_text("{}", encoding="utf-8")
    message = ImportCameraTrajectory.validate_inputs("absent.json")
    assert "absent.json" in message
    assert "present.json" in message
    assert ImportCameraTrajectory.validate_inputs("present.json") is True
    options = ImportCameraTrajectory.define_schema().inputs[0].options
    assert "present.json" in options


def test_a_changed_file_is_read_again(comfy_api) -> None:
    from memory_v2v.nodes.cameras.importing import ImportCameraTrajectory

    file = input_file(comfy_api, "changing.json")
    file.write_text("{}", encoding="utf-8")
    before = ImportCameraTrajectory.fingerprint_inputs(file="changing.json", camera="cam01")
    assert before == ImportCameraTrajectory.fingerprint_inputs(file="changing.json", camera="cam02")
    file.write_text("{ }", encoding="utf-8")
    assert before != ImportCameraTrajectory.fingerprint_inputs(file="changing.json", camera="cam01")


def test_preview_is_an_image_with_text(comfy_api) -> None:
    from memory_v2v.nodes.cameras.previewing import PreviewCameraTrajectory

    output = comfy_api.run_node(
        PreviewCameraTrajectory, camera=made(comfy_api), source_camera=static_trajectory(9)
    )
    (picture,) = output.args
    assert picture.ndim == 4
    assert picture.shape[0] == 1
    assert picture.shape[-1] == 3
    shown = output.ui.as_dict()
    assert shown["images"]
    assert "turning up to 30.0 degrees" in shown["text"][0]


def test_preview_draws_only_cameras_that_reach_the_model(comfy_api) -> None:
    from memory_v2v.nodes.cameras.previewing import latent_cameras

    vae = SimpleNamespace(temporal_compression_decode=lambda: 4)
    path = made(comfy_api)
    assert torch.equal(latent_cameras(path, vae).c2w, path.c2w[[0, 4, 8]])
    assert latent_cameras(path, None) is path
    with pytest.raises(ValueError, match="num_frames got 8, wanted 4 \\* n \\+ 1"):
        latent_cameras(made(comfy_api, num_frames=8), vae)


def test_a_path_follows_the_clip_and_the_lens_of_the_source(comfy_api) -> None:
    clip = torch.zeros(5, 20, 30, 3)
    followed = made(comfy_api, clip=clip)
    assert followed.num_frames == 5
    focal = 0.5 / math.tan(math.radians(30))
    assert followed.intrinsics[0].diag()[:2].tolist() == pytest.approx([focal, 1.5 * focal])
    # The default lens at the clip's aspect: 24 mm on 23.76 mm.
    default = made(comfy_api, clip=clip, fov_deg=0.0).intrinsics[0]
    assert default.diag()[:2].tolist() == pytest.approx([24 / 23.76, 1.5 * 24 / 23.76])
    source = static_trajectory(5, torch.diag(torch.tensor([1.2, 1.8, 1.0], dtype=torch.float64)))
    for inputs in ({"source_camera": source}, {"source_camera": source, "clip": clip}):
        path = made(comfy_api, **inputs)
        assert torch.equal(path.intrinsics, source.intrinsics)
    with pytest.raises(ValueError, match="of the source got 5 frames, wanted 7"):
        made(comfy_api, source_camera=source, clip=torch.zeros(7, 20, 30, 3))

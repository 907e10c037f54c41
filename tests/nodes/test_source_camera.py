"""Estimate Source Camera with ComfyUI's own Depth Anything 3."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from instruments.depth_anything import small_weights
from safetensors.torch import save_file

from memv2v_core.cameras.presets import PresetConfig, combine_paths, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, lens_intrinsics

NUM_FRAMES, HEIGHT, WIDTH = 9, 56, 98
# The network ran at this size: multiples of 14.
RUN_HEIGHT, RUN_WIDTH = 84, 140
LENS = lens_intrinsics(70.0, WIDTH / HEIGHT)


@pytest.fixture
def da3(comfy_api) -> Any:
    """ComfyUI's nodes of Depth Anything 3."""
    return pytest.importorskip(
        "comfy_extras.nodes_depth_anything_3", reason="this ComfyUI has no Depth Anything 3"
    )


def clip() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(NUM_FRAMES, HEIGHT, WIDTH, 3, generator=generator)


def path() -> CameraTrajectory:
    return combine_paths(
        make_preset(PresetConfig("dolly_in", 4.0, NUM_FRAMES, easing="linear"), LENS),
        make_preset(PresetConfig("pan_right", 40.0, NUM_FRAMES, easing="linear"), LENS),
    )


def known_geometry(frame_idx: tuple[int, ...] = (0, 4, 8)) -> dict[str, Any]:
    """A DA3_GEOMETRY of cameras that we know, made by ComfyUI's own pose encoding."""
    from comfy.ldm.depth_anything_3.transform import (
        affine_inverse,
        extri_intri_to_pose_encoding,
        pose_encoding_to_extri_intri,
    )

    chosen = path().frames(frame_idx)
    size = torch.tensor([RUN_WIDTH, RUN_HEIGHT, 1.0], dtype=torch.float64)
    encoding = extri_intri_to_pose_encoding(
        chosen.c2w[None], (size[:, None] * chosen.intrinsics)[None], (RUN_HEIGHT, RUN_WIDTH)
    )
    c2w, intrinsics = pose_encoding_to_extri_intri(encoding, (RUN_HEIGHT, RUN_WIDTH))
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(1, len(frame_idx), 1, 4)
    return {
        "mode": "multiview",
        "image": clip()[list(frame_idx)],
        "depth": torch.full((len(frame_idx), HEIGHT, WIDTH), 2.0),
        "extrinsics": affine_inverse(torch.cat([c2w, bottom], dim=-2))[:, :, :3],
        "intrinsics": intrinsics,
    }


def estimated(comfy_api, geometry: Any, **changes: Any) -> tuple[CameraTrajectory, str]:
    """The path, and what the node says."""
    from memory_v2v.nodes.cameras.estimating import EstimateSourceCamera

    inputs = {"clip": clip(), "scale": 1.0, "lens": "one for the clip", **changes}
    output = comfy_api.run_node(EstimateSourceCamera, geometry=geometry, **inputs)
    return output[0], output.ui.as_dict()["text"][0]


def test_known_cameras_come_back_and_frames_between_are_interpolated(comfy_api, da3) -> None:
    found, report = estimated(comfy_api, known_geometry())
    assert torch.allclose(found.c2w, path().c2w, atol=1e-5)
    assert torch.allclose(found.intrinsics, path().intrinsics, atol=1e-5)
    assert not found.is_assumed
    assert report.splitlines()[0] == "3 views estimated, 6 of 9 frames interpolated."
    assert "turning up to 40.0 degrees and moving up to 4 pose units" in report
    assert "the scene's median distance is 2 units, not metres" in report


def test_scale_multiplies_movement_and_distance(comfy_api, da3) -> None:
    found, report = estimated(comfy_api, known_geometry(), scale=0.5)
    assert found.c2w[8, 2, 3] == pytest.approx(2.0, abs=1e-5)
    assert "median distance is 1 units" in report


def test_a_point_of_comfyuis_mesh_is_where_our_camera_sees_it(comfy_api, da3) -> None:
    geometry = known_geometry(tuple(range(NUM_FRAMES)))
    found, _ = estimated(comfy_api, geometry)
    depth = torch.full((RUN_HEIGHT, RUN_WIDTH), 3.0)
    first = geometry["extrinsics"][0, 0]
    # ComfyUI's own arithmetic, from a pixel of view 5 to the world, and into the first camera.
    points = da3._da3_unproject(depth, geometry["intrinsics"][0, 5])
    world = da3._da3_apply_extrinsic(points, geometry["extrinsics"][0, 5])[20, 100]
    point = (first[:, :3] @ world + first[:, 3]).to(torch.float64)
    seen = torch.linalg.inv(found.c2w[5])[:3] @ torch.cat([point, torch.ones(1)])
    pixel = found.intrinsics[5] @ (seen / seen[2])
    assert pixel[:2].tolist() == pytest.approx([100 / RUN_WIDTH, 20 / RUN_HEIGHT], abs=1e-5)
    assert float(seen[2]) == pytest.approx(3.0, abs=1e-5)


def test_random_weights_go_through_comfyuis_own_nodes(
    comfy_api, da3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(small_weights(), tmp_path / "da3.safetensors")
    monkeypatch.setitem(
        comfy_api.folder_paths.folder_names_and_paths,
        "geometry_estimation",
        ([str(tmp_path)], {".safetensors"}),
    )
    model = comfy_api.run_node(da3.LoadDA3Model, model_name="da3.safetensors", weight_dtype="fp32")
    mode = {"mode": "multiview", "ref_view_strategy": "first", "pose_method": "cam_dec"}
    geometry = comfy_api.run_node(
        da3.DA3Inference,
        da3_model=model[0],
        image=clip()[[0, 4, 8]],
        resolution=140,
        resize_method="upper_bound_resize",
        mode=mode,
    )[0]
    found, report = estimated(comfy_api, geometry)
    assert found.num_frames == NUM_FRAMES
    # The lens that the weights were given: 1 radian both ways.
    focal = 0.5 / math.tan(0.5)
    assert found.intrinsics[4].diag()[:2].tolist() == pytest.approx([focal, focal], abs=1e-3)
    assert "lens 57.3 degrees across" in report
    rotation = found.c2w[:, :3, :3]
    eye = torch.eye(3, dtype=torch.float64).expand(NUM_FRAMES, 3, 3)
    assert torch.allclose(rotation.mT @ rotation, eye)


def test_an_image_centre_off_the_middle_does_not_change_the_lens(comfy_api, da3) -> None:
    geometry = known_geometry()
    # pose_method ray_pose estimates the centre too.
    geometry["intrinsics"][0, :, :2, 2] += torch.tensor([[2.0, -3.0], [1.0, 0.0], [2.0, -3.0]])
    found, _ = estimated(comfy_api, geometry)
    expected = path().intrinsics[0].clone()
    expected[:2, 2] += torch.tensor([2.0 / RUN_WIDTH, -3.0 / RUN_HEIGHT])
    assert torch.allclose(found.intrinsics[3], expected, atol=1e-5)


def geometry_with(**changes: Any) -> dict[str, Any]:
    return {**known_geometry(), **changes}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extrinsics": torch.full((1, 3, 3, 4), torch.nan)}, "camera of view 0 got NaN"),
        ({"intrinsics": torch.eye(3).expand(1, 3, 3, 3)}, "3 views without estimated cameras"),
        ({"image": clip()[[0, 4]]}, "2 views without estimated cameras, wanted at least 2"),
        ({"image": clip()[[8, 4, 0]]}, "view 1 got a picture that is no frame of the clip after"),
        ({"image": torch.zeros(3, 8, 8, 3)}, r"the views got shape \(3, 8, 8, 3\)"),
    ],
)
def test_a_geometry_without_cameras_of_this_clip_is_named(
    comfy_api, da3, change: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        estimated(comfy_api, geometry_with(**change))


def test_the_single_view_mode_has_no_cameras(comfy_api) -> None:
    geometry = {"mode": "mono", "image": clip(), "depth": torch.ones(NUM_FRAMES, HEIGHT, WIDTH)}
    with pytest.raises(ValueError, match="mode mono without cameras, wanted multiview; in Run"):
        estimated(comfy_api, geometry)


def test_without_a_geometry_the_node_says_what_is_missing(
    comfy_api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memory_v2v.nodes.host import depth_anything

    monkeypatch.setattr(depth_anything, "has_depth_anything", lambda: True)
    with pytest.raises(ValueError, match="geometry is not connected.*connect Run Depth Anything"):
        estimated(comfy_api, None)
    monkeypatch.setattr(depth_anything, "has_depth_anything", lambda: False)
    with pytest.raises(ValueError, match=r"no Depth Anything 3 .*at least 0.30.0; update ComfyUI"):
        estimated(comfy_api, None)


def test_a_comfyui_says_if_it_has_depth_anything(comfy_api) -> None:
    from memory_v2v.nodes.host.depth_anything import has_depth_anything

    folder = comfy_api.comfyui / "comfy_extras"
    assert has_depth_anything() == (folder / "nodes_depth_anything_3.py").is_file()

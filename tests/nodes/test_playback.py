"""The node that gives a path a playback time, and the nodes that tell of it."""

from pathlib import Path

import pytest
import torch

from memv2v_core.cameras.playback import with_playback
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory


@pytest.fixture
def camera() -> CameraTrajectory:
    return make_preset(PresetConfig("pan_right", 30.0, 9))


def played(comfy_api, camera: CameraTrajectory, pattern: str, freeze_frame: int = 0):
    from memory_v2v.nodes.cameras.playback import PlaybackTime

    return comfy_api.run_node(
        PlaybackTime, camera=camera, pattern=pattern, freeze_frame=freeze_frame
    )


def test_a_path_gets_its_moments_and_stays_the_same_path(comfy_api, camera) -> None:
    output = played(comfy_api, camera, "reverse")
    (path,) = output.args
    assert path.moments().tolist() == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert torch.equal(path.c2w, camera.c2w)
    assert torch.equal(path.intrinsics, camera.intrinsics)
    assert camera.times is None
    assert output.ui.as_dict()["text"][0] == "9 frames: shows moments 8 to 0 of the source"


def test_a_second_playback_replaces_the_first(comfy_api, camera) -> None:
    (path,) = played(comfy_api, with_playback(camera, "reverse"), "freeze", 4).args
    assert path.moments().tolist() == [4] * 9


def test_a_moment_behind_the_source_is_refused(comfy_api, camera) -> None:
    with pytest.raises(ValueError, match="freeze_frame got 9, wanted 0 to 8"):
        played(comfy_api, camera, "freeze", 9)


def test_a_preview_tells_of_the_playback(comfy_api, camera) -> None:
    from memory_v2v.nodes.cameras.previewing import PreviewCameraTrajectory

    for path, told in ((with_playback(camera, "reverse"), True), (camera, False)):
        output = comfy_api.run_node(PreviewCameraTrajectory, camera=path)
        text = output.ui.as_dict()["text"][0]
        assert ("; shows moments 8 to 0 of the source" in text) == told


def test_an_export_says_that_no_file_keeps_a_playback(comfy_api, camera, tmp_path: Path) -> None:
    from memory_v2v.nodes.cameras.exporting import ExportCameraTrajectory

    settings = {"format": "ReCamMaster", "width": 64, "height": 64, "camera_name": "cam01"}
    for path, told in ((with_playback(camera, "reverse"), True), (camera, False)):
        output = comfy_api.run_node(
            ExportCameraTrajectory, camera=path, filename_prefix="camera", **settings
        )
        assert ("no place for the path's playback time" in output.ui.as_dict()["text"][0]) == told

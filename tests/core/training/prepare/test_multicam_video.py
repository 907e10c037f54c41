"""MultiCamVideo, as it is published, and as ReCamMaster's training reads it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from memv2v_core.training.prepare.config import MultiCamVideoOptions, PrepareConfig
from memv2v_core.training.prepare.fitting import cover_and_crop, fit_cameras
from memv2v_core.training.prepare.readers.multicam_video import MultiCamVideoReader
from memv2v_core.training.prepare.readers.raw import ClipSize, RawItem
from memv2v_core.training.prepare.readers.registry import reader_of

CLIP = ClipSize(5, 32, 48)


def _items(root: Path, **options: object) -> dict[str, RawItem]:
    reader = MultiCamVideoReader(root, replace(MultiCamVideoOptions(), **options), CLIP)
    return {item.name: item for item in reader.items()}


def test_scenes_are_listed_in_counted_order(multicam: Path) -> None:
    names = ["f18_aperture10_scene1", "f18_aperture10_scene10", "f35_aperture2.4_scene2"]
    assert list(_items(multicam)) == names
    assert list(_items(multicam / "train", captions=multicam / "metadata.csv")) == names


def test_a_scene_has_its_views_and_captions(multicam: Path) -> None:
    videos = _items(multicam)["f35_aperture2.4_scene2"].videos()
    assert [video.name for video in videos] == [
        f"f35_aperture2.4_scene2.cam0{i}" for i in (1, 2, 3)
    ]
    assert {video.caption for video in videos} == {"a scene, number 2"}
    assert {video.role for video in videos} == {"view"}
    assert videos[0].frames(0).shape == (5, 3, 64, 64)


def test_poses_and_lens_are_those_of_recammaster(multicam: Path) -> None:
    """Every 4th pose, in OpenCV axes and metres; fx = f / 23.76, fy = fx * 832 / 480."""
    videos = _items(multicam)["f35_aperture2.4_scene2"].videos()
    assert videos[1].cameras is not None
    path = fit_cameras(videos[1].cameras(1.0), 9, 4, 832 / 480)
    assert path.num_frames == 3
    # Camera 2 of scene number 2 moves by 4 a frame and turns by 0.04.
    torch.testing.assert_close(path.c2w[:, 0, 3], torch.tensor([0.0, 16, 32], dtype=torch.float64))
    angle = torch.tensor(0.04 * 8, dtype=torch.float64)
    torch.testing.assert_close(path.c2w[2, 0, 2], angle.sin())
    lens = path.intrinsics[0]
    assert lens[0, 0].item() == pytest.approx(35 / 23.76)
    assert lens[1, 1].item() == pytest.approx(35 / 23.76 * 832 / 480)
    assert lens[:2, 2].tolist() == [0.5, 0.5]


def test_a_portrait_sees_the_middle_of_the_square_sensor(multicam: Path) -> None:
    videos = _items(multicam)["f18_aperture10_scene1"].videos()
    assert videos[0].cameras is not None
    lens = fit_cameras(videos[0].cameras(1.0), 5, 1, 480 / 832).intrinsics[0]
    assert lens[1, 1].item() == pytest.approx(18 / 23.76)
    assert lens[0, 0].item() == pytest.approx(18 / 23.76 * 832 / 480)


def test_the_crop_is_the_middle_after_scaling_to_cover() -> None:
    # Columns of 0 to 1 in a square; 16 of 32 rows are left.
    square = torch.linspace(0, 1, 64).view(1, 1, 64, 1).expand(1, 3, 64, 64)
    fitted = cover_and_crop(square, 16, 32)
    assert fitted.shape == (1, 3, 16, 32)
    middle = (square[0, 0, 16:48, 0].view(16, 2)).mean(1)
    torch.testing.assert_close(fitted[0, 0, 1:-1, 5], middle[1:-1], atol=0.01, rtol=0)
    assert torch.equal(cover_and_crop(square, 64, 64), square)
    # An odd rest: round(832 * 0.577) covers 480 rows of 481.
    assert cover_and_crop(torch.zeros(1, 3, 577, 1000), 480, 832).shape == (1, 3, 480, 832)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda scene: (scene / "cameras/camera_extrinsics.json").unlink(), "is not there"),
        (lambda scene: [(scene / f"videos/cam0{i}.mp4").unlink() for i in (1, 2)], "got 1 clips"),
    ],
)
def test_a_broken_scene_is_named(
    multicam: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(multicam / "train/f18_aperture10/scene10")
    with pytest.raises(ValueError, match=message):
        _items(multicam)["f18_aperture10_scene10"].videos()


def test_poses_that_are_missing_or_not_finite_are_named(multicam: Path) -> None:
    poses = multicam / "train/f18_aperture10/scene1/cameras/camera_extrinsics.json"
    text = poses.read_text()
    poses.write_text(text.replace("[0 0 1 0]", "[0 0 nan 0]", 1).replace("[0 ", "[nan ", 1))
    cameras = _items(multicam)["f18_aperture10_scene1"].videos()[0].cameras
    assert cameras is not None
    with pytest.raises(ValueError, match="camera_extrinsics"):
        cameras(1.0)
    poses.write_text(text)
    with pytest.raises(ValueError, match="got cameras for 9 frames, wanted the 13 of the clip"):
        fit_cameras(cameras(1.0), 13, 4, 1.0)


def test_a_missing_caption_is_named_and_captions_may_be_left_out(multicam: Path) -> None:
    table = multicam / "metadata.csv"
    table.write_text(table.read_text().replace("scene10/videos/cam02.mp4", "scene10/x.mp4"))
    with pytest.raises(ValueError, match=r"scene10/videos/cam02\.mp4 has no caption"):
        _items(multicam)["f18_aperture10_scene10"].videos()
    videos = _items(multicam, captions=None)["f18_aperture10_scene10"].videos()
    assert {video.caption for video in videos} == {""}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "cannot be read"),
        ("name,text\n", "has no column 'file_name'"),
        ("", "has no column 'file_name'"),
    ],
)
def test_a_table_of_captions_that_cannot_be_used_is_an_error(
    multicam: Path, table: str | None, message: str
) -> None:
    path = multicam / "metadata.csv"
    path.unlink()
    if table is not None:
        path.write_text(table)
    with pytest.raises(ValueError, match=message):
        _items(multicam)


def test_another_folder_is_an_error(
    tmp_path: Path, make_config: Callable[..., PrepareConfig]
) -> None:
    for root, message in ((tmp_path / "no", "is no folder"), (tmp_path, "got no folder such as")):
        config = make_config({"kind": "multicam_video", "root": str(root)})
        with pytest.raises(ValueError, match=message):
            list(reader_of(config).items())

"""Plain folders: scenes with their views, and clips with their edits."""

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from memv2v_core.cameras.formats.recammaster import save_recammaster
from memv2v_core.cameras.formats.transforms import save_transforms
from memv2v_core.cameras.trajectory import DEFAULT_FX, CameraTrajectory, default_intrinsics
from memv2v_core.clips.clip_files import write_clip
from memv2v_core.training.prepare.config import FolderOptions
from memv2v_core.training.prepare.readers.folder import FolderReader
from memv2v_core.training.prepare.readers.raw import ClipSize, RawItem

CLIP = ClipSize(5, 32, 48)


def _items(root: Path, **options: object) -> dict[str, RawItem]:
    reader = FolderReader(root, replace(FolderOptions(), **options), CLIP)
    return {item.name: item for item in reader.items()}


def _path(speed: float) -> CameraTrajectory:
    c2w = torch.eye(4, dtype=torch.float64).repeat(6, 1, 1)
    c2w[:, 2, 3] = speed * torch.arange(6)
    return CameraTrajectory(c2w, default_intrinsics(6))


@pytest.fixture
def views(tmp_path: Path, make_clip: Callable[..., Path]) -> Path:
    """Two scenes: one with the cameras of all views in one file, one with a file a view."""
    root = tmp_path / "clips"
    for scene in ("hall", "my street"):
        for i in (1, 2):
            make_clip(root / scene / f"view.{i}.mp4", i, height=32, width=48)
    (root / "hall" / "scene.txt").write_text("a hall\n", encoding="utf-8")
    (root / "hall" / "view.2.txt").write_text("a hall\nfrom above", encoding="utf-8")
    save_recammaster(
        {"view.1": _path(1), "view.2": _path(2)}, root / "hall" / "camera_extrinsics.json"
    )
    for i in (1, 2):
        (root / "my street" / f"view.{i}.txt").write_text("a street", encoding="utf-8")
        target = root / "my street" / f"view.{i}.cameras.json"
        save_transforms(_path(3 * i), target, height=32, width=48)
    return root


def test_views_have_their_captions_and_cameras(views: Path) -> None:
    items = _items(views)
    assert list(items)[0] == "hall"
    assert list(items)[1].startswith("my_street-")
    assert items[list(items)[1]].aliases == ("my street",)
    hall, street = (item.videos() for item in items.values())
    assert [video.caption for video in hall] == ["a hall", "a hall from above"]
    assert [video.caption for video in street] == ["a street", "a street"]
    for videos, speeds in ((hall, (1, 2)), (street, (3, 6))):
        for video, speed in zip(videos, speeds, strict=True):
            assert video.cameras is not None
            path = video.cameras(1.5)
            assert path.num_frames == 6
            assert path.c2w[5, 2, 3].item() == pytest.approx(5 * speed)
            assert not path.is_assumed
    # A lens that no file states is the default one, for the clip's aspect.
    assert hall[0].cameras is not None
    lens = hall[0].cameras(1.5).intrinsics[0]
    assert lens[0, 0].item() == pytest.approx(DEFAULT_FX)
    assert lens[1, 1].item() == pytest.approx(DEFAULT_FX * 1.5)


def test_view_names_of_two_scenes_never_meet(tmp_path: Path, make_clip: Callable) -> None:
    for place in ("a/b_c", "a/d", "a_b/c", "a_b/d", "a.b/c", "a.b/d", "a/b.c"):
        make_clip(tmp_path / f"{place}.mp4", num_frames=1)
    items = _items(tmp_path, captions="optional", unknown_cameras="static")
    names = [video.name.lower() for item in items.values() for video in item.videos()]
    assert len(set(names)) == 7


def test_unknown_cameras_and_captions_are_faults_unless_allowed(views: Path) -> None:
    (views / "hall" / "camera_extrinsics.json").unlink()
    with pytest.raises(ValueError, match=r"view\.1\.mp4 has no cameras, wanted view\.1\.cameras"):
        _items(views)["hall"].videos()
    videos = _items(views, unknown_cameras="static", fov_deg=90.0)["hall"].videos()
    assert videos[0].cameras is not None
    path = videos[0].cameras(1.5)
    assert path.is_assumed
    assert path.intrinsics[0, 0, 0].item() == pytest.approx(0.5)
    (views / "hall" / "scene.txt").unlink()
    with pytest.raises(ValueError, match=r"view\.1\.mp4 has no caption, wanted view\.1\.txt or sc"):
        _items(views, unknown_cameras="static")["hall"].videos()
    videos = _items(views, unknown_cameras="static", captions="optional")["hall"].videos()
    assert [video.caption for video in videos] == ["", "a hall from above"]


def test_broken_scenes_are_named(views: Path) -> None:
    (views / "hall" / "view.2.txt").write_text(" \n")
    with pytest.raises(ValueError, match="is empty, wanted a text"):
        _items(views)["hall"].videos()
    (views / "hall" / "view.2.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="wanted UTF-8 text"):
        _items(views)["hall"].videos()
    street = next(item for name, item in _items(views).items() if name != "hall")
    (views / "my street" / "view.1.cameras.txt").write_text("x")
    with pytest.raises(ValueError, match="delete one of them"):
        street.videos()
    (views / "my street" / "view.2.mp4").unlink()
    with pytest.raises(ValueError, match="got 1 clips, wanted at least 2"):
        street.videos()


def test_a_camera_file_of_nan_is_named(views: Path) -> None:
    path = views / "my street" / "view.1.cameras.json"
    content = json.loads(path.read_text())
    content["frames"][2]["transform_matrix"][0][3] = float("nan")
    path.write_text(json.dumps(content))
    street = next(item for name, item in _items(views).items() if name != "hall")
    cameras = street.videos()[0].cameras
    assert cameras is not None
    with pytest.raises(ValueError, match=r"view\.1\.cameras\.json"):
        cameras(1.5)


def test_repeated_frames_are_left_out(views: Path) -> None:
    frames = torch.rand(6, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    clip = views / "hall" / "view.1.mp4"
    # As a change from 4 to 5 frames a second leaves them.
    write_clip(clip, frames[[0, 1, 2, 3, 3, 4, 5]], Fraction(5), crf=0)
    video = _items(views, drop_repeats=True)["hall"].videos()[0]
    torch.testing.assert_close(video.frames(0), frames[:5], atol=1 / 255, rtol=0)
    write_clip(clip, frames[[0, 1, 2, 3, 3, 3]], Fraction(5), crf=0)
    with pytest.raises(ValueError, match="got 4 frames that differ from the frame before"):
        video.frames(0)


@pytest.fixture
def edits(tmp_path: Path, make_clip: Callable[..., Path]) -> Path:
    root = tmp_path / "edits"
    for i, name in enumerate(("cat", "more/dog")):
        make_clip(root / f"{name}.mp4", i, num_frames=11)
        make_clip(root / f"{name}_edited.mp4", 10 + i, num_frames=10)
        (root / f"{name}.txt").write_text(f"edit {i}", encoding="utf-8")
    make_clip(root / "more" / "dog_extended.mp4", 5, num_frames=15)
    return root


def test_edits_are_found_in_all_folders(edits: Path) -> None:
    (edits / "._cat.mp4").write_bytes(b"of another system")
    items = _items(edits, layout="edits")
    assert {name: item.aliases for name, item in items.items()} == {
        "cat": ("cat",),
        "more_dog": ("more/dog",),
    }
    cat, dog = (item.videos() for item in items.values())
    assert [video.role for video in cat] == ["source", "edited"]
    assert [video.role for video in dog] == ["source", "edited", "extended"]
    assert [video.caption for video in dog] == ["edit 1"] * 3
    counts = [video.count_segments and video.count_segments() for video in (*cat, *dog)]
    assert counts == [2, 2, None, None, 2]


def test_extensions_may_lie_in_a_folder_of_their_own(
    edits: Path, tmp_path: Path, make_clip: Callable[..., Path]
) -> None:
    make_clip(tmp_path / "longer" / "cat.mp4", num_frames=15)
    items = _items(edits, layout="edits", extended=tmp_path / "longer")
    assert items["cat"].videos()[2].path == tmp_path / "longer" / "cat.mp4"
    with pytest.raises(ValueError, match=r"more_dog\.mp4 is not there"):
        items["more_dog"].videos()


@pytest.mark.parametrize("name", ["cat_edited.mp4", "cat.txt"])
def test_half_an_edit_is_named(edits: Path, name: str) -> None:
    (edits / name).unlink()
    with pytest.raises(ValueError, match=f"{name} is not there, wanted it beside cat.mp4"):
        _items(edits, layout="edits")["cat"].videos()


def test_an_edit_without_its_source_is_named(edits: Path) -> None:
    (edits / "cat.mp4").unlink()
    with pytest.raises(ValueError, match=r"cat\.mp4 is not there, wanted it beside cat_ed"):
        _items(edits, layout="edits")["cat_edited"].videos()

"""Preparation as a whole, with the built-in codec: shards, stops, faults and reports."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from memv2v_core.builtin.bundle import load_codec
from memv2v_core.clips.clip_files import read_frames
from memv2v_core.strict_yaml import as_values
from memv2v_core.training.data.prepared_folder import PreparedFolder
from memv2v_core.training.prepare import run as run_module
from memv2v_core.training.prepare.__main__ import main
from memv2v_core.training.prepare.config import PrepareConfig
from memv2v_core.training.prepare.encoders import built_in
from memv2v_core.training.prepare.fitting import cover_and_crop
from memv2v_core.training.prepare.run import prepare
from memv2v_core.training.prepare.selection import Shard

pytestmark = pytest.mark.slow

ALL = Shard()


def _files(folder: Path) -> dict[str, bytes]:
    """Every file but the index, whose items come in one order from any process."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _of_multicam(root: Path) -> dict[str, str]:
    return {"kind": "multicam_video", "root": str(root)}


def test_views_are_encoded_at_their_size_with_their_cameras(
    multicam: Path, make_config: Callable[..., PrepareConfig]
) -> None:
    config = make_config(_of_multicam(multicam))
    outcome = prepare(config, ALL)
    assert (outcome.num_prepared, outcome.num_items, outcome.broken) == (3, 3, {})
    folder = PreparedFolder.open(config.output)
    assert folder.header.dataset == "MultiCamVideo-Dataset (multicam_video)"
    assert folder.header.encoder == "built-in: novel_view"
    assert folder.header.text_width == 64
    video = folder.items[0].videos[0]
    assert (video.latent_size, video.num_frames) == ((16, 5, 4, 4), 5)
    clip = multicam / "train/f18_aperture10/scene1/videos/cam01.mp4"
    frames = cover_and_crop(read_frames(clip, 5).frames, 32, 32)
    wanted = load_codec("novel_view").encode_frames(frames).half().float()
    assert torch.equal(folder.latent(video), wanted)
    assert folder.cameras(video).num_frames == 5
    assert torch.equal(folder.text(video.caption), torch.zeros(1, 64))
    assert torch.equal(folder.text(""), torch.zeros(1, 64))
    assert (config.output / "broken.txt").read_text() == ""


def test_edits_are_cut_into_segments_that_both_clips_have(
    senorita: Path, make_config: Callable[..., PrepareConfig]
) -> None:
    encoder = {"kind": "built_in", "model": "text_edit", "device": "cpu"}
    config = make_config({"kind": "senorita", "root": str(senorita)}, encoder=encoder)
    assert prepare(config, ALL).broken == {}
    folder = PreparedFolder.open(config.output)
    item = next(each for each in folder.items if each.name.endswith("dd"))
    assert [(video.role, video.name) for video in item.videos] == [
        ("source", "obj_removal_0000001_dd.000"),
        ("source", "obj_removal_0000001_dd.001"),
        ("edited", "obj_removal_0000001_dd.000"),
        ("edited", "obj_removal_0000001_dd.001"),
    ]
    assert folder.header.task == "text_edit"
    tokens = folder.text(item.videos[0].caption)
    assert tokens.shape[1] == 64
    assert tokens.ne(0).any()


def test_shards_make_the_same_files_as_one_process(
    multicam: Path, tmp_path: Path, make_config: Callable[..., PrepareConfig]
) -> None:
    whole = make_config(_of_multicam(multicam), output=str(tmp_path / "whole"))
    prepare(whole, ALL)
    parts = make_config(_of_multicam(multicam), output=str(tmp_path / "parts"))
    counts = [prepare(parts, Shard(i, 2)).num_prepared for i in (1, 0)]
    assert counts == [1, 2]
    assert _files(parts.output) == _files(whole.output)


def test_a_stopped_run_goes_on_and_ends_alike(
    multicam: Path,
    tmp_path: Path,
    make_config: Callable[..., PrepareConfig],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = make_config(_of_multicam(multicam), output=str(tmp_path / "whole"))
    prepare(whole, ALL)
    stopped = make_config(_of_multicam(multicam), output=str(tmp_path / "stopped"))
    encode, calls = built_in.BuiltinEncoder.encode_video, []

    def encode_four(self: built_in.BuiltinEncoder, frames: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) > 4:
            raise KeyboardInterrupt
        return encode(self, frames)

    with monkeypatch.context() as patch:
        patch.setattr(built_in.BuiltinEncoder, "encode_video", encode_four)
        with pytest.raises(KeyboardInterrupt):
            prepare(stopped, ALL)
    # One item was finished, of the next one there is a video without a record.
    assert len(list((stopped.output / "items").iterdir())) == 1
    assert prepare(stopped, ALL).num_prepared == 2
    assert prepare(stopped, ALL).num_prepared == 0
    assert _files(stopped.output) == _files(whole.output)


@pytest.mark.skipif(os.name == "nt", reason="signals of another kind")
def test_a_killed_process_leaves_a_folder_that_a_new_one_completes(
    multicam: Path, tmp_path: Path, make_config: Callable[..., PrepareConfig]
) -> None:
    whole = make_config(_of_multicam(multicam), output=str(tmp_path / "whole"))
    prepare(whole, ALL)
    killed = make_config(_of_multicam(multicam), output=str(tmp_path / "killed"))
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(as_values(killed)), encoding="utf-8")
    root = Path(__file__).parents[4]
    process = subprocess.Popen(
        [sys.executable, "-m", "memv2v_core.training.prepare", str(path)],
        cwd=root,
        stdout=subprocess.DEVNULL,
    )
    # As soon as the first item is whole.
    while not list((killed.output / "items").glob("*.json")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    prepare(killed, ALL)
    # Young files of this kind stay for an hour: another process may be writing them.
    for path in list(killed.output.rglob("*.tmp")):
        path.unlink()
    assert _files(killed.output) == _files(whole.output)


def test_broken_items_are_named_and_the_others_prepared(
    multicam: Path, make_config: Callable[..., PrepareConfig], make_clip: Callable[..., Path]
) -> None:
    train = multicam / "train"
    cut = train / "f18_aperture10/scene1/videos/cam02.mp4"
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    make_clip(train / "f18_aperture10/scene10/videos/cam03.mp4", 3, num_frames=4)
    config = make_config(_of_multicam(multicam))
    outcome = prepare(config, ALL)
    assert (outcome.num_prepared, outcome.num_items) == (1, 1)
    reasons = outcome.broken
    assert set(reasons) == {"f18_aperture10_scene1", "f18_aperture10_scene10"}
    assert "cam02.mp4" in reasons["f18_aperture10_scene1"]
    assert "got 4 frames" in reasons["f18_aperture10_scene10"]
    lines = (config.output / "broken.txt").read_text().splitlines()
    assert sorted(line.split("\t")[0] for line in lines) == sorted(reasons)
    assert [item.name for item in PreparedFolder.open(config.output).items] == [
        "f35_aperture2.4_scene2"
    ]
    # A repaired item leaves the list.
    cut.write_bytes(whole)
    assert prepare(config, ALL).num_prepared == 1
    assert "scene1\t" not in (config.output / "broken.txt").read_text()


def test_edits_of_two_sizes_and_poses_that_run_out_are_broken(
    senorita: Path,
    multicam: Path,
    tmp_path: Path,
    make_config: Callable[..., PrepareConfig],
    make_clip: Callable[..., Path],
) -> None:
    make_clip(senorita / "obj_swap_upload/0/aa.mp4", 9, height=48, width=48)
    outcome = prepare(make_config({"kind": "senorita", "root": str(senorita)}), ALL)
    assert list(outcome.broken) == ["obj_swap_0000000_aa"]
    assert "got 48x32 pixels and the edited clip 48x48" in outcome.broken["obj_swap_0000000_aa"]
    poses = multicam / "train/f35_aperture2.4/scene2/cameras/camera_extrinsics.json"
    content = json.loads(poses.read_text())
    poses.write_text(json.dumps({key: content[key] for key in ("frame0", "frame1", "frame2")}))
    outcome = prepare(make_config(_of_multicam(multicam), output=str(tmp_path / "b")), ALL)
    assert list(outcome.broken) == ["f35_aperture2.4_scene2"]
    assert "got cameras for 3 frames, wanted the 5" in outcome.broken["f35_aperture2.4_scene2"]


def test_other_settings_for_an_old_folder_are_refused(
    multicam: Path, make_config: Callable[..., PrepareConfig]
) -> None:
    dataset = _of_multicam(multicam)
    prepare(make_config(dataset, limit=1), ALL)
    prepare(make_config(dataset, limit=2), ALL)
    with pytest.raises(ValueError, match="was prepared with width = 32, and the configuration has"):
        prepare(make_config(dataset, width=48), ALL)
    encoder = {"kind": "built_in", "model": "text_edit"}
    with pytest.raises(ValueError, match="was prepared with encoder = 'built-in: novel_view'"):
        prepare(make_config(dataset, encoder=encoder), ALL)


def test_sizes_that_the_encoder_does_not_divide_are_refused(
    multicam: Path, make_config: Callable[..., PrepareConfig]
) -> None:
    with pytest.raises(ValueError, match="height got 40, wanted a multiple of 16"):
        prepare(make_config(_of_multicam(multicam), height=40), ALL)


def test_a_dry_run_loads_no_model_and_writes_nothing(
    multicam: Path,
    tmp_path: Path,
    make_config: Callable[..., PrepareConfig],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("load_codec", "load_text_encoder"):
        monkeypatch.setattr(built_in, name, lambda *_: pytest.fail("a model is loaded"))
    monkeypatch.setattr(run_module, "PreparedWriter", lambda *_: pytest.fail("a folder is made"))
    (multicam / "train/f18_aperture10/scene10/cameras/camera_extrinsics.json").unlink()
    path = tmp_path / "recipe.yaml"
    values = as_values(make_config(_of_multicam(multicam)))
    path.write_text(yaml.safe_dump({"steps": 3, "prepare": values}), encoding="utf-8")
    with caplog.at_level(logging.INFO):
        assert main([str(path), "--dry-run"]) == 0
    assert "3 items: 2 to train, 0 held out, 1 broken" in caplog.text
    assert "view f18_aperture10_scene1.cam01: 6 frames of 64x64, 9 cameras (fx 0.758" in caplog.text
    assert "broken: f18_aperture10_scene10:" in caplog.text
    assert not (tmp_path / "prepared").exists()


def test_the_command_prepares_and_says_what_went_wrong(
    multicam: Path,
    tmp_path: Path,
    make_config: Callable[..., PrepareConfig],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(as_values(make_config(_of_multicam(multicam)))))
    with caplog.at_level(logging.INFO):
        assert main([str(path), "--shard", "0/2"]) == 0
        assert main([str(path)]) == 0
        for scene in multicam.glob("train/*/*/videos/cam01.mp4"):
            scene.write_bytes(b"")
        values = yaml.safe_load(path.read_text()) | {"output": str(tmp_path / "other")}
        path.write_text(yaml.safe_dump(values))
        assert main([str(path)]) == 1
        assert "error: nothing could be prepared" in caplog.text
        path.write_text("prepare: {outputs: x}")
        assert main([str(path)]) == 1
        assert "config.yaml: prepare got the key 'outputs'" in caplog.text
        path.write_text("steps: 3")
        assert main([str(path)]) == 1
        assert "config.yaml got no key 'prepare'" in caplog.text
        assert main([str(tmp_path / "none.yaml")]) == 1
        assert main([str(path), "--shard", "2/2"]) == 1


def test_extend_is_a_command_of_its_own(
    tmp_path: Path, make_clip: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    make_clip(tmp_path / "edited" / "cat.mp4").with_suffix(".txt").write_text("a cat")
    folders = ("output", "transformer", "hunyuan", "image_encoder")
    values = {f"{name}_folder": str(tmp_path / name) for name in folders}
    values["clips_folder"] = str(tmp_path / "edited")
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"steps": 3, "extend": values}), encoding="utf-8")
    with caplog.at_level(logging.INFO):
        assert main(["extend", str(path), "--dry-run", "--shard", "0/1"]) == 0
        assert "1 clips" in caplog.text
        # Without weights the command names what is missing.
        assert main(["extend", str(path)]) == 1
        assert "FramePack_F1" in caplog.text
    assert not (tmp_path / "output").exists()

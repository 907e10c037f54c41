"""Suites: what their files may say, and what is refused by name."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from memv2v_core.cameras.formats.camera_path import save_camera_path
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import lens_intrinsics

from .conftest import SUITE, Place


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("metrics: [psnr]", "metrics: [beauty]"), "mine.yaml: metrics.*'beauty'"),
        (("turns: [1, 2]", "turns: [1, 1]"), "turns got 1 twice"),
        (("name: ours", "name: plain"), "methods got plain twice"),
        (("name: ours", "name: 'a/b'"), "'a/b'.*names a file"),
        (("turns: [1, 2]", "turns: [1, 2]\nfile: '{clip}.mp4'"), r"wanted \{clip\}, \{turn\}"),
        (("turns: [1, 2]", "turns: [1, 2]\nfile: '{clip}_{turn}_{x}.mp4'"), "no other field"),
        (("turns: [1, 2]", "turns: [1, 2]\nseeds: [1, 2]"), r"\{seed\}"),
        (("turns: [1, 2]", "turns: [1, 2]\ncameras: {turns: [static]}"), "1 paths for 2 turns"),
        (("turns: [1, 2]", "turns: [1, 2]\nshows_turns: [1-3]"), "shows_turns got '1-3'"),
        (("turns: [1, 2]", "turns: [1, 2]\nfamilies: [one_shot]"), "0 of 2 methods with 'edited'"),
        (("folder: ours", "made: {}, edited: {}"), "got 'made' and 'edited', wanted one"),
        (("folder: ours", "made: {strength: -1}"), "strength got -1"),
        (("folder: ours", "made: {k: -1}"), "k got -1"),
        (("folder: ours", "made: {steps: 0}"), "steps got 0"),
        (("folder: ours", "made: {share: 2, unresponsive: merge}"), "share got 2"),
        (("folder: ours", "made: {builtin: /etc/passwd}"), "builtin got '/etc/passwd', wanted"),
        (("folder: ours", "edited: {memory_frames: -1}"), "memory_frames got -1"),
        (("turns: [1, 2]", "turns: [-1]"), "turns from 1"),
        (("turns: [1, 2]", "turns: [1, 2]\nroot: /"), "'root', which is no setting"),
        (("folder: ours", "made: {recency: 0}"), "recency got 0"),
        (("metrics: [psnr]", "metrics: []"), "name at least one of each"),
        (("name: ours", "name: Plain"), "twice"),
        (("name: ours", "name: '..'"), "names a file"),
        (("name: ours", "name: 'ours '"), "names a file"),
        (("turns: [1, 2]", "turns: [1, 2]\nname: a/b"), "names the folder of results"),
        (("turns: [1, 2]", "turns: [1, 2]\nfile: '{clip}{turn:{x}}'"), "another field"),
        (
            ("turns: [1, 2]", "turns: [1, 2]\nfit: {num_frames: 0, height: 8, width: 8}"),
            "num_frames got 0",
        ),
        (
            ("turns: [1, 2]", "turns: [1, 2]\ncameras: {turns: [static, static], fov_deg: 200}"),
            "fov_deg got 200",
        ),
    ],
)
def test_a_wrong_suite_is_refused_by_name(place: Place, change: tuple[str, str], named: str):
    with pytest.raises(ValueError, match=f"(?s){named}"):
        place.suite(SUITE.replace(*change))


def test_folders_are_meant_from_the_suite_and_methods_may_name_files_in_their_way(place: Place):
    text = SUITE.replace("folder: ours", "folder: ours, file: 'take {turn}/{clip}.mp4'")
    suite = place.suite(text)
    assert suite.name == "mine"
    plain, ours = suite.methods
    assert suite.video(plain, "a", 2, 0) == place.folder / "plain" / "a_turn2.mp4"
    assert suite.video(ours, "a", 2, 0) == place.folder / "ours" / "take 2" / "a.mp4"


def test_cameras_are_the_paths_that_are_written(place: Place):
    cameras = "cameras: {turns: [pan_left 30, dolly_in 0.5], fov_deg: 50}"
    suite = place.suite(f"{SUITE}\n{cameras}")
    lens = lens_intrinsics(50, 2.0)
    path = suite.camera(2, 9, 2.0)
    wanted = make_preset(PresetConfig("dolly_in", 0.5, 9), lens)
    assert path.c2w.equal(wanted.c2w)
    assert path.intrinsics.equal(wanted.intrinsics)
    source = suite.camera(None, 9, 2.0)
    assert source.c2w.equal(source.c2w[:1].expand_as(source.c2w))
    assert place.suite(SUITE).camera(1, 9, 2.0) is None


def test_words_that_are_no_path_are_refused(place: Place):
    suite = place.suite(f"{SUITE}\ncameras: {{turns: [static, jump 3]}}")
    with pytest.raises(ValueError, match="jump"):
        suite.camera(2, 9, 1.0)


def test_a_path_may_stand_in_a_file_with_its_own_lens(place: Place):
    path = make_preset(PresetConfig("dolly_in", 0.5, 9), lens_intrinsics(70, 1.5))
    save_camera_path(path, place.folder / "asked.json", height=16, width=24, fps=8)
    suite = place.suite(f"{SUITE}\ncameras: {{turns: [static, file asked.json], fov_deg: 50}}")
    read = suite.camera(2, 9, 1.5)
    torch.testing.assert_close(read.c2w, path.c2w)
    torch.testing.assert_close(read.intrinsics, path.intrinsics)
    assert suite.camera(2, 5, 1.5).num_frames == 5
    # Other content under the same name is another path.
    before = suite.camera_facts
    other = make_preset(PresetConfig("dolly_in", 0.7, 9), lens_intrinsics(70, 1.5))
    save_camera_path(other, place.folder / "asked.json", height=16, width=24, fps=8)
    assert suite.camera_facts != before
    gone = place.suite(f"{SUITE}\ncameras: {{turns: [static, file gone.json]}}")
    with pytest.raises(ValueError, match="gone.json"):
        gone.camera_facts  # noqa: B018 - a property that reads


def test_recammasters_file_has_a_path_for_each_of_its_cameras(place: Place, test_data):
    shutil.copy(test_data / "camera_extrinsics.json", place.folder / "ten.json")
    suite = place.suite(f"{SUITE}\ncameras: {{turns: [file ten.json cam01, file ten.json cam05]}}")
    first, fifth = (suite.camera(turn, 81, 832 / 480) for turn in (1, 2))
    assert not first.c2w.equal(fifth.c2w)


def test_the_suites_that_the_page_shows_are_suites(place: Place):
    page = (Path(__file__).parents[4] / "docs" / "scoring.md").read_text(encoding="utf-8")
    shown = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    assert len(shown) == 2
    for text in shown:
        suite = place.suite(text)
        for turn in suite.turns:
            assert suite.camera(turn, 9, 1.5).num_frames == 9

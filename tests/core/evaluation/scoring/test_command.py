"""The command as a user gives it: folders of any method, and suites that a built-in model fills."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from memv2v_core.clips.clip_files import read_frames
from memv2v_core.evaluation.__main__ import main
from memv2v_core.evaluation.making.recipes import TRUE_VIEWS, VIDEOS
from memv2v_core.evaluation.scoring.command import METHODS
from memv2v_core.evaluation.scoring.run import STORE
from memv2v_core.evaluation.suites.loading import load_suite, shipped_suites
from memv2v_core.evaluation.suites.probe_suite import ProbeSuite

from .conftest import CLIPS, SUITE, Place, grey

ROOT = Path(__file__).parents[4]
MADE = """
methods:
  - {name: without, made: {arm: none, steps: 2}}
  - {name: on the turn before, made: {arm: previous, steps: 2}}
  - {name: with memory, made: {arm: memory, steps: 2}}
metrics: [geometry, psnr, seconds]
num_scenes: 2
turns: [1, 2]
cameras: {turns: [pan_right 42, pan_right 40 + tilt_down 5]}
"""

# Without its time, which differs in every run.
ONE_METHOD = """
methods:
  - {name: without, made: {arm: none, steps: 2}}
metrics: [geometry, psnr]
num_scenes: 2
turns: [1, 2]
cameras: {turns: [pan_right 42, pan_right 40 + tilt_down 5]}
"""


def table(folder: Path) -> dict[tuple[str, str], float]:
    rows = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    return {(row["method"], row["column"]): row["mean"] for row in rows}


@pytest.fixture
def truths(place: Place) -> Place:
    """True videos, one grey level above those of "plain"."""
    for clip in CLIPS:
        for turn in (1, 2):
            place.video(f"truth/{clip}_turn{turn}.mp4", grey("plain", clip, turn) + 1 / 255)
    return place


def test_folders_are_scored_and_every_result_is_written(truths: Place, capsys) -> None:
    truths.suite(f"{SUITE}\ntruths: truth")
    out = truths.folder / "out"
    assert main(["score", str(truths.folder / "mine.yaml"), "--folder", str(out)]) == 0
    values = table(out)
    # One level of 255 is 48.13 dB; 50 levels are 14.15 dB.
    assert values["plain", "PSNR"] == pytest.approx(48.13, abs=0.01)
    assert values["ours", "PSNR"] == pytest.approx(14.15, abs=0.2)
    held = json.loads((out / METHODS / "ours.json").read_text(encoding="utf-8"))
    assert set(held["values"]["psnr"]) == {f"{clip}, seed 0" for clip in CLIPS}
    assert held["machine"]["torch"] == torch.__version__
    assert "| plain | **48.13" in (out / "table.md").read_text(encoding="utf-8")
    assert (out / "table.tex").read_text(encoding="utf-8").count("\\\\") == 3
    assert (out / "plot.png").stat().st_size > 1000
    assert "| plain | **48.13" in capsys.readouterr().out


def test_what_is_missing_is_one_line_before_anything_is_measured(place: Place, capsys) -> None:
    (place.folder / "ours" / "b_turn2.mp4").unlink()
    place.suite(f"{SUITE}\ntruths: truth")
    out = place.folder / "out"
    assert main(["score", str(place.folder / "mine.yaml"), "--folder", str(out)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: 9 videos are missing")
    assert "ours/b_turn2.mp4" in error.replace(os.sep, "/")
    assert not (out / STORE).exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--device", "bogus"], "device got 'bogus'"),
        (["--folder", "{place}/mine.yaml"], "mine.yaml"),
    ],
)
def test_what_is_not_there_is_one_line(truths: Place, capsys, words, named: str) -> None:
    truths.suite(f"{SUITE}\ntruths: truth")
    given = [word.format(place=truths.folder) for word in words]
    folder = ["--folder", str(truths.folder / "out")]
    assert main(["score", str(truths.folder / "mine.yaml"), *folder, *given]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert named in error


@pytest.mark.slow
def test_two_processes_give_the_table_of_one(truths: Place) -> None:
    truths.suite(f"{SUITE}\ntruths: truth")
    words = ["score", str(truths.folder / "mine.yaml"), "--folder"]
    launch = ["torch.distributed.run", "--nproc_per_node", "2", "-m"]
    done = subprocess.run(
        [sys.executable, "-m", *launch, "memv2v_core.evaluation", *words, "shared"],
        cwd=truths.folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "[1 of 2]" in done.stdout
    assert "[2 of 2]" in done.stdout
    assert main([*words, str(truths.folder / "alone")]) == 0
    assert table(truths.folder / "shared") == table(truths.folder / "alone")


@pytest.mark.slow
def test_a_built_in_model_makes_its_videos_once(place: Place) -> None:
    place.suite(MADE)
    out = place.folder / "out"
    words = ["score", str(place.folder / "mine.yaml"), "--folder", str(out)]
    assert main(words) == 0
    videos = sorted((out / VIDEOS).rglob("*.mp4"))
    # Three methods and the true views, two scenes, two turns.
    assert len(videos) == 16
    times = {path: path.stat().st_mtime_ns for path in videos}
    before = table(out)
    assert main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in videos} == times
    assert table(out) == before
    assert all(before[name, "time"] > 0 for name in NAMES)
    # Turn 1 has no memory yet, so it is one video for all; turn 2 is another for each.
    folders = [next((out / VIDEOS).glob(f"{name} *")) for name in NAMES]
    first, second = (
        [read_frames(folder / f"scene_000_turn{turn}.mp4").frames for folder in folders]
        for turn in (1, 2)
    )
    assert all(video.equal(first[0]) for video in first)
    assert not any(second[one].equal(second[other]) for one, other in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.slow
def test_videos_and_true_views_of_other_settings_are_never_taken(place: Place) -> None:
    """A suite whose cameras change and change back has the table that it had before."""
    out = place.folder / "out"
    words = ["score", str(place.folder / "mine.yaml"), "--folder", str(out)]
    first = ONE_METHOD
    second = first.replace("pan_right 42", "pan_left 36")
    tables = []
    for text in (first, second, first):
        place.suite(text)
        assert main(words) == 0
        tables.append(table(out))
    assert tables[0] == tables[2] != tables[1]
    alone = place.folder / "alone"
    place.suite(second)
    assert main([*words[:-1], str(alone)]) == 0
    assert table(alone) == tables[1]
    assert len(list((out / VIDEOS).glob(f"{TRUE_VIEWS} *"))) == 2


NAMES = ("without", "on the turn before", "with memory")


@pytest.mark.parametrize("name", sorted(shipped_suites()))
def test_shipped_suites_are_suites(name: str) -> None:
    suite = load_suite(shipped_suites()[name])
    assert suite.name == name
    # A table of fewer clips says little.
    if not isinstance(suite, ProbeSuite):
        assert max(suite.num_scenes, suite.clips_a_family * len(suite.families)) >= 8


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("num_scenes: 2\n", ""), "got no num_scenes and 3 of 3"),
        (("cameras: {turns: [pan_right 42", "cameras: {turns: [orbit_left 42"), "only turns"),
        (("num_scenes: 2", "num_scenes: -2"), "num_scenes -2"),
        (("num_scenes: 2", "num_scenes: 2\nfile: '/tmp/{clip}_{turn}.mp4'"), "inside the method's"),
        (("num_scenes: 2", "num_scenes: 2\nclips: [a]"), "neither clips nor truths"),
        (("arm: none, steps: 2", "arm: none, builtin: text_edit"), "another task"),
        (("num_scenes: 2", "num_scenes: 2\nseeds: [99]"), "seeds from 0 to 15"),
        (("cameras: {", "cameras: {fov_deg: 40, "), "wanted fov_deg 60"),
    ],
)
def test_a_suite_that_cannot_be_made_is_refused(
    place: Place, capsys, change: tuple[str, str], named: str
) -> None:
    place.folder.joinpath("mine.yaml").write_text(MADE.replace(*change), encoding="utf-8")
    assert main(["score", str(place.folder / "mine.yaml"), "--folder", str(place.folder / "x")])
    assert named in capsys.readouterr().err

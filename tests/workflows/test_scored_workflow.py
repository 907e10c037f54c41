"""A suite whose videos a running ComfyUI makes: the way to score published weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from memv2v_core.builtin.bundle import read_info
from memv2v_core.cameras.trajectory import lens_intrinsics, static_trajectory
from memv2v_core.clips.clip_files import read_frames, write_clip
from memv2v_core.evaluation.__main__ import main
from memv2v_core.evaluation.making.recipes import VIDEOS
from memv2v_core.synthetic.panoramas import SceneConfig, film_scene, make_scene

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "scoring"
SUITE = """
methods:
  - {name: alone, workflow: {file: reshoot.json, server: "SERVER", set: ["3.steps = 2", "3.k = 0"]}}
  - {name: with memory, workflow: {file: reshoot.json, server: "SERVER", set: ["3.steps = 2"]}}
metrics: [geometry, seconds]
sources: clips
turns: [1, 2]
cameras: {turns: [pan_right 42, pan_right 40 + tilt_down 5]}
"""


@pytest.fixture
def place(tmp_path: Path, comfy_server) -> Path:
    """A folder with a suite, its workflow and one rendered clip."""
    info = read_info("novel_view")
    config = SceneConfig(fov_deg=info.fov_deg)
    scene = make_scene(config, torch.Generator().manual_seed(5))
    path = static_trajectory(info.num_frames, lens_intrinsics(info.fov_deg, 1.0))
    (tmp_path / "clips").mkdir()
    write_clip(tmp_path / "clips" / "room.mp4", film_scene(scene, path, info.size).frames, 8, 0)
    shutil.copy(EXAMPLE / "reshoot.json", tmp_path)
    write(tmp_path, SUITE.replace("SERVER", comfy_server.api.url))
    return tmp_path


def write(place: Path, text: str) -> None:
    (place / "mine.yaml").write_text(text, encoding="utf-8")


def score(place: Path) -> int:
    return main(["score", str(place / "mine.yaml"), "--folder", str(place / "out")])


def table(place: Path) -> dict[tuple[str, str], Any]:
    rows = json.loads((place / "out" / "table.json").read_text(encoding="utf-8"))
    return {(row["method"], row["column"]): row["mean"] for row in rows}


def test_a_workflow_makes_the_turns_of_each_clip_once(place: Path) -> None:
    assert score(place) == 0
    videos = {path: path.stat().st_mtime_ns for path in (place / "out" / VIDEOS).rglob("*.mp4")}
    names = sorted(path.name for path in videos)
    assert names == 2 * ["room_turn1.mp4"] + 2 * ["room_turn2.mp4"]
    before = table(place)
    assert all(before[name, "time"] > 0 for name in ("alone", "with memory"))
    assert before["alone", "Unseen MAE"] != before["with memory", "Unseen MAE"]
    # Turn 1 has no memory: the same noise makes the same video.
    first, other = (
        read_frames(next((place / "out" / VIDEOS).glob(f"{name} *")) / "room_turn1.mp4").frames
        for name in ("alone", "with memory")
    )
    assert first.equal(other)
    assert score(place) == 0
    assert {path: path.stat().st_mtime_ns for path in videos} == videos
    assert table(place) == before
    # Another clip under the old name is edited again.
    clip = place / "clips" / "room.mp4"
    write_clip(clip, read_frames(clip).frames.flip(-1), 8, 0)
    assert score(place) == 0
    assert all(path.stat().st_mtime_ns > made for path, made in videos.items())
    assert table(place) != before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("SERVER", "http://127.0.0.1:9"), "which does not answer"),
        (('"3.k = 0"', '"3.q = 0"'), "set got '3.q = 0'"),
        (('"3.k = 0"', '"3.session = \\"mine\\""'), "names a session of its own"),
        (('"3.k = 0"', '"2.file = \\"a.mp4\\""'), "has no {clip}"),
        (("turns: [1, 2]", "turns: [1, 2]\nfile: '../{clip}_{turn}.mp4'"), "inside the method's"),
        (("turns: [1, 2]", "turns: [1, 2]\ntruths: truth"), "true videos are missing"),
        (('"3.k = 0"', '"3.k = x"'), "a value in JSON"),
        (('"3.k = 0"', '"3.paths = \\"jump 3\\""'), "jump"),
        (("reshoot.json, ", "gone.json, "), "gone.json"),
        (("cameras: {turns", "num_scenes: 1\ncameras: {turns"), "0 of 2 methods with 'made'"),
        (("sources: clips", "sources: none"), "with 0 clips"),
        (("sources: clips", "sources: clips\nclips: [hall]"), "'hall'"),
        (('set: ["3.steps = 2", "3.k = 0"]', "nodes: ['3']"), "saved 0 videos of 'room', wanted 2"),
    ],
)
def test_what_cannot_be_made_is_one_line(
    place: Path, comfy_server, capsys, change: tuple[str, str], named: str
) -> None:
    text = SUITE.replace(*change).replace("SERVER", comfy_server.api.url)
    write(place, text)
    assert score(place) == 1
    assert named in capsys.readouterr().err


def test_a_clip_without_its_instruction_is_named_before_anything_runs(place: Path, capsys) -> None:
    path = place / "reshoot.json"
    path.write_text(path.read_text("utf-8").replace("scored/", "{instruction}/"), encoding="utf-8")
    assert score(place) == 1
    assert "room.txt is not there" in capsys.readouterr().err
    assert not (place / "out" / VIDEOS).exists()


def test_what_several_nodes_save_is_taken_in_the_order_that_the_suite_says(place: Path) -> None:
    """The server finishes them in another order: the first one waits for a longer way."""
    workflow = {
        "a": {"class_type": "LoadVideo", "inputs": {"file": "{clip}"}},
        "parts": {"class_type": "GetVideoComponents", "inputs": {"video": ["a", 0]}},
        "dark": {
            "class_type": "ImageInvert",
            "inputs": {"image": ["parts", 0]},
        },
        "long": {"class_type": "CreateVideo", "inputs": {"images": ["dark", 0], "fps": 8.0}},
        "s1": save_node("long", "{session}_1"),
        "s2": save_node("a", "{session}_2"),
    }
    (place / "two.json").write_text(json.dumps(workflow), encoding="utf-8")
    text = SUITE.replace("reshoot.json", "two.json").replace("geometry, ", "")
    text = text.replace(', set: ["3.steps = 2", "3.k = 0"]', ", nodes: [s1, s2]")
    text = text.replace(', set: ["3.steps = 2"]', ", nodes: [s2, s1]")
    server = (place / "mine.yaml").read_text("utf-8").split('server: "')[1].split('"')[0]
    write(place, text.replace("SERVER", server))
    assert score(place) == 0
    source = read_frames(place / "clips" / "room.mp4").frames
    for name, plain_turn in (("alone", 2), ("with memory", 1)):
        folder = next((place / "out" / VIDEOS).glob(f"{name} *"))
        turns = [read_frames(folder / f"room_turn{turn}.mp4").frames for turn in (1, 2)]
        plain, inverted = turns[plain_turn - 1], turns[2 - plain_turn]
        assert (plain - source).abs().mean() < 0.02
        assert (1 - inverted - source).abs().mean() < 0.05
    # Without a word of the suite nobody knows which is which.
    write(place, text.replace("SERVER", server).replace(", nodes: [s1, s2]", ""))
    assert score(place) == 1


def test_a_workflow_may_edit_the_turn_before(place: Path) -> None:
    """Each turn inverts the one before: the second one is the source again."""
    workflow = {
        "clip": {"class_type": "LoadVideo", "inputs": {"file": "{previous}"}},
        "parts": {"class_type": "GetVideoComponents", "inputs": {"video": ["clip", 0]}},
        "dark": {"class_type": "ImageInvert", "inputs": {"image": ["parts", 0]}},
        "video": {"class_type": "CreateVideo", "inputs": {"images": ["dark", 0], "fps": 8.0}},
        "save": save_node("video", "{session}_{turn}"),
    }
    (place / "chain.json").write_text(json.dumps(workflow), encoding="utf-8")
    lines = (place / "mine.yaml").read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if "name: alone" not in line)
    text = text.replace("reshoot.json", "chain.json").replace(', set: ["3.steps = 2"]', "")
    write(place, text.replace("geometry, ", ""))
    assert score(place) == 0
    source = read_frames(place / "clips" / "room.mp4").frames
    folder = next((place / "out" / VIDEOS).glob("with memory *"))
    first, second = (read_frames(folder / f"room_turn{turn}.mp4").frames for turn in (1, 2))
    assert (1 - first - source).abs().mean() < 0.05
    assert (second - source).abs().mean() < 0.05


def save_node(video: str, prefix: str) -> dict[str, Any]:
    return {
        "class_type": "SaveVideo",
        "inputs": {
            "video": [video, 0],
            "filename_prefix": f"scored/{prefix}",
            "format": "auto",
            "codec": "auto",
        },
    }


def test_a_changed_instruction_makes_the_videos_again(place: Path) -> None:
    path = place / "reshoot.json"
    text = path.read_text("utf-8").replace("scored/", "{instruction}/")
    path.write_text(text, encoding="utf-8")
    one_turn = SUITE.replace("turns: [1, 2]", "turns: [1]").replace(
        ", pan_right 40 + tilt_down 5", ""
    )
    server = (place / "mine.yaml").read_text("utf-8").split('server: "')[1].split('"')[0]
    one_turn = one_turn.replace("geometry, ", "").replace("SERVER", server)
    write(place, "\n".join(line for line in one_turn.splitlines() if "with memory" not in line))
    words = place / "clips" / "room.txt"
    times = []
    for instruction in ("first", "first", "second"):
        words.write_text(instruction, encoding="utf-8")
        assert score(place) == 0
        (video,) = (place / "out" / VIDEOS).rglob("*.mp4")
        times.append(video.stat().st_mtime_ns)
    assert times[0] == times[1] < times[2]

"""A suite whose videos a running ComfyUI makes: the way to score published weights."""

import json
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

RESHOOT = {
    "1": {"class_type": "LoadMemoryV2VModel", "inputs": {"model_name": "built-in: novel_view"}},
    "2": {"class_type": "LoadVideo", "inputs": {"file": "{clip}"}},
    "3": {
        "class_type": "MemV2VReshootVideo",
        "inputs": {
            "video": ["2", 0],
            "model": ["1", 0],
            "vae": ["1", 2],
            "paths": "{cameras}",
            "session": "{session}",
            "seed": "{seed}",
            "steps": 2,
            "k": 3,
        },
    },
    "4": {
        "class_type": "SaveVideo",
        "inputs": {
            "video": ["3", 0],
            "filename_prefix": "scored/{session}",
            "format": "auto",
            "codec": "auto",
        },
    },
}
SUITE = """
methods:
  - {name: alone, workflow: {file: reshoot.json, server: "SERVER", set: ["3.k = 0"]}}
  - {name: with memory, workflow: {file: reshoot.json, server: "SERVER"}}
metrics: [geometry, seconds]
sources: clips
turns: [1, 2]
cameras: {turns: [pan_right 42, pan_right 40 + tilt_down 5]}
"""


@pytest.fixture
def place(tmp_path: Path, comfy_server, object_info) -> Path:
    """A folder with a suite, its workflow and one rendered clip."""
    info = read_info("novel_view")
    config = SceneConfig(fov_deg=info.fov_deg)
    scene = make_scene(config, torch.Generator().manual_seed(5))
    path = static_trajectory(info.num_frames, lens_intrinsics(info.fov_deg, 1.0))
    (tmp_path / "clips").mkdir()
    write_clip(tmp_path / "clips" / "room.mp4", film_scene(scene, path, info.size).frames, 8, 0)
    required = object_info["MemV2VReshootVideo"]["input"]["required"]
    defaults = {
        name: held[1]["default"]
        for name, held in required.items()
        if len(held) > 1 and "default" in held[1]
    }
    workflow = json.loads(json.dumps(RESHOOT))
    workflow["3"]["inputs"] = {**defaults, **workflow["3"]["inputs"]}
    workflow["1"]["inputs"]["adapter"] = object_info["LoadMemoryV2VModel"]["input"]["required"].get(
        "adapter", [[None]]
    )[0][0]
    workflow["1"]["inputs"] = {k: v for k, v in workflow["1"]["inputs"].items() if v is not None}
    (tmp_path / "reshoot.json").write_text(json.dumps(workflow), encoding="utf-8")
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
        (('"3.k = 0"', '"3.k = x"'), "a value in JSON"),
        (('"3.k = 0"', '"3.paths = \\"jump 3\\""'), "jump"),
        (("reshoot.json, ", "gone.json, "), "gone.json"),
        (("cameras: {turns", "num_scenes: 1\ncameras: {turns"), "0 of 2 methods with 'made'"),
        (("sources: clips", "sources: none"), "with 0 clips"),
        (("sources: clips", "sources: clips\nclips: [hall]"), "'hall'"),
        (('set: ["3.k = 0"]', "node: '3'"), "saved 0 videos of 'room', wanted 2"),
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

"""What the demo of scenes with depth reads from a workflow."""

import json
from typing import Any

import pytest

from devtools.depth_demo import LOOP, REPORT, SHEET, scene_and_paths, summarise

PATH = {"motion": "orbit_left", "amplitude": 20.0, "num_frames": 9, "keyframes": ""}
SCENE = {"scene": 11, "num_frames": 9, "size": 128, "drift_deg": 2.0, "kind": "depth"}


def prompt(scene: dict[str, Any] = SCENE, **changed: Any) -> dict[str, dict]:
    """A workflow's named nodes; `changed` inputs are those of turn B's path."""
    nodes = {"Source clip": scene, "Turn A: camera path": PATH, "Turn C: camera path": PATH}
    nodes["Turn B: camera path"] = {**PATH, **changed}
    return {
        str(idx): {"class_type": "any", "inputs": inputs, "_meta": {"title": title}}
        for idx, (title, inputs) in enumerate(nodes.items())
    }


def test_scene_and_paths_are_what_the_widgets_say() -> None:
    found = scene_and_paths(prompt(motion="sweep"))
    assert found["scene"] == {"number": 11, "size": 128, "num_frames": 9, "drift_deg": 2.0}
    assert list(found["paths"]) == ["A", "B", "C"]
    assert [path["motion"] for path in found["paths"].values()] == [
        "orbit_left",
        "sweep",
        "orbit_left",
    ]
    assert json.loads(json.dumps(found)) == found


def test_a_scene_without_depth_and_a_linked_path_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'Source clip' got None, wanted 'depth'.*--task turns"):
        scene_and_paths(prompt({name: SCENE[name] for name in SCENE if name != "kind"}))
    with pytest.raises(ValueError, match="Turn B: camera path got a link to amplitude"):
        scene_and_paths(prompt(amplitude=["7", 0]))
    with pytest.raises(ValueError, match="Source clip got a link to camera"):
        scene_and_paths(prompt({**SCENE, "camera": ["0", 0]}))


def test_the_terminal_shows_the_numbers_or_why_there_are_none(
    tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = {"with_memory": {"mae": 0.05}, "without_memory": {"mae": 0.2}}
    summarise({"measures": scores, "notes": [], "seconds": 60.0}, tmp_path)
    told = capsys.readouterr().out
    assert "with memory 0.0500, without memory 0.2000, 4.0 times less" in told
    assert all(name in told for name in (SHEET, LOOP, REPORT))
    summarise({"measures": {}, "notes": ["11 frames fitted."], "seconds": 60.0}, tmp_path)
    told = capsys.readouterr().out
    assert "without memory" not in told
    assert "11 frames fitted." in told

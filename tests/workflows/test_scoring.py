"""Score Turns on a real server: a session is scored, and weights that come later are used."""

import json
import shutil
from pathlib import Path

import pytest
from instruments.metric_weights import save_dino

ROOT = Path(__file__).resolve().parents[2]
SCORE_ID = "score"


@pytest.fixture
def dino_folder(comfy_server) -> Path:
    """Where the server looks for DINOv2; without it before and after the test."""
    folder = comfy_server.base_dir / "models" / "dinov2"
    shutil.rmtree(folder / "dinov2-base", ignore_errors=True)
    yield folder
    shutil.rmtree(folder / "dinov2-base", ignore_errors=True)


def scored_session(object_info: dict) -> dict[str, dict]:
    """Three turns of two steps, with Score Turns beside the Consistency Report."""
    from devtools.workflow import nodes_of_type, with_input, workflow_to_prompt

    workflow = json.loads((ROOT / "workflows" / "multi_turn_novel_view.json").read_text("utf-8"))
    prompt = workflow_to_prompt(workflow, object_info)
    for node_id in nodes_of_type(prompt, "MemoryV2VSampler"):
        prompt = with_input(prompt, node_id, "steps", 2)
    (report_id,) = nodes_of_type(prompt, "MemV2VConsistencyReport")
    links = prompt[report_id]["inputs"]
    inputs = {name: links[name] for name in ("cache", "vae", "source_camera")}
    node = {"class_type": "MemV2VScoreTurns", "inputs": {"networks": True, "newest": 8, **inputs}}
    return {**prompt, SCORE_ID: node}


def test_a_session_is_scored_and_again_when_weights_came(comfy_server, dino_folder: Path) -> None:
    pytest.importorskip("transformers")
    prompt = scored_session(comfy_server.api.object_info())
    before = comfy_server.api.run(prompt)["outputs"][SCORE_ID]
    (report,) = before["text"]
    assert "DINO-F: the network dinov2-base lacks config.json and model.safetensors in " in report
    assert str(dino_folder / "dinov2-base") in report
    assert "| turns 1 and 3 | 0." in report
    assert before["images"]
    save_dino(dino_folder)
    (report,) = comfy_server.api.run(prompt)["outputs"][SCORE_ID]["text"]
    assert "DINO-F: " not in report
    assert "| video | DINO-F neighbours | DINO-F all pairs |" in report
    assert "(DINO-F " in report.splitlines()[0]

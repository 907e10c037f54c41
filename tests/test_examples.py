"""The examples in docs/ run as they stand."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"


def test_the_core_makes_two_turns_without_comfyui(capsys: pytest.CaptureFixture) -> None:
    made = runpy.run_path(str(EXAMPLES / "core_example.py"))
    first, second = made["cache"].entries
    assert second.memory_ids == (first.entry_id,)
    assert [video.shape for video in made["videos"]] == [(9, 3, 128, 128)] * 2
    told = capsys.readouterr().out
    assert "cache in the graph: 2 turns of built-in: novel_view" in told
    assert "memories: turn 1 at 1x4x4" in told


def test_the_example_is_short() -> None:
    text = (EXAMPLES / "core_example.py").read_text(encoding="utf-8")
    code = [line for line in text.split('"""', 2)[2].splitlines() if line.strip()]
    imports = sum(line.startswith(("import ", "from ")) for line in code)
    assert len(code) - imports <= 20

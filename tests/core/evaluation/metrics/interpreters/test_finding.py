"""A metric's Python is the one that a variable names, else its complete private environment."""

import os
import re
import sys
from pathlib import Path

import pytest

from memv2v_core.evaluation.metrics.interpreters import finding
from memv2v_core.evaluation.metrics.interpreters.finding import find_interpreter, variable_of

PLACE = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")


def put_environment(sets_up: Path, name: str, is_complete: bool) -> Path:
    python = sets_up.joinpath(name, *PLACE)
    python.parent.mkdir(parents=True)
    python.write_bytes(b"")
    if is_complete:
        (sets_up / f"{name}.json").write_text("{}")
    return python


def test_the_variable_has_the_name_of_the_metric() -> None:
    assert variable_of("vbench") == "MEMV2V_METRICS_VBENCH_PYTHON"
    assert variable_of("pose_da3") == "MEMV2V_METRICS_POSE_DA3_PYTHON"
    assert variable_of("a-b") == "MEMV2V_METRICS_A_B_PYTHON"


def test_a_named_python_goes_before_the_private_one(tmp_path: Path) -> None:
    private = put_environment(tmp_path, "vbench", is_complete=True)
    assert find_interpreter("vbench", tmp_path, {}) == private
    named = {"MEMV2V_METRICS_VBENCH_PYTHON": sys.executable}
    assert find_interpreter("vbench", tmp_path, named) == Path(sys.executable)
    # Another metric's variable does not count.
    with pytest.raises(ValueError, match="the metric met3r runs in a Python of its own"):
        find_interpreter("met3r", tmp_path, named)


def test_an_interrupted_setup_does_not_count(tmp_path: Path) -> None:
    put_environment(tmp_path, "vbench", is_complete=False)
    with pytest.raises(ValueError, match="holds none that is complete"):
        find_interpreter("vbench", tmp_path, {})


def test_a_missing_python_is_told_with_command_and_variable(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "met3r"))) as caught:
        find_interpreter("met3r", tmp_path, {})
    told = str(caught.value)
    assert "run python3 dev.py metrics met3r," in told
    assert "in MEMV2V_METRICS_MET3R_PYTHON" in told


def test_a_variable_that_names_no_file_is_told(tmp_path: Path) -> None:
    wrong = {"MEMV2V_METRICS_VBENCH_PYTHON": str(tmp_path / "nothing")}
    with pytest.raises(ValueError, match=r"MEMV2V_METRICS_VBENCH_PYTHON got .*nothing, which is"):
        find_interpreter("vbench", tmp_path, wrong)


def test_private_environments_lie_in_the_checkout() -> None:
    root = Path(finding.__file__).parents[4]
    assert (root / "memv2v_core").is_dir()
    assert root / ".dev" / "metrics" == finding.SETS_UP

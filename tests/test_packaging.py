"""What a package manager and the registry read."""

import importlib
from pathlib import Path

import pytest

from memv2v_core import shapes

ROOT = Path(__file__).resolve().parent.parent


def _project() -> dict:
    try:
        tomllib = importlib.import_module("tomllib")
    except ModuleNotFoundError:
        pytest.skip("tomllib needs Python 3.11")
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_core_alias_is_the_same_module() -> None:
    real = importlib.import_module("memory_v2v.memv2v_core.shapes")
    assert shapes is real
    assert real.__spec__.name == "memory_v2v.memv2v_core.shapes"


def test_requirements_equal_the_declared_dependencies() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert lines == _project()["project"]["dependencies"]


def test_requirements_suit_a_line_by_line_installer() -> None:
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        assert line and not line.startswith("-") and "#" not in line and not line.startswith("torch")


def test_the_registry_finds_what_it_needs() -> None:
    project, comfy = _project()["project"], _project()["tool"]["comfy"]
    assert "comfyui" not in project["name"].lower()
    assert {"Repository", "Documentation", "Issues"} <= project["urls"].keys()
    assert (ROOT / project["license"]["file"]).read_text(encoding="utf-8").count("Apache License") >= 1
    assert comfy["PublisherId"] and comfy["DisplayName"] and comfy["requires-comfyui"]
    assert "web" not in comfy  # WEB_DIRECTORY says it already; both load every script twice


def test_v3_entry_point_is_not_shadowed() -> None:
    pack = importlib.import_module("memory_v2v")
    assert not hasattr(pack, "NODE_CLASS_MAPPINGS")
    assert (ROOT / pack.WEB_DIRECTORY).is_dir()

"""What a package manager and the registry read."""

import ast
import importlib
import re
import sys
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
        assert line
        assert not line.startswith("-")
        assert "#" not in line
        assert not line.startswith("torch")


def _imported_modules() -> set[str]:
    """First names of all modules that the pack's own code imports, wherever in a file; its own are
    relative.
    """
    names = set()
    for path in (
        ROOT / "__init__.py",
        *(ROOT / "nodes").rglob("*.py"),
        *(ROOT / "memv2v_core").rglob("*.py"),
    ):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.split(".")[0])
    return names


def _package_names(lines: list[str]) -> set[str]:
    return {
        re.match(r"[\w.-]+", line).group().lower()
        for line in lines
        if line and not line.startswith("#")
    }


def test_requirements_are_what_the_code_imports() -> None:
    comfyui = {
        "aiohttp",  # its server's framework: the version is ComfyUI's business
        "comfy",
        "comfy_api",
        "comfy_execution",
        "folder_paths",
        "latent_preview",
        "node_helpers",
        "nodes",
        "server",
    }
    elsewhere = {
        "torch",
        "typing_extensions",
    }  # no pack may install PyTorch, which brings the other
    modules = _imported_modules() - sys.stdlib_module_names - comfyui - elsewhere
    project = _project()["project"]
    optional = {
        name
        for names in project["optional-dependencies"].values()
        for name in _package_names(names)
    }
    packages = {"PIL": "pillow", "yaml": "pyyaml"}
    named = {packages.get(module, module) for module in modules}
    assert named - optional == _package_names(project["dependencies"])


def test_comfyui_itself_requires_all_that_the_pack_does() -> None:
    from devtools.environment import find_environment

    environment = find_environment()
    if environment is None:
        pytest.skip("no ComfyUI: run the tests with `python dev.py test`, or set COMFYUI_PATH")
    comfyui = (environment.comfyui / "requirements.txt").read_text(encoding="utf-8").splitlines()
    ours = _package_names(_project()["project"]["dependencies"])
    assert ours <= _package_names(comfyui)


def test_the_oldest_comfyui_is_the_one_that_can_be_tested() -> None:
    from devtools.environment import OLDEST_COMFYUI

    assert _project()["tool"]["comfy"]["requires-comfyui"] == f">={OLDEST_COMFYUI}"


def test_the_registry_finds_what_it_needs() -> None:
    project, comfy = _project()["project"], _project()["tool"]["comfy"]
    assert "comfyui" not in project["name"].lower()
    assert {"Repository", "Documentation", "Issues"} <= project["urls"].keys()
    assert (ROOT / project["license"]["file"]).read_text(encoding="utf-8").count(
        "Apache License"
    ) >= 1
    assert comfy["PublisherId"]
    assert comfy["DisplayName"]
    assert comfy["requires-comfyui"]
    assert "web" not in comfy  # WEB_DIRECTORY says it already; both load every script twice


def test_v3_entry_point_is_not_shadowed() -> None:
    pack = importlib.import_module("memory_v2v")
    assert not hasattr(pack, "NODE_CLASS_MAPPINGS")
    assert (ROOT / pack.WEB_DIRECTORY).is_dir()


def _nodes_that_report() -> set[str]:
    """Ids of the nodes whose `execute` returns something to show on them."""
    found = set()
    for path in (ROOT / "nodes").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        for part in source.split("\nclass ")[1:]:
            node_id = re.search(r'node_id="(\w+)"', part)
            if node_id and re.search(r"\bui=", part.split("\nclass ")[0].split("\ndef ")[0]):
                found.add(node_id.group(1))
    return found


def test_every_report_of_a_node_is_drawn_on_it() -> None:
    script = (ROOT / "web" / "reports" / "reports.js").read_text(encoding="utf-8")
    names = re.search(r"TEXT_NODES = new Set\(\[(.*?)\]\)", script, re.DOTALL)
    assert set(re.findall(r'"(\w+)"', names.group(1))) == _nodes_that_report()


def test_the_commit_hook_formats_as_the_lint_command_does() -> None:
    hook = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    pinned = (ROOT / "devtools" / "requirements.txt").read_text(encoding="utf-8")
    (rev,) = re.findall(r"rev: v([\d.]+)", hook)
    assert f"ruff=={rev}" in pinned.splitlines()


def test_the_citation_names_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {_project()['project']['version']}" in citation.splitlines()

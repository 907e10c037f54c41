"""The core's import directions (data flows one way) and the limits on file and function size."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "memv2v_core"
STAGES = ("cameras", "cache", "retrieval", "tokens", "model", "sampling", "stitching", "builtin")
BESIDE = ("training", "evaluation")  # may import any stage and each other; no stage imports them
EVERYWHERE = ("shapes",)
COMFY_MODULES = {
    "comfy",
    "comfy_api",
    "comfy_execution",
    "comfy_extras",
    "nodes",
    "folder_paths",
    "server",
    "execution",
}
MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 80


def _sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _ours(*folders: str) -> list:
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in _sources(*folders)]


def _imports(path: Path) -> Iterator[tuple[str, int, int]]:
    """(module as written, leading dots, line) of every import, those inside functions included."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module:
                yield node.module, node.level, node.lineno
            else:
                yield from ((alias.name, node.level, node.lineno) for alias in node.names)


def _part_imported(path: Path, module: str, dots: int) -> str | None:
    """First folder or file of the core that a relative import reaches, None for an absolute
    import."""
    if dots == 0:
        return None
    package = path.parent
    for _ in range(dots - 1):
        package = package.parent
    target = package.joinpath(*module.split("."))
    assert CORE in target.parents, (
        f"{path.relative_to(ROOT)} imports {module} from outside the core"
    )
    return target.relative_to(CORE).parts[0]


def _may_import(part: str, imported: str) -> bool:
    if imported in EVERYWHERE or imported == part or part in BESIDE:
        return True
    return part in STAGES and imported in STAGES[: STAGES.index(part)]


@pytest.mark.parametrize("path", _ours("memv2v_core"))
def test_core_imports_only_from_its_left(path: Path) -> None:
    part = path.relative_to(CORE).with_suffix("").parts[0]
    for module, dots, line in _imports(path):
        imported = _part_imported(path, module, dots)
        assert imported is None or _may_import(part, imported), (
            f"line {line}: {part} must not import {imported}"
        )


@pytest.mark.parametrize("path", _ours("memv2v_core"))
def test_core_is_relative_and_knows_no_comfyui(path: Path) -> None:
    for module, dots, line in _imports(path):
        first = module.partition(".")[0]
        assert dots or first not in COMFY_MODULES | {"memv2v_core", "memory_v2v"}, (
            f"line {line} imports {module}"
        )


def test_core_has_no_unknown_part() -> None:
    parts = {path.relative_to(CORE).with_suffix("").parts[0] for path in CORE.rglob("*.py")}
    assert parts <= {*STAGES, *BESIDE, *EVERYWHERE, "__init__"}


def test_core_inits_are_empty() -> None:
    assert [
        str(path) for path in CORE.rglob("__init__.py") if path.read_text(encoding="utf-8").strip()
    ] == []


@pytest.mark.parametrize("path", _ours("memv2v_core", "nodes", "devtools", "tests", "benchmarks"))
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", _ours("memv2v_core", "nodes"))
def test_library_code_never_prints(path: Path) -> None:
    calls = (node for node in ast.walk(_tree(path)) if isinstance(node, ast.Call))
    lines = [
        call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"
    ]
    assert lines == []


@pytest.mark.parametrize("path", _ours("memv2v_core", "nodes", "devtools", "tests"))
def test_sources_are_ascii(path: Path) -> None:
    assert path.read_text(encoding="utf-8").isascii()


@pytest.mark.parametrize("path", _ours("devtools"))
def test_devtools_need_only_the_standard_library(path: Path) -> None:
    for module, dots, line in _imports(path):
        assert dots or module.partition(".")[0] in sys.stdlib_module_names, (
            f"line {line} imports {module}"
        )

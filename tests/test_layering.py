"""The rooms of the house: what may import what, and how large files and functions may be."""

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE, NODES = ROOT / "memv2v_core", ROOT / "nodes"
FOLDERS = ("memv2v_core", "nodes", "devtools", "benchmarks", "tests")

# Data flows one way: a room of the core imports only rooms that stand before it.
ROOMS = (
    *("shapes", "atomic_files", "vocabulary"),
    *("cameras", "cache", "clips", "retrieval", "tokens", "model", "bases", "weights"),
    *("sampling", "builtin", "pictures", "synthetic", "long_edit", "training", "evaluation"),
)
COMFY_MODULES = {
    *("comfy", "comfy_api", "comfy_execution", "comfy_extras", "nodes"),
    *("folder_paths", "server", "execution", "latent_preview", "node_helpers"),
}
MAX_FILE_LINES, MAX_MENU_LINES, MAX_FUNCTION_LINES, MAX_FILES = 400, 250, 80, 13


def _sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def _menu() -> list[Path]:
    """Files of the menu: `nodes/` itself, less what stands beside the menu."""
    return [path for path in NODES.glob("*.py") if path.stem not in ("__init__", "io_types")]


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _ours(*folders: str) -> list:
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in _sources(*folders)]


def _name(path: Path) -> str:
    """Dotted name of a file from the root on."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """(absolute module, line, is relative) of every import, those inside functions included.

    "from package import file" counts as an import of the file.
    """
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            module = ".".join((*package, *filter(None, [node.module])))
            for alias in node.names:
                longer = f"{module}.{alias.name}"
                place = ROOT / longer.removeprefix("memory_v2v.").replace(".", "/")
                is_file = place.with_suffix(".py").is_file() or place.is_dir()
                yield longer if is_file else module, node.lineno, node.level > 0


def _ours_imported(path: Path) -> Iterator[tuple[str, int]]:
    """Files of the repository that a file imports, by their dotted names."""
    # Tests load the pack under the name that ComfyUI gives it; "nodes" alone is ComfyUI's own.
    is_pack = CORE in path.parents or NODES in path.parents
    for module, line, is_relative in _imports(path):
        if is_relative or not is_pack:
            yield module.removeprefix("memory_v2v."), line


@pytest.mark.parametrize("path", _ours("memv2v_core"))
def test_a_room_of_the_core_imports_only_rooms_before_it(path: Path) -> None:
    room = _name(path).split(".")[1] if path.parent != CORE or path.stem != "__init__" else ""
    for module, line in _ours_imported(path):
        first, _, inside = module.partition(".")
        assert first == "memv2v_core", f"line {line}: the core must not import {module}"
        imported = inside.partition(".")[0]
        assert imported == room or ROOMS.index(imported) < ROOMS.index(room), (
            f"line {line}: {room} must not import {imported}"
        )


@pytest.mark.parametrize("path", _ours("memv2v_core", "nodes"))
def test_nothing_imports_training_but_training(path: Path) -> None:
    if CORE / "training" not in path.parents:
        lines = [line for module, line in _ours_imported(path) if "memv2v_core.training" in module]
        assert lines == []


@pytest.mark.parametrize("path", _ours("memv2v_core"))
def test_core_is_relative_and_knows_no_comfyui(path: Path) -> None:
    for module, line, is_relative in _imports(path):
        first = module.partition(".")[0]
        assert is_relative or first not in COMFY_MODULES | {"memv2v_core", "memory_v2v"}, (
            f"line {line} imports {module}"
        )


def test_the_core_has_no_unknown_room() -> None:
    rooms = {path.relative_to(CORE).with_suffix("").parts[0] for path in CORE.rglob("*.py")}
    assert rooms - {"__init__"} == set(ROOMS)


def test_no_files_import_each_other_in_a_circle() -> None:
    files = {_name(path): path for path in (*_sources(*FOLDERS), ROOT / "dev.py")}
    graph = {
        name: {module for module, _ in _ours_imported(path) if module in files} - {name}
        for name, path in files.items()
    }
    assert sum(map(len, graph.values())) > 500  # imports are found at all
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError
    assert order.index("memv2v_core.vocabulary") < order.index("nodes.sampling")


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in _menu()])
def test_a_file_of_the_menu_is_short_and_helps_no_other(path: Path) -> None:
    from_menu = {f"nodes.{other.stem}" for other in _menu()} - {f"nodes.{path.stem}"}
    assert from_menu.isdisjoint(module for module, _ in _ours_imported(path))
    assert "\nNODES = [" in path.read_text(encoding="utf-8")
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_MENU_LINES


@pytest.mark.parametrize("path", _ours("nodes/host"))
def test_what_adapts_comfyui_knows_no_menu(path: Path) -> None:
    menu = {f"nodes.{other.stem}" for other in _menu()}
    assert menu.isdisjoint(module for module, _ in _ours_imported(path))


def test_core_inits_are_empty() -> None:
    inits = (path for folder in (CORE, NODES / "host") for path in folder.rglob("__init__.py"))
    assert [str(path) for path in inits if path.read_text(encoding="utf-8").strip()] == []


@pytest.mark.parametrize("path", _ours(*FOLDERS))
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES or _is_schema(node), f"{node.name} has {lines} lines"


def _is_schema(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A node's schema is a list, however long."""
    return node.name == "define_schema"


def test_no_folder_is_crowded() -> None:
    counts: dict[Path, int] = {}
    for path in _sources("memv2v_core", "nodes", "devtools"):
        if path.stem != "__init__":
            counts[path.parent] = counts.get(path.parent, 0) + 1
    assert {str(folder): count for folder, count in counts.items() if count > MAX_FILES} == {}


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
    for module, line, is_relative in _imports(path):
        assert is_relative or module.partition(".")[0] in sys.stdlib_module_names, (
            f"line {line} imports {module}"
        )

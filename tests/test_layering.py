"""The rooms of the house: what may import what, and how large files and functions may be."""

import ast
import graphlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE, NODES = ROOT / "memv2v_core", ROOT / "nodes"
FOLDERS = ("memv2v_core", "nodes", "devtools", "benchmarks", "tests")

# Data flows one way: a room of the core imports only rooms that stand before it.
ROOMS = (
    *("shapes", "atomic_files", "vocabulary", "strict_yaml"),
    *("cameras", "cache", "clips", "retrieval", "tokens", "model", "bases", "weights"),
    *("context", "sampling", "builtin", "pictures", "synthetic", "resuming"),
    *("long_edit", "reshoot", "training", "evaluation"),
)
COMFY_MODULES = {
    *("comfy", "comfy_api", "comfy_execution", "comfy_extras", "nodes"),
    *("folder_paths", "server", "execution", "latent_preview", "node_helpers"),
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
MAX_FILE_LINES, MAX_MENU_LINES, MAX_FUNCTION_LINES, MAX_FILES = 400, 250, 80, 13


def _sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def _menu() -> list[Path]:
    """Files of the menu: `nodes/` without `host/`, less what stands beside the menu."""
    files = (path for path in NODES.rglob("*.py") if NODES / "host" not in path.parents)
    return [path for path in files if path.stem not in ("__init__", "io_types")]


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _name(path: Path) -> str:
    """Dotted name of a file from the root on."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def _imports(path: Path) -> tuple[tuple[str, int, bool], ...]:
    """(absolute module, line, is relative) of every import, those inside functions included.

    "from package import file" counts as an import of the file.
    """
    found = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno, False) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            module = ".".join((*package, *filter(None, [node.module])))
            for alias in node.names:
                longer = f"{module}.{alias.name}"
                place = ROOT / longer.removeprefix("memory_v2v.").replace(".", "/")
                is_file = place.with_suffix(".py").is_file() or place.is_dir()
                found.append((longer if is_file else module, node.lineno, node.level > 0))
    return tuple(found)


def _ours_imported(path: Path) -> Iterator[tuple[str, int]]:
    """Files of the repository that a file imports, by their dotted names."""
    # Tests load the pack under the name that ComfyUI gives it; "nodes" alone is ComfyUI's own.
    is_pack = CORE in path.parents or NODES in path.parents
    for module, line, is_relative in _imports(path):
        if is_relative or not is_pack:
            yield module.removeprefix("memory_v2v."), line


def _at(path: Path, line: int, what: str) -> str:
    return f"{path.relative_to(ROOT)}:{line} {what}"


def test_a_room_of_the_core_imports_only_rooms_before_it() -> None:
    wrong = []
    for path in _sources("memv2v_core"):
        room = _name(path).partition(".")[2].partition(".")[0]
        for module, line in _ours_imported(path):
            first, _, inside = module.partition(".")
            imported = inside.partition(".")[0]
            is_before = imported in ROOMS and ROOMS.index(imported) <= ROOMS.index(room)
            if first != "memv2v_core" or not is_before:
                wrong.append(_at(path, line, f"imports {module}"))
    assert wrong == []


def test_nothing_imports_training_but_training() -> None:
    outside = (
        path for path in _sources("memv2v_core", "nodes") if CORE / "training" not in path.parents
    )
    assert [
        _at(path, line, f"imports {module}")
        for path in outside
        for module, line in _ours_imported(path)
        if module.startswith("memv2v_core.training")
    ] == []


def test_core_is_relative_and_knows_no_comfyui() -> None:
    forbidden = COMFY_MODULES | {"memv2v_core", "memory_v2v"}
    assert [
        _at(path, line, f"imports {module}")
        for path in _sources("memv2v_core")
        for module, line, is_relative in _imports(path)
        if not is_relative and module.partition(".")[0] in forbidden
    ] == []


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


def test_a_file_of_the_menu_is_short_and_helps_no_other() -> None:
    assert len(_menu()) >= 12
    names, wrong = {_name(path) for path in _menu()}, []
    for path in _menu():
        text = path.read_text(encoding="utf-8")
        others = names - {_name(path)}
        wrong += [
            _at(path, line, f"imports {module}")
            for module, line in _ours_imported(path)
            if module in others
        ]
        if "\nNODES = [" not in text:
            wrong.append(_at(path, 1, "lists no NODES"))
        if len(text.splitlines()) > MAX_MENU_LINES:
            wrong.append(_at(path, 1, f"has more than {MAX_MENU_LINES} lines"))
    assert wrong == []


def test_what_adapts_comfyui_knows_no_menu() -> None:
    menu = {_name(path) for path in _menu()}
    assert [
        _at(path, line, f"imports {module}")
        for path in _sources("nodes/host")
        for module, line in _ours_imported(path)
        if module in menu
    ] == []


def test_inits_are_empty() -> None:
    inits = (path for folder in (CORE, NODES) for path in folder.rglob("__init__.py"))
    inits = (path for path in inits if path.parent != NODES)
    assert [str(path) for path in inits if path.read_text(encoding="utf-8").strip()] == []


def test_files_and_functions_are_short() -> None:
    wrong = []
    for path in _sources(*FOLDERS):
        count = len(path.read_text(encoding="utf-8").splitlines())
        if count > MAX_FILE_LINES:
            wrong.append(_at(path, 1, f"has {count} lines"))
        for node in ast.walk(_tree(path)):
            # A node's schema is a list, however long.
            if not isinstance(node, FUNCTIONS) or node.name == "define_schema":
                continue
            count = (node.end_lineno or 0) - node.lineno + 1
            if count > MAX_FUNCTION_LINES:
                wrong.append(_at(path, node.lineno, f"{node.name} has {count} lines"))
    assert wrong == []


def test_no_folder_is_crowded() -> None:
    counts: dict[Path, int] = {}
    for path in _sources("memv2v_core", "nodes", "devtools"):
        if path.stem != "__init__":
            counts[path.parent] = counts.get(path.parent, 0) + 1
    assert {str(folder): count for folder, count in counts.items() if count > MAX_FILES} == {}


def test_library_code_never_prints() -> None:
    assert [
        _at(path, call.lineno, "prints")
        for path in _sources("memv2v_core", "nodes")
        for call in ast.walk(_tree(path))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "print"
    ] == []


def test_sources_are_ascii() -> None:
    sources = _sources("memv2v_core", "nodes", "devtools", "tests")
    assert [str(path) for path in sources if not path.read_text(encoding="utf-8").isascii()] == []


def test_devtools_need_only_the_standard_library() -> None:
    assert [
        _at(path, line, f"imports {module}")
        for path in _sources("devtools")
        # What drives a browser runs in the private environment, as the tests do.
        if "browser" not in path.parts
        for module, line, is_relative in _imports(path)
        if not is_relative and module.partition(".")[0] not in sys.stdlib_module_names
    ] == []

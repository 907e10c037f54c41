"""Imports the pack as ComfyUI does, under the name `memory_v2v`, and offers a real ComfyUI to
tests.

`memv2v_core` is an alias of `memory_v2v.memv2v_core`: the same module objects under both names, so
a class that a node returns is the class that a core test imports.
"""

import importlib
import importlib.abc
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from instruments.lucyedit import LucyEditRun

    from devtools.server import ComfyServer

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
INSTALLS = (TESTS / "test_manager_install.py",)  # each starts servers of its own
NO_COMFYUI = "no ComfyUI: run the tests with `python dev.py test`, or set COMFYUI_PATH"


class _CoreAlias(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers an import of memv2v_core[.x] with the module memory_v2v.memv2v_core[.x]."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "memv2v_core" and not name.startswith("memv2v_core."):
            return None
        real = importlib.util.find_spec(f"memory_v2v.{name}")
        if real is None:
            return None
        return importlib.util.spec_from_loader(
            name, self, is_package=real.submodule_search_locations is not None
        )

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(f"memory_v2v.{spec.name}")
        spec.loader_state = module.__spec__  # importlib is about to overwrite it with the alias's
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = module.__spec__.loader_state


def _load_package(name: str, folder: Path) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


# Our nodes/ would hide ComfyUI's nodes.py, so the pack's folder must not be searched for modules.
sys.path[:] = [entry for entry in sys.path if Path(entry or os.curdir).resolve() != ROOT]
_load_package("memory_v2v", ROOT)
_load_package("devtools", ROOT / "devtools")
_load_package("instruments", ROOT / "tests" / "instruments")
sys.meta_path.insert(0, _CoreAlias())


@dataclass(frozen=True)
class ComfyInProcess:
    """ComfyUI's modules imported in this process, on the CPU, with an empty base directory of their
    own.
    """

    comfyui: Path
    base_dir: Path
    nodes: ModuleType
    folder_paths: ModuleType

    def run_node(self, node: type, **inputs: Any) -> Any:
        """What a V3 node's `execute` returns when it is called as the server does: in inference
        mode, on a locked clone of its class. A coroutine is awaited."""
        import asyncio
        import inspect

        import torch
        from comfy_api.internal import make_locked_method_func

        node.VALIDATE_CLASS()
        execute = make_locked_method_func(node, "execute", node.PREPARE_CLASS_CLONE(None))
        with torch.inference_mode():
            result = execute(**inputs)
            return asyncio.run(result) if inspect.isawaitable(result) else result


@pytest.fixture(scope="session")
def comfy_api(tmp_path_factory: pytest.TempPathFactory) -> ComfyInProcess:
    """ComfyUI in this process, for tests that call nodes directly; the pack's are in
    `memory_v2v.nodes`.
    """
    from devtools.environment import find_environment

    environment = find_environment()
    if environment is None:
        pytest.skip(NO_COMFYUI)
    base_dir = tmp_path_factory.mktemp("comfyui")
    for name in ("input", "output", "temp", "user", "models", "custom_nodes"):
        (base_dir / name).mkdir()
    sys.path.insert(0, str(environment.comfyui))
    arguments = sys.argv
    sys.argv = ["main.py", "--cpu", "--base-directory", str(base_dir)]
    try:
        options = importlib.import_module("comfy.options")
        options.enable_args_parsing()
        importlib.import_module("comfy.cli_args")
    finally:
        sys.argv = arguments
    nodes = importlib.import_module("nodes")
    folder_paths = importlib.import_module("folder_paths")
    return ComfyInProcess(environment.comfyui, base_dir, nodes, folder_paths)


@pytest.fixture(scope="session")
def comfy_server() -> "Iterator[ComfyServer]":
    """A real ComfyUI server with this pack, one for the whole session; its `api` queues prompts."""
    from devtools.environment import find_environment
    from devtools.server import running_server

    environment = find_environment()
    if environment is None:
        pytest.skip(NO_COMFYUI)
    with running_server(environment, extra_args=["--disable-api-nodes"]) as server:
        yield server


@pytest.fixture(scope="session")
def lucyedit_run() -> "LucyEditRun":
    """What diffusers' LucyEditPipeline gave its DiT in two steps, and what that answered."""
    from instruments.lucyedit import run_pipeline

    return run_pipeline()


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real clips that MEMV2V_TEST_DATA names."""
    named = os.environ.get("MEMV2V_TEST_DATA")
    if not named:
        pytest.skip("MEMV2V_TEST_DATA is not set; it names a folder of real clips")
    return Path(named)


@pytest.fixture
def shipped_workflow() -> Callable[[str], Path]:
    """Path of a workflow that ships with the pack, by file name."""
    return lambda name: ROOT / "workflows" / name


def pytest_configure() -> None:
    """Lets a terminated run stop its server."""
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", returncode=143))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by what they need, and skips those marked `gpu` where torch sees none.

    Files with a test marked `first` come first, so that no worker waits for them at the end.
    """
    first = {item.path for item in items if item.get_closest_marker("first")}
    items.sort(key=lambda item: item.path not in first)
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        starts_servers = item.path.is_relative_to(TESTS / "workflows") or item.path in INSTALLS
        if "comfy_api" in fixtures:
            item.add_marker(pytest.mark.comfy)
        if "comfy_server" in fixtures or starts_servers:
            item.add_marker(pytest.mark.server)
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))

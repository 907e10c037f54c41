"""One server and one page a stage: a frontend of ComfyUI in a rendering of nodes.

Two stages cover both frontends and both renderings. MEMV2V_STAGES=all runs all four.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from devtools.browser.bench import Bench, Rendering, find_browser, launch

if TYPE_CHECKING:
    from devtools.server import ComfyServer


class Stage(NamedTuple):
    """frontend: "pinned" by ComfyUI, or the "newest" of the package registry."""

    frontend: str
    rendering: Rendering


DEFAULT = (Stage("pinned", "classic"), Stage("newest", "nodes2"))
ALL = (*DEFAULT, Stage("pinned", "nodes2"), Stage("newest", "classic"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "stage" in metafunc.fixturenames:
        stages = ALL if os.environ.get("MEMV2V_STAGES") == "all" else DEFAULT
        named = [pytest.param(stage, id="-".join(stage)) for stage in stages]
        metafunc.parametrize("stage", named, scope="session")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of one frontend stay in one process, so that they share its server and its page.

    xdist's own groups by mark do nothing with pytest 9.2, and say nothing.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFrontend(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            found = re.search(r"\[(pinned|newest)-", nodeid)
            return found[1] if found else nodeid.partition("::")[0]

    return ByFrontend(config, log)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The system's Chromium, without a window."""
    if find_browser() is None:
        pytest.skip("no Chromium on this machine; on Debian: apt install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        opened = launch(driver)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def browser_server(stage: Stage) -> "Iterator[ComfyServer]":
    """A server that serves the stage's frontend."""
    from devtools.browser.frontends import newest_frontend
    from devtools.environment import find_environment
    from devtools.server import running_server

    environment = find_environment()
    if environment is None:
        pytest.skip("no ComfyUI: run the tests with python3 dev.py test")
    arguments = ["--disable-api-nodes"]
    if stage.frontend == "newest":
        folder = newest_frontend()
        if folder is None:
            pytest.skip("the newest frontend is not there; python3 dev.py test downloads it")
        arguments += ["--front-end-root", str(folder)]
    with running_server(environment, extra_args=arguments) as server:
        yield server


@pytest.fixture(scope="session")
def _page(browser: Any, browser_server: "ComfyServer", stage: Stage) -> Iterator[list[Bench]]:
    """The open page, in a list: a test that breaks it gets a new one."""
    held = [Bench.open(browser, browser_server, stage.rendering)]
    yield held
    held[0].close()


@pytest.fixture
def bench(
    _page: list[Bench], browser: Any, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Bench]:
    """ComfyUI's page with an empty canvas."""
    opened = _page[0]
    opened.clear()
    failures = request.session.testsfailed
    yield opened
    if request.session.testsfailed > failures:
        opened.shot(tmp_path / "page.png")
        opened.close()
        _page[0] = Bench.open(browser, opened.server, opened.rendering)

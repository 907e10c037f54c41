"""Artists find our nodes by their own words; sockets have colours; settings are kept."""

import json
from collections.abc import Iterator
from io import BytesIO

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from devtools.browser.bench import Bench

WORDS = (
    *("camera path", "novel view", "re-shoot", "dolly", "orbit", "multi turn"),
    *("consistent video", "wan memory", "lucy", "heat map", "camera motion", "long video"),
    *("compare video", "recammaster", "memory bank"),
)
RESULT = "[data-testid=result-item]"


def test_the_first_three_results_of_every_word_hold_one_of_ours(bench: Bench) -> None:
    bench.page.mouse.dblclick(640, 450)
    box = bench.page.get_by_role("dialog").last.locator("input").first
    missing = {}
    for word in WORDS:
        # Without this the results of the word before would count.
        box.fill("qqqqzzzz")
        bench.wait_until(f"() => document.querySelectorAll('{RESULT}').length === 0")
        box.fill(word)
        bench.wait_until(f"() => document.querySelectorAll('{RESULT}').length > 0")
        first = bench.page.locator(RESULT).all_inner_texts()[:3]
        if not any("Memory-V2V / " in text for text in first):
            missing[word] = first
    bench.page.keyboard.press("Escape")
    assert missing == {}


def _sockets(bench: Bench) -> list[str]:
    """The types of all sockets of the pack's nodes."""
    nodes = bench.server.api.object_info().values()
    ours = [node for node in nodes if node["category"].startswith("Memory-V2V")]
    given = [spec for node in ours for group in node["input"].values() for spec in group.values()]
    types = {*(spec[0] for spec in given), *(name for node in ours for name in node["output"])}
    return sorted(name for name in types if isinstance(name, str) and name.startswith("MEMV2V_"))


def _link_colours(bench: Bench) -> dict[str, str]:
    """The colour of every socket's links; each equals the one of its slots in Nodes 2.0."""
    sockets = _sockets(bench)
    assert len(sockets) >= 8
    links, slots = bench.evaluate(
        """(types) => {
          const links = app.canvas.constructor.link_type_colors;
          const style = getComputedStyle(document.documentElement);
          return [
            types.map((type) => links[type]),
            types.map((type) => style.getPropertyValue(`--color-datatype-${type}`).trim()),
          ];
        }""",
        sockets,
    )
    assert links == slots
    return dict(zip(sockets, links, strict=True))


def _shows(bench: Bench, colour: str) -> bool:
    """Whether a pixel of the page has this colour."""
    bench.settle()
    page = pil_to_tensor(Image.open(BytesIO(bench.page.screenshot())).convert("RGB")).int()
    wanted = torch.tensor([int(colour[i : i + 2], 16) for i in (1, 3, 5)])[:, None, None]
    return bool(((page - wanted).abs().amax(0) <= 3).any())


@pytest.fixture
def _dark_again(bench: Bench) -> Iterator[None]:
    yield
    bench.set_setting("Comfy.ColorPalette", "dark")


@pytest.mark.usefixtures("_dark_again")
def test_sockets_and_links_have_their_colours_in_dark_and_light(bench: Bench) -> None:
    first = bench.add("MemoryCache", (100, 120))
    second = bench.add("MemV2VRecallTurn", (700, 120))
    bench.connect(first, "cache", second, "cache")
    bench.evaluate("() => app.canvas.deselectAll?.()")
    seen = []
    for palette in ("dark", "light"):
        bench.set_setting("Comfy.ColorPalette", palette)
        bench.wait_until(
            """(seen) => app.canvas.constructor.link_type_colors.MEMV2V_CACHE
              && app.canvas.constructor.link_type_colors.MEMV2V_CACHE !== seen""",
            seen[-1] if seen else "",
        )
        colours = _link_colours(bench)
        assert len(set(colours.values())) == len(colours)
        assert _shows(bench, colours["MEMV2V_CACHE"]), palette
        seen.append(colours["MEMV2V_CACHE"])


def test_nodes_stand_in_sub_categories(bench: Bench) -> None:
    categories = bench.evaluate(
        """() => Object.values(LiteGraph.registered_node_types)
          .map((type) => type.category).filter((name) => name?.startsWith("Memory-V2V"))"""
    )
    assert len(categories) > 20
    assert len(set(categories)) >= 6
    assert "Memory-V2V" not in categories


@pytest.fixture
def _own_settings(bench: Bench) -> Iterator[None]:
    """The settings as they were."""
    yield
    for name, value in (("DefaultSession", ""), ("AllowDownload", False), ("Preview", "animated")):
        bench.set_setting(f"MemoryV2V.{name}", value)


@pytest.mark.usefixtures("_own_settings")
def test_settings_are_in_the_dialog_and_are_kept(bench: Bench) -> None:
    assert bench.evaluate(
        """() => ["DefaultSession", "Preview", "AllowDownload"].map(
          (name) => app.extensionManager.setting.get(`MemoryV2V.${name}`))"""
    ) == ["", "animated", False]
    bench.evaluate("() => app.extensionManager.command.execute('Comfy.ShowSettingsDialog')")
    dialog = bench.page.get_by_role("dialog").last
    dialog.get_by_text("Memory-V2V", exact=True).first.click()
    for name in ("Default session", "Preview while sampling", "Allow downloads"):
        dialog.get_by_text(name, exact=True).wait_for()
    dialog.get_by_role("switch").last.press("Space")
    bench.page.keyboard.press("Escape")
    bench.set_setting("MemoryV2V.DefaultSession", "kitchen")
    bench.reload()
    cache = bench.add("MemoryCache", (300, 120))
    assert bench.widget(cache, "session") == "kitchen"
    file = bench.server.base_dir / "user" / "default" / "comfy.settings.json"
    # The server reads the consent from here.
    assert json.loads(file.read_text(encoding="utf-8"))["MemoryV2V.AllowDownload"] is True

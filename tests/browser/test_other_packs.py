"""Other node packs in one server with ours. It needs a folder that holds a folder for each pack,
named by MEMV2V_PACKS: ComfyUI-KJNodes, ComfyUI-VideoHelperSuite, rgthree-comfy and ComfyUI-GGUF.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy
import pytest
from instruments.other_packs import REFUSED, WORKS, Graphs

from devtools.browser.bench import Bench

if TYPE_CHECKING:
    from devtools.server import ComfyServer

PACKS = ("ComfyUI-KJNodes", "ComfyUI-VideoHelperSuite", "rgthree-comfy", "ComfyUI-GGUF")
RATE, NUM_FRAMES = 12, 20


@pytest.fixture(scope="module")
def packs_server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[ComfyServer]":
    """A server with all packs of the folder and ours."""
    from devtools.environment import find_environment
    from devtools.server import running_server

    named = os.environ.get("MEMV2V_PACKS")
    if not named:
        pytest.skip("MEMV2V_PACKS is not set; it names a folder of node packs")
    environment = find_environment()
    if environment is None:
        pytest.skip("no ComfyUI: run the tests with python3 dev.py test")
    missing = [name for name in PACKS if not (Path(named) / name).is_dir()]
    assert not missing, f"{named} lacks {missing}"
    base_dir = tmp_path_factory.mktemp("packs")
    (base_dir / "custom_nodes").mkdir()
    for name in PACKS:
        (base_dir / "custom_nodes" / name).symlink_to(Path(named).resolve() / name)
    with running_server(environment, base_dir=base_dir) as server:
        assert "IMPORT FAILED" not in server.log_path.read_text("utf-8", errors="replace")
        yield server


@pytest.fixture(scope="module")
def graphs(packs_server: "ComfyServer") -> Graphs:
    return Graphs(packs_server.api.object_info())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A moving box with sound."""
    path = tmp_path_factory.mktemp("clip") / "box.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("h264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 96, 96, "yuv420p"
        sound = file.add_stream("aac", rate=44100)
        for i in range(NUM_FRAMES):
            pixels = numpy.full((96, 96, 3), 90, numpy.uint8)
            pixels[20:50, 2 * i : 2 * i + 30] = 220
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        file.mux(stream.encode())
        tone = numpy.sin(numpy.arange(44100 * NUM_FRAMES // RATE) / 30)[None].astype("float32")
        heard = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        heard.sample_rate = 44100
        file.mux(sound.encode(heard))
        file.mux(sound.encode())
    return path


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "behind"])
@pytest.mark.parametrize("name", WORKS)
def test_a_patch_of_another_pack_works_beside_memory(
    packs_server: "ComfyServer", graphs: Graphs, name: str, is_before: bool
) -> None:
    seed = 2 * list(WORKS).index(name) + is_before
    item = packs_server.api.run(graphs.turn(WORKS[name], is_before, seed))
    assert item["outputs"]["show"]["images"]


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "behind"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_patch_that_cannot_work_is_refused_by_name(
    packs_server: "ComfyServer", graphs: Graphs, name: str, is_before: bool
) -> None:
    from devtools.api import PromptFailed

    piece, told = REFUSED[name]
    with pytest.raises(PromptFailed, match=told):
        packs_server.api.run(graphs.turn(piece, is_before))


def test_a_clip_of_vhs_is_edited_and_written_by_vhs(
    packs_server: "ComfyServer", graphs: Graphs, clip: Path
) -> None:
    item = packs_server.api.run(graphs.long_edit(str(clip)))
    assert "named after the clip" in item["outputs"]["edit"]["text"][0]
    (written,) = item["outputs"]["write"]["gifs"]
    assert written["filename"].endswith(".webp")


def test_frames_that_kjnodes_resized_and_a_context_of_rgthree_feed_our_nodes(
    packs_server: "ComfyServer", graphs: Graphs
) -> None:
    prompt = graphs.turn(None, seed=40)
    prompt["scene"]["inputs"]["size"] = 256
    prompt["resize"] = graphs.node(
        "ImageResizeKJv2",
        image=["scene", 0],
        width=128,
        height=128,
        upscale_method="bilinear",
        keep_proportion="stretch",
        device="cpu",
    )
    prompt["seed"] = graphs.node("Seed (rgthree)", seed=41)
    prompt["context"] = graphs.node(
        "Context (rgthree)", model=["load", 0], vae=["load", 2], seed=["seed", 0]
    )
    prompt["source"]["inputs"] |= {"pixels": ["resize", 0], "vae": ["context", 3]}
    prompt["apply"]["inputs"]["model"] = ["context", 1]
    prompt["sample"]["inputs"]["seed"] = ["context", 8]
    assert packs_server.api.run(prompt)["outputs"]["show"]["images"]


def test_a_gguf_model_is_known(packs_server: "ComfyServer") -> None:
    pytest.importorskip("gguf")
    from instruments.gguf_files import write_gguf

    folder = packs_server.base_dir / "models" / "diffusion_models"
    folder.mkdir(parents=True, exist_ok=True)
    write_gguf(folder / "small_wan.gguf")
    graphs = Graphs(packs_server.api.get("/object_info"))
    prompt = {
        "load": graphs.node("UnetLoaderGGUF", unet_name="small_wan.gguf"),
        "describe": graphs.node("MemV2VDescribeBase", model=["load", 0], base="Wan2.1"),
        "text": graphs.node("PreviewAny", source=["describe", 0]),
    }
    prompt["describe"]["inputs"]["base"] = graphs.object_info["MemV2VDescribeBase"]["input"][
        "required"
    ]["base"][1]["options"][0]
    item = packs_server.api.run(prompt)
    assert "mode" in item["outputs"]["describe"]["text"][0]


@pytest.mark.parametrize("rendering", ["classic", "nodes2"])
def test_the_page_loads_and_links_of_other_packs_count(
    browser: Any, packs_server: "ComfyServer", rendering: Any
) -> None:
    bench = Bench.open(browser, packs_server, rendering)
    try:
        bench.clear()
        loader = bench.add("LoadMemoryV2VModel", (60, 60))
        reroute = bench.add("Reroute (rgthree)", (400, 60))
        setter, getter = bench.add("SetNode", (60, 300)), bench.add("GetNode", (400, 300))
        edit = bench.add("MemV2VEditLongVideo", (700, 60))
        bench.evaluate(
            """(...ids) => {
              const [load, over, set, get, edit] = ids.map((id) => app.graph.getNodeById(id));
              load.connect(0, over, 0);
              over.connect(0, set, 0);
              set.widgets[0].value = 'the_model';
              get.widgets[0].value = 'the_model';
              get.onRename?.();
              get.connect(0, edit, edit.inputs.findIndex((slot) => slot.name === 'model'));
            }""",
            *(loader, reroute, setter, getter, edit),
        )
        bench.wait_until(
            """(loader) => app.graph.getNodeById(loader).widgets[0].value.includes('text_edit')""",
            loader,
            patience_s=10.0,
        )
        output = bench.evaluate("async () => (await app.graphToPrompt()).output")
        assert output[str(edit)]["inputs"]["model"] == [str(loader), 0]
        ours = [each for each in bench.problems if "memory" in each.lower()]
        assert not ours, ours
    finally:
        bench.close()

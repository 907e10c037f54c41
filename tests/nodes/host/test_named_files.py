"""No name in a workflow leads out of ComfyUI's folders, whichever node gets it, at any call."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from instruments.camera_files import CONTENTS

from memv2v_core.cameras.presets import PresetConfig, make_preset

SECRET = "zebra-7Q"
# With {} in place of the name of a file that lies beside ComfyUI's folders.
ESCAPES = (
    *("../{}", "../../{}", "sub/../../{}", "..\\{}", "..\\..\\{}", "sub\\..\\..\\{}", "./../{}"),
    *(".. /{}", "... /../{}", "/etc/passwd", "//server/share/{}", "\\\\server\\share\\{}"),
    *("C:\\{}", "c:/{}", "C:{}", "sub/c:{}", "{}\0.json", "\0", "", ".", "..", "/", "sub//{}"),
    *("../{} [output]", "../{} [input]", "x\n{}", "a/./{}"),
    *("a" * 300 + "{}", "a/" * 600 + "{}", "\ud800/../{}"),
)
# Marks of a folder around no name, for names of input files.
MARKS = ("[output]", "..[input]", " [temp]", ".. [temp]")
NO_NAMES = (5, 1.5, True, ["a", 0], {"a": 1}, b"x.json")
# Every text that a workflow gives to a node, by whether it becomes the name of a file or folder.
TEXTS_OF_NODES = {
    ("MemV2VExportCameraTrajectory", "filename_prefix"): True,
    ("MemV2VExportCameraTrajectory", "camera_name"): False,
    ("MemV2VImportCameraTrajectory", "camera"): False,
    ("MemoryCache", "session"): True,
    ("MemoryCache", "entry"): False,
    ("MemV2VRecallTurn", "entry"): False,
    ("MemV2VEditLongVideo", "session"): True,
    ("MemV2VEditLongVideo", "redo"): False,
    ("MemV2VReshootVideo", "session"): True,
    ("MemV2VReshootVideo", "paths"): False,
    ("MemV2VReshootVideo", "redo"): False,
    ("MemV2VCameraTrajectory", "keyframes"): False,
    ("MemV2VCompareTurns", "first_entry"): False,
    ("MemV2VCompareTurns", "second_entry"): False,
}
FILES_OF_NODES = {
    ("MemV2VImportCameraTrajectory", "file"),
    ("LoadMemoryV2VModel", "model_name"),
    ("LoadMemoryV2VModel", "adapter"),
    ("MemV2VLoadMemoryAdapter", "adapter_name"),
}

opened: list[str] = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)


@pytest.fixture
def folder(comfy_api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a secret in it, and ComfyUI's folders below it."""
    for name in ("input", "output", "temp"):
        (tmp_path / name / "sub").mkdir(parents=True)
        monkeypatch.setattr(comfy_api.folder_paths, f"{name}_directory", str(tmp_path / name))
    (tmp_path / "secret.json").write_text(json.dumps({**CONTENTS["blender"], "note": SECRET}))
    return tmp_path


def escapes(name: str) -> list[Any]:
    return [*(text.replace("{}", name) for text in ESCAPES), *NO_NAMES]


def require_refusal(call: Callable[[], Any], name: object, start: str) -> None:
    """The call fails by naming its input, or says no; no file of a secret is opened."""
    opened.clear()
    try:
        said = call()
    except ValueError as error:
        said = str(error)
    assert isinstance(said, str), f"{name!r} gave {said!r}"
    assert said.startswith(start), f"{name!r} gave {said!r}"
    assert SECRET not in said
    assert said.isprintable()
    assert len(said) < 1000 + len(str(name))
    assert not [path for path in opened if "secret" in path or path.startswith("/etc/")]


@pytest.mark.parametrize("name", [*escapes("secret.json"), *MARKS], ids=repr)
def test_no_camera_file_is_read_outside(comfy_api, folder: Path, name: object) -> None:
    from memory_v2v.nodes.cameras.importing import ImportCameraTrajectory as Node

    given = {"file": name, "camera": "cam01", "num_frames": 0, "start_at_source": True}
    require_refusal(lambda: comfy_api.run_node(Node, **given), name, "file got ")
    require_refusal(lambda: Node.fingerprint_inputs(**given), name, "file got ")
    require_refusal(lambda: Node.validate_inputs(name, "cam01"), name, "file got ")


def test_only_camera_files_are_read(comfy_api, folder: Path) -> None:
    from memory_v2v.nodes.cameras.importing import ImportCameraTrajectory as Node

    (folder / "input" / "secret.yaml").write_text(SECRET)
    for name in ("secret.yaml", "sub", "gone.json"):
        require_refusal(lambda name=name: Node.fingerprint_inputs(file=name), name, "file got ")
        assert "wanted a camera file in" in Node.validate_inputs(name)


def test_names_inside_are_read_and_links_of_the_user_too(comfy_api, folder: Path) -> None:
    from memory_v2v.nodes.cameras.importing import ImportCameraTrajectory as Node

    text = (folder / "secret.json").read_text()
    (folder / "input" / "a b.json").write_text(text)
    (folder / "input" / "sub" / "b.json").write_text(text)
    (folder / "output" / "c.json").write_text(text)
    names = ["a b.json", "sub/b.json", "c.json [output]", "a b.json [input]"]
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "d.json").write_text(text)
    try:
        (folder / "input" / "link").symlink_to(elsewhere, target_is_directory=True)
        names.append("link/d.json")
    except OSError:
        pass  # Windows allows links to few users.
    for name in names:
        given = {"file": name, "camera": "", "num_frames": 0, "start_at_source": True}
        assert Node.validate_inputs(name, "") is True
        assert Node.fingerprint_inputs(**given)
        assert comfy_api.run_node(Node, **given, aspect=1.5)[0].num_frames == 1


def test_a_linked_name_is_not_known_yet(comfy_api) -> None:
    from memory_v2v.nodes.cameras.importing import ImportCameraTrajectory as Node

    assert Node.validate_inputs(None) is True
    assert Node.fingerprint_inputs(file=None) == ""


@pytest.mark.parametrize("name", escapes("secret"), ids=repr)
def test_no_camera_file_is_written_outside(comfy_api, folder: Path, name: object) -> None:
    from memory_v2v.nodes.cameras.exporting import ExportCameraTrajectory as Node

    before = sorted(folder.rglob("*"))
    given = {
        "camera": make_preset(PresetConfig(num_frames=2)),
        "filename_prefix": name,
        "format": "transforms.json",
        "width": 64,
        "height": 48,
        "camera_name": "cam01",
    }
    require_refusal(lambda: comfy_api.run_node(Node, **given), name, "filename_prefix got ")
    require_refusal(lambda: Node.validate_inputs("cam01", name), name, "filename_prefix got ")
    assert sorted(folder.rglob("*")) == before


def test_prefixes_inside_are_written(comfy_api, folder: Path) -> None:
    from memory_v2v.nodes.cameras.exporting import ExportCameraTrajectory as Node

    given = {"format": "transforms.json", "width": 64, "height": 48, "camera_name": "cam01"}
    for prefix in ("one", "a b/%year%/two", "..three"):
        assert Node.validate_inputs("cam01", prefix) is True
        camera = make_preset(PresetConfig(num_frames=2))
        output = comfy_api.run_node(Node, camera=camera, filename_prefix=prefix, **given)
        assert folder / "output" in Path(output[0]).resolve().parents
        assert Path(output[0]).is_file()


@pytest.mark.parametrize("name", escapes("secret"), ids=repr)
def test_no_weights_are_read_outside(comfy_api, folder: Path, name: object) -> None:
    from memory_v2v.nodes.loading import LoadMemoryAdapter, LoadMemoryV2VModel

    calls: list[Callable[[], Any]] = []
    if isinstance(name, str):
        for prefix in ("", "memv2v: ", "built-in: "):
            given = {"model_name": prefix + name}
            calls += [
                lambda given=given: comfy_api.run_node(LoadMemoryV2VModel, **given),
                lambda given=given: LoadMemoryV2VModel.fingerprint_inputs(**given),
            ]
    given = {"model_name": "built-in: novel_view", "adapter": name}
    calls += [
        lambda: comfy_api.run_node(LoadMemoryV2VModel, **given),
        lambda: LoadMemoryV2VModel.fingerprint_inputs(**given),
        lambda: comfy_api.run_node(LoadMemoryAdapter, adapter_name=name),
    ]
    # An empty name of an adapter is a widget that holds nothing yet.
    if name:
        calls.append(lambda: LoadMemoryAdapter.fingerprint_inputs(adapter_name=name))
    for call in calls:
        opened.clear()
        with pytest.raises(ValueError, match=r"^(model_name|the file of models/\w+) got "):
            call()
        assert not [path for path in opened if "secret" in path or path.startswith("/etc/")]


@pytest.mark.parametrize("name", [text.replace("{}", "x") for text in ESCAPES if text], ids=repr)
def test_no_session_is_opened_outside(comfy_api, folder: Path, name: object) -> None:
    from memory_v2v.nodes.cache import MemoryCacheNode as Node
    from memory_v2v.nodes.videos.long_video import EditLongVideo
    from memory_v2v.nodes.videos.reshoot import ReshootVideo

    before = sorted(folder.rglob("*"))
    given = {"session": name, "action": "none", "entry": ""}
    require_refusal(lambda: Node.validate_inputs(session=name), name, "session name got ")
    require_refusal(lambda: Node.fingerprint_inputs(session=name), name, "session name got ")
    require_refusal(lambda: comfy_api.run_node(Node, **given), name, "session name got ")
    for whole in (EditLongVideo, ReshootVideo):
        require_refusal(
            lambda whole=whole: whole.validate_inputs(session=name), name, "session name got "
        )
        # It counts changes by hand under this name, and looks at no disk.
        opened.clear()
        whole.fingerprint_inputs(session=name)
        assert not opened
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", [text for text in escapes("secret") if text], ids=repr)
def test_no_descriptor_is_read_outside(comfy_api, folder: Path, name: object) -> None:
    from memory_v2v.nodes.host.long_edit.host import comfy_descriptor

    require_refusal(lambda: comfy_descriptor(name, False), name, "descriptor got ")


def test_every_name_in_a_workflow_is_tested_here(
    comfy_api, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfy_api.latest import io

    from memory_v2v.nodes import MemoryV2VExtension

    (folder / "input" / f"{SECRET}.json").write_text("{}")
    names = [f"{SECRET}.safetensors"]
    monkeypatch.setattr(comfy_api.folder_paths, "get_filename_list", lambda _: names)
    texts, files = set(), set()
    for node in asyncio.run(MemoryV2VExtension().get_node_list()):
        schema = node.define_schema()
        for given in schema.inputs:
            if isinstance(given, io.String.Input):
                texts.add((schema.node_id, given.id))
            # Choices that come from a disk.
            if isinstance(given, io.Combo.Input) and SECRET in str(given.options):
                files.add((schema.node_id, given.id))
    # A new text needs a decision here; a new name of a file needs a test above.
    assert texts == TEXTS_OF_NODES.keys()
    assert files == FILES_OF_NODES

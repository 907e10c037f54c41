"""A download needs the machine's consent; a workflow may come from a stranger."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ASKED = "facebook/dinov2-base"


@pytest.fixture
def user_folder(comfy_api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user folder of ComfyUI, and an environment that says nothing."""
    monkeypatch.delenv("MEMV2V_ALLOW_DOWNLOAD", raising=False)
    monkeypatch.setattr(comfy_api.folder_paths, "get_user_directory", lambda: str(tmp_path))
    (tmp_path / "memory_v2v").mkdir()
    return tmp_path


@pytest.fixture
def asked(user_folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was asked of huggingface.co, which never answers here."""
    import transformers

    asked: list[Any] = []

    def refuse(source: object, **options: object) -> None:
        asked.append(source)
        raise OSError("no network here")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", refuse)
    return asked


@pytest.fixture
def describe(asked: list[Any]) -> Callable[[bool], str]:
    """The error of a node that wants dinov2-base, which is nowhere."""
    from memory_v2v.nodes.host.long_edit.host import comfy_descriptor

    def run(asks_download: bool) -> str:
        with pytest.raises(ValueError, match="dinov2-base") as caught:
            comfy_descriptor("dinov2-base", asks_download)
        return str(caught.value)

    return run


def write_settings(user_folder: Path, text: str) -> Path:
    path = user_folder / "memory_v2v" / "settings.json"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("asks_download", [True, False])
def test_a_workflow_alone_downloads_nothing_and_is_told_how(
    describe, asked: list[Any], user_folder: Path, asks_download: bool
) -> None:
    message = describe(asks_download)
    assert asked == []
    path = user_folder / "memory_v2v" / "settings.json"
    for part in (
        *("model.safetensors", "config.json", "https://huggingface.co/facebook/dinov2-base"),
        *(
            "346 MB",
            "Allow downloads in ComfyUI's settings",
            "MEMV2V_ALLOW_DOWNLOAD=1",
            '{"allow_download": true}',
            str(path),
        ),
    ):
        assert part in message


@pytest.mark.parametrize("asks_download", [True, False])
@pytest.mark.parametrize("by_file", [True, False])
def test_machine_and_workflow_together_download(
    describe,
    asked: list[Any],
    user_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    by_file: bool,
    asks_download: bool,
) -> None:
    if by_file:
        write_settings(user_folder, '{"allow_download": true}')
    else:
        monkeypatch.setenv("MEMV2V_ALLOW_DOWNLOAD", "1")
    describe(asks_download)
    assert asked == ([ASKED] if asks_download else [])


def write_page_settings(user_folder: Path, text: str) -> None:
    (user_folder / "default").mkdir(exist_ok=True)
    (user_folder / "default" / "comfy.settings.json").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("asks_download", [True, False])
def test_the_settings_dialog_and_the_node_together_download(
    describe, asked: list[Any], user_folder: Path, asks_download: bool
) -> None:
    write_page_settings(user_folder, '{"MemoryV2V.AllowDownload": true}')
    describe(asks_download)
    assert asked == ([ASKED] if asks_download else [])


@pytest.mark.parametrize("text", ["{", "[]", '{"MemoryV2V.AllowDownload": "yes"}', "{}"])
def test_anything_but_true_in_the_settings_dialog_is_no_consent(
    describe, asked: list[Any], user_folder: Path, text: str
) -> None:
    write_page_settings(user_folder, text)
    describe(True)
    assert asked == []


def test_who_keeps_the_machine_decides_before_the_settings_dialog(
    comfy_api, describe, asked: list[Any], user_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memory_v2v.nodes.host.models import downloads

    write_page_settings(user_folder, '{"MemoryV2V.AllowDownload": true}')
    write_settings(user_folder, '{"allow_download": false}')
    describe(True)
    assert asked == []
    write_settings(user_folder, "{}")
    monkeypatch.setattr(downloads.args, "multi_user", True)
    describe(True)
    assert asked == []


@pytest.mark.parametrize("value", ["", "0", "no", "true"])
def test_only_1_in_the_environment_allows(
    describe, asked: list[Any], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("MEMV2V_ALLOW_DOWNLOAD", value)
    describe(True)
    assert asked == []


@pytest.mark.parametrize("text", ['{"allow_download": false}', "{}"])
def test_settings_may_say_no(describe, asked: list[Any], user_folder: Path, text: str) -> None:
    write_settings(user_folder, text)
    assert "346 MB" in describe(True)
    assert asked == []


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"allow_download": "yes"}', '{"allow_download": 1}', '{"allow": true}']
)
def test_broken_settings_are_named_and_allow_nothing(
    asked: list[Any], user_folder: Path, text: str
) -> None:
    from memory_v2v.nodes.host.long_edit.host import comfy_descriptor

    path = write_settings(user_folder, text)
    with pytest.raises(ValueError, match="settings.json in .*correct the file") as caught:
        comfy_descriptor("dinov2-base", True)
    assert str(path.parent) in str(caught.value)
    assert asked == []


def test_every_node_with_the_input_tells_the_condition(comfy_api) -> None:
    from memory_v2v.nodes.retrieval import DinoSegmentRetrieve
    from memory_v2v.nodes.videos.long_video import EditLongVideo

    for node in (EditLongVideo, DinoSegmentRetrieve):
        inputs = {each.id: each for each in node.define_schema().inputs}
        assert "only if this machine allows it" in inputs["allow_download"].tooltip
        assert "MEMV2V_ALLOW_DOWNLOAD=1" in inputs["allow_download"].tooltip

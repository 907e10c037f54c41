"""A real ComfyUI server with this pack, through its HTTP API."""

import struct
import zlib
from pathlib import Path

import pytest

from devtools.api import Progress, PromptFailed, PromptInterrupted, PromptRejected, output_files
from devtools.server import ComfyServer, pack_nodes


def _prompt(frames: int = 2, color: int = 255) -> dict[str, dict]:
    empty = {"width": 16, "height": 16, "batch_size": frames, "color": color}
    return {
        "1": {"class_type": "EmptyImage", "inputs": empty},
        "2": {
            "class_type": "SaveImage",
            "inputs": {"images": ["1", 0], "filename_prefix": "server/blue"},
        },
    }


def _png(path: Path) -> Path:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))
        )

    header = struct.pack("!IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0\xff\0\0")
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
    return path


def test_server_loads_the_pack(comfy_server: ComfyServer) -> None:
    assert pack_nodes(comfy_server.api.object_info())


def test_prompt_runs_with_progress_and_its_files_come_back(
    comfy_server: ComfyServer, tmp_path: Path
) -> None:
    seen: list[Progress] = []
    entry = comfy_server.api.run(_prompt(), seen.append)
    files = output_files(entry)
    assert [(f.node_id, f.subfolder, f.folder_type) for f in files] == [
        ("2", "server", "output")
    ] * 2
    assert comfy_server.api.download(files[0], tmp_path / "blue.png").read_bytes()[:4] == b"\x89PNG"
    assert {p.node_type for p in seen} <= {"EmptyImage", "SaveImage"}
    assert seen
    assert all(p.num_nodes == 2 for p in seen)


def test_invalid_prompt_is_rejected_even_if_other_nodes_could_run(
    comfy_server: ComfyServer,
) -> None:
    prompt = _prompt()
    prompt["3"] = {"class_type": "PreviewImage", "inputs": {}}
    with pytest.raises(
        PromptRejected, match=r"node 3 \(PreviewImage\): Required input is missing: images"
    ):
        comfy_server.api.run(prompt)


def test_uploaded_file_is_found_and_a_broken_one_named(
    comfy_server: ComfyServer, tmp_path: Path
) -> None:
    name = comfy_server.api.upload(_png(tmp_path / "red.png"), "clips")
    assert name == "clips/red.png"
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": name}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    assert output_files(comfy_server.api.run(prompt))[0].folder_type == "temp"
    (tmp_path / "broken.png").write_bytes(b"no picture")
    prompt["1"]["inputs"]["image"] = comfy_server.api.upload(tmp_path / "broken.png")
    with pytest.raises(PromptFailed) as failure:
        comfy_server.api.run(prompt)
    assert (failure.value.node_id, failure.value.node_type) == ("1", "LoadImage")


def test_running_prompt_is_interrupted_between_nodes(comfy_server: ComfyServer) -> None:
    api = comfy_server.api
    prompt = {
        "0": {
            "class_type": "EmptyImage",
            "inputs": {"width": 512, "height": 512, "batch_size": 4, "color": 9},
        }
    }
    for i in range(1, 60):
        blur = {"image": [str(i - 1), 0], "blur_radius": 15, "sigma": 5.0}
        prompt[str(i)] = {"class_type": "ImageBlur", "inputs": blur}
    prompt["60"] = {"class_type": "PreviewImage", "inputs": {"images": ["59", 0]}}

    def stop_half_way(progress: Progress) -> None:
        if progress.num_done > 1:
            api.interrupt()

    with pytest.raises(PromptInterrupted, match="interrupted in node"):
        api.run(prompt, on_progress=stop_half_way, timeout_s=60)

"""Headers of safetensors files that do not fit their file."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from instruments.broken_weights import PeakMemory, can_measure, fault_of, joined, with_header
from safetensors.torch import save_file

from memv2v_core.weights.reading import limits
from memv2v_core.weights.weight_files import read_header, read_weights, shards_of

NAME = "w.safetensors"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_file({"a": torch.ones(2, 3), "b": torch.ones(4).half()}, str(tmp_path / NAME))
    return tmp_path / NAME


def refused(path: Path) -> str:
    """The one message of both readers."""
    message = fault_of(lambda: read_header(path), path.name)
    assert message
    assert fault_of(lambda: read_weights(path), path.name) == message
    return message


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("dtype", "X9", "the unknown type 'X9'"),
        ("dtype", None, "the unknown type None"),
        ("dtype", [], "the unknown type []"),
        ("dtype", "F16", "24 bytes, and its shape (2, 3) needs 12"),
        ("shape", [2**40, 2**40], "needs 4835703278458516698824704"),
        ("shape", [-1, 6], "shape [-1, 6], which is no list of at most 8 sizes"),
        ("shape", [1] * 9, "no list of at most 8 sizes"),
        ("shape", [2.0, 3], "no list of at most 8 sizes"),
        ("shape", [True, 6], "no list of at most 8 sizes"),
        ("shape", {"a": 1}, "the shape a dict"),
        ("data_offsets", [0, 2**70], "and its shape (2, 3) needs 24"),
        ("data_offsets", [-24, 0], "no pair of offsets"),
        ("data_offsets", ["a", "b"], "no pair of offsets"),
        ("data_offsets", None, "no pair of offsets"),
        ("data_offsets", [8, 32], "overlap, or leave bytes between them"),
        ("other", 3, "without type, shape or place"),
    ],
)
def test_a_tensor_that_does_not_fit_the_file_is_named(
    path: Path, field: str, value: Any, words: str
) -> None:
    with_header(path, lambda header: header["a"].update({field: value}))
    assert words in refused(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda header: header.update(a=None), "without type, shape or place"),
        (lambda header: header.pop("b"), "overlap, or leave bytes"),
        (lambda header: header.update({"x" * 600: header.pop("a")}), "more than 512 characters"),
        (lambda header: header.update(__metadata__=[]), "metadata that are no texts"),
        (lambda header: header.update(__metadata__={"a": 1}), "metadata that are no texts"),
    ],
)
def test_a_header_of_another_form_is_refused(
    path: Path, change: Callable[[dict], object], words: str
) -> None:
    with_header(path, change)
    message = refused(path)
    assert words in message or "its tensors take" in message


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cut short"),
        (b"123", "cut short"),
        (struct.pack("<Q", 2**63) + b"{}", "cut short"),
        (struct.pack("<Q", 99_000_000) + b"{}", "cut short"),
        (joined(b"\xff\xfe", b""), "no UTF-8 text"),
        (joined(b"[]", b""), "no JSON object but []"),
        (joined(b"{", b""), "no JSON"),
        (joined(b"[" * 90000, b""), "nested more than 32"),
        (joined({"a": {"dtype": "U8", "shape": [5], "data_offsets": [0, 5]}}, b"1234"), "has 4"),
        (joined({"a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]}}, b"1234"), "has 4"),
    ],
)
def test_a_file_of_other_bytes_is_refused(path: Path, data: bytes, words: str) -> None:
    path.write_bytes(data)
    assert words in refused(path)


def test_a_key_that_stands_twice_is_refused(path: Path) -> None:
    entry = b'{"dtype":"U8","shape":[4],"data_offsets":[0,4]}'
    path.write_bytes(joined(b'{"a":' + entry + b',"a":' + entry + b"}", b"1234"))
    assert "the key 'a' twice" in refused(path)


def test_the_number_of_tensors_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert limits.MAX_TENSORS >= 10_000
    count = limits.MAX_TENSORS + 1
    header = {f"{i}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(count)}
    path.write_bytes(joined(header, b""))
    assert f"names {count} tensors, more than {limits.MAX_TENSORS}" in refused(path)


@pytest.mark.skipif(not can_measure(), reason="the peak memory of a process is Linux's")
def test_a_large_header_is_not_read(path: Path) -> None:
    # A sparse file: it takes no room on the disk.
    with path.open("wb") as file:
        file.write((400 * 2**20).to_bytes(8, "little"))
        file.truncate(401 * 2**20)
    with PeakMemory() as peak:
        assert "a header of 419430400 bytes" in refused(path)
    assert peak.rise < 20 * 2**20


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    assert "a folder or a device" in refused(tmp_path / NAME)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("m-00001-of-99999.safetensors", "shard 1 of 99999"),
        ("m-00000-of-00000.safetensors", "shard 0 of 0"),
        ("m-00009-of-00003.safetensors", "shard 9 of 3"),
        ("m-00001-of-00900.safetensors", "m-00004-of-00900.safetensors and 896 more not there"),
    ],
)
def test_a_number_of_shards_that_no_set_has_is_refused(
    path: Path, tmp_path: Path, name: str, words: str
) -> None:
    path.rename(tmp_path / name)
    assert words in fault_of(lambda: shards_of(tmp_path / name), name)


def test_one_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    paths = [tmp_path / f"m-0000{i}-of-00002.safetensors" for i in (1, 2)]
    for each in paths:
        save_file({"x": torch.ones(2)}, str(each))
    message = fault_of(lambda: read_header(paths[0]), paths[1].name)
    assert "'x', which stands in an earlier shard too" in message


def test_texts_of_a_header_are_short_in_messages(path: Path) -> None:
    with_header(path, lambda header: header["a"].update(dtype="\n\x1b[31m" * 500_000))
    message = refused(path)
    assert r"\n\x1b[31m" in message
    assert len(message) < 600

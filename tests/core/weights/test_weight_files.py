import pickle
import re
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from memv2v_core.weights.weight_files import (
    is_first_of_its_file,
    read_header,
    read_weights,
    shards_of,
    stem_of,
    write_safetensors,
)

WEIGHTS = {
    "a.weight": torch.arange(6.0).reshape(2, 3),
    "b": torch.tensor(7, dtype=torch.int64),
    "c": torch.ones(5),
}


class Malicious:
    """Unpickles by writing a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (str(self.path), "w")


def test_shards_are_one_file(tmp_path: Path) -> None:
    paths = [tmp_path / f"m-0000{i}-of-00002.safetensors" for i in (1, 2)]
    save_file({"x": torch.ones(2)}, str(paths[0]), metadata={"format": "pt"})
    save_file({"y": torch.zeros(3)}, str(paths[1]))
    for path in paths:
        assert shards_of(path) == tuple(paths)
        assert stem_of(path) == "m"
        assert read_header(path).shapes == {"x": (2,), "y": (3,)}
        assert set(read_weights(path)) == {"x", "y"}
    assert [is_first_of_its_file(path.name) for path in paths] == [True, False]
    assert is_first_of_its_file("m.safetensors")
    assert stem_of(Path("m.v1.ckpt")) == "m.v1"


def test_missing_shards_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m-00001-of-00003.safetensors"
    save_file({"x": torch.ones(2)}, str(path))
    with pytest.raises(
        ValueError, match="3 shards, and m-00002-of-00003.safetensors, m-00003-of-00003"
    ):
        read_header(path)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrap", [dict, lambda weights: {"state_dict": weights, "epoch": 3}])
def test_torch_files_give_their_tensors(tmp_path: Path, legacy: bool, wrap) -> None:
    path = tmp_path / "w.ckpt"
    torch.save(wrap(WEIGHTS), path, _use_new_zipfile_serialization=not legacy)
    assert zipfile.is_zipfile(path) is not legacy
    assert read_header(path).shapes == {"a.weight": (2, 3), "b": (), "c": (5,)}
    assert torch.equal(
        read_weights(path, lambda name: name == "a.weight")["a.weight"], WEIGHTS["a.weight"]
    )


def test_nothing_in_a_torch_file_is_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "bad.ckpt", tmp_path / "trace"
    torch.save({"x": Malicious(trace)}, path)
    with pytest.raises(
        ValueError, match="bad.ckpt in .* could not be read .*nothing of it is loaded"
    ):
        read_header(path)
    path.write_bytes(pickle.dumps(Malicious(trace)))
    with pytest.raises(ValueError, match="bad.ckpt in .* could not be read"):
        read_weights(path)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.ckpt", "w.pth"])
def test_a_broken_or_missing_file_is_named_with_its_folder(tmp_path: Path, name: str) -> None:
    message = f"{name} in {re.escape(str(tmp_path))} could not be read"
    with pytest.raises(ValueError, match=message):
        read_header(tmp_path / name)
    (tmp_path / name).write_bytes(b"<!doctype html> a web page")
    with pytest.raises(ValueError, match=message):
        read_header(tmp_path / name)


def test_a_torch_file_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "w.ckpt"
    torch.save({"x": torch.randn(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="w.ckpt in .* could not be read"):
        read_header(path)


def test_a_torch_file_of_other_things_is_named(tmp_path: Path) -> None:
    torch.save({"step": 3}, tmp_path / "w.pt")
    with pytest.raises(
        ValueError, match="w.pt in .* holds a dict of other things than tensors by name"
    ):
        read_header(tmp_path / "w.pt")


def test_written_files_are_read_by_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    weights = WEIGHTS | {
        "odd": torch.ones(3, dtype=torch.uint8),
        "t": torch.randn(4, 6).T,
        "empty": torch.zeros(0, 4),
    }
    write_safetensors(path, weights, {"format": "pt"})
    found = load_file(str(path))
    assert set(found) == set(weights)
    for name, tensor in weights.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    with safe_open(str(path), framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
    assert [each.name for each in tmp_path.iterdir()] == ["w.safetensors"]


def test_floats_are_stored_as_asked_and_nothing_else_changes(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    weights = WEIGHTS | {"fp8": torch.ones(4).to(torch.float8_e4m3fn)}
    write_safetensors(path, weights, {}, torch.bfloat16)
    dtypes = {name: tensor.dtype for name, tensor in load_file(str(path)).items()}
    assert dtypes == {
        "a.weight": torch.bfloat16,
        "b": torch.int64,
        "c": torch.bfloat16,
        "fp8": torch.float8_e4m3fn,
    }

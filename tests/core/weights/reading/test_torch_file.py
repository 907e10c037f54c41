"""Files of torch: nothing in them runs, and no tensor is larger than its bytes in the file."""

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from instruments.broken_weights import PeakMemory, can_measure, fault_of

from memv2v_core.weights.reading import limits, torch_pickle
from memv2v_core.weights.reading.boundary import Fault
from memv2v_core.weights.reading.torch_pickle import read_pickle
from memv2v_core.weights.weight_files import read_header, read_weights

NAME = "w.ckpt"
FORMS = pytest.mark.parametrize("legacy", [False, True])
Content = dict[str, Any]


class Runs:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Callable, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def save(path: Path, content: Any, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def refused(path: Path) -> str:
    """The one message of both readers."""
    message = fault_of(lambda: read_header(path), path.name)
    assert message
    assert fault_of(lambda: read_weights(path), path.name) == message
    return message


def repacked(path: Path, change: Callable[[dict[str, bytes]], object], packing: int = 0) -> Path:
    """The archive at `path` with its records changed."""
    with zipfile.ZipFile(path) as old:
        records = {name: old.read(name) for name in old.namelist()}
    change(records)
    with zipfile.ZipFile(path, "w", packing) as new:
        for name, data in records.items():
            new.writestr(name, data)
    return path


@FORMS
def test_every_kind_of_weight_comes_back_as_torch_reads_it(tmp_path: Path, legacy: bool) -> None:
    base = torch.randn(6, 4)
    content: Content = OrderedDict(
        plain=torch.randn(2, 3),
        transposed=base.T,
        part=base[1:3, ::2],
        tied=base,
        parameter=torch.nn.Parameter(torch.ones(2).bfloat16()),
        scalar=torch.tensor(7),
        empty=torch.zeros(0, 4),
        truth=torch.tensor([True, False]),
        small=torch.ones(3).to(torch.float8_e4m3fn),
        bytes=torch.arange(5, dtype=torch.uint8),
        double=torch.ones(2).double(),
    )
    if legacy:
        # The old form has no types of one byte.
        del content["small"]
    path = save(tmp_path / NAME, {"state_dict": content, "epoch": 3, "lr": [0.1, None]}, legacy)
    found = read_weights(path)
    wanted = torch.load(path, weights_only=True)["state_dict"]
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].stride() == tensor.stride()
        assert torch.equal(found[name].double(), tensor.double()), name
    assert read_header(path).shapes == {name: tuple(t.shape) for name, t in wanted.items()}


@FORMS
def test_a_modules_own_state_dict_is_read(tmp_path: Path, legacy: bool) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    path = save(tmp_path / NAME, module.state_dict(), legacy)
    assert torch.equal(read_weights(path)["0.weight"], module[0].weight)


def test_torch_load_is_never_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / NAME, {"x": torch.ones(2)})
    monkeypatch.setattr(torch, "load", None)
    monkeypatch.setattr(pickle, "Unpickler", None)
    assert torch.equal(read_weights(path)["x"], torch.ones(2))


@pytest.mark.parametrize("form", ["archive", "legacy", "bare"])
@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (open, ("{trace}", "w")),
        (os.system, ("touch {trace}",)),
        (os.mkdir, ("{trace}",)),
        (eval, ("open({trace!r}, 'w')",)),
        (torch.save, (3, "{trace}")),
        (torch.hub.load, ("x", "y")),
    ],
)
def test_code_in_a_file_is_never_run(
    tmp_path: Path, function: Callable, arguments: tuple, form: str
) -> None:
    path, trace = tmp_path / NAME, tmp_path / "trace"
    given = [each.format(trace=str(trace)) if isinstance(each, str) else each for each in arguments]
    content = {"x": torch.ones(2), "y": Runs(function, *given)}
    if form == "bare":
        path.write_bytes(pickle.dumps(content["y"], protocol=2))
    else:
        save(path, content, form == "legacy")
    assert "which is never run" in refused(path)
    assert not trace.exists()


def test_code_that_the_host_allowed_is_not_run_either(tmp_path: Path) -> None:
    # Other packs may add to what torch.load takes for safe, for the whole process.
    path, trace = tmp_path / NAME, tmp_path / "trace"
    save(path, {"x": Runs(open, str(trace), "w")})
    torch.serialization.add_safe_globals([open, io.open])
    try:
        refused(path)
    finally:
        torch.serialization.clear_safe_globals()
    assert not trace.exists()


def test_torchscript_is_refused(tmp_path: Path) -> None:
    module = torch.jit.script(torch.nn.Linear(2, 2))
    torch.jit.save(module, str(tmp_path / NAME))
    assert "is a TorchScript program, which is never run" in refused(tmp_path / NAME)


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (lambda: torch.ones(4).to_sparse(), "a sparse tensor"),
        (lambda: torch.empty(4, device="meta"), "without numbers"),
        (lambda: torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8), "a quantised"),
        (lambda: torch.tensor([1j]).conj(), "could not be read"),
    ],
)
def test_tensors_of_other_kinds_are_refused(
    tmp_path: Path, tensor: Callable[[], torch.Tensor], words: str
) -> None:
    assert words in refused(save(tmp_path / NAME, {"x": tensor()}))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([torch.ones(2)], "a list of other things"),
        (3, "a int of other things"),
        ({"x": 3}, "a dict of other things"),
        ({0: torch.ones(2)}, "names a tensor 0"),
        ({"state_dict": {"state_dict": {"x": torch.ones(2)}}}, "a dict of other things"),
        ({("a", "b"): torch.ones(2)}, "keys are no names"),
        ({"x" * 600: torch.ones(2)}, "more than 512 characters"),
    ],
)
@FORMS
def test_other_things_than_tensors_by_name_are_refused(
    tmp_path: Path, content: Any, words: str, legacy: bool
) -> None:
    assert words in refused(save(tmp_path / NAME, content, legacy))


@FORMS
def test_an_expanded_tensor_is_refused(tmp_path: Path, legacy: bool) -> None:
    path = save(tmp_path / NAME, {"x": torch.zeros(1).expand(30_000, 40_000)}, legacy)
    assert path.stat().st_size < 5000
    assert "the shape (30000, 40000) of 4800000000 bytes, and its storage has 4" in refused(path)


def test_many_tensors_of_one_storage_are_refused(tmp_path: Path) -> None:
    base = torch.zeros(1000)
    save(tmp_path / NAME, {str(i): base[:] for i in range(50)})
    assert "more than 2 times as many" in refused(tmp_path / NAME)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        (b"K\x04K\x06\x86", b"K\x04K\xff\x86"),  # a row more than the storage has
        (b"K\x06K\x01\x86", b"K\xffK\x01\x86"),  # a stride beyond the storage
        (b"QK\x00", b"QK\x30"),  # an offset beyond it
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path, part: bytes, value: bytes) -> None:
    path = save(tmp_path / NAME, {"x": torch.zeros(4, 6)})

    def change(records: dict[str, bytes]) -> None:
        assert part in records["w/data.pkl"]
        records["w/data.pkl"] = records["w/data.pkl"].replace(part, value, 1)

    assert "its storage has 96" in refused(repacked(path, change))


@FORMS
def test_a_storage_larger_than_the_file_is_refused(tmp_path: Path, legacy: bool) -> None:
    count = 2**20 + 7
    path = save(tmp_path / NAME, {"x": torch.zeros(count)}, legacy)
    # The same storage announced with 2**30 numbers: pickles hold numbers in 4 bytes.
    data = path.read_bytes()
    assert data.count(b"J" + count.to_bytes(4, "little")) == 2
    data = data.replace(b"J" + count.to_bytes(4, "little"), b"J" + (2**30).to_bytes(4, "little"))
    if legacy:
        data = data.replace(count.to_bytes(8, "little"), (2**30).to_bytes(8, "little"))
    path.write_bytes(data)
    assert "announces" in refused(path)


@pytest.mark.skipif(not can_measure(), reason="the peak memory of a process is Linux's")
def test_a_packed_archive_is_refused_without_unpacking_it(tmp_path: Path) -> None:
    path = save(tmp_path / NAME, {"x": torch.zeros(2**26, dtype=torch.uint8)})
    repacked(path, lambda records: None, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    with PeakMemory() as peak:
        assert "holds the packed record" in refused(path)
    assert peak.rise < 20 * 2**20


def test_an_archive_of_too_many_records_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / NAME, {"x": torch.ones(2)})
    with zipfile.ZipFile(path, "a") as archive:
        for i in range(limits.MAX_ZIP_RECORDS):
            archive.writestr(f"w/{i}", b"")
    assert "records, more than 60000" in refused(path)


def test_a_long_list_of_records_is_not_read(tmp_path: Path) -> None:
    path = save(tmp_path / NAME, {"x": torch.ones(2)})
    with zipfile.ZipFile(path, "a") as archive:
        # Names of 60,000 characters: 300 records make a list of 18 MB.
        for i in range(300):
            archive.writestr(f"w/{i}" + "x" * 60_000, b"")
    assert "a list of records of" in refused(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda records: records.pop("w/data.pkl"), "an archive of something else"),
        (lambda records: records.pop("w/data/0"), "holds nothing"),
        (lambda records: records.update({"w/data/0": b"12"}), "announces 8 bytes for storage '0'"),
        (lambda records: records.update({"w/byteorder": b"big"}), "another byte order"),
        (lambda records: records.update({"w/data.pkl": b""}), "is broken"),
        (lambda records: records.update({"w/data.pkl": b"."}), "is broken"),
        (lambda records: records.update({"w/data.pkl": b"\xff\xff"}), "is broken"),
        (lambda records: records.update({"v/data.pkl": b"."}), "an archive of something else"),
        (lambda records: records.update({"w/code/x.py": b""}), "TorchScript"),
    ],
)
def test_a_changed_archive_is_refused(
    tmp_path: Path, change: Callable[[dict[str, bytes]], object], words: str
) -> None:
    path = save(tmp_path / NAME, {"x": torch.ones(2)})
    assert words in refused(repacked(path, change))


def test_a_long_pickle_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / NAME, {"x": torch.ones(2)})
    long = b"]" * (limits.MAX_PICKLE_BYTES + 1)
    message = refused(repacked(path, lambda records: records.update({"w/data.pkl": long})))
    assert f"in {len(long)} bytes" in message


def test_a_pickle_of_many_steps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_pickle(b"\x80\x02" * 101 + b"N.").value is None
    monkeypatch.setattr(torch_pickle, "MAX_PICKLE_STEPS", 100)
    with pytest.raises(Fault, match="more than 100 steps"):
        read_pickle(b"\x80\x02" * 101 + b"N.")


@pytest.mark.parametrize(
    "steps",
    [
        b"\x80\x02r\xff\xff\xff\x7f.",  # the memory's place 2**31
        b"\x80\x02]r\xff\xff\xff\x7fj\xff\xff\xff\x7f.",
        b"\x80\x02X\xff\xff\xff\x7fabc.",  # a text of 2 GB
        b"\x80\x02(((((t.",
        b"\x80\x020.",
        b"\x80\x02K\x01R.",
        b"\x80\x02}K\x01K\x02K\x03e.",
        b"c__builtin__\neval\n(S'1'\ntR.",
        b"(S'x'\nios\nsystem\n.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02ls\x85R.",
    ],
)
def test_steps_of_a_broken_pickle_are_refused(tmp_path: Path, steps: bytes) -> None:
    path = save(tmp_path / NAME, {"x": torch.ones(2)})
    refused(repacked(path, lambda records: records.update({"w/data.pkl": steps})))


def test_an_endless_tuple_as_a_key_takes_no_time(tmp_path: Path) -> None:
    # Each step doubles the work of a hash: 2**200.
    steps = b"\x80\x02})" + b"q\x002h\x00\x86" * 200 + b"K\x01s."
    path = save(tmp_path / NAME, {"x": torch.ones(2)})
    refused(repacked(path, lambda records: records.update({"w/data.pkl": steps})))


def test_one_storage_described_twice_differently_is_refused() -> None:
    def storage(kind: bytes) -> bytes:
        return (
            b"(X\x07\x00\x00\x00storagectorch\n"
            + kind
            + b"\nX\x01\x00\x00\x000X\x03\0\0\0cpuK\x04tQ"
        )

    with pytest.raises(Fault, match="the storage '0' in two ways"):
        read_pickle(b"\x80\x02" + storage(b"FloatStorage") + storage(b"DoubleStorage") + b".")


def test_numbers_at_any_place_are_read(tmp_path: Path) -> None:
    # zipfile does not align records as torch does.
    weights = {"a": torch.randn(5), "b": torch.ones(3).double(), "c": torch.ones(1).half()}
    for length in range(1, 9):
        path = save(tmp_path / f"{'x' * length}.pt", weights)
        repacked(path, lambda records: None)
        found = read_weights(path)
        assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())

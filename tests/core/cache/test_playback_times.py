"""Entries of turns with a playback time, and entries without one, which stay as they were."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from instruments.entry_files import flip_bit, rewrite
from safetensors import safe_open

from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.entry_file import read_entry, write_entry

# Of `make_entry(1)` in the version before playback times.
ID_WITHOUT_TIMES = "910217bec5483b1eb0b55bff4ae58fae"
TIMES = [4.0, 3.0, 2.5, 1.0, 0.0]


@pytest.fixture
def timed(make_entry) -> MemoryEntry:
    camera = make_entry(1).camera
    return make_entry(1, camera=replace(camera, times=torch.tensor(TIMES)))


def names_in(path: Path) -> set[str]:
    with safe_open(path, framework="pt") as file:
        return set(file.keys())


def test_times_come_back_from_a_file(timed: MemoryEntry, tmp_path: Path) -> None:
    stored = write_entry(tmp_path, timed)
    read = read_entry(tmp_path / f"{timed.entry_id}.safetensors")
    for entry in (stored, read):
        assert entry.entry_id == timed.entry_id
        assert entry.camera.times is not None
        assert entry.camera.times.tolist() == TIMES
        assert torch.equal(entry.camera.c2w, timed.camera.c2w)
        assert entry.problem() is None


def test_an_entry_without_times_has_the_id_and_the_tensors_that_it_had(
    make_entry, tmp_path: Path
) -> None:
    entry = make_entry(1)
    assert entry.entry_id == ID_WITHOUT_TIMES
    assert write_entry(tmp_path, entry).camera.times is None
    assert names_in(tmp_path / f"{ID_WITHOUT_TIMES}.safetensors") == {"latent", "c2w", "intrinsics"}


def test_another_playback_is_another_entry(timed: MemoryEntry, make_entry) -> None:
    other = make_entry(1, camera=replace(timed.camera, times=torch.tensor(TIMES[::-1])))
    assert len({timed.entry_id, other.entry_id, ID_WITHOUT_TIMES}) == 3


def test_times_of_another_length_or_axes_are_refused(timed: MemoryEntry, tmp_path: Path) -> None:
    write_entry(tmp_path, timed)
    path = tmp_path / f"{timed.entry_id}.safetensors"
    for times in (torch.zeros(4), torch.zeros(5, 1), torch.zeros(5, dtype=torch.int64)):
        rewrite(path, tensors={"times": times})
        with pytest.raises(ValueError, match="its times ha(s|ve)"):
            read_entry(path)


def test_changed_times_are_found(timed: MemoryEntry, tmp_path: Path) -> None:
    write_entry(tmp_path, timed)
    path = tmp_path / f"{timed.entry_id}.safetensors"
    data = path.read_bytes()
    place = data.index(torch.tensor(TIMES, dtype=torch.float64).numpy().tobytes())
    flip_bit(path, place + 6)
    with pytest.raises(ValueError, match="the bytes of its times changed"):
        _ = read_entry(path).camera
    # A file without hashes is covered by its id, as files from before them are.
    rewrite(path)
    assert "changed" in (read_entry(path).problem() or "")

"""An entry that also holds its turn without memory: the same entry, with one tensor more."""

import pytest
import torch
from instruments.entry_files import rewrite
from safetensors.torch import load_file

from memv2v_core.cache.entry_file import entry_path, has_hashes, write_entry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import load_session, save_session


@pytest.fixture
def plain() -> torch.Tensor:
    return torch.randn(4, 2, 6, 8, generator=torch.Generator().manual_seed(99))


def grown(cache: MemoryCache, turn: int, plain: torch.Tensor) -> MemoryCache:
    return cache.with_content_of(cache.of_turn(turn).beside(plain))


def test_it_stays_the_entry_that_it_was(make_entry, plain) -> None:
    cache = MemoryCache().append(make_entry(1)).append(make_entry(2)).pin(make_entry(1).entry_id)
    assert not cache.of_turn(1).has_without_memory
    after = grown(cache, 1, plain)
    assert [entry.entry_id for entry in after.entries] == [e.entry_id for e in cache.entries]
    assert torch.equal(after.of_turn(1).without_memory, plain)
    assert after.of_turn(1).is_pinned
    assert torch.equal(after.of_turn(1).latent, cache.of_turn(1).latent)
    assert after.of_turn(2).without_memory is None


def test_a_saved_turn_gets_it_later_and_every_reader_goes_on(saved, plain) -> None:
    folder, _ = saved
    before = load_session(folder).cache
    written = save_session(grown(before, 2, plain), folder)
    assert written.notices == ()
    after = load_session(folder).cache
    assert [entry.turn for entry in after.entries] == [1, 2, 3]
    assert [entry.has_without_memory for entry in after.entries] == [False, True, False]
    assert has_hashes(after.entries[1])
    assert torch.equal(after.entries[1].without_memory, plain)
    # A graph that loaded the session earlier holds the shorter entry.
    assert torch.equal(before.entries[1].latent, after.entries[1].latent)
    assert before.entries[1].problem() is None
    # Its save does not take anything away.
    save_session(before.pin(before.entries[0].entry_id), folder)
    assert load_session(folder).cache.entries[1].has_without_memory


def test_a_save_writes_that_file_alone(saved, plain) -> None:
    folder, _ = saved
    cache = load_session(folder).cache
    files = [entry_path(folder, entry.entry_id) for entry in cache.entries]
    stamps = [path.stat().st_mtime_ns for path in files]
    save_session(grown(cache, 3, plain), folder)
    changed = [path.stat().st_mtime_ns != stamp for path, stamp in zip(files, stamps, strict=True)]
    assert changed == [False, False, True]


def test_another_session_gets_it_too(make_entry, plain, tmp_path) -> None:
    cache = grown(MemoryCache().append(make_entry(1)), 1, plain)
    save_session(cache, tmp_path / "one")
    save_session(load_session(tmp_path / "one").cache, tmp_path / "two")
    assert torch.equal(load_session(tmp_path / "two").cache.entries[0].without_memory, plain)


def test_changed_bytes_are_found_when_it_is_read(make_entry, plain, tmp_path) -> None:
    entry = make_entry(1).beside(plain)
    write_entry(tmp_path, entry)
    path = entry_path(tmp_path, entry.entry_id)
    rewrite(path, tensors={"without_memory": plain + 1}, keeps_hashes=True)
    (read,) = load_session(tmp_path).cache.entries
    with pytest.raises(ValueError, match="the bytes of its without_memory changed"):
        read.without_memory  # noqa: B018
    assert torch.equal(read.latent, entry.latent)


def test_another_size_is_refused(make_entry, plain, tmp_path) -> None:
    entry = make_entry(1)
    with pytest.raises(ValueError, match=r"without_memory got shape \(4, 1, 6, 8\), wanted \(4, 2"):
        entry.beside(plain[:, :1])
    write_entry(tmp_path, entry)
    path = entry_path(tmp_path, entry.entry_id)
    rewrite(path, tensors={**load_file(path), "without_memory": plain[:, :1].clone()})
    loaded = load_session(tmp_path)
    assert "its without_memory has shape (4, 1, 6, 8), wanted (4, 2, 6, 8)" in loaded.skipped[0]


def test_numbers_that_are_not_finite_are_refused(make_entry, plain) -> None:
    cache = MemoryCache().append(make_entry(1))
    plain[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="without_memory of turn 1 got NaN or infinity in 1 of"):
        grown(cache, 1, plain)

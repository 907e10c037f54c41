"""A save that adds a turn looks at that turn alone, and leaves what a look at all would leave."""

import errno
import hashlib

import pytest

from memv2v_core.cache import entry_file, manifest_file, storage
from memv2v_core.cache.manifest_file import MANIFEST_NAME
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import load_session, save_session


def turns(cache: MemoryCache) -> list[int]:
    return [entry.turn for entry in cache.entries]


def forget_what_is_known() -> None:
    """As a process that has just started."""
    manifest_file._KNOWN.clear()
    entry_file._known.clear()


@pytest.mark.parametrize("is_reloaded", [False, True])
def test_an_added_turn_is_the_only_one_that_is_looked_at(
    saved, make_entry, monkeypatch, is_reloaded
):
    folder, _ = saved

    def refused(*_: object) -> None:
        raise AssertionError("all entries were looked at")

    monkeypatch.setattr(storage, "merged", refused)
    forget_what_is_known()
    cache = load_session(folder).cache
    for turn in (4, 5, 6):
        written = save_session(cache.append(make_entry(turn)), folder)
        assert written.notices == ()
        cache = load_session(folder).cache if is_reloaded else written.cache
    assert turns(cache) == [1, 2, 3, 4, 5, 6]
    # Again without anything new, as a graph that runs twice.
    assert turns(save_session(cache, folder).cache) == [1, 2, 3, 4, 5, 6]


def test_the_manifest_has_the_bytes_of_one_that_is_written_whole(saved, make_entry):
    folder, _ = saved
    cache = load_session(folder).cache
    for turn in (4, 5):
        cache = save_session(cache.append(make_entry(turn)), folder).cache
    grown = (folder / MANIFEST_NAME).read_bytes()
    forget_what_is_known()
    manifest_file._record_text.cache_clear()
    save_session(load_session(folder).cache, folder)
    assert (folder / MANIFEST_NAME).read_bytes() == grown
    first, _, body = grown.partition(b"\n")
    assert hashlib.sha256(body).hexdigest().encode() in first


def test_a_turn_whose_list_could_not_be_written_is_listed_by_the_next_save(
    saved, make_entry, monkeypatch
):
    folder, _ = saved
    cache = load_session(folder).cache

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patched:
        patched.setattr(storage, "write_manifest", full)
        with pytest.raises(OSError, match="the disk of .* is full"):
            save_session(cache.append(make_entry(4)), folder)
    grown = save_session(cache.append(make_entry(4)), folder).cache
    forget_what_is_known()
    loaded = load_session(folder)
    assert turns(grown) == turns(loaded.cache) == [1, 2, 3, 4]
    assert loaded.notices == ()


def test_what_another_writer_did_in_between_is_merged(saved, make_entry):
    folder, _ = saved
    ours = load_session(folder).cache
    # Another program: it knows what it read itself.
    known = dict(manifest_file._KNOWN)
    forget_what_is_known()
    theirs = load_session(folder).cache.forget(ours.entries[0].entry_id)
    save_session(theirs.append(make_entry(4)).pin(ours.entries[1].entry_id), folder)
    manifest_file._KNOWN.clear()
    manifest_file._KNOWN.update(known)
    written = save_session(ours.append(make_entry(5)), folder)
    assert turns(written.cache) == [2, 3, 5]
    assert "turn 1" in written.notices[0]
    loaded = load_session(folder)
    assert turns(loaded.cache) == [2, 3, 4, 5]
    assert [entry.is_pinned for entry in loaded.cache.entries] == [True, False, False, False]
    assert loaded.notices == loaded.skipped == ()


def test_a_forgotten_turn_made_again_is_saved_and_an_old_copy_is_not(saved, make_entry):
    folder, _ = saved
    cache = load_session(folder).cache
    first = cache.entries[0]
    cache = save_session(cache.forget(first.entry_id), folder).cache
    # An old copy, for example of another graph that still holds it.
    stale = save_session(cache.append(make_entry(1)), folder)
    assert turns(stale.cache) == [2, 3]
    assert "turn 1" in stale.notices[0]
    again = save_session(cache.append(make_entry(1, created_s=9999.0)), folder)
    assert turns(again.cache) == [2, 3, 1]
    assert turns(load_session(folder).cache) == [2, 3, 1]


def test_another_model_is_still_refused(saved, make_entry):
    folder, _ = saved
    cache = load_session(folder).cache
    foreign = MemoryCache(
        "other", (*cache.entries, make_entry(4, model_name="other")), cache.session
    )
    with pytest.raises(ValueError, match="holds latents of model 'small'"):
        save_session(foreign, folder)

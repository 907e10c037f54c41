"""The list of sessions."""

from pathlib import Path

from memv2v_core.cache import manifest_file
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.session_list import session_facts
from memv2v_core.cache.storage import save_session


def grown(make_entry, *turns: int) -> MemoryCache:
    cache = MemoryCache()
    for turn in turns:
        cache = cache.append(make_entry(turn))
    return cache


def test_sessions_are_listed_newest_first_with_size_and_model(make_entry, tmp_path: Path) -> None:
    assert session_facts(tmp_path / "absent") == ()
    save_session(grown(make_entry, 1, 2, 3), tmp_path / "old")
    save_session(grown(make_entry, 4), tmp_path / "new")
    (tmp_path / "no session").mkdir()
    (tmp_path / "empty").mkdir()
    assert [tuple(facts) for facts in session_facts(tmp_path)] == [
        ("new", 1, 1004.0, "small", ""),
        ("old", 3, 1003.0, "small", ""),
    ]
    # What was forgotten is not counted, and a change is seen at once.
    cache = grown(make_entry, 1, 2, 3)
    save_session(cache.forget(cache.entries[2].entry_id), tmp_path / "old")
    assert session_facts(tmp_path)[1][:3] == ("old", 2, 1002.0)


def test_a_session_with_a_broken_list_is_counted_by_its_files(make_entry, tmp_path: Path) -> None:
    save_session(grown(make_entry, 1, 2), tmp_path / "room")
    (tmp_path / "room" / "session.json").write_text("{")
    (facts,) = session_facts(tmp_path)
    assert (facts.name, facts.num_turns, facts.model_name) == ("room", 2, None)
    assert facts.newest_s > 1e9
    assert "session.json is broken" in facts.problem


def test_a_look_at_many_sessions_pushes_none_out_that_is_in_use(make_entry, tmp_path: Path) -> None:
    save_session(grown(make_entry, 1), tmp_path / "used")
    for i in range(20):
        save_session(grown(make_entry, 1), tmp_path / f"other_{i}")
    save_session(grown(make_entry, 1, 2), tmp_path / "used")
    held = dict(manifest_file._KNOWN)
    assert len(session_facts(tmp_path)) == 21
    assert held == manifest_file._KNOWN

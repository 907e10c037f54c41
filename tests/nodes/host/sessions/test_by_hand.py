"""A change by hand makes a node that reads and writes its session run again, once."""

from instruments.sessions import save, segments

from memv2v_core.cache.storage import load_session


def test_a_change_by_hand_is_another_fingerprint_and_a_run_is_none(comfy_api) -> None:
    from memory_v2v.nodes.host.sessions import by_hand
    from memory_v2v.nodes.host.sessions.folders import sessions_root
    from memory_v2v.nodes.videos.long_video import EditLongVideo

    def state(session: str | None) -> str:
        return EditLongVideo.fingerprint_inputs(session=session, model=None)

    folder = save(segments(3), sessions_root(), "forest")
    first = load_session(folder).cache.entries[0].entry_id
    before, other, unnamed = state("forest"), state("kitchen"), state("")
    # What a run saves changes nothing.
    save(segments(4), sessions_root(), "forest")
    assert state("forest") == before
    by_hand.pin("forest", first, True)
    pinned = state("forest")
    assert pinned != before
    # A pin that was there already is no change.
    by_hand.pin("forest", first, True)
    assert state("forest") == pinned
    by_hand.forget("forest", first)
    assert state("forest") not in (before, pinned)
    # A clip's own name is not known yet, so every change counts there.
    assert state("kitchen") == other
    assert state("") != unnamed
    assert state(None) == state("")


def test_a_turn_kept_beside_its_session_is_forgotten_too(comfy_api) -> None:
    from memory_v2v.nodes.host.sessions import by_hand
    from memory_v2v.nodes.host.sessions.folders import sessions_root
    from memory_v2v.nodes.host.sessions.kept import keep, kept_entries

    folder = save(segments(2), sessions_root(), "forest")
    second = load_session(folder).cache.entries[1]
    keep(second, "forest")
    assert [entry.entry_id for entry in kept_entries("forest")] == [second.entry_id]
    by_hand.forget("forest", second.entry_id)
    assert kept_entries("forest") == []

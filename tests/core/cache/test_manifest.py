import json

import pytest

from memv2v_core.cache.manifest import MANIFEST_NAME
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import load_session, save_session


def turns(cache: MemoryCache) -> list[int]:
    return [entry.turn for entry in cache.entries]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "session.json is broken"),
        (b"\xff\xfe", "session.json is broken"),
        (b"[]", "session.json is not a Memory-V2V manifest"),
        (b'{"format": "memory_v2v_session", "version": 1}', "session.json is broken"),
        (None, "session.json is missing"),
    ],
)
def test_broken_manifest_is_rebuilt_from_the_entries_and_says_so(saved, content, reason):
    folder, _ = saved
    path = folder / MANIFEST_NAME
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    loaded = load_session(folder)
    assert turns(loaded.cache) == [1, 2, 3]
    assert len(loaded.notices) == 1
    assert loaded.notices[0].startswith(reason)
    assert loaded.notices[0].endswith(
        "order and pins of 3 entries were rebuilt from their own files"
    )


def test_save_over_a_broken_manifest_loses_nothing_and_says_so(saved, make_entry):
    folder, _ = saved
    (folder / MANIFEST_NAME).write_bytes(b"{")
    (notice,) = save_session(MemoryCache().append(make_entry(4)), folder)
    assert "rebuilt from 3 entry files" in notice
    loaded = load_session(folder)
    assert (turns(loaded.cache), loaded.notices) == ([1, 2, 3, 4], ())


def test_manifest_ids_cannot_leave_the_folder(saved, tmp_path):
    folder, cache = saved
    victim = tmp_path / "victim.safetensors"
    victim.write_bytes(b"x")
    path = folder / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    path.write_text(
        json.dumps({**manifest, "forgotten": [{"entry_id": "../victim", "created_s": 1.0}]})
    )
    (notice,) = save_session(cache, folder)
    assert "entry_id got '../victim'" in notice
    assert victim.exists()


def test_newer_manifest_is_refused_and_kept(saved):
    folder, cache = saved
    path = folder / MANIFEST_NAME
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    for call in (lambda: load_session(folder), lambda: save_session(cache, folder)):
        with pytest.raises(
            ValueError, match="has format 2, wanted at most 1; update the node pack"
        ):
            call()
    assert '"version": 2' in path.read_text()

import json
import threading
from pathlib import Path

import pytest
import torch

from memv2v_core import atomic_files
from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.folder_lock import LOCK_NAME
from memv2v_core.cache.manifest_file import MANIFEST_NAME
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.session_names import list_sessions, session_folder
from memv2v_core.cache.storage import load_session, save_session
from memv2v_core.cameras.trajectory import CameraTrajectory


def cache_of(*entries: MemoryEntry) -> MemoryCache:
    cache = MemoryCache()
    for entry in entries:
        cache = cache.append(entry)
    return cache


def turns(cache: MemoryCache) -> list[int]:
    return [entry.turn for entry in cache.entries]


def file_of(folder: Path, entry: MemoryEntry) -> Path:
    return folder / f"{entry.entry_id}.safetensors"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_round_trip_is_bit_equal(make_entry, tmp_path, dtype):
    first = make_entry(1)
    latent = torch.randn(4, 2, 6, 8).to(dtype)
    full = make_entry(
        2,
        latent=latent,
        source_latent=latent,
        source_descriptor=torch.randn(7),
        thumbnail=torch.randint(0, 256, (4, 5, 3), dtype=torch.uint8),
        prompt='a "quoted" \u00e9 prompt\n',
        seed=2**63 - 1,
        mode="trained",
        parent_id=first.entry_id,
        camera=CameraTrajectory(
            first.camera.c2w * torch.pi, first.camera.intrinsics / 3, is_assumed=True
        ),
        num_frames=4,
        is_pinned=True,
        created_s=1700000000.123456,
    )
    save_session(cache_of(first, full), tmp_path / "room")
    loaded = load_session(tmp_path / "room")
    assert (loaded.skipped, loaded.notices) == ((), ())
    assert (loaded.cache.session, loaded.cache.model_name) == ("room", "small")
    back = loaded.cache.entries[1]
    for name in ("latent", "source_latent", "source_descriptor", "thumbnail"):
        assert getattr(back, name).dtype == getattr(full, name).dtype
        assert torch.equal(getattr(back, name), getattr(full, name))
    assert torch.equal(back.camera.c2w, full.camera.c2w)
    assert torch.equal(back.camera.intrinsics, full.camera.intrinsics)
    assert back.camera.is_assumed
    plain = "entry_id model_name num_frames turn created_s prompt seed mode parent_id is_pinned"
    assert [getattr(back, name) for name in plain.split()] == [
        getattr(full, name) for name in plain.split()
    ]
    assert loaded.cache.entries[0].source_latent is None


def test_folder_holds_one_file_an_entry_and_the_manifest(saved):
    folder, cache = saved
    assert {path.name for path in folder.iterdir()} == {
        MANIFEST_NAME,
        LOCK_NAME,
        *(file_of(folder, e).name for e in cache.entries),
    }
    manifest = json.loads((folder / MANIFEST_NAME).read_text())
    assert (manifest["format"], manifest["version"], manifest["session"]) == (
        "memory_v2v_session",
        1,
        "room",
    )
    assert [record["turn"] for record in manifest["entries"]] == [1, 2, 3]


def test_entries_on_disk_are_not_rewritten(saved, make_entry):
    folder, cache = saved
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}
    save_session(cache.append(make_entry(4)), folder)
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}
    assert before.items() <= after.items()
    assert len(after) == 4


def test_absent_folder_is_an_empty_session_and_says_so(tmp_path):
    loaded = load_session(tmp_path / "nothing")
    assert (len(loaded.cache), loaded.cache.session, loaded.skipped) == (0, "nothing", ())
    assert loaded.notices == ("session 'nothing' has nothing on disk yet and starts empty",)
    assert not (tmp_path / "nothing").exists()


def test_empty_cache_makes_a_session_that_loads_without_notice(tmp_path):
    save_session(MemoryCache(), tmp_path / "room")
    loaded = load_session(tmp_path / "room")
    assert (len(loaded.cache), loaded.skipped, loaded.notices) == (0, (), ())


# Crashes


class Crash(BaseException):
    """What a killed process looks like to the code: nothing catches it."""


@pytest.mark.parametrize(
    "num_renames", [0, 1, 2]
)  # before the first entry, the second, the manifest
def test_kill_between_temporary_file_and_rename_loses_nothing(
    saved, make_entry, monkeypatch, num_renames
):
    folder, cache = saved
    grown = cache.append(make_entry(4)).append(make_entry(5))
    replace, renamed = Path.replace, []

    def die(old: object, new: object) -> None:
        if len(renamed) == num_renames:
            raise Crash
        renamed.append(new)
        replace(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        with pytest.raises(Crash):
            save_session(grown, folder)
    loaded = load_session(folder)
    assert turns(loaded.cache) == [1, 2, 3, 4, 5][: 3 + num_renames]
    assert loaded.skipped == ()
    assert loaded.notices == tuple(
        f"turn {entry.turn} ({entry.entry_id[:8]}) was not in session.json; added"
        for entry in grown.entries[3 : 3 + num_renames]
    )
    save_session(grown, folder)
    assert turns(load_session(folder).cache) == [1, 2, 3, 4, 5]
    assert load_session(folder).notices == ()


def test_leftovers_of_a_killed_writer_are_named_then_removed(saved):
    folder, cache = saved
    left = folder / f"{file_of(folder, cache.entries[0]).name}.{'0' * 32}.tmp"
    left.write_bytes(b"half")
    assert load_session(folder).skipped == (
        f"{left.name}: an unfinished write; the next save removes it",
    )
    save_session(cache, folder)
    assert not left.exists()
    assert load_session(folder).skipped == ()


def test_files_that_systems_leave_in_folders_are_no_strangers(saved):
    folder, _ = saved
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (folder / name).write_bytes(b"")
    assert load_session(folder).skipped == ()


def test_a_forgotten_entry_that_another_program_has_open_stays_forgotten(saved, monkeypatch):
    """Windows deletes no file that somebody has open; the next save does it."""
    folder, cache = saved
    second = cache.entries[1]
    unlink = Path.unlink

    def held(path: Path, missing_ok: bool = False) -> None:
        if path == file_of(folder, second):
            raise PermissionError("in use")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(atomic_files, "RETRY_S", 0.001)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", held)
        assert save_session(cache.forget(second.entry_id), folder).notices == ()
    loaded = load_session(folder)
    assert (turns(loaded.cache), loaded.skipped, loaded.notices) == ([1, 3], (), ())
    assert file_of(folder, second).exists()
    save_session(loaded.cache, folder)
    assert not file_of(folder, second).exists()


@pytest.mark.skipif(
    not Path("/proc/self/maps").exists(), reason="only Linux tells what a process has mapped"
)
def test_a_loaded_session_keeps_no_file_mapped(saved):
    """Windows can neither delete nor replace a file that is mapped."""
    folder, _ = saved
    loaded = load_session(folder)
    assert len(loaded.cache) == 3
    assert str(folder) not in Path("/proc/self/maps").read_text()


# Several writers


def test_two_writers_lose_nothing(saved, make_entry):
    folder, _ = saved
    one, two = load_session(folder).cache, load_session(folder).cache
    save_session(one.append(make_entry(4)), folder)
    save_session(two.append(make_entry(4, seed=44)), folder)
    loaded = load_session(folder)
    assert [entry.seed for entry in loaded.cache.entries] == [1, 2, 3, 4, 44]
    assert (loaded.skipped, loaded.notices) == ((), ())


def test_many_writers_at_once_lose_nothing(make_entry, tmp_path):
    errors = []

    def write(seeds: range) -> None:
        try:
            for seed in seeds:
                save_session(cache_of(make_entry(1, seed=seed)), tmp_path / "room")
        except (OSError, ValueError) as error:
            errors.append(error)

    threads = [
        threading.Thread(target=write, args=(range(start, start + 4),))
        for start in (10, 20, 30, 40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    loaded = load_session(tmp_path / "room")
    assert errors == []
    assert sorted(entry.seed for entry in loaded.cache.entries) == [
        s + i for s in (10, 20, 30, 40) for i in range(4)
    ]
    assert (loaded.skipped, loaded.notices) == ((), ())


def test_forgotten_entry_is_deleted_and_a_stale_writer_does_not_bring_it_back(saved, make_entry):
    folder, stale = saved
    second = stale.entries[1]
    save_session(load_session(folder).cache.forget(second.entry_id), folder)
    assert not file_of(folder, second).exists()
    saved = save_session(stale.append(make_entry(4)), folder)
    (notice,) = saved.notices
    assert turns(saved.cache) == [1, 3, 4]
    assert notice.startswith(
        f"turn 2 ({second.entry_id[:8]}) was forgotten in session 'room' and is not saved"
    )
    loaded = load_session(folder)
    assert (turns(loaded.cache), loaded.skipped) == ([1, 3, 4], ())
    assert not file_of(folder, second).exists()


def test_forgotten_content_made_again_is_a_new_entry(saved, make_entry):
    folder, cache = saved
    save_session(cache.forget(cache.entries[2].entry_id), folder)
    again = load_session(folder).cache.append(make_entry(3, created_s=5000.0))
    assert save_session(again, folder).notices == ()
    loaded = load_session(folder)
    assert [(entry.turn, entry.created_s) for entry in loaded.cache.entries] == [
        (1, 1001.0),
        (2, 1002.0),
        (3, 5000.0),
    ]


def test_pin_survives_a_writer_that_did_not_touch_it(saved, make_entry):
    folder, stale = saved
    first = stale.entries[0].entry_id
    save_session(load_session(folder).cache.pin(first), folder)
    save_session(stale.append(make_entry(4)), folder)
    assert [entry.is_pinned for entry in load_session(folder).cache.entries] == [
        True,
        False,
        False,
        False,
    ]
    save_session(load_session(folder).cache.pin(first, False), folder)
    assert not load_session(folder).cache.get(first).is_pinned


# What does not belong together


def test_session_of_another_model_is_refused_and_kept(saved, make_entry):
    folder, _ = saved
    with pytest.raises(
        ValueError,
        match="session 'room' on disk holds latents of model 'small', got one of 'large'",
    ):
        save_session(cache_of(make_entry(1, model_name="large")), folder)
    assert turns(load_session(folder).cache) == [1, 2, 3]


def test_session_of_another_latent_size_is_refused_and_kept(saved, make_entry):
    folder, _ = saved
    with pytest.raises(ValueError, match="4 channels, 6x8 .*got one of 16 channels, 6x8"):
        save_session(cache_of(make_entry(1, channels=16)), folder)
    assert len(list(folder.glob("*.safetensors"))) == 3


def test_session_that_forgot_everything_takes_another_model(saved, make_entry):
    folder, cache = saved
    for entry in cache.entries:
        cache = cache.forget(entry.entry_id)
    save_session(cache, folder)
    save_session(
        load_session(folder).cache.append(make_entry(1, model_name="large", channels=16)), folder
    )
    loaded = load_session(folder)
    assert (loaded.cache.model_name, turns(loaded.cache), loaded.skipped) == ("large", [1], ())


# Names


@pytest.mark.parametrize("name", ["kitchen_01", "A-b.c", "_x", "0", "a" * 64])
def test_plain_session_names_are_folders(tmp_path, name):
    assert session_folder(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a\\b",
        "/etc",
        "C:x",
        "a b",
        "a\n",
        "\u00e9",
        "a.",
        ".a",
        "con",
        "NUL.txt",
        "Com1",
        "lpt9.tar.gz",
        "a" * 65,
    ],
)
def test_other_session_names_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="session name got .*wanted 1 to 64 of the letters"):
        session_folder(tmp_path, name)


def test_list_sessions_names_folders_that_hold_one(saved, make_entry, tmp_path):
    save_session(cache_of(make_entry(1)), tmp_path / "attic")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("x")
    assert list_sessions(tmp_path) == ("attic", "room")
    assert list_sessions(tmp_path / "absent") == ()


def test_of_a_forgotten_turn_only_its_id_and_its_time_are_left(make_entry, tmp_path):
    """What a user deletes is in no file of the session: neither words nor pictures nor camera."""
    prompt = "a very secret wedding dress"
    secret = make_entry(
        2,
        prompt=prompt,
        source_latent=torch.randn(4, 2, 6, 8),
        thumbnail=torch.randint(0, 256, (4, 5, 3), dtype=torch.uint8),
    )
    folder = tmp_path / "room"
    cache = save_session(cache_of(make_entry(1), secret, make_entry(3)), folder).cache
    pieces = [prompt.encode()] + [
        getattr(secret, name).contiguous().view(torch.uint8).flatten().numpy().tobytes()
        for name in ("latent", "source_latent", "thumbnail")
    ]
    pieces.append(secret.camera.c2w.numpy().tobytes())

    def on_disk() -> bytes:
        return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())

    assert all(piece in on_disk() for piece in pieces)
    save_session(cache.forget(secret.entry_id), folder)
    held = on_disk()
    assert not any(piece in held for piece in pieces)
    # So that no other writer brings it back.
    assert secret.entry_id.encode() in held
    assert turns(load_session(folder).cache) == [1, 3]

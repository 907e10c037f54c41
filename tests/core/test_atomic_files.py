from pathlib import Path

import pytest
from instruments.blocked_files import blocked_twice

from memv2v_core import atomic_files
from memv2v_core.atomic_files import is_temp, read_file, remove_file, temp_beside, write_atomically


def test_write_replaces_whole_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_failed_rename_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomically(path, b"one")

    def fail(*_: object) -> None:
        raise OSError("no power")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no power"):
        write_atomically(path, b"two")
    assert path.read_bytes() == b"one"


def test_rename_is_tried_again_while_a_reader_blocks_it(tmp_path, monkeypatch):
    replace, calls = Path.replace, []

    def blocked_twice(old: object, new: object) -> None:
        calls.append(new)
        if len(calls) < 3:
            raise PermissionError("in use")
        replace(old, new)

    monkeypatch.setattr(Path, "replace", blocked_twice)
    write_atomically(tmp_path / "a", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"
    assert len(calls) == 3


def test_a_file_that_stays_blocked_is_named_with_the_remedy_and_kept(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomically(path, b"one")

    def blocked(*_: object, **__: object) -> None:
        raise PermissionError("in use")

    monkeypatch.setattr(atomic_files, "RETRY_S", 0.001)
    monkeypatch.setattr(Path, "replace", blocked)
    monkeypatch.setattr(Path, "unlink", blocked)
    with pytest.raises(
        PermissionError, match=r"a\.json could not be replaced .*close the program that has it open"
    ):
        write_atomically(path, b"two")
    assert path.read_bytes() == b"one"
    (left,) = [file.name for file in tmp_path.iterdir() if file != path]
    assert is_temp(left)


def test_a_file_is_read_and_removed_once_another_program_lets_go(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"x")
    monkeypatch.setattr(atomic_files, "RETRY_S", 0.001)
    for name in ("read_bytes", "unlink"):
        monkeypatch.setattr(Path, name, blocked_twice(getattr(Path, name)))
    assert read_file(path) == b"x"
    assert remove_file(path)
    assert not path.exists()
    assert remove_file(path)


def test_temporary_names_leave_room_for_long_folders(tmp_path):
    """Windows allows 259 characters in all."""
    temp = temp_beside(tmp_path / f"{'0' * 32}.safetensors")
    assert is_temp(temp.name)
    assert len(temp.name) <= 36
    assert is_temp(f"session.json.{'0' * 32}.tmp")
    assert not is_temp("notes.tmp")

"""What dev.py does before anything runs: archives, a user's own ComfyUI, missing parts."""

import io
import sys
import tarfile
from pathlib import Path

import pytest

from devtools import environment
from devtools.environment import SetupError, extract_folder, find_environment, prepare_environment


def _archive(path: Path, members: dict[str, bytes], link: str | None = None) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(info)
    return path


def _comfyui(folder: Path, version: str) -> Path:
    (folder / "comfy").mkdir(parents=True)
    (folder / "main.py").write_text("")
    (folder / "comfyui_version.py").write_text(f'__version__ = "{version}"\n')
    return folder


def test_extract_takes_one_folder_and_no_links(tmp_path: Path) -> None:
    members = {
        "pack/vendor/ComfyUI/main.py": b"1",
        "pack/vendor/ComfyUI/app/x.py": b"2",
        "pack/setup.py": b"3",
    }
    archive = _archive(tmp_path / "a.tar.gz", members, link="pack/vendor/ComfyUI/link")
    extract_folder(archive, "pack/vendor/ComfyUI/", tmp_path / "out")
    out = tmp_path / "out"
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert names == ["app/x.py", "main.py"]


@pytest.mark.parametrize("name", ["p/../../evil.py", "p//tmp/evil.py"])
def test_extract_refuses_names_outside(tmp_path: Path, name: str) -> None:
    archive = _archive(tmp_path / "a.tar.gz", {name: b"1"})
    with pytest.raises(SetupError, match="outside its folder"):
        extract_folder(archive, "p/", tmp_path / "out")
    assert not list(tmp_path.rglob("evil.py"))


def test_own_comfyui_is_used_with_the_python_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comfyui = _comfyui(tmp_path / "ComfyUI", "0.31.2")
    python = environment.venv_python(comfyui / ".venv")
    python.parent.mkdir(parents=True)
    python.write_text("")
    monkeypatch.setenv("COMFYUI_PATH", str(comfyui))
    monkeypatch.delenv("COMFYUI_PYTHON", raising=False)
    found = find_environment()
    assert (found.comfyui, found.python, found.is_private) == (
        comfyui.resolve(),
        python.resolve(),
        False,
    )
    monkeypatch.setenv("COMFYUI_PYTHON", sys.executable)
    assert find_environment().python == Path(sys.executable)


def test_own_comfyui_must_be_one_and_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"holds no ComfyUI \(main\.py and comfy/\)"):
        find_environment()
    monkeypatch.setenv("COMFYUI_PATH", str(_comfyui(tmp_path / "old", "0.3.75")))
    with pytest.raises(SetupError, match=r"is ComfyUI 0\.3\.75, wanted 0\.16\.3 or newer"):
        find_environment()


def test_missing_modules_of_an_own_python_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMFYUI_PATH", str(_comfyui(tmp_path / "ComfyUI", "0.30.0")))
    monkeypatch.setenv("COMFYUI_PYTHON", sys.executable)
    with pytest.raises(SetupError, match="cannot import no_such_module;"):
        prepare_environment(("json", "no_such_module"))


def test_setup_key_follows_the_requirements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("a")
    monkeypatch.setattr(environment, "_requirement_files", lambda: (requirements,))
    newest, oldest = (
        environment.RELEASES[v] for v in (environment.COMFYUI_VERSION, environment.OLDEST_COMFYUI)
    )
    before = environment._setup_key(newest)
    assert environment._setup_key(newest) == before != environment._setup_key(oldest)
    requirements.write_text("b")
    assert environment._setup_key(newest) != before


def test_each_private_comfyui_has_an_environment_of_its_own() -> None:
    pairs = [environment._private_environment(release) for release in environment.RELEASES.values()]
    assert (
        len({pair.python for pair in pairs})
        == len({pair.comfyui for pair in pairs})
        == len(environment.RELEASES)
    )


def test_an_own_comfyui_and_a_private_one_are_not_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMFYUI_PATH", str(_comfyui(tmp_path / "ComfyUI", "0.30.0")))
    with pytest.raises(
        SetupError, match=r"--comfyui asked for a private 0\.16\.3; unset COMFYUI_PATH"
    ):
        prepare_environment(("json",), environment.OLDEST_COMFYUI)

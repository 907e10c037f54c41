"""`dev.py metrics`: what it makes, what it asks for, and when it makes it anew."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from devtools import commands, metrics
from devtools.environment import SetupError
from devtools.metrics import PACKAGES, MetricPackage, set_up
from memv2v_core.evaluation.metrics import met3r, vbench
from memv2v_core.evaluation.metrics.interpreters.finding import SETS_UP, find_interpreter
from memv2v_core.evaluation.metrics.poses import depth_anything

CHECKOUT = PACKAGES["met3r"].checkout


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for environments, and Python's own packages in the place of large ones."""
    monkeypatch.setattr(metrics, "METRICS_DIR", tmp_path / "metrics")
    (tmp_path / "requirements").mkdir()
    for name in PACKAGES:
        (tmp_path / "requirements" / f"{name}.txt").write_text("# nothing\n")
    monkeypatch.setattr(metrics, "_REQUIREMENTS", tmp_path / "requirements")
    # Without the network: a plain virtual environment, and no download.
    monkeypatch.setattr(
        metrics,
        "make_venv",
        lambda place: subprocess.run(
            [sys.executable, "-m", "venv", "--clear", "--without-pip", str(place)], check=True
        ),
    )
    monkeypatch.setattr(metrics, "run_setup", lambda command, what: None)
    return tmp_path / "metrics"


def put_checkout(place: Path) -> Path:
    for name in CHECKOUT:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("")
    (place / "met3r" / "__init__.py").write_text("")
    return place


def small(checkout: tuple[str, ...] = (), *modules: str) -> MetricPackage:
    return MetricPackage("", ("json", *modules), checkout, others=(("no_such_module", "a place"),))


def test_metrics_and_command_mean_the_same_names_and_folder() -> None:
    assert set(PACKAGES) == {vbench.NAME, met3r.NAME, depth_anything.NAME}
    assert metrics.METRICS_DIR == SETS_UP


@pytest.mark.parametrize("name", PACKAGES)
def test_every_requirement_is_pinned(name: str) -> None:
    text = (metrics._REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) > 50
    assert [line for line in lines if "==" not in line.partition(";")[0]] == []
    package = PACKAGES[name].package
    assert not package or ("==" in package and package not in lines)


def test_a_metric_finds_what_was_set_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PACKAGES, "vbench", small())
    assert commands.main(["metrics"]) == 0
    assert "vbench     your own checkout          not set up" in capsys.readouterr().out
    with pytest.raises(ValueError, match="run python3 dev.py metrics vbench"):
        find_interpreter("vbench", folder, {})
    assert commands.main(["metrics", "vbench"]) == 0
    told = capsys.readouterr().out
    assert "vbench still needs no_such_module, which is on no registry: clone a place" in told
    assert find_interpreter("vbench", folder, {}).is_file()
    assert commands.main(["metrics"]) == 0
    assert f"set up in {folder / 'vbench'}" in capsys.readouterr().out


def test_it_is_made_once_and_again_when_its_requirements_change(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PACKAGES, "vbench", small())
    for expected in (True, False):
        set_up("vbench")
        assert ("Setting up" in capsys.readouterr().out) is expected
    (metrics._REQUIREMENTS / "vbench.txt").write_text("# another\n")
    set_up("vbench")
    assert "Setting up" in capsys.readouterr().out


def test_an_incomplete_environment_gets_no_stamp(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PACKAGES, "vbench", small((), "no_such_module_either"))
    with pytest.raises(SetupError, match="no_such_module_either cannot be found; delete"):
        set_up("vbench")
    assert not (folder / "vbench.json").exists()


def test_a_checkout_is_on_the_path_of_its_python(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PACKAGES, "met3r", small(CHECKOUT, "met3r"))
    checkout = put_checkout(tmp_path / "my checkout")
    python = set_up("met3r", checkout)
    probe = "import met3r; print(met3r.__file__)"
    found = subprocess.run([str(python), "-I", "-c", probe], capture_output=True, text=True)
    assert Path(found.stdout.strip()).parent == checkout / "met3r"
    before = json.loads((folder / "met3r.json").read_text())
    set_up("met3r", put_checkout(tmp_path / "another"))
    assert json.loads((folder / "met3r.json").read_text()) != before


def test_checkouts_are_asked_for_where_they_are_needed(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"met3r is on no registry; clone .*--checkout FOLDER"):
        set_up("met3r")
    (tmp_path / "met3r").mkdir()
    (tmp_path / "met3r" / "met3r.py").write_text("")
    with pytest.raises(SetupError, match=r"lacks mast3r/mast3r/model.py, .*--recursive"):
        set_up("met3r", tmp_path)
    with pytest.raises(SetupError, match="vbench is vbench==0.1.5 of the registry; leave it out"):
        set_up("vbench", tmp_path)


def test_a_python_without_the_packages_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "PYTHONS", ((3, 5), (3, 6)))
    with pytest.raises(SetupError, match=r"need CPython 3\.5 to 3\.6, this is"):
        set_up("vbench")


def test_a_checkout_without_a_metric_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["metrics", "--checkout", "somewhere"]) == 1
    assert "name the metric, too" in capsys.readouterr().err

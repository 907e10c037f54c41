"""The command that a user gives."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from instruments.training_runs import changed, log_of

from memv2v_core.builtin import bundle
from memv2v_core.strict_yaml import as_yaml
from memv2v_core.training import command
from memv2v_core.training.command import main
from memv2v_core.training.config.run import TrainConfig, load_config
from memv2v_core.training.launch import RECIPE_FILE
from memv2v_core.weights.adapter_file import read_adapter_file

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """The command writes its log to this test's output; other tests have their own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def recipe_file(tiny_config: TrainConfig, tmp_path: Path) -> str:
    path = tmp_path / "views.yaml"
    path.write_text(as_yaml(tiny_config), encoding="utf-8")
    return str(path)


def test_it_trains_and_writes_an_adapter_and_does_so_once(recipe_file: str, tmp_path: Path):
    folder = tmp_path / "run"
    given = [recipe_file, "--folder", str(folder), "--cpu", "--set", "optim.steps=2"]
    assert main(given) == 0
    assert [line["step"] for line in log_of(folder)] == [1, 2]
    file = read_adapter_file(folder / "adapter.safetensors")
    assert (file.record.recipe, file.record.steps) == ("views", 2)
    assert load_config(folder / RECIPE_FILE).optim.steps == 2
    assert main(given) == 0
    assert len(log_of(folder)) == 2
    # Its files can be written again elsewhere, and nothing is trained.
    output = tmp_path / "out" / "mine.safetensors"
    assert main([*given, "--only-export", "--output", str(output)]) == 0
    assert read_adapter_file(output).record == file.record
    assert len(log_of(folder)) == 2


def test_a_whole_new_model_becomes_a_builtin_one_by_its_key(
    recipe_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bundle, "WEIGHTS", tmp_path / "weights")
    given = [recipe_file, "--cpu", "--set", "trained.base.rate=0.001", "--set", "optim.steps=1"]
    whole = [*given, "--folder", str(tmp_path / "run")]
    assert main(whole) == 0
    assert not (tmp_path / "run" / "adapter.safetensors").exists()
    assert main([*whole, "--only-export", "--key", "tiny"]) == 0
    assert bundle.builtin_names() == ("tiny",)
    # Another run begins with it.
    assert main([*given, "--folder", str(tmp_path / "on"), "--start-from", "tiny"]) == 0
    assert len(log_of(tmp_path / "on")) == 1


def test_it_prints_every_value_and_trains_nothing(
    recipe_file: str,
    tiny_config: TrainConfig,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    assert main([recipe_file, "--print-config", "--minutes", "30"]) == 0
    (tmp_path / "printed.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    wanted = changed(tiny_config, "optim.steps=null", "optim.minutes=30")
    assert load_config(tmp_path / "printed.yaml") == wanted
    assert not (tmp_path / "training_runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "error: none is no file, wanted a YAML file or one of the recipes"),
        (
            ["novel_view", "--set", "optim.step=3"],
            "error: novel_view.yaml: optim got the key 'step'",
        ),
        (["novel_view", "--set", "seed"], "error: --set got 'seed', wanted KEY=VALUE"),
    ],
)
def test_an_error_is_one_line_and_a_code(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert main([*arguments, "--cpu"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(message)
    assert said.count("\n") == 1


def test_a_run_that_a_user_stops_says_how_it_goes_on(
    recipe_file: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run_recipe", stopped)
    assert main([recipe_file, "--folder", str(tmp_path / "run"), "--cpu"]) == 130
    assert "the same command goes on from the last checkpoint" in capsys.readouterr().err


def test_a_tracker_that_is_not_installed_is_refused(
    recipe_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    given = [recipe_file, "--folder", str(tmp_path / "run"), "--cpu"]
    assert main([*given, "--set", "keep.trackers=[abacus]"]) == 1
    assert "trackers got 'abacus', wanted one of" in capsys.readouterr().err

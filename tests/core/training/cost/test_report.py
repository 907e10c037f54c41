"""The text of a dry run."""

from pathlib import Path

import pytest
from instruments.training_runs import NOVEL_VIEW, recipe

from memv2v_core.training.command import main
from memv2v_core.training.config.recipes import recipe_names
from memv2v_core.training.cost.phase import Machine
from memv2v_core.training.cost.report import cost_report
from memv2v_core.training.cost.tables import aligned


@pytest.mark.slow
@pytest.mark.parametrize("name", recipe_names())
def test_a_dry_run_of_every_recipe_needs_no_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(tmp_path)
    assert main([name, "--dry-run"]) == 0
    out = capsys.readouterr().out
    for words in ("all trained", "Tokens of a row", "A step of", "at the fullest moment", "Notes"):
        assert words in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["novel_view_24gb", "long_edit_24gb"])
def test_recipes_for_24_gb_fit_into_24_gb(name: str, capsys: pytest.CaptureFixture):
    assert main([name, "--dry-run", "--gpus", "1", "--gb", "24"]) == 0
    assert "! more than" not in capsys.readouterr().out
    assert main([name, "--dry-run", "--gpus", "1", "--gb", "8"]) == 0
    assert "! more than 8 GiB" in capsys.readouterr().out


def test_the_report_of_a_small_run():
    lines = cost_report(
        recipe(NOVEL_VIEW, "optim.whole_share=1"), Machine(gpus=2, tflops=1e-6, gib=2.5)
    ).splitlines()
    assert lines[0] == "novel_view on a new model (sizes of the recipe or of the built-in model)"
    # 32 pixels a side and 8 a latent.
    assert "Latents 3 x 4 x 4 (drawn as the recipe says); one-way attention" in lines
    # Target and source of 3 frames of 2 x 2 tokens; the recipe draws up to two memories.
    row = next(line for line in lines if line.startswith("  0"))
    assert row.split()[1:4] == ["25%", "24", "24"]
    assert any("h on 2 GPUs" in line for line in lines)
    # Two rows do not divide among 8 or 32.
    assert not any("h on 8 GPUs" in line for line in lines)


def test_wrong_options_are_refused(capsys: pytest.CaptureFixture):
    assert main(["novel_view_paper", "--dry-run", "--gpus", "0"]) == 1
    assert "gpus got 0, wanted more than 0" in capsys.readouterr().err


def test_columns_of_a_table_are_aligned():
    assert aligned([("a", "bb"), ("ccc", "d")]) == ["  a    bb", "  ccc   d"]

"""Suites that measure inside a model."""

import json
from pathlib import Path

import pytest
import torch

from memv2v_core.evaluation.__main__ import main
from memv2v_core.evaluation.probes.cost import DYNAMIC, MERGED, UNIFORM, ForwardCost
from memv2v_core.evaluation.probes.responsiveness import Responsiveness
from memv2v_core.evaluation.scoring.line_plots import has_lines, line_plot
from memv2v_core.evaluation.scoring.probing import probe_share, probe_summary
from memv2v_core.evaluation.scoring.run import STORE
from memv2v_core.evaluation.scoring.tables import latex, markdown
from memv2v_core.evaluation.suites.probe_suite import (
    CostConfig,
    ProbeSuite,
    ResponsivenessConfig,
)
from memv2v_core.tokens.cost import DitShape, forward_cost, plan_layout

CPU = torch.device("cpu")
FULL_SIZE = CostConfig(network="wan2.1-1.3b", memories=(0, 3, 10), is_timed=False)


def test_counts_of_the_papers_base_are_those_of_its_formula() -> None:
    """And of Figs. 9 and 17: over 90 % less than uniform tokens, and 30 % less by merging."""
    probe = ForwardCost(FULL_SIZE, CPU)
    rows = probe.measure(probe.items[0])
    shape = DitShape(dim=1536, ffn_dim=8960, num_blocks=30)
    whole = forward_cost(plan_layout(21, 60, 104, True, (21,) * 10, (2,) * 10), shape, None)
    assert rows[UNIFORM]["10"] == {
        "TFLOP": whole.flops / 1e12,
        "TFLOP reused": whole.reuse_flops / 1e12,
        "tokens": 32_760 * 12,
    }
    dynamic = forward_cost(
        plan_layout(21, 60, 104, True, (21,) * 10, (4,) * 3 + (8,) * 7), shape, None
    )
    assert rows[DYNAMIC]["10"]["TFLOP"] == dynamic.flops / 1e12
    assert rows[DYNAMIC]["10"]["TFLOP"] < 0.1 * rows[UNIFORM]["10"]["TFLOP"]
    assert rows[MERGED]["10"]["TFLOP"] < 0.7 * rows[DYNAMIC]["10"]["TFLOP"]
    # Without memories there is nothing to choose.
    assert rows[UNIFORM]["0"] == rows[DYNAMIC]["0"] == rows[MERGED]["0"]


def test_a_forward_of_the_built_in_model_is_timed_and_a_run_goes_on(tmp_path: Path) -> None:
    suite = ProbeSuite("cost", "mine", cost=CostConfig((0, 1), num_repeats=2))
    probe = ForwardCost(suite.cost, CPU)
    probe_share(suite, probe, tmp_path)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / STORE).rglob("*.json")}
    assert len(files) == 6  # rows and repeats
    summary = probe_summary(suite, probe, tmp_path, "repeats")
    assert all(cell.mean > 0 for _, cells in summary.rows for cell in cells)
    probe_share(suite, probe, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in files} == files
    # A line a quantity and method, a column a number of memories.
    assert has_lines(summary)
    lines = markdown(summary).splitlines()
    assert lines[0] == "|  | 0 | 1 |"
    assert len([line for line in lines if line.startswith("| ")]) == 2 + 12
    assert latex(summary).count("\\\\") == 1 + 12
    picture = line_plot(summary, "memories")
    for colour in ((86, 180, 233), (230, 159, 0), (0, 158, 115)):
        apart = (picture * 255 - torch.tensor(colour)).abs().amax(-1)
        assert (apart < 40).sum() > 10, colour


def test_what_no_process_measured_is_named(tmp_path: Path) -> None:
    suite = ProbeSuite("cost", "mine", cost=FULL_SIZE)
    with pytest.raises(ValueError, match=f"{UNIFORM} of repeat_00 is not measured"):
        probe_summary(suite, ForwardCost(FULL_SIZE, CPU), tmp_path, "repeats")


@pytest.mark.slow
def test_responsiveness_has_the_three_rows_of_the_paper(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "probe: responsiveness\nresponsiveness: {num_scenes: 1}\nspread: deviation\n",
        encoding="utf-8",
    )
    assert main(["score", str(path), "--folder", str(tmp_path / "out")]) == 0
    rows = json.loads((tmp_path / "out" / "table.json").read_text(encoding="utf-8"))
    assert {row["column"] for row in rows} == {"Pearson", "Spearman", "bottom half"}
    # The first block, and the two that merge.
    assert [row["method"] for row in rows[::3]] == ["block 1", "block 3", "block 5"]
    assert all(-1 <= row["mean"] <= 1 for row in rows)
    assert all(row["scenes"] == 1 for row in rows)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("probe: heat", "probe got 'heat'"),
        ("probe: cost\ncost: {memories: [-1]}", "memories got [-1]"),
        ("probe: cost\ncost: {memories: [1, 1]}", "rising, each once"),
        ("probe: cost\ncost: {num_repeats: 0}", "num_repeats got 0"),
        ("probe: cost\ncost: {latent: [1, 3, 4]}", "latent got [1, 3, 4]"),
        ("probe: cost\ncost: {builtin: text_edit}", "edits by text"),
        ("probe: responsiveness\nresponsiveness: {builtin: text_edit}", "edits by text"),
        ("probe: responsiveness\nresponsiveness: {num_scenes: 0}", "num_scenes got 0"),
    ],
)
def test_a_wrong_suite_is_one_line(tmp_path: Path, capsys, text: str, named: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    assert main(["score", str(path), "--folder", str(tmp_path / "out")]) == 1
    assert named in capsys.readouterr().err


def test_other_keys_are_other_measurements() -> None:
    plain, rotated = (
        Responsiveness(ResponsivenessConfig(rotated_keys=is_rotated), CPU).identity
        for is_rotated in (False, True)
    )
    assert plain != rotated

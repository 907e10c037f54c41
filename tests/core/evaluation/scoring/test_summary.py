"""Means, intervals and paired tests over clips, and the tables and plots that show them."""

import json
import math
from itertools import product

import pytest
import torch

from memv2v_core.evaluation.metrics.metric import Column
from memv2v_core.evaluation.scoring.plots import plot
from memv2v_core.evaluation.scoring.run import Scores
from memv2v_core.evaluation.scoring.summary import summarised
from memv2v_core.evaluation.scoring.tables import latex, markdown, record
from memv2v_core.evaluation.statistics import mean_estimate

from .conftest import SUITE, Brightness, Place


class Noise(Brightness):
    columns = (Column("noise", "%", is_better_high=False),)


def scores_of(place: Place, values: dict[str, list[float]], text: str = SUITE) -> Scores:
    """One value a clip, which both turns have."""
    held = {
        method: {
            "noise": {
                (f"clip{idx}", 0): {turn: {"noise": value} for turn in ("1", "2")}
                for idx, value in enumerate(row)
            }
        }
        for method, row in values.items()
    }
    return Scores(place.suite(text), held)


def exact_p(first: list[float], second: list[float]) -> float:
    """Share of all sign patterns whose mean is at least as far from zero, by hand."""
    differences = [b - a for a, b in zip(first, second, strict=True)]
    means = [
        sum(sign * each for sign, each in zip(signs, differences, strict=True))
        for signs in product((1, -1), repeat=len(differences))
    ]
    return sum(abs(mean) >= abs(sum(differences)) - 1e-12 for mean in means) / len(means)


def test_means_intervals_and_the_paired_test(place: Place) -> None:
    plain = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    ours = [0.5, 1.8, 2.1, 3.9, 4.2, 6.1, 6.0]
    (_, (first,)), (_, (second,)) = summarised(
        scores_of(place, {"plain": plain, "ours": ours}), {"noise": Noise()}
    ).rows
    assert first.mean == pytest.approx(4.0)
    assert first.estimate == mean_estimate(torch.tensor(plain, dtype=torch.float64))
    assert first.p is None
    assert second.p == pytest.approx(exact_p(plain, ours), abs=1e-9)


def test_a_clip_counts_once_however_many_turns_it_has(place: Place) -> None:
    scores = scores_of(place, {"plain": [1.0, 3.0], "ours": [1.0, 3.0]})
    scores.values["plain"]["noise"]["clip0", 0]["2"]["noise"] = 5.0
    (_, (cell,)), (_, (same,)) = summarised(scores, {"noise": Noise()}).rows
    assert cell.mean == (3.0 + 3.0) / 2
    assert cell.estimate.num_scenes == 2
    assert same.num_left_out == 0


def test_values_that_do_not_exist_are_counted_and_left_out(place: Place) -> None:
    scores = scores_of(place, {"plain": [1.0, math.nan, 3.0], "ours": [math.nan] * 3})
    summary = summarised(scores, {"noise": Noise()})
    (_, (first,)), (_, (second,)) = summary.rows
    assert (first.mean, first.num_clips, first.num_missing, first.num_values) == (2.0, 2, 2, 6)
    assert second.num_missing == 6
    assert math.isnan(second.mean)
    assert second.p is None
    text = markdown(summary)
    assert "no value" in text
    assert "(4 of 6)" in text
    assert "**" not in text
    assert json.loads(json.dumps(record(summary)))[1]["mean"] is None
    assert plot(summary).isfinite().all()


def test_a_method_that_lacks_its_bad_turns_is_not_flattered(place: Place) -> None:
    """It is worse in every turn that both have, and has no value of the other turn."""
    names = ("plain", "ours")
    scores = scores_of(place, {name: [0.0] * 8 for name in names})
    for clip in range(8):
        at = f"clip{clip}", 0
        scores.values["plain"]["noise"][at] = {"1": {"noise": 1.0}, "2": {"noise": 9.0}}
        scores.values["ours"]["noise"][at] = {"1": {"noise": 1.2}, "2": {"noise": math.nan}}
    summary = summarised(scores, {"noise": Noise()})
    (_, (first,)), (_, (second,)) = summary.rows
    assert (first.mean, second.mean) == (5.0, pytest.approx(1.2))
    # Of eight signs, all plus or all minus.
    assert second.p == pytest.approx(2 / 2**8, abs=1e-9)
    text = markdown(summary)
    assert "(8 of 16)" in text
    assert "**" not in text


def test_equal_videos_make_no_mean_infinite(place: Place) -> None:
    scores = scores_of(place, {"plain": [20.0, 22.0, 24.0], "ours": [math.inf, 10.0, 12.0]})
    (_, _), (_, (cell,)) = summarised(scores, {"noise": Noise()}).rows
    assert (cell.mean, cell.num_infinite, cell.num_missing) == (11.0, 2, 0)
    assert cell.estimate is not None
    assert cell.p == 0.5
    all_equal = scores_of(place, {"plain": [1.0, 2.0], "ours": [math.inf, math.inf]})
    (_, _), (_, (cell,)) = summarised(all_equal, {"noise": Noise()}).rows
    assert math.isinf(cell.mean)


def test_a_suite_of_one_clip_has_no_interval_and_says_so(place: Place) -> None:
    summary = summarised(scores_of(place, {"plain": [1.0], "ours": [2.0]}), {"noise": Noise()})
    assert [row["clips"] for row in record(summary)] == [1, 1]
    text = markdown(summary)
    assert "interval" not in text
    assert "test" not in text


def test_two_metrics_with_one_column_are_told_apart(place: Place) -> None:
    scores = scores_of(place, {"plain": [1.0, 2.0], "ours": [2.0, 3.0]})
    for by_metric in scores.values.values():
        by_metric["again"] = by_metric["noise"]
    summary = summarised(scores, {"noise": Noise(), "again": Noise()})
    assert [column.title for column in summary.columns] == ["noise: noise (%)", "again: noise (%)"]


def test_tables_mark_the_best_and_what_differs(place: Place) -> None:
    plain = [float(number) for number in range(1, 9)]
    summary = summarised(
        scores_of(place, {"plain": plain, "ours": [value - 1 for value in plain]}),
        {"noise": Noise()},
    )
    lines = markdown(summary).splitlines()
    assert lines[0] == "| Method | noise (%) \N{DOWNWARDS ARROW} |"
    assert lines[2].startswith("| plain | 4.5000 [")
    assert lines[3].startswith("| ours | **3.5000\N{DAGGER} [")
    tex = latex(summary)
    assert r"noise (\%) $\downarrow$" in tex
    assert r"ours & \textbf{3.5000$^\dagger$ [" in tex
    assert tex.count("\\\\") == 3
    picture = plot(summary)
    assert picture.ndim == 3
    # Both methods are drawn in their colours.
    for colour in ((86, 180, 233), (230, 159, 0)):
        apart = (picture * 255 - torch.tensor(colour)).abs().amax(-1)
        assert (apart < 2).sum() > 20


def test_columns_of_turns_are_shown_where_the_suite_asks(place: Place) -> None:
    text = f"{SUITE}\nshows_turns: [all]"
    scores = scores_of(place, {"plain": [1.0, 3.0], "ours": [1.0, 2.0]}, text)
    scores.values["ours"]["noise"]["clip1", 0]["2"]["noise"] = 8.0
    summary = summarised(scores, {"noise": Noise()})
    assert [column.title for column in summary.columns] == [
        "noise 1 (%)",
        "noise 2 (%)",
        "noise (%)",
    ]
    assert [cell.mean for cell in summary.rows[1][1]] == [1.5, 4.5, 3.0]


def test_nothing_is_bold_where_as_many_but_other_values_are_missing(place: Place) -> None:
    scores = scores_of(place, {"plain": [1.0, 3.0], "ours": [1.0, 2.0]})
    scores.values["plain"]["noise"]["clip0", 0]["1"]["noise"] = math.nan
    scores.values["ours"]["noise"]["clip0", 0]["2"]["noise"] = math.nan
    text = markdown(summarised(scores, {"noise": Noise()}))
    assert text.count("(3 of 4)") == 2
    assert "**" not in text


def test_what_is_counted_has_neither_test_nor_interval(place: Place) -> None:
    class Counted(Noise):
        columns = (Column("noise", is_counted=True),)

    scores = scores_of(place, {"plain": [1.0] * 8, "ours": [2.0] * 8})
    summary = summarised(scores, {"noise": Counted()})
    assert all(cell.p is None and cell.estimate is None for _, (cell,) in summary.rows)
    assert "[" not in markdown(summary)

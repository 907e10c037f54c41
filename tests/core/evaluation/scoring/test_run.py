"""Scoring a suite: the right values, nothing measured twice, several processes, clear refusals."""

import pytest
import torch

from memv2v_core.evaluation.metrics.metric import Column
from memv2v_core.evaluation.scoring.run import check, measure_share, read_scores
from memv2v_core.evaluation.scoring.shares import WHOLE, Share
from memv2v_core.evaluation.scoring.summary import summarised

from .conftest import CLIPS, SUITE, Brightness, Place, grey

CPU = torch.device("cpu")


def scored(place: Place, makers, text: str = SUITE, share: Share = WHOLE):
    suite = place.suite(text)
    metrics = {name: make() for name, make in makers.items()}
    found = check(suite, metrics)
    measure_share(suite, makers, found, place.folder / "out", CPU, share)
    return suite, metrics, found


def test_every_turn_and_pair_has_its_value(place: Place, makers) -> None:
    suite, metrics, found = scored(place, makers)
    scores = read_scores(suite, metrics, found, place.folder / "out")
    for method in ("plain", "ours"):
        for clip in CLIPS:
            held = scores.values[method]["brightness"][clip, 0]
            for turn in (1, 2):
                assert held[str(turn)]["brightness"] == pytest.approx(grey(method, clip, turn))
                assert held[str(turn)]["frames"] == 5
            (pair,) = scores.values[method]["difference"][clip, 0].items()
            assert pair == ("1-2", {"difference": pytest.approx(5 / 255, abs=1e-7)})


class Counted(Brightness):
    """Counts what is measured, and stops after some."""

    measured = 0
    stops_after = 10**9

    def __call__(self, batch):
        if Counted.measured >= Counted.stops_after:
            raise KeyboardInterrupt
        Counted.measured += 1
        return super().__call__(batch)


def test_a_killed_run_goes_on_and_measures_nothing_twice(place: Place, monkeypatch) -> None:
    monkeypatch.setattr(Counted, "measured", 0)
    monkeypatch.setattr(Counted, "stops_after", 3)
    with pytest.raises(KeyboardInterrupt):
        scored(place, {"brightness": Counted})
    monkeypatch.setattr(Counted, "stops_after", 10**9)
    suite, metrics, found = scored(place, {"brightness": Counted})
    assert Counted.measured == len(found) == 8
    table = summarised(read_scores(suite, metrics, found, place.folder / "out"), metrics)

    other_out = place.folder / "other"
    measure_share(suite, {"brightness": Brightness}, found, other_out, CPU, WHOLE)
    metrics = {"brightness": Brightness()}
    again = summarised(read_scores(suite, metrics, found, other_out), metrics)
    assert again == table
    # A video that is made again is measured again, and no other.
    Counted.measured = 0
    place.video("ours/b_turn1.mp4", 0.3)
    scored(place, {"brightness": Counted})
    assert Counted.measured == 1


def test_two_processes_share_the_work_and_give_the_table_of_one(place: Place, makers) -> None:
    suite, metrics, found = scored(place, makers, share=Share(0, 2))
    with pytest.raises(ValueError, match="is not measured; run the command again"):
        read_scores(suite, metrics, found, place.folder / "out")
    scored(place, makers, share=Share(1, 2))
    shared = summarised(read_scores(suite, metrics, found, place.folder / "out"), metrics)
    measure_share(suite, makers, found, place.folder / "alone", CPU, WHOLE)
    assert shared == summarised(read_scores(suite, metrics, found, place.folder / "alone"), metrics)


class NeedsTruth(Brightness):
    needs = frozenset({"truth"})


class Broken(Brightness):
    columns = (Column("broken"),)

    def __call__(self, batch):
        raise ValueError("frames got 5, wanted 9; make longer videos")


def test_what_a_metric_needs_is_asked_for_before_the_run(place: Place, makers) -> None:
    with pytest.raises(ValueError, match="truthful needs truths.*add truths"):
        scored(place, {"truthful": NeedsTruth})
    with pytest.raises(ValueError, match="difference compares two turns"):
        scored(place, makers, SUITE.replace("[1, 2]", "[1]"))
    with pytest.raises(ValueError, match="plain, clip 'a': frames got 5, wanted 9"):
        scored(place, {"broken": Broken})

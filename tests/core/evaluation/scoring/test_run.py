"""Scoring a suite: the right values, nothing measured twice, several processes, clear refusals."""

import math

import pytest
import torch

from memv2v_core.evaluation.metrics.metric import Column
from memv2v_core.evaluation.scoring.run import measure_share, read_scores, require_inputs
from memv2v_core.evaluation.scoring.summary import summarised
from memv2v_core.evaluation.scoring.videos import find_videos
from memv2v_core.evaluation.shares import WHOLE, Share

from .conftest import CLIPS, SUITE, Brightness, Place, grey

CPU = torch.device("cpu")


def scored(place: Place, makers, text: str = SUITE, share: Share = WHOLE):
    suite = place.suite(text)
    metrics = {name: make() for name, make in makers.items()}
    require_inputs(suite, metrics)
    found = find_videos(suite)
    measure_share(suite, metrics, found, place.folder / "out", CPU, share)
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
    metrics = {"brightness": Brightness()}
    measure_share(suite, metrics, found, other_out, CPU, WHOLE)
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
    measure_share(suite, metrics, found, place.folder / "alone", CPU, WHOLE)
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


class Paths(Brightness):
    """The last pan of each video's camera, and the width of its lens: what it was given."""

    identity = "paths"
    columns = (Column("pan"), Column("fx"), Column("fy"))
    needs = frozenset({"camera", "source_camera"})

    def __call__(self, batch):
        lasts = [camera.c2w[-1] for camera in batch.cameras]
        pans = [math.degrees(math.atan2(last[0, 2], last[2, 2])) for last in lasts]
        lenses = [camera.intrinsics[0] for camera in batch.cameras]
        assert all(len(camera.c2w) == batch.videos.shape[1] for camera in batch.source_cameras)
        rows = [
            (pan, float(lens[0, 0]), float(lens[1, 1]))
            for pan, lens in zip(pans, lenses, strict=True)
        ]
        return torch.tensor(rows, dtype=torch.float64)


def test_a_fit_leaves_cameras_where_the_video_was_filmed(place: Place) -> None:
    """The first frames of a path, and a lens that is squeezed with the picture."""
    cameras = "cameras: {turns: [pan_right 40, pan_right 40], fov_deg: 60}"
    whole, _, _ = scored(place, {"paths": Paths}, f"{SUITE}\n{cameras}")
    fitted = f"{SUITE}\n{cameras}\nfit: {{num_frames: 3, height: 16, width: 16}}"
    suite, metrics, found = scored(place, {"paths": Paths}, fitted)
    held = read_scores(suite, metrics, found, place.folder / "out").values["ours"]["paths"]
    path = whole.camera(1, 5, 24 / 16)
    third = path.c2w[2]
    assert held["a", 0]["1"]["pan"] == pytest.approx(
        math.degrees(math.atan2(third[0, 2], third[2, 2]))
    )
    assert held["a", 0]["1"]["fx"] == pytest.approx(float(path.intrinsics[0, 0, 0]))
    assert held["a", 0]["1"]["fy"] == pytest.approx(float(path.intrinsics[0, 1, 1]))


def test_names_of_clips_may_be_long_and_of_any_alphabet(place: Place, makers) -> None:
    names = ("\N{CJK UNIFIED IDEOGRAPH-6771}" * 40, "\N{CJK UNIFIED IDEOGRAPH-6772}" * 40)
    for method in ("plain", "ours"):
        for idx, name in enumerate(names):
            for turn in (1, 2):
                place.video(f"{method}/{name}_turn{turn}.mp4", 0.2 * (idx + 1))
    suite, metrics, found = scored(place, makers)
    values = read_scores(suite, metrics, found, place.folder / "out").values["ours"]["brightness"]
    for idx, name in enumerate(names):
        assert values[name, 0]["1"]["brightness"] == pytest.approx(0.2 * (idx + 1), abs=2e-3)

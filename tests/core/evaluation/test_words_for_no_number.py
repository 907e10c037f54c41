"""Where there is no number, people read words: "nan" and "inf" stand in no text and no picture."""

import json
import math
import re
from collections.abc import Callable

import pytest
import torch

from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix
from memv2v_core.evaluation.claims import helps, no_harm, reported, within
from memv2v_core.evaluation.report import claim_record, markdown_table, table
from memv2v_core.evaluation.session_report import ShownTurn, report_session
from memv2v_core.evaluation.statistics import Estimate
from memv2v_core.pictures.canvas import Canvas
from memv2v_core.sampling.reuse import Refresh, ReuseReport

NO_NUMBER = re.compile(r"\b(nan|inf|infinity)\b", re.IGNORECASE)
BAD = (math.nan, math.inf, -math.inf)
SIDE, NUM_FRAMES = 24, 3


def path(motion: str, amplitude: float = 45.0) -> CameraTrajectory:
    lens = intrinsics_matrix(0.866, 0.866)
    return make_preset(
        PresetConfig(motion=motion, amplitude=amplitude, num_frames=NUM_FRAMES), lens
    )


def turn(number: int, motion: str, seed: int) -> ShownTurn:
    """A turn of random frames; black ones for the seed 0."""
    random = torch.Generator().manual_seed(seed)
    frames = torch.rand(NUM_FRAMES, 3, SIDE, SIDE, generator=random) * (seed > 0)
    return ShownTurn(f"turn {number}", frames, path(motion))


SESSIONS = {
    "no turn": (),
    "one turn": (turn(1, "pan_left", 1),),
    "turns that never meet": (turn(1, "pan_left", 1), turn(2, "pan_right", 2)),
    # Black frames, which a warp leaves exactly as they are.
    "equal turns": (turn(1, "pan_left", 0), turn(2, "pan_left", 0)),
    "some that meet": (*(turn(1, "pan_left", 1), turn(2, "pan_right", 2), turn(3, "pan_left", 3)),),
}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that is written into a picture."""
    texts: list[str] = []
    write = Canvas.text

    def noted(canvas: Canvas, place: tuple[float, float], text: str, *style: object) -> None:
        texts.append(text)
        write(canvas, place, text, *style)

    monkeypatch.setattr(Canvas, "text", noted)
    return texts


@pytest.mark.parametrize("kind", SESSIONS)
@pytest.mark.parametrize("has_truth", [False, True])
def test_a_session_report_has_words(kind: str, has_truth: bool, drawn: list[str]) -> None:
    truth = ShownTurn("truth", torch.zeros(NUM_FRAMES, 3, SIDE, SIDE), path("pan_right", 40.0))
    source = path("pan_left", 0.001)
    report = report_session(MemoryCache(), SESSIONS[kind], source, truth if has_truth else None)
    assert not NO_NUMBER.search(report.text)
    # Strict JSON, which programs outside Python read too.
    json.loads(report.text, parse_constant=pytest.fail)
    assert drawn
    assert not [text for text in drawn if NO_NUMBER.search(text)]
    if kind == "turns that never meet":
        assert "never look at the same place" in report.text
        assert any("never look at the same place" in text for text in drawn)
    if kind == "equal turns":
        assert "equal in every compared pixel" in report.text


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("made", [reported, within, helps, no_harm])
def test_tables_of_an_evaluation_have_words(value: float, made: Callable) -> None:
    estimate = Estimate(value, value, value, 2)
    arguments = ("gain", "dB", estimate) if made in (reported, within) else ("gain", estimate)
    claim = made(*arguments)
    for text in (table([claim]), markdown_table([claim]), json.dumps(claim_record(claim))):
        assert not NO_NUMBER.search(text)


@pytest.mark.parametrize("value", BAD)
def test_the_report_of_reuse_has_words(value: float) -> None:
    report = ReuseReport(num_reused=3, refreshes=[Refresh(1000.0, None), Refresh(500.0, value)])
    assert not NO_NUMBER.search(report.describe())

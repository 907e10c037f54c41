"""Pace: how long a run still takes."""

import pytest


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(comfy_api, clock: Clock):
    from memory_v2v.nodes.host.live.pace import Pace

    return Pace(total=4, clock=clock)


def test_the_estimate_is_the_mean_of_the_pieces_made(pace, clock: Clock) -> None:
    for seconds in (10, 20):
        pace.start()
        clock.now += seconds
        assert pace.finish(is_new=True) == seconds
    pace.start()
    pace.advance(1, 2)
    # Half of one piece and a whole one are left, of 15 s each.
    assert pace.estimate() == (22.5, 15, "pieces")


def test_kept_pieces_take_no_time(pace, clock: Clock) -> None:
    pace.finish(is_new=False)
    pace.finish(is_new=False)
    assert pace.estimate() is None
    pace.start()
    clock.now += 8
    pace.finish(is_new=True)
    assert pace.estimate() == (8, 8, "pieces")


def test_the_first_piece_is_estimated_from_its_steps_without_loading(pace, clock: Clock) -> None:
    pace.start()
    clock.now += 60  # the model is loaded
    pace.advance(1, 10)
    assert pace.estimate() is None
    clock.now += 2
    pace.advance(2, 10)
    assert pace.estimate() == (pytest.approx(76), pytest.approx(20), "steps")

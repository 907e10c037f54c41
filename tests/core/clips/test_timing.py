from fractions import Fraction

import pytest

from memv2v_core.clips.timing import FrameTimes, measured_times, steady_times

NTSC = Fraction(30000, 1001)


def rounded(times: list[Fraction], clock: int) -> list[Fraction]:
    return [Fraction(round(time * clock), clock) for time in times]


@pytest.mark.parametrize("rate", [Fraction(25), NTSC, Fraction(24000, 1001), Fraction(12)])
@pytest.mark.parametrize("clock", [90000, 1000])
def test_times_that_are_only_rounded_are_steady(rate: Fraction, clock: int) -> None:
    shown = rounded([Fraction(7, 5) + i / rate for i in range(300)], clock)
    times = measured_times(shown, None, [rate])
    assert times == steady_times(300, rate)
    assert times.duration == 300 / rate


def test_a_file_that_says_another_rate_than_its_times_is_not_believed() -> None:
    shown = rounded([i / NTSC for i in range(300)], 1000)
    # The mean of the times is close to the rate, and so is simplified to it.
    assert measured_times(shown, None, [Fraction(60), Fraction(25)]).rate == pytest.approx(
        float(NTSC), abs=0.005
    )


def test_uneven_times_are_kept() -> None:
    shown: list[Fraction | None] = [Fraction(1), Fraction(11, 10), Fraction(3, 2)]
    times = measured_times(shown, Fraction(1, 4), [Fraction(10)])
    assert not times.is_steady
    assert [times.start(i) for i in range(4)] == [
        0,
        Fraction(1, 10),
        Fraction(1, 2),
        Fraction(3, 4),
    ]
    assert times.rate == 4
    assert times.slowest_and_fastest() == (Fraction(5, 2), 10)


def test_a_last_frame_that_is_held_is_kept() -> None:
    shown = [Fraction(i, 20) for i in range(10)]
    times = measured_times(shown, Fraction(11, 100), [Fraction(20)])
    assert times.duration == Fraction(9, 20) + Fraction(11, 100)
    assert measured_times(shown, Fraction(1, 20), [Fraction(20)]) == steady_times(10, Fraction(20))


@pytest.mark.parametrize("shown", [[None, None], [Fraction(1), None], [Fraction(1), Fraction(1)]])
def test_without_usable_times_the_file_is_believed(shown: list) -> None:
    assert measured_times(shown, None, [Fraction(24)]) == steady_times(2, Fraction(24))


def test_one_frame_lasts_as_long_as_the_file_says() -> None:
    assert measured_times([Fraction(3)], None, [Fraction(24)]).duration == Fraction(1, 24)


def test_picked_frames_keep_the_duration() -> None:
    steady = steady_times(30, Fraction(24)).picked((0, 7, 14, 22, 29))
    assert (steady.num_frames, steady.rate, steady.duration) == (5, 4, Fraction(30, 24))
    uneven = FrameTimes(
        4, Fraction(2), Fraction(2), (Fraction(0), Fraction(1, 2), Fraction(1), Fraction(3, 2))
    )
    picked = uneven.picked((1, 3))
    assert [picked.start(i) for i in range(3)] == [0, Fraction(3, 2), 2]
    # A clip of one frame shows it five times.
    assert steady_times(1, Fraction(5)).picked((0,) * 5).rate == 25

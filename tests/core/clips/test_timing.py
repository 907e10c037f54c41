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
    times, _ = measured_times(shown, None, [rate])
    assert times == steady_times(300, rate)
    assert times.duration == 300 / rate


def test_a_file_that_says_another_rate_than_its_times_is_not_believed() -> None:
    shown = rounded([i / NTSC for i in range(300)], 1000)
    # The mean of the times is close to the rate, and so is simplified to it.
    assert measured_times(shown, None, [Fraction(60), Fraction(25)])[0].rate == pytest.approx(
        float(NTSC), abs=0.005
    )


def test_uneven_times_are_kept() -> None:
    shown: list[Fraction | None] = [Fraction(1), Fraction(11, 10), Fraction(3, 2)]
    times, _ = measured_times(shown, Fraction(1, 4), [Fraction(10)])
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
    times, _ = measured_times(shown, Fraction(11, 100), [Fraction(20)])
    assert times.duration == Fraction(9, 20) + Fraction(11, 100)
    assert measured_times(shown, Fraction(1, 20), [Fraction(20)]) == (
        steady_times(10, Fraction(20)),
        0,
    )


def test_without_times_the_file_is_believed() -> None:
    assert measured_times([None, None], None, [Fraction(24)]) == (steady_times(2, Fraction(24)), 0)


@pytest.mark.parametrize("wrong", [None, Fraction(8, 100), Fraction(4, 100)])
def test_a_time_that_is_missing_doubled_or_late_is_repaired_alone(wrong: Fraction | None) -> None:
    hundredths = [0, 4, 8, None, 50, 90, 130, 170, 210, 250]
    shown = [wrong if time is None else Fraction(time, 100) for time in hundredths]
    times, num_repaired = measured_times(shown, None, [Fraction(25)])
    assert num_repaired == 1
    assert [float(times.start(i)) for i in range(10)] == pytest.approx(
        [0, 0.04, 0.08, 0.12, 0.5, 0.9, 1.3, 1.7, 2.1, 2.5]
    )


def test_times_in_the_order_of_coding_say_nothing() -> None:
    order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8]
    times, _ = measured_times([Fraction(i, 25) for i in order], None, [Fraction(25)])
    assert times == steady_times(10, Fraction(25))


def test_a_file_whose_clock_starts_anew_is_refused() -> None:
    shown = [Fraction(i % 50, 25) for i in range(100)]
    with pytest.raises(ValueError, match="jump back by 2.0 s at frame 51, wanted rising times"):
        measured_times(shown, None, [Fraction(25)])


def test_a_pause_is_kept_and_a_clock_that_leaps_is_refused() -> None:
    shown = [Fraction(0), Fraction(1, 25), Fraction(3600)]
    times, _ = measured_times(shown, None, [Fraction(25)])
    assert times.start(2) == 3600
    with pytest.raises(ValueError, match="jump on by 90000.0 s at frame 2"):
        measured_times([Fraction(0), Fraction(90000)], None, [Fraction(25)])


def test_a_last_frame_of_a_moment_is_a_fault() -> None:
    shown = [Fraction(i, 25) for i in range(10)]
    times, _ = measured_times(shown, Fraction(1, 12800), [Fraction(25)])
    assert times == steady_times(10, Fraction(25))


def test_one_frame_lasts_as_long_as_the_file_says() -> None:
    assert measured_times([Fraction(3)], None, [Fraction(24)])[0].duration == Fraction(1, 24)


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

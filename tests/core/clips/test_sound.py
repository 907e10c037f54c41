from fractions import Fraction

import pytest
import torch

from memv2v_core.clips.sound import at_their_times, mixed_to_stereo

RATE = 1000


def piece(value: float, count: int) -> torch.Tensor:
    return torch.full((2, count), value)


def joined(
    pieces: list, start_s: str = "0", duration_s: str | None = None, picture_s: str = "10"
) -> list[float]:
    duration = None if duration_s is None else Fraction(duration_s)
    picture = Fraction(picture_s)
    found = list(at_their_times(iter(pieces), RATE, Fraction(start_s), picture, duration))
    samples = torch.cat(found, dim=1) if found else torch.zeros(2, 0)
    assert torch.equal(samples[0], samples[1])
    return samples[0].tolist()


def test_pieces_that_follow_each_other_are_joined() -> None:
    pieces = [(Fraction(0), piece(1, 100)), (Fraction(1, 10), piece(2, 100))]
    assert joined(pieces) == [1] * 100 + [2] * 100


def test_times_that_are_only_rounded_make_no_hole() -> None:
    pieces = [(Fraction(0), piece(1, 100)), (Fraction(115, 1000), piece(2, 100))]
    assert joined(pieces) == [1] * 100 + [2] * 100


def test_small_errors_do_not_add_up() -> None:
    # Each piece is late by another 1 ms, so that the tenth is late by ten.
    pieces = [(Fraction(i * 101, 1000), piece(i, 100)) for i in range(100)]
    sound = joined(pieces)
    late = [abs(sound.index(i) - i * 101) for i in range(100)]
    assert max(late) <= 20


@pytest.mark.parametrize("hole_s", ["1/2", "3"])
def test_a_hole_and_a_late_begin_are_silence(hole_s: str) -> None:
    pieces = [
        (Fraction(1, 5), piece(1, 100)),
        (Fraction(3, 10) + Fraction(hole_s), piece(2, 50)),
        (None, piece(3, 50)),
    ]
    hole = int(Fraction(hole_s) * RATE)
    assert joined(pieces) == [0] * 200 + [1] * 100 + [0] * hole + [2] * 50 + [3] * 50


def test_what_came_before_the_picture_is_cut_exactly() -> None:
    pieces = [(Fraction(i, 10), piece(i, 100)) for i in range(4)]
    assert joined(pieces, start_s="0.205") == [2] * 95 + [3] * 100
    assert joined(pieces, start_s="0.205", duration_s="0.1") == [2] * 95 + [3] * 5
    assert joined(pieces, start_s="9") == []


def test_what_comes_twice_is_heard_once() -> None:
    pieces = [(Fraction(0), piece(1, 100)), (Fraction(5, 100), piece(2, 100))]
    assert joined(pieces) == [1] * 100 + [2] * 50


def test_a_hole_that_goes_on_behind_the_pictures_ends_the_sound() -> None:
    pieces = [(Fraction(0), piece(1, 100)), (Fraction(100000), piece(2, 100))]
    assert joined(pieces, picture_s="0.8") == [1] * 100
    # Sound that is merely longer than the pictures stays.
    pieces = [(Fraction(i, 10), piece(i, 100)) for i in range(30)]
    assert len(joined(pieces, picture_s="0.8")) == 3000


def test_a_hole_that_reaches_beyond_the_end_is_cut() -> None:
    pieces = [(Fraction(0), piece(1, 100)), (Fraction(5), piece(2, 100))]
    assert joined(pieces, duration_s="0.4") == [1] * 100 + [0] * 300


def test_channels_are_mixed_by_turns() -> None:
    mixed = mixed_to_stereo(torch.tensor([[1.0], [10.0], [3.0], [20.0]]))
    assert mixed.tolist() == [[2.0], [15.0]]

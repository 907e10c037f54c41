import numpy
import pytest

from memv2v_core.clips.colour import ColourSpace, PlainColour, primaries_matrix


def one(space: ColourSpace, *signal: float) -> list[int]:
    """A pixel of this signal, 0 to 1, as plain colour in 8 bits."""
    picture = numpy.rint(numpy.array(signal) * 65535).astype(numpy.uint16)[None, None]
    return PlainColour(space)(picture)[0, 0].tolist()


def test_bt2020_to_bt709_is_the_matrix_of_bt2087() -> None:
    # ITU-R BT.2407, Annex 1.
    wanted = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    assert numpy.abs(primaries_matrix("bt2020", "bt709") - wanted).max() < 1e-4
    assert numpy.allclose(primaries_matrix("p3", "p3"), numpy.eye(3))


@pytest.mark.parametrize(
    ("nits", "signal"),
    # SMPTE ST 2084: 100 cd/m2 is 50.8 % of the signal, and 26 cd/m2 (BT.2408's grey) 38 %.
    [(100, 0.5081), (26, 0.378), (0, 0.0)],
)
def test_pq_keeps_brightness_below_the_knee(nits: float, signal: float) -> None:
    grey = round(255 * (nits / 203) ** (1 / 2.4))
    assert one(ColourSpace("pq", "bt2020"), signal, signal, signal) == pytest.approx(
        [grey] * 3, abs=1
    )


def test_white_and_highlights_of_hdr_stay_apart() -> None:
    # BT.2408: white is at 58 % of PQ and at 75 % of HLG; 75 % of PQ is 983 cd/m2.
    for transfer, white, highlight in (("pq", 0.58, 0.75), ("hlg", 0.75, 1.0)):
        space = ColourSpace(transfer, "bt2020")
        (shown, *_), (bright, *_) = one(space, *[white] * 3), one(space, *[highlight] * 3)
        assert 244 <= shown <= 250
        assert 253 <= bright <= 255
        assert bright > shown + 4


def test_a_highlight_keeps_its_hue() -> None:
    red, green, blue = one(ColourSpace("pq", "bt709"), 0.75, 0.6, 0.6)
    assert red >= 253
    assert green == blue < 200


def test_plain_colour_of_wide_primaries_keeps_greys_and_moves_colours() -> None:
    for primaries in ("bt2020", "p3"):
        space = ColourSpace("sdr", primaries)
        assert one(space, 0.5, 0.5, 0.5) == pytest.approx([128] * 3, abs=1)
        # A soft red of wide primaries is a stronger one of BT.709.
        red, green, blue = one(space, 0.6, 0.4, 0.4)
        assert red > 155
        assert green < 102
        assert blue < 103

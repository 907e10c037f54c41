"""Pictures as people bring them: colour, shape, fields and transparency."""

from fractions import Fraction

import numpy
import pytest
from instruments.footage import (
    BT709,
    BT2020,
    COLUMNS,
    FULL_RANGE,
    HLG,
    PQ,
    RATE,
    ROWS,
    Film,
    moving_pictures,
    psnr_db,
)

PLAIN = (BT709, BT709, BT709, 1)
# What the chain of one plain film through H.264 at the pack's quality reaches and more.
GOOD_DB = 36
ONE = 1 << 16


def hdr_film(transfer: int) -> Film:
    """The plain pictures as an HDR camera would have filmed them: white at 203 cd/m2."""
    encode = {PQ: pq_signal, HLG: hlg_signal}[transfer]
    pictures = []
    for plain in moving_pictures():
        light = (plain / 255) ** 2.4
        # BT.2087: BT.709 to BT.2020.
        wide = (
            light
            @ numpy.array(
                [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
            ).T
        )
        signal = encode(203 * wide)
        pictures.append((signal * 65535).round().astype(numpy.uint16))
    return Film(
        pictures,
        codec="ffv1",
        pixel_format="yuv444p16le",
        source_format="gbrp16le",
        options={},
        colour={
            "color_primaries": BT2020,
            "color_trc": transfer,
            "colorspace": BT2020,
            "color_range": 1,
        },
    )


def pq_signal(nits: numpy.ndarray) -> numpy.ndarray:
    """SMPTE ST 2084."""
    y = (nits / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def hlg_signal(nits: numpy.ndarray) -> numpy.ndarray:
    """ARIB STD-B67, for a display of 1000 cd/m2."""
    luma = nits @ numpy.array([0.2627, 0.6780, 0.0593])
    scene = nits / 1000 * (luma[..., None] / 1000) ** (1 / 1.2 - 1)
    low = numpy.sqrt(3 * scene)
    high = 0.17883277 * numpy.log(numpy.maximum(12 * scene - 0.28466892, 1e-6)) + 0.55991073
    return numpy.where(scene <= 1 / 12, low, high)


@pytest.mark.parametrize(("transfer", "name"), [(PQ, "HDR (PQ)"), (HLG, "HDR (HLG)")])
def test_hdr_is_tone_mapped_to_the_plain_picture(passed, transfer: int, name: str) -> None:
    result = passed(hdr_film(transfer))
    assert psnr_db(result.shown.pictures, numpy.stack(moving_pictures())) > 34
    assert result.shown.tags == PLAIN
    assert f"{name} is tone-mapped to plain colour" in result.said
    assert "16 bits per colour become 8" in result.said


def test_the_hdr_file_is_near_its_plain_original(passed, case) -> None:
    import av

    with av.open(str(case("plain_soft.mp4"))) as container:
        plain = numpy.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    # A plain tone mapping reaches 29 dB.
    assert psnr_db(passed(case("hdr_pq.mp4")).shown.pictures, plain) > 27


@pytest.mark.parametrize(
    ("pixel_format", "colour", "said"),
    [
        ("yuv420p", {"colorspace": BT709, "color_range": 1}, ""),
        ("yuvj420p", {"colorspace": BT709, "color_range": FULL_RANGE}, ""),
        ("yuv422p", {"colorspace": BT709, "color_range": 1}, ""),
        ("yuv444p", {"colorspace": BT709, "color_range": FULL_RANGE}, ""),
        ("yuv420p10le", {"colorspace": BT709, "color_range": 1}, "10 bits per colour become 8"),
        ("yuv444p10le", {"colorspace": 5, "color_range": 1}, "10 bits per colour become 8"),
    ],
)
def test_a_plain_picture_in_any_format_keeps_its_colours(
    passed, pixel_format: str, colour: dict, said: str
) -> None:
    result = passed(Film(moving_pictures(), pixel_format=pixel_format, colour=colour))
    assert psnr_db(result.shown.pictures, numpy.stack(moving_pictures())) > GOOD_DB
    assert result.shown.tags == PLAIN
    assert said in result.said
    # Measured at most 1.43: the player of the tests rounds down.
    assert result.shift() < 2


def test_wide_pixels_are_shown_wide(passed) -> None:
    result = passed(Film(moving_pictures(), pixel_aspect=Fraction(3, 2)))
    assert result.shown.pictures.shape[1:3] == (ROWS, 96)
    assert "pixels are 3:2 wide: pictures are shown as 96x48" in result.said
    # The red square of the picture is a half wider now.
    x = numpy.flatnonzero(result.shown.pictures[5, 9, :48, 0] > 150)
    assert (x[0], x[-1]) == (pytest.approx(12, abs=1.5), pytest.approx(23, abs=1.5))


def test_the_file_with_wide_pixels(passed, case) -> None:
    rows, columns = passed(case("wide_pixels.mp4")).shown.pictures.shape[1:3]
    assert columns / rows == pytest.approx(2.37, abs=0.01)


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ((-ONE, 0, 0, 0, ONE, 0, COLUMNS * ONE, 0, ONE << 14), lambda p: p[:, ::-1]),
        ((ONE, 0, 0, 0, -ONE, 0, 0, ROWS * ONE, ONE << 14), lambda p: p[::-1]),
        ((-ONE, 0, 0, 0, -ONE, 0, 0, 0, ONE << 14), lambda p: p[::-1, ::-1]),
        ((0, ONE, 0, -ONE, 0, 0, ROWS * ONE, 0, ONE << 14), lambda p: numpy.rot90(p, -1)),
        ((0, -ONE, 0, ONE, 0, 0, 0, COLUMNS * ONE, ONE << 14), lambda p: numpy.rot90(p, 1)),
        ((0, ONE, 0, ONE, 0, 0, 0, 0, ONE << 14), lambda p: p.swapaxes(0, 1)),
    ],
    ids=["mirrored", "upside down", "half turn", "right", "left", "transposed"],
)
def test_a_picture_has_the_side_that_a_player_shows(passed, matrix: tuple, turn) -> None:
    result = passed(Film(moving_pictures(), matrix=matrix), "film.mp4")
    wanted = numpy.stack([turn(picture) for picture in moving_pictures()])
    assert result.shown.pictures.shape == wanted.shape
    assert psnr_db(result.shown.pictures, wanted) > 30
    assert "as players show them" in result.said


@pytest.mark.parametrize(("rows", "columns"), [(49, 64), (48, 65), (121, 213)])
def test_odd_sides_come_back(passed, rows: int, columns: int) -> None:
    pictures = moving_pictures(9, rows, columns)
    result = passed(Film(pictures, codec="ffv1", pixel_format="yuv444p", options={}))
    assert result.shown.pictures.shape == (9, rows, columns, 3)
    assert "odd sides need 4:4:4 colours" in result.said


def test_the_file_with_odd_sides(passed, case) -> None:
    assert passed(case("odd_213x121.webm")).shown.pictures.shape == (15, 121, 213, 3)


def test_an_interlaced_film_is_deinterlaced(passed) -> None:
    # A bar that moves by 4 pixels a field: even rows of a frame are of one field, odd ones of the
    # next.
    fields = []
    for i in range(24):
        field = numpy.full((ROWS, COLUMNS, 3), 60, numpy.uint8)
        field[:, 4 + i * 2 : 12 + i * 2] = 200
        fields.append(field)
    frames = []
    for first, second in zip(fields[::2], fields[1::2], strict=True):
        frame = first.copy()
        frame[1::2] = second[1::2]
        frames.append(frame)
    options = {"x264-params": "interlaced=1:tff=1", "crf": "4"}
    result = passed(Film(frames, options=options))
    assert "interlaced: it is deinterlaced" in result.said
    assert len(result.shown.pictures) == 12
    combed, shown = numpy.stack(frames).astype(float), result.shown.pictures.astype(float)

    def teeth(pictures: numpy.ndarray) -> float:
        """How much a row differs from the mean of its neighbours."""
        middle = (pictures[:, :-2] + pictures[:, 2:]) / 2
        return float(numpy.abs(pictures[:, 1:-1] - middle).mean())

    assert teeth(shown) < 0.25 * teeth(combed)


def test_the_interlaced_file(passed, case) -> None:
    result = passed(case("interlaced.mpg"))
    assert "interlaced: it is deinterlaced" in result.said
    assert len(result.shown.pictures) == 20


@pytest.mark.parametrize(
    ("codec", "pixel_format", "name"), [("png", "rgba", "film.mov"), ("ffv1", "yuva444p", "f.mkv")]
)
def test_transparent_parts_are_shown_on_black(
    passed, codec: str, pixel_format: str, name: str
) -> None:
    alpha = numpy.full((ROWS, COLUMNS, 1), 255, numpy.uint8)
    alpha[:, COLUMNS // 2 :] = 0
    pictures = [numpy.concatenate((p, alpha), axis=-1) for p in moving_pictures()]
    film = Film(pictures, codec, pixel_format, source_format="rgba", options={})
    result = passed(film, name)
    assert "transparent parts are shown on black" in result.said
    wanted = numpy.stack(moving_pictures()) * (alpha > 0)
    assert psnr_db(result.shown.pictures, wanted) > 30


def test_the_file_with_a_matte(passed, case) -> None:
    result = passed(case("matte.mov"))
    assert result.shown.pictures[:, :, 36:].max() < 12
    assert result.shown.pictures[:, :, :28].mean() > 30


def test_a_steady_rate_is_exact(passed) -> None:
    rate = Fraction(24000, 1001)
    for name in ("film.mp4", "film.mkv"):
        result = passed(Film(moving_pictures(), rate=rate), name)
        assert result.shown.rate == rate
        assert result.shown.length_s == pytest.approx(float(20 / rate), abs=1e-4)
    assert rate != RATE

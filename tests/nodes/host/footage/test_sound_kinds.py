"""Sound as people bring it: layouts, times, tracks, and what cannot be decoded."""

from pathlib import Path

import numpy
import pytest
from instruments.footage import (
    HERTZ,
    NUM_FRAMES,
    RATE,
    Film,
    Track,
    beeps,
    make_film,
    moving_pictures,
    tone,
)

LENGTH_S = float(NUM_FRAMES / RATE)
IN_SYNC_S = 0.03
# Of QuickTime: channels by a bitmap, and a 7.1 whose order PyAV cannot hold.
BITMAP, SEVEN_ONE = 0x10000, 0x800008


def film(*tracks: Track) -> Film:
    return Film(moving_pictures(), tracks=tracks)


def chord(channels: int) -> numpy.ndarray:
    """(channels, n), each channel with a tone of its own, as long as the picture."""
    return numpy.stack([tone(300 + 200 * i, LENGTH_S) for i in range(channels)])


@pytest.fixture
def unusual_order(tmp_path: Path) -> Path:
    """Eight channels of PCM in a QuickTime file, whose order is told by a number of Apple's."""
    track = Track(chord(8), codec="pcm_s16le", layout="7.1")
    path = make_film(tmp_path / "unusual.mov", film(track, Track(chord(2), layout="stereo")))
    data = path.read_bytes()
    place = data.index(b"chan") + 8
    assert int.from_bytes(data[place : place + 4], "big") == BITMAP
    tag = SEVEN_ONE.to_bytes(4, "big") + bytes(4)
    path.write_bytes(data[:place] + tag + data[place + 8 :])
    return path


def test_a_sound_that_would_end_the_process_is_left_out(passed, unusual_order: Path) -> None:
    result = passed(unusual_order)
    assert "sound track 1 has 8 channels in an order that PyAV cannot hold: it is left out" in (
        result.said
    )
    assert "2 sound tracks: track 2, the first that can be decoded, is kept" in result.said
    assert result.shown.tones_hz() == pytest.approx([300, 500], abs=3)


def test_the_file_that_ended_the_process(passed, case) -> None:
    result = passed(case("sound_7.1_pcm.mov"))
    assert result.shown.sound is None
    assert "it is left out" in result.said
    assert "the result has no sound" in result.said
    assert len(result.shown.pictures) == 15


@pytest.mark.parametrize("channels", [1, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize(("codec", "name"), [("pcm_s16le", "film.mkv"), ("aac", "film.mp4")])
def test_up_to_eight_channels_are_kept(passed, channels: int, codec: str, name: str) -> None:
    layout = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")[channels - 1]
    # The fourth channel of these layouts is for low tones alone.
    sound = chord(channels)
    if channels > 5:
        sound[3] = tone(60, LENGTH_S)
    result = passed(film(Track(sound, codec=codec, layout=layout)), name)
    wanted = [60 if channels > 5 and i == 3 else 300 + 200 * i for i in range(channels)]
    assert result.shown.tones_hz() == pytest.approx(wanted, abs=3)


def test_sixteen_channels_are_mixed_and_that_is_said(passed) -> None:
    track = Track(chord(16), codec="pcm_s16le", layout="hexadecagonal")
    result = passed(film(track))
    assert "16 channels of sound are mixed down to stereo" in result.said
    spectrum = numpy.abs(numpy.fft.rfft(result.shown.sound, axis=1))
    count = result.shown.sound.shape[1]
    for side in (0, 1):
        heard = {
            hertz
            for hertz in range(300, 3500, 200)
            if spectrum[side, round(hertz * count / HERTZ)] > 0.3 * spectrum[side].max()
        }
        assert heard == {300 + 200 * i for i in range(side, 16, 2)}


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
@pytest.mark.parametrize("start_s", [0.3, -0.2])
def test_sound_that_begins_at_another_time_stays_in_sync(
    passed, tmp_path: Path, codec: str, start_s: float
) -> None:
    # Both are moved, so that no time is negative.
    times = [1 + i / 25 for i in range(NUM_FRAMES)]
    track = Track(beeps(0.25, 0.4), start_s=1 + start_s, codec=codec)
    result = passed(Film(moving_pictures(), times_s=times, tracks=(track,)))
    wanted = [0.25 + start_s, 0.4 + start_s]
    assert result.shown.beeps_s() == pytest.approx(wanted, abs=IN_SYNC_S)
    words = "after the picture: silence" if start_s > 0 else "before the picture: that part is cut"
    assert words in result.said


def test_the_file_whose_sound_began_early(passed, case) -> None:
    result = passed(case("sound_begins_at_0.5s.mkv"))
    sound = numpy.abs(result.shown.sound).max(axis=0)
    first = numpy.flatnonzero(sound > 0.02)[0] / result.shown.hertz
    assert first == pytest.approx(0.5, abs=IN_SYNC_S)


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_a_hole_in_the_sound_is_silence(passed, codec: str) -> None:
    # What follows 0.2 s is heard 0.3 s later.
    track = Track(beeps(0.1, 0.3, seconds=0.5), codec=codec, jump=(round(0.2 * HERTZ), 0.3))
    result = passed(film(track))
    assert result.shown.beeps_s() == pytest.approx([0.1, 0.6], abs=IN_SYNC_S)
    assert "the times of the sound jump 1 times: silence fills 0.3" in result.said


@pytest.mark.parametrize("seconds", [0.4, 1.5])
def test_sound_of_another_length_than_the_picture_is_kept(passed, seconds: float) -> None:
    result = passed(film(Track(beeps(0.1, 0.3, seconds=seconds))))
    assert result.shown.beeps_s() == pytest.approx([0.1, 0.3], abs=IN_SYNC_S)
    assert result.shown.length_s == pytest.approx(LENGTH_S, abs=0.001)
    assert result.shown.sound.shape[1] / HERTZ == pytest.approx(seconds, abs=0.05)


@pytest.mark.parametrize("window", [{"start_time": 0.2}, {"start_time": 0.2, "duration": 0.4}])
def test_the_sound_of_a_trimmed_clip_is_trimmed(passed, window: dict) -> None:
    result = passed(film(Track(beeps(0.1, 0.3))), **window)
    assert result.shown.beeps_s() == pytest.approx([0.1], abs=IN_SYNC_S)
    length_s = window.get("duration", LENGTH_S - 0.2)
    assert result.shown.length_s == pytest.approx(length_s, abs=0.001)
    assert result.shown.sound.shape[1] / HERTZ == pytest.approx(length_s, abs=0.05)


@pytest.mark.parametrize("default", [0, 1])
def test_the_default_track_is_kept(passed, default: int) -> None:
    tracks = [
        Track(tone(hertz, LENGTH_S)[None], is_default=i == default)
        for i, hertz in enumerate((300, 900))
    ]
    result = passed(film(*tracks))
    assert result.shown.tones_hz() == pytest.approx([(300, 900)[default]], abs=3)
    assert f"the file has 2 sound tracks: track {default + 1}, the default, is kept" in result.said


def test_the_file_with_two_tracks(passed, case) -> None:
    assert passed(case("two_tracks_300_900hz.mp4")).shown.tones_hz() == pytest.approx([300], abs=5)

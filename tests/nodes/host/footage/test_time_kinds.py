"""Times of frames as people bring them, and files that are broken."""

from fractions import Fraction
from pathlib import Path

import numpy
import pytest
from instruments.footage import (
    NUM_FRAMES,
    Film,
    Track,
    beeps,
    make_film,
    moving_pictures,
    psnr_db,
)


def test_a_rate_that_varies_is_kept(passed) -> None:
    times = [i / 25 if i < 10 else 0.4 + (i - 10) / 6 for i in range(NUM_FRAMES)]
    film = Film(moving_pictures(), times_s=times, tracks=(Track(beeps(0.2, 1.5, seconds=2.0)),))
    result = passed(film)
    assert result.shown.times_s == pytest.approx(times, abs=0.002)
    assert result.shown.beeps_s() == pytest.approx([0.2, 1.5], abs=0.03)
    assert "the frame rate varies from 5.99 to 25.00" in result.said
    assert "at the times of the original" in result.said


def test_the_file_with_two_rates(passed, case) -> None:
    import av

    path = case("two_rates.mp4")
    with av.open(str(path)) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
    assert passed(path).shown.times_s == pytest.approx(times, abs=0.002)


def test_a_gif_keeps_its_delays(passed) -> None:
    delays = [0.05] * 10 + [0.12]
    times = [sum(delays[:i]) for i in range(11)]
    film = Film(moving_pictures(11), "gif", "bgr8", times_s=times, rate=Fraction(20), options={})
    result = passed(film, "film.gif")
    assert result.shown.times_s == pytest.approx(times, abs=0.001)
    assert len(result.shown.pictures) == 11


def test_a_trim_counts_from_the_first_frame(passed) -> None:
    # As broadcast streams do, the clock of this one starts at 1.4 s.
    times = [1.4 + i / 25 for i in range(NUM_FRAMES)]
    track = Track(beeps(0.1, 0.5), start_s=1.4)
    film = Film(moving_pictures(), times_s=times, tracks=(track,))
    result = passed(film, start_time=0.4, duration=0.2)
    wanted = numpy.stack(moving_pictures()[10:15])
    assert result.shown.pictures.shape == wanted.shape
    assert psnr_db(result.shown.pictures, wanted) > 36
    assert result.shown.beeps_s() == pytest.approx([0.1], abs=0.03)


def test_a_file_without_its_index_is_named(passed, tmp_path: Path) -> None:
    whole = make_film(tmp_path / "whole.mp4", Film(moving_pictures()))
    data = whole.read_bytes()
    assert data.index(b"moov") > len(data) // 2
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"video cut.mp4 has no index .* copy the file again"):
        passed(cut)


def test_the_file_without_its_index(passed, case) -> None:
    with pytest.raises(ValueError, match=r"video no_index.mp4 has no index"):
        passed(case("no_index.mp4"))


def test_what_is_no_video_is_named(passed, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("not a film\n" * 100)
    with pytest.raises(ValueError, match=r"video notes.mp4 could not be opened .* convert it"):
        passed(tmp_path / "notes.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(ValueError, match=r"video empty.mp4 could not be opened"):
        passed(tmp_path / "empty.mp4")


def test_a_cut_file_says_how_many_frames_could_be_read(passed, tmp_path: Path) -> None:
    film = Film(moving_pictures(100), options={"crf": "4", "bf": "0", "g": "10"})
    whole = make_film(tmp_path / "whole.mp4", film)
    fast = tmp_path / "fast.mp4"
    _with_index_first(whole, fast)
    data = fast.read_bytes()
    fast.write_bytes(data[: int(len(data) * 0.6)])
    result = passed(fast)
    count = len(result.shown.pictures)
    assert 40 < count < 70
    assert f"fast.mp4 says that it has 100 frames, but only {count} could be read" in result.said


def _with_index_first(source: Path, target: Path) -> None:
    import av

    with (
        av.open(str(source)) as read,
        av.open(str(target), "w", options={"movflags": "faststart"}) as output,
    ):
        stream = output.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)


def test_damaged_packets_are_counted(passed, tmp_path: Path) -> None:
    film = Film(moving_pictures(40), "png", "rgb24", options={})
    path = make_film(tmp_path / "damaged.mov", film)
    data = bytearray(path.read_bytes())
    places = [i for i in range(len(data) - 8) if data[i : i + 8] == b"\x89PNG\r\n\x1a\n"]
    for place in places[10:13]:
        data[place : place + 60] = bytes(60)
    path.write_bytes(bytes(data))
    result = passed(path)
    assert len(result.shown.pictures) == 37
    assert "3 packets of the picture are damaged and were passed over" in result.said


def test_a_size_that_changes_is_brought_to_the_first(passed, tmp_path: Path) -> None:
    parts = [
        make_film(tmp_path / "a.ts", Film(moving_pictures(10))),
        make_film(tmp_path / "b.ts", Film(moving_pictures(10, 96, 128))),
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    result = passed(joined)
    assert result.shown.pictures.shape[1:] == (48, 64, 3)
    assert "10 frames have another size than the first: they are scaled to its 64x48" in result.said
    assert psnr_db(result.shown.pictures[-1], moving_pictures(10)[-1]) > 25


def test_the_last_picture_of_a_gif_is_shown_as_long_as_it_says(passed, tmp_path: Path) -> None:
    from PIL import Image

    delays = [50] * 10 + [110]
    first, *others = (Image.fromarray(picture) for picture in moving_pictures(11))
    path = tmp_path / "film.gif"
    first.save(path, save_all=True, append_images=others, duration=delays, loop=0)
    result = passed(path)
    assert result.shown.times_s == pytest.approx([i * 0.05 for i in range(11)], abs=0.001)
    assert result.shown.length_s == pytest.approx(0.61, abs=0.002)

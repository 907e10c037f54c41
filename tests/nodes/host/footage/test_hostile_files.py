"""Files and inputs that a hostile tester found: none may end the process, lose time or be misread
without a word.
"""

import math
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy
import pytest
import torch
from instruments.footage import (
    HERTZ,
    NUM_FRAMES,
    Film,
    Track,
    beeps,
    make_film,
    moving_pictures,
    psnr_db,
    tone,
)

RATE = Fraction(25)
LENGTH_S = float(NUM_FRAMES / RATE)


def opened(source: "Path | BytesIO", **window: float):
    from comfy_api.latest import InputImpl

    from memory_v2v.nodes.host.footage.reading import open_clip

    source = str(source) if isinstance(source, Path) else source
    return open_clip(None, InputImpl.VideoFromFile(source, **window), RATE, None)


def test_one_wrong_time_of_the_sound_makes_no_hours_of_silence(passed) -> None:
    track = Track(beeps(0.1, 0.5), jump=(19200, 100000.0))
    result = passed(Film(moving_pictures(), tracks=(track,)))
    assert result.shown.beeps_s() == pytest.approx([0.1], abs=0.03)
    assert result.shown.sound.shape[1] / HERTZ < 2
    assert "the times of the sound jump" in result.said


def test_a_doubled_time_moves_no_other(passed) -> None:
    times = [0, 0.04, 0.08, 0.5, 0.9, 1.3, 1.7, 2.1, 2.5, 2.9]
    film = Film(moving_pictures(10), "ffv1", "yuv444p", times_s=times, options={})
    assert passed(film).shown.times_s == pytest.approx(times, abs=0.002)


@pytest.mark.parametrize(("start", "stop"), [(0.3, 0.7), (0.9, 1.3), (2.0, 2.4), (0.04, 0.4)])
@pytest.mark.parametrize("group", [12, 250])
def test_a_broadcast_stream_is_trimmed_exactly(
    comfy_api, tmp_path: Path, group: int, start: float, stop: float
) -> None:
    options = {"crf": "4", "g": str(group), "bf": "0"}
    path = make_film(tmp_path / "film.ts", Film(moving_pictures(60), options=options))
    clip = opened(path, start_time=start, duration=stop - start)
    wanted = numpy.stack(moving_pictures(60)[round(start * 25) : round(stop * 25)])
    found = (torch.cat(list(clip.reader()(0, clip.num_frames))).movedim(1, -1) * 255).numpy()
    assert found.shape == wanted.shape
    assert psnr_db(found, wanted) > 36


def test_a_broadcast_stream_in_memory_is_read_as_on_disk(comfy_api, tmp_path: Path) -> None:
    noise = numpy.random.default_rng(0).integers(0, 255, (60, 48, 64, 3), numpy.uint8)
    film = Film(list(noise), options={"crf": "0"}, tracks=(Track(beeps(0.1, seconds=2.4)),))
    path = make_film(tmp_path / "film.ts", film)
    assert path.stat().st_size > 200_000
    assert opened(BytesIO(path.read_bytes())).num_frames == opened(path).num_frames == 60


@pytest.mark.parametrize("layouts", [("mono", "stereo"), ("stereo", "mono")])
def test_channels_that_change_in_mid_stream_keep_the_sound(
    passed, tmp_path: Path, layouts: tuple[str, str]
) -> None:
    data = b""
    for i, layout in enumerate(layouts):
        sound = numpy.repeat(beeps(0.1, 0.5), 1 + (layout == "stereo"), axis=0)
        times = [i * LENGTH_S + k / 25 for k in range(NUM_FRAMES)]
        track = Track(sound, start_s=i * LENGTH_S, layout=layout)
        # Without frames out of order, whose first time would be moved.
        options = {"crf": "4", "bf": "0"}
        film = Film(moving_pictures(), times_s=times, tracks=(track,), options=options)
        data += make_film(tmp_path / f"{i}.ts", film).read_bytes()
    (tmp_path / "joined.ts").write_bytes(data)
    result = passed(tmp_path / "joined.ts")
    assert result.shown.beeps_s() == pytest.approx([0.1, 0.5, 0.9, 1.3], abs=0.03)


def test_titles_in_another_alphabet_do_not_matter(passed, tmp_path: Path) -> None:
    path = make_film(tmp_path / "film.mkv", Film(moving_pictures()))
    data = path.read_bytes()
    # The name of the program that wrote the file.
    assert b"Lavf" in data
    path.write_bytes(data.replace(b"Lavf", b"caf\xe9"))
    assert len(passed(path).shown.pictures) == NUM_FRAMES


def test_a_pixel_aspect_that_cannot_be_is_ignored(passed, tmp_path: Path) -> None:
    film = Film(moving_pictures(), "png", "rgb24", options={}, pixel_aspect=Fraction(3, 2))
    path = make_film(tmp_path / "film.mov", film)
    data = path.read_bytes()
    place = data.index(b"pasp") + 4
    assert data[place : place + 8] == bytes((0, 0, 0, 3, 0, 0, 0, 2))
    path.write_bytes(data[:place] + bytes((0, 0, 3, 232, 0, 0, 0, 1)) + data[place + 8 :])
    result = passed(path)
    assert result.shown.pictures.shape[1:3] == (48, 64)
    assert "it says that its pixels are 1000:1 wide: ignored" in result.said


@pytest.mark.parametrize("codec", ["ac3", "mp3", "aac", "flac"])
def test_a_damaged_packet_of_sound_loses_no_result(passed, tmp_path: Path, codec: str) -> None:
    path = make_film(
        tmp_path / "film.mkv", Film(moving_pictures(), tracks=(Track(beeps(0.6), codec=codec),))
    )
    import av

    with av.open(str(path)) as container:
        packets = [p for p in container.demux(audio=0) if p.size]
        bodies = [bytes(p) for p in packets[:2]]
    data = path.read_bytes()
    for body in bodies:
        place = data.find(body)
        if place >= 0:
            data = data[:place] + bytes(min(8, len(body))) + data[place + min(8, len(body)) :]
    path.write_bytes(data)
    result = passed(path)
    assert len(result.shown.pictures) == NUM_FRAMES
    assert result.shown.beeps_s() == pytest.approx([0.6], abs=0.05)


def test_a_sound_of_no_numbers_is_silent_there(passed) -> None:
    sound = beeps(0.1, 0.5)
    sound[0, 2000:2010], sound[0, 3000] = math.nan, math.inf
    track = Track(sound, codec="pcm_f32le")
    result = passed(Film(moving_pictures(), tracks=(track,)))
    assert result.shown.beeps_s() == pytest.approx([0.1, 0.5], abs=0.03)


def test_another_file_of_the_same_name_is_noticed(comfy_api, tmp_path: Path) -> None:
    from instruments.clips import frames_of

    films = [
        Film(moving_pictures(), tracks=(Track(tone(hertz, LENGTH_S)[None]),))
        for hertz in (300, 900)
    ]
    path = make_film(tmp_path / "film.mkv", films[0])
    clip = opened(path)
    frames_of(clip)
    path.unlink()
    make_film(path, films[1])
    for use in (clip.reader, clip.sound.waveform):
        with pytest.raises(ValueError, match="film.mkv changed since it was opened"):
            use()
    path.unlink()
    with pytest.raises(ValueError, match="film.mkv changed since it was opened"):
        clip.reader()


def test_what_is_no_file_is_named(comfy_api, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder or a device, wanted a video file"):
        opened(tmp_path)
    with pytest.raises(ValueError, match="gone.mp4 is no longer there"):
        opened(tmp_path / "gone.mp4")
    film = make_film(tmp_path / "film.mkv", Film(moving_pictures()))
    with pytest.raises(ValueError, match="film.mkv has no frames between 5 s and its end"):
        opened(film, start_time=5.0)
    with pytest.raises(ValueError, match="film.mkv has no frames between 5 s and 6 s"):
        opened(film, start_time=5.0, duration=1.0)


@pytest.mark.parametrize(
    ("images", "rate", "audio", "message"),
    [
        (torch.rand(3, 8, 8, 2), 25.0, None, "images got 2 channels, wanted 3"),
        (torch.rand(3, 8, 8, 5), 25.0, None, "images got 5 channels, wanted 3"),
        (torch.rand(3, 8, 8), 25.0, None, r"images got torch.float32 of shape \(3, 8, 8\)"),
        (torch.rand(0, 8, 8, 3), 25.0, None, r"images got torch.float32 of shape \(0, 8, 8, 3\)"),
        (torch.zeros(3, 8, 8, 3, dtype=torch.uint8), 25.0, None, "images got torch.uint8"),
        (torch.rand(3, 8, 8, 3), 0.0, None, "frame_rate got 0.0, wanted a number above 0"),
        (torch.rand(3, 8, 8, 3), math.nan, None, "frame_rate got nan"),
        (torch.rand(3, 8, 8, 3), -25.0, None, "frame_rate got -25.0"),
        (torch.rand(3, 8, 8, 3), 25.0, {}, "audio could not be read .* disconnect audio"),
        (
            torch.rand(3, 8, 8, 3),
            25.0,
            {"waveform": torch.zeros(2, 1, 960), "sample_rate": 8000},
            r"audio got a waveform of shape \(2, 1, 960\)",
        ),
        (
            torch.rand(3, 8, 8, 3),
            25.0,
            {"waveform": torch.zeros(960), "sample_rate": 8000},
            r"audio got a waveform of shape \(960,\)",
        ),
        (
            torch.rand(3, 8, 8, 3),
            25.0,
            {"waveform": torch.full((1, 1, 960), math.nan), "sample_rate": 8000},
            "other values than finite numbers",
        ),
        (
            torch.rand(3, 8, 8, 3),
            25.0,
            {"waveform": torch.zeros(1, 1, 960, dtype=torch.int16), "sample_rate": 8000},
            "audio got torch.int16 samples",
        ),
        (
            torch.rand(3, 8, 8, 3),
            25.0,
            {"waveform": torch.zeros(1, 1, 960), "sample_rate": 0},
            "at 0 samples a second",
        ),
    ],
)
def test_frames_and_sound_that_cannot_be_are_named(
    comfy_api, images: torch.Tensor, rate: float, audio: dict | None, message: str
) -> None:
    from memory_v2v.nodes.host.footage.reading import exact_rate, open_clip

    with pytest.raises(ValueError, match=message):
        open_clip(images, None, exact_rate(rate), audio)


def test_a_long_clip_is_fitted_a_few_frames_at_a_time(comfy_api, tmp_path: Path) -> None:
    from memory_v2v.nodes.host.clips import fitted
    from memv2v_core.clips.fitting import plan_fitting

    clip = opened(make_film(tmp_path / "film.mkv", Film(moving_pictures(40))))
    plan = plan_fitting(40, (48, 64), (48, 64), None, 1, "keep")
    whole = torch.cat(list(clip.reader()(0, 40))).movedim(1, -1)
    assert torch.equal(fitted.fitted_frames(clip, plan), whole)
    runs = fitted._runs(list(range(40)))
    assert max(stop - first for first, stop in runs) <= 8

"""Clips read a few frames at a time, and videos written as their frames come."""

import math
import platform
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

RATE = Fraction(24000, 1001)
SOUND_HZ = 44100
NUM_FRAMES, HEIGHT, WIDTH = 20, 48, 70
M_PERTURB = -6  # of glibc's mallopt


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Frames (F, H, W, 3), each of a grey of its own beside a picture that moves."""
    frames = (
        torch.linspace(0.1, 0.9, NUM_FRAMES)[:, None, None, None]
        .expand(-1, HEIGHT, WIDTH, 3)
        .clone()
    )
    for i in range(NUM_FRAMES):
        frames[i, 10:30, i : i + 20] = torch.tensor((0.8, 0.3, 0.2))
    return frames


@pytest.fixture(scope="module")
def sound() -> dict:
    """A second of two rising tones: what is shifted against it is unlike it."""
    seconds = torch.arange(SOUND_HZ) / SOUND_HZ
    tones = [
        torch.sin(2 * math.pi * (hertz * seconds + 300 * seconds**2)) / 2 for hertz in (200, 300)
    ]
    return {"waveform": torch.stack(tones)[None], "sample_rate": SOUND_HZ}


@pytest.fixture(scope="module")
def file(
    comfy_api, images: torch.Tensor, sound: dict, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The clip in an MP4 file with sound, as ComfyUI's own Save Video writes it."""
    from comfy_api.latest import InputImpl, Types

    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    parts = Types.VideoComponents(images=images, audio=sound, frame_rate=Fraction(24))
    InputImpl.VideoFromComponents(parts).save_to(str(path))
    return str(path)


def opened(file: str, **window: float):
    from comfy_api.latest import InputImpl

    from memory_v2v.nodes.host.clips.reading import open_clip

    video = InputImpl.VideoFromFile(file, **window)
    return video.get_components(), open_clip(None, video, RATE, None)


def frames_of(clip, start: int = 0, stop: int | None = None) -> torch.Tensor:
    return torch.cat(list(clip.reader()(start, clip.num_frames if stop is None else stop)))


@pytest.mark.parametrize(
    "window",
    [{}, {"start_time": 0.25}, {"start_time": 0.25, "duration": 0.25}, {"start_time": -0.25}],
)
def test_a_file_has_the_frames_that_comfyui_reads_in_it(comfy_api, file: str, window: dict) -> None:
    parts, clip = opened(file, **window)
    assert (clip.num_frames, clip.size, clip.frame_rate) == (len(parts.images), (HEIGHT, WIDTH), 24)
    difference = (frames_of(clip) - parts.images.movedim(-1, 1)).abs()
    # Measured 0.0036 and 0.102 where the square's edge lies between two values of colour; ComfyUI
    # 0.16.3 is rougher.
    assert difference.mean() < 0.005 and difference.max() < 0.25


def test_spans_that_overlap_are_the_parts_of_the_whole(comfy_api, file: str) -> None:
    _, clip = opened(file)
    whole, read = frames_of(clip), clip.reader()
    for start, stop in ((0, 9), (5, 14), (5, 14), (9, 9), (11, 20)):
        assert torch.equal(torch.cat([whole[:0], *read(start, stop)]), whole[start:stop])
    chunks = [len(chunk) for chunk in clip.reader()(0, 20)]
    assert chunks == [8, 8, 4]


def test_the_watcher_sees_every_frame_once(comfy_api, file: str, images: torch.Tensor) -> None:
    from comfy_api.latest import InputImpl

    from memory_v2v.nodes.host.clips.reading import open_clip

    seen = []

    def watch(chunks) -> None:
        seen.append(torch.cat(list(chunks)))

    for given in (
        {"images": images, "video": None},
        {"images": None, "video": InputImpl.VideoFromFile(file)},
    ):
        frames = frames_of(open_clip(frame_rate=RATE, audio=None, watch=watch, **given))
        assert seen[-1].shape == frames.shape and (seen[-1] - frames).abs().mean() < 0.01


def test_wrong_connections_are_named(
    comfy_api, file: str, images: torch.Tensor, sound: dict, tmp_path: Path
) -> None:
    import av
    from comfy_api.latest import InputImpl

    from memory_v2v.nodes.host.clips.reading import open_clip

    video = InputImpl.VideoFromFile(file)
    with pytest.raises(ValueError, match="images and video are not connected, wanted one"):
        open_clip(None, None, RATE, None)
    with pytest.raises(ValueError, match="images and video are both connected"):
        open_clip(images, video, RATE, None)
    with pytest.raises(ValueError, match="audio is connected beside a video"):
        open_clip(None, video, RATE, sound)
    with av.open(str(tmp_path / "sound.m4a"), "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=SOUND_HZ, layout="stereo")
        frame = av.AudioFrame.from_ndarray(
            sound["waveform"][0].numpy(), format="fltp", layout="stereo"
        )
        frame.sample_rate = SOUND_HZ
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(ValueError, match="without a video stream"):
        open_clip(None, InputImpl.VideoFromFile(str(tmp_path / "sound.m4a")), RATE, None)


def sound_of(path: str | Path) -> torch.Tensor | None:
    """Samples (C, n) of a file; older ComfyUIs read only the first of them."""
    import av

    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        resampler = av.AudioResampler(format="fltp")
        frames = [
            piece for frame in container.decode(audio=0) for piece in resampler.resample(frame)
        ]
    return torch.cat([torch.from_numpy(frame.to_ndarray()) for frame in frames], dim=1)


def written(clip, path: Path):
    """What ComfyUI reads in the file that the clip's frames are written to."""
    from comfy_api.latest import InputImpl

    from memory_v2v.nodes.host.clips.writing import VideoWriter

    with VideoWriter(path, clip.size, clip) as writer:
        for piece in frames_of(clip).split(7):
            writer.add(piece)
    return InputImpl.VideoFromFile(str(path)).get_components()


def test_a_copied_sound_is_the_very_same(comfy_api, file: str, tmp_path: Path) -> None:
    _, clip = opened(file)
    result = written(clip, tmp_path / "result.mp4")
    assert torch.equal(sound_of(tmp_path / "result.mp4"), sound_of(file))
    assert (len(result.images), result.frame_rate) == (NUM_FRAMES, 24)


def likeness(one: torch.Tensor, other: torch.Tensor) -> float:
    """Correlation of two sounds; measured 0.9999 of a coded one, and 0.95 where it is three samples
    late.
    """
    count = min(one.shape[-1], other.shape[-1])
    return float(torch.corrcoef(torch.stack([one[0, :count], other[0, :count]]))[0, 1])


def test_the_sound_of_a_trimmed_file_is_trimmed(comfy_api, file: str, tmp_path: Path) -> None:
    parts, clip = opened(file, start_time=0.25, duration=0.25)
    result = written(clip, tmp_path / "result.mp4")
    assert len(result.images) == len(parts.images) == 6
    heard = sound_of(tmp_path / "result.mp4")
    assert abs(heard.shape[-1] - SOUND_HZ / 4) <= 1024  # whole AAC frames
    start = (
        1024  # an AAC frame: the coder needs it to find into a sound that begins at full strength
    )
    assert (
        likeness(heard[:, start : SOUND_HZ // 4], sound_of(file)[:, SOUND_HZ // 4 + start :]) > 0.99
    )


def test_a_sound_that_mp4_cannot_hold_is_coded_anew(
    comfy_api, images: torch.Tensor, sound: dict, tmp_path: Path
) -> None:
    import av

    path = tmp_path / "pcm.mkv"
    with av.open(str(path), "w") as output:
        video, audio = (
            output.add_stream("mpeg4", rate=24),
            output.add_stream("pcm_s16le", rate=SOUND_HZ, layout="mono"),
        )
        video.height, video.width, video.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for picture in (images * 255).byte().numpy():
            output.mux(video.encode(av.VideoFrame.from_ndarray(picture)))
        output.mux(video.encode(None))
        samples = (sound["waveform"][0, :1] * 32767).short().numpy()
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = SOUND_HZ
        output.mux([*audio.encode(frame), *audio.encode(None)])
    written(opened(str(path))[1], tmp_path / "result.mp4")
    assert likeness(sound_of(tmp_path / "result.mp4"), sound["waveform"][0]) > 0.99


def beep_s(path: Path) -> float:
    """When the first loud sample of a file is heard after its first frame is seen."""
    import av

    with av.open(str(path)) as container:
        seen_s = next(container.decode(video=0)).time
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            loud = (torch.from_numpy(frame.to_ndarray()).float().abs().amax(dim=0) > 0.3).nonzero()
            if len(loud):
                return float(frame.time + loud[0] / frame.sample_rate - seen_s)
    raise AssertionError("nothing is heard")


@pytest.mark.parametrize("codec", ["aac", "pcm_f32le"])
@pytest.mark.parametrize(("picture_s", "sound_s"), [(1.5, 1.1), (1.1, 1.5)])
def test_sound_and_picture_that_begin_apart_stay_together(
    comfy_api, images: torch.Tensor, tmp_path: Path, codec: str, picture_s: float, sound_s: float
) -> None:
    import av

    path, tick = tmp_path / "apart.mkv", Fraction(1, 48000)
    sound = torch.zeros(1, 48000)
    sound[:, 28800:33600] = torch.sin(torch.arange(4800) / 10) * 0.9
    with av.open(str(path), "w") as output:
        video, audio = (
            output.add_stream("mpeg4", rate=24),
            output.add_stream(codec, rate=48000, layout="mono"),
        )
        video.height, video.width, video.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        video.codec_context.time_base = Fraction(1, 240)
        for i, picture in enumerate((images * 255).byte().numpy()):
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base = round(picture_s * 240) + 10 * i, Fraction(1, 240)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        layout = "flt" if codec.startswith("pcm") else "fltp"
        frame = av.AudioFrame.from_ndarray(sound.numpy(), format=layout, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, round(sound_s * 48000), tick
        output.mux([*audio.encode(frame), *audio.encode(None)])
    heard_s = beep_s(path)
    assert heard_s == pytest.approx(0.6 + sound_s - picture_s, abs=0.03)
    written(opened(str(path))[1], tmp_path / "result.mp4")
    assert beep_s(tmp_path / "result.mp4") == pytest.approx(heard_s, abs=0.005)


@pytest.mark.parametrize(("hertz", "channels"), [(40000, 2), (192000, 1)])
def test_a_rate_that_aac_lacks_becomes_another(
    comfy_api, images: torch.Tensor, tmp_path: Path, hertz: int, channels: int
) -> None:
    from memory_v2v.nodes.host.clips.reading import open_clip

    tone = torch.sin(2 * math.pi * 440 * torch.arange(hertz) / hertz).expand(1, channels, -1) / 2
    written(
        open_clip(images, None, RATE, {"waveform": tone, "sample_rate": hertz}),
        tmp_path / "result.mp4",
    )
    heard = sound_of(tmp_path / "result.mp4")
    assert heard.shape[-1] / 48000 == pytest.approx(float(NUM_FRAMES / RATE), abs=0.03)
    crossings = int((heard[0, 4800:28800].diff(n=1).sign().diff() != 0).sum())
    assert crossings == pytest.approx(2 * 440 * 0.5, abs=4)  # turning points of half a second


def test_a_sound_of_no_length_is_none(comfy_api, images: torch.Tensor, tmp_path: Path) -> None:
    from memory_v2v.nodes.host.clips.reading import open_clip

    empty = {"waveform": torch.zeros(1, 2, 0), "sample_rate": SOUND_HZ}
    written(open_clip(images, None, RATE, empty), tmp_path / "result.mp4")
    assert sound_of(tmp_path / "result.mp4") is None


@pytest.fixture
def fill_new_memory() -> Iterator[Callable[[int], None]]:
    """Sets the byte that new memory holds before anything is written to it."""
    import ctypes

    if platform.libc_ver()[0] != "glibc":
        pytest.skip("only glibc can fill new memory")
    set_option = ctypes.CDLL(None).mallopt

    def fill(byte: int) -> None:
        assert set_option(M_PERTURB, byte) == 1

    yield fill
    fill(0)


def test_what_was_in_memory_before_changes_no_frame(
    comfy_api, tmp_path: Path, fill_new_memory: Callable[[int], None]
) -> None:
    from memory_v2v.nodes.host.clips.reading import open_clip

    places = torch.rand(1, 3, 4, 4, 6, generator=torch.Generator().manual_seed(0))
    clouds = F.interpolate(places, (32, 48, 80), mode="trilinear")[0].movedim(0, -1)
    results = []
    for byte in (0, 77, 200):
        fill_new_memory(byte)
        results.append(
            written(open_clip(clouds, None, RATE, None), tmp_path / f"{byte}.mp4").images
        )
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_a_writer_that_fails_leaves_no_file(
    comfy_api, images: torch.Tensor, tmp_path: Path
) -> None:
    from memory_v2v.nodes.host.clips.reading import open_clip
    from memory_v2v.nodes.host.clips.writing import VideoWriter

    clip = open_clip(images, None, RATE, None)
    with (
        pytest.raises(KeyboardInterrupt),
        VideoWriter(tmp_path / "result.mp4", clip.size, clip) as writer,
    ):
        for _ in range(8):  # more than the encoder holds back
            writer.add(frames_of(clip))
        assert (tmp_path / "result.mp4").exists()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_frame_rate_that_varies_is_measured(
    comfy_api, file: str, images: torch.Tensor, tmp_path: Path
) -> None:
    import av

    assert opened(file)[1].drift_s < 0.001
    path = tmp_path / "varies.mkv"
    with av.open(str(path), "w") as output:
        video = output.add_stream("mpeg4", rate=24)
        video.height, video.width, video.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        for i, picture in enumerate((images * 255).byte().numpy()):
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base = (
                (i * 1000 // 24, Fraction(1, 1000)) if i < 12 else (i * 100, Fraction(1, 1000))
            )
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    clip = opened(str(path))[1]
    shown_s = [i / 24 if i < 12 else i / 10 for i in range(NUM_FRAMES)]
    drifts = [abs(shown - i / float(clip.frame_rate)) for i, shown in enumerate(shown_s)]
    assert clip.drift_s == pytest.approx(max(drifts), abs=0.005) and clip.drift_s > 0.1


def test_a_file_that_changed_since_it_was_opened_is_named(
    comfy_api, images: torch.Tensor, tmp_path: Path
) -> None:
    from comfy_api.latest import InputImpl, Types

    path = str(tmp_path / "clip.mp4")
    for count in (NUM_FRAMES, 5):
        parts = Types.VideoComponents(images=images[:count], audio=None, frame_rate=Fraction(24))
        InputImpl.VideoFromComponents(parts).save_to(path)
        if count == NUM_FRAMES:
            clip = opened(path)[1]
    with pytest.raises(
        ValueError, match=r"video got 5 frames, wanted more: .*clip.mp4 changed since it was split"
    ):
        frames_of(clip)


def test_frames_that_cannot_be_are_named(comfy_api, images: torch.Tensor) -> None:
    from memory_v2v.nodes.host.clips.reading import open_clip

    bad = images.clone()
    bad[3, 5, 5], bad[9] = math.nan, math.inf
    clip = open_clip(bad, None, RATE, None)
    frames_of(clip, 4, 9)
    with pytest.raises(ValueError, match="images got NaN or infinity in frames 10, wanted"):
        frames_of(clip, 8)
    with pytest.raises(ValueError, match="images got 1 channels, wanted 3"):
        open_clip(images[..., :1], None, RATE, None)


def test_frames_in_memory_keep_their_exact_rate_and_sound(
    comfy_api, images: torch.Tensor, sound: dict, tmp_path: Path
) -> None:
    from memory_v2v.nodes.host.clips.reading import open_clip

    clip = open_clip(images, None, RATE, sound)
    result = written(clip, tmp_path / "result.mp4")
    assert (len(result.images), result.frame_rate) == (NUM_FRAMES, RATE)
    heard = sound_of(tmp_path / "result.mp4")
    assert likeness(heard, sound["waveform"][0]) > 0.99
    assert abs(heard.shape[-1] - NUM_FRAMES / RATE * SOUND_HZ) <= 1024
    written(open_clip(images, None, RATE, None), tmp_path / "silent.mp4")
    assert sound_of(tmp_path / "silent.mp4") is None


def test_a_written_video_keeps_size_and_colours(
    comfy_api, images: torch.Tensor, tmp_path: Path
) -> None:
    from memory_v2v.nodes.host.clips.reading import open_clip

    for rows, columns in ((HEIGHT, WIDTH), (HEIGHT - 1, WIDTH), (HEIGHT - 1, WIDTH - 1)):
        clip = open_clip(images[:, :rows, :columns], None, RATE, None)
        result = written(clip, tmp_path / f"{rows}x{columns}.mp4")
        assert result.images.shape == (NUM_FRAMES, rows, columns, 3)
        shift = (result.images - clip.images).mean((0, 1, 2))
        assert (
            float(shift.abs().max()) < 0.005
        )  # measured 0.002; a wrong matrix gives 0.03 and more


def test_three_channels_of_sound_are_refused(
    comfy_api, images: torch.Tensor, tmp_path: Path
) -> None:
    from memory_v2v.nodes.host.clips.reading import open_clip

    clip = open_clip(
        images, None, RATE, {"waveform": torch.zeros(1, 3, SOUND_HZ), "sample_rate": SOUND_HZ}
    )
    with pytest.raises(ValueError, match="audio got 3 channels, wanted 1, 2, 6"):
        written(clip, tmp_path / "result.mp4")

"""Clips read a few frames at a time, and videos written as their frames come."""

import math
import platform
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy
import pytest
import torch
import torch.nn.functional as F
from instruments.clips import (
    HEIGHT,
    NUM_FRAMES,
    RATE,
    SOUND_HZ,
    WIDTH,
    frames_of,
    likeness,
    opened,
    sound_of,
    written,
)

M_PERTURB = -6  # of glibc's mallopt


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
    assert difference.mean() < 0.005
    assert difference.max() < 0.25


def test_spans_that_overlap_are_the_parts_of_the_whole(comfy_api, file: str) -> None:
    _, clip = opened(file)
    whole, read = frames_of(clip), clip.reader()
    for start, stop in ((0, 9), (5, 14), (5, 14), (9, 9), (11, 20)):
        assert torch.equal(torch.cat([whole[:0], *read(start, stop)]), whole[start:stop])
    chunks = [len(chunk) for chunk in clip.reader()(0, 20)]
    assert chunks == [8, 8, 4]


def test_the_watcher_sees_every_frame_once(comfy_api, file: str, images: torch.Tensor) -> None:
    from comfy_api.latest import InputImpl

    from memory_v2v.nodes.host.footage.reading import open_clip

    seen = []

    def watch(chunks) -> None:
        seen.append(torch.cat(list(chunks)))

    for given in (
        {"images": images, "video": None},
        {"images": None, "video": InputImpl.VideoFromFile(file)},
    ):
        frames = frames_of(open_clip(frame_rate=RATE, audio=None, watch=watch, **given))
        assert seen[-1].shape == frames.shape
        assert (seen[-1] - frames).abs().mean() < 0.01


def test_wrong_connections_are_named(
    comfy_api, file: str, images: torch.Tensor, sound: dict, tmp_path: Path
) -> None:
    import av
    from comfy_api.latest import InputImpl

    from memory_v2v.nodes.host.footage.reading import open_clip

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
    from memory_v2v.nodes.host.footage.reading import open_clip

    places = torch.rand(1, 3, 4, 4, 6, generator=torch.Generator().manual_seed(0))
    clouds = F.interpolate(places, (32, 48, 80), mode="trilinear")[0].movedim(0, -1)
    results = []
    for byte in (0, 77, 200):
        fill_new_memory(byte)
        results.append(
            written(open_clip(clouds, None, RATE, None), tmp_path / f"{byte}.mp4").images
        )
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_a_frame_rate_that_varies_is_kept(
    comfy_api, file: str, images: torch.Tensor, tmp_path: Path
) -> None:
    import av

    assert opened(file)[1].times.is_steady
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
    assert [float(clip.times.start(i)) for i in range(NUM_FRAMES)] == pytest.approx(
        shown_s, abs=0.001
    )
    assert any("the frame rate varies from 1.3" in note for note in clip.notes)
    written(clip, tmp_path / "result.mp4")
    with av.open(str(tmp_path / "result.mp4")) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
        length = float(container.streams.video[0].duration * container.streams.video[0].time_base)
    assert times == pytest.approx(shown_s, abs=0.001)
    assert length == pytest.approx(float(clip.times.duration), abs=0.001)


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
        ValueError, match=r"video clip.mp4 changed since it was opened, wanted the same file"
    ):
        frames_of(clip)


def test_frames_that_cannot_be_are_named(comfy_api, images: torch.Tensor) -> None:
    from memory_v2v.nodes.host.footage.reading import open_clip

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
    from memory_v2v.nodes.host.footage.reading import open_clip

    clip = open_clip(images, None, RATE, sound)
    result = written(clip, tmp_path / "result.mp4")
    assert (len(result.images), result.frame_rate) == (NUM_FRAMES, RATE)
    heard = sound_of(tmp_path / "result.mp4")
    assert likeness(heard, sound["waveform"][0]) > 0.99
    assert abs(heard.shape[-1] - NUM_FRAMES / RATE * SOUND_HZ) <= 1024
    written(open_clip(images, None, RATE, None), tmp_path / "silent.mp4")
    assert sound_of(tmp_path / "silent.mp4") is None


@pytest.mark.parametrize("window", [{"start_time": 0.1, "duration": 0.0}, {"duration": 0.2}])
def test_a_trimmed_file_without_times_is_refused(
    comfy_api, images: torch.Tensor, tmp_path: Path, window: dict
) -> None:
    import av
    from comfy_api.latest import InputImpl

    from memory_v2v.nodes.host.footage.reading import open_clip

    raw = tmp_path / "bare.h264"
    with av.open(str(raw), "w", format="h264") as output:
        stream = output.add_stream("h264", rate=24)
        stream.height, stream.width = 32, 48
        for _ in range(8):
            pixels = numpy.zeros((32, 48, 3), numpy.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(stream.encode(None))
    trimmed = InputImpl.VideoFromFile(str(raw), **window)
    with pytest.raises(ValueError, match="a trimmed file whose frames have no times"):
        open_clip(None, trimmed, RATE, None)

"""Writing a video with its sound."""

import math
from fractions import Fraction
from pathlib import Path

import pytest
import torch
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


def test_a_copied_sound_is_the_very_same(comfy_api, file: str, tmp_path: Path) -> None:
    _, clip = opened(file)
    result = written(clip, tmp_path / "result.mp4")
    assert torch.equal(sound_of(tmp_path / "result.mp4"), sound_of(file))
    assert (len(result.images), result.frame_rate) == (NUM_FRAMES, 24)


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
    from memory_v2v.nodes.host.footage.reading import open_clip

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
    from memory_v2v.nodes.host.footage.reading import open_clip

    empty = {"waveform": torch.zeros(1, 2, 0), "sample_rate": SOUND_HZ}
    written(open_clip(images, None, RATE, empty), tmp_path / "result.mp4")
    assert sound_of(tmp_path / "result.mp4") is None


def test_a_writer_that_fails_leaves_no_file(
    comfy_api, images: torch.Tensor, tmp_path: Path
) -> None:
    from memory_v2v.nodes.host.footage.reading import open_clip
    from memory_v2v.nodes.host.footage.writing import VideoWriter

    clip = open_clip(images, None, RATE, None)

    def stopped_half_way() -> None:
        with VideoWriter(tmp_path / "result.mp4", clip.size, clip) as writer:
            for _ in range(8):  # more than the encoder holds back
                writer.add(frames_of(clip))
            assert (tmp_path / "result.mp4").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped_half_way()
    assert list(tmp_path.iterdir()) == []


def test_a_written_video_keeps_size_and_colours(
    comfy_api, images: torch.Tensor, tmp_path: Path
) -> None:
    from memory_v2v.nodes.host.footage.reading import open_clip

    for rows, columns in ((HEIGHT, WIDTH), (HEIGHT - 1, WIDTH), (HEIGHT - 1, WIDTH - 1)):
        clip = open_clip(images[:, :rows, :columns], None, RATE, None)
        result = written(clip, tmp_path / f"{rows}x{columns}.mp4")
        assert result.images.shape == (NUM_FRAMES, rows, columns, 3)
        shift = (result.images - clip.images).mean((0, 1, 2))
        assert (
            float(shift.abs().max()) < 0.005
        )  # measured 0.002; a wrong matrix gives 0.03 and more

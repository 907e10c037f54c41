"""Shots of rendered and real clips: cuts are found to the frame, pans and flashes are none."""

import builtins
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from memv2v_core.clips.shots import ShotConfig, detect_shots


def place(seed: int, width: int = 260, height: int = 96) -> torch.Tensor:
    """A still picture (3, height, width): soft colours and twelve boxes."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 3, 5, generator=generator)
    picture = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)[
        0
    ]
    for _ in range(12):
        x, y, colour = torch.rand(2, generator=generator).tolist() + [
            torch.rand(3, 1, 1, generator=generator)
        ]
        left, top = int(x * (width - 30)), int(y * (height - 25))
        picture[:, top : top + 25, left : left + 30] = colour
    return picture


def pan(seed: int, num_frames: int, speed: float = 1.0, size: int = 96) -> torch.Tensor:
    """A camera that moves to and fro over a place, `speed` pixels a frame."""
    picture = place(seed)
    reach = picture.shape[-1] - size
    offsets = [int(speed * frame) % (2 * reach) for frame in range(num_frames)]
    lefts = [min(offset, 2 * reach - offset) for offset in offsets]
    return torch.stack([picture[:, :size, left : left + size] for left in lefts])


@pytest.mark.parametrize("seed", range(4))
def test_cuts_are_found_to_the_frame(seed: int) -> None:
    video = torch.cat((pan(seed, 20), pan(seed + 50, 11, 2.0), pan(seed, 30, 3.0)))
    assert detect_shots(video) == ((0, 20), (20, 31), (31, 61))


def test_the_shortest_shot_between_two_of_one_place_is_a_shot() -> None:
    shortest = ShotConfig().min_num_frames
    between = pan(70, shortest)
    video = torch.cat((pan(5, 20, 0), between, pan(5, 20, 0)))
    assert detect_shots(video) == ((0, 20), (20, 20 + shortest), (20 + shortest, 40 + shortest))
    assert detect_shots(torch.cat((pan(5, 20, 0), between[1:], pan(5, 20, 0)))) == (
        (0, 39 + shortest),
    )


@pytest.mark.parametrize("speed", [0, 1, 4, 16, 40])
def test_a_pan_is_one_shot_at_any_speed(speed: float) -> None:
    assert detect_shots(pan(3, 60, speed)) == ((0, 60),)


def test_a_sudden_pan_is_one_shot() -> None:
    still = pan(3, 1).expand(12, -1, -1, -1)
    assert detect_shots(torch.cat((still, pan(3, 14, 12.0)[1:]))) == ((0, 25),)


@pytest.mark.parametrize("num_flash", [1, 2, 4])
@pytest.mark.parametrize("light", [-1.0, 0.4, 1.0])
def test_a_flash_is_no_shot(num_flash: int, light: float) -> None:
    video = pan(5, 50)
    video[20 : 20 + num_flash] = (video[20 : 20 + num_flash] + light).clamp(0, 1)
    assert detect_shots(video) == ((0, 50),)


def test_a_flash_hides_no_cut() -> None:
    video = torch.cat((pan(5, 30), pan(6, 30)))
    video[26] = 1.0
    assert detect_shots(video) == ((0, 30), (30, 60))
    video[26], video[30] = video[25], 1.0
    assert detect_shots(video) == ((0, 30), (30, 60))


def test_a_dissolve_is_not_found() -> None:
    weight = torch.linspace(0, 1, 12).view(-1, 1, 1, 1)
    first, second = pan(5, 42), pan(6, 42)
    video = torch.cat((first[:30], torch.lerp(first[30:], second[:12], weight), second[12:]))
    assert detect_shots(video) == ((0, 72),)


def test_shots_are_not_shorter_than_asked() -> None:
    video = torch.cat((pan(1, 20), pan(2, 6), pan(3, 20)))
    assert detect_shots(video) == ((0, 20), (20, 46))
    assert detect_shots(video, ShotConfig(min_num_frames=6)) == ((0, 20), (20, 26), (26, 46))
    assert detect_shots(torch.cat((pan(1, 5), pan(2, 20), pan(3, 5)))) == ((0, 30),)


def test_sensitivity_finds_weaker_cuts() -> None:
    first, second = pan(1, 20), pan(2, 20)
    mixed = (first[-1:] + second[:1]) / 2
    video = torch.cat((first, mixed, second))
    assert detect_shots(video, ShotConfig(0.0)) == ((0, 41),)
    assert detect_shots(video, ShotConfig(1.0)) == ((0, 20), (20, 41))


@pytest.mark.parametrize("num_frames", [1, 2, 5])
def test_a_few_frames_are_one_shot(num_frames: int) -> None:
    assert detect_shots(pan(1, num_frames)) == ((0, num_frames),)


def test_large_frames_give_the_shots_of_small_ones() -> None:
    video = torch.cat((pan(1, 12), pan(2, 12)))
    large = torch.nn.functional.interpolate(video, (540, 960))
    assert detect_shots(large) == detect_shots(video) == ((0, 12), (12, 24))


def test_chunks_of_any_length_give_the_same_shots() -> None:
    video = torch.cat((pan(1, 20), pan(2, 20)))
    assert detect_shots(video.split(7)) == detect_shots(iter(video.split(1))) == detect_shots(video)


def test_of_a_long_video_only_little_is_held() -> None:
    import tracemalloc

    shots = [place(seed)[:, :, :96].expand(30, -1, -1, -1) for seed in (1, 2)]

    def chunks(num: int) -> Iterator[torch.Tensor]:
        return (shots[idx % 2] for idx in range(num))

    peaks = []
    for num in (2, 20):
        tracemalloc.start()
        assert len(detect_shots(chunks(num))) == num
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="frames got an empty video"):
        detect_shots(torch.zeros(0, 3, 8, 8))
    with pytest.raises(ValueError, match="frames got an empty video"):
        detect_shots([])
    with pytest.raises(ValueError, match="sensitivity got 2, wanted 0 to 1"):
        ShotConfig(2)
    with pytest.raises(ValueError, match="min_num_frames got 0"):
        ShotConfig(min_num_frames=0)


def test_no_opencv_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: object) -> object:
        if name.startswith(("cv2", "scenedetect")):
            raise ImportError(f"No module named {name!r}")
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert detect_shots(torch.cat((pan(1, 12), pan(2, 12)))) == ((0, 12), (12, 24))


@pytest.mark.slow
def test_two_real_clips_joined_are_two_shots(test_data: Path) -> None:
    av = pytest.importorskip("av")
    clips = []
    for path in sorted(test_data.glob("*.mp4")):
        with av.open(str(path)) as file:
            frames = [
                frame.reformat(170, 96, format="rgb24").to_ndarray()
                for frame in file.decode(video=0)
            ]
        clips.append(torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255)
    assert len(clips) == 2
    lengths = [len(clip) for clip in clips]
    assert detect_shots(iter(clips)) == ((0, lengths[0]), (lengths[0], sum(lengths)))
    assert detect_shots(clips[0]) == ((0, lengths[0]),)

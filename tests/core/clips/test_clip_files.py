"""Training clips survive a file; broken files are named."""

from fractions import Fraction
from pathlib import Path

import pytest
import torch

from memv2v_core.clips.clip_files import read_frames, write_clip


def _frames(num_frames: int = 6, rows: int = 32, columns: int = 48) -> torch.Tensor:
    """A smooth, strongly coloured clip that moves, in whole 8-bit steps."""
    t = torch.arange(num_frames).view(-1, 1, 1) / 6
    y = torch.arange(rows).view(1, -1, 1) / 12
    x = torch.arange(columns).view(1, 1, -1) / 15
    channels = ((x + t).sin() + 0 * y, (y - t).cos() + 0 * x, (x + y + t).sin())
    return (torch.stack(channels, 1) * 0.4 + 0.5).mul(255).round() / 255


def test_a_lossless_clip_comes_back_exactly(tmp_path: Path) -> None:
    frames = _frames()
    write_clip(tmp_path / "clip.mp4", frames, 24, crf=0)
    read = read_frames(tmp_path / "clip.mp4")
    assert torch.equal(read.frames, frames)
    assert read.rate == 24


@pytest.mark.parametrize("columns", [48, 47])
def test_a_clip_comes_back_as_far_as_the_eye_sees(tmp_path: Path, columns: int) -> None:
    frames = _frames(columns=columns)
    write_clip(tmp_path / "clip.mp4", frames, Fraction(30000, 1001))
    read = read_frames(tmp_path / "clip.mp4")
    assert read.frames.shape == frames.shape
    assert read.rate == Fraction(30000, 1001)
    # Wrong colour matrices would be off by 0.02 and more.
    assert (read.frames - frames).pow(2).mean() < 1e-4
    assert (read.frames - frames).mean(dim=(0, 2, 3)).abs().max() < 0.005


def test_equal_clips_are_equal_files(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_clip(tmp_path / name, _frames(), 24)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_a_part_of_a_clip_is_read(tmp_path: Path) -> None:
    frames = _frames()
    write_clip(tmp_path / "clip.mp4", frames, 24, crf=0)
    assert torch.equal(read_frames(tmp_path / "clip.mp4", 3, first=2).frames, frames[2:5])
    with pytest.raises(ValueError, match=r"clip\.mp4 got 4 frames after frame 2, wanted 5"):
        read_frames(tmp_path / "clip.mp4", 5, first=2)


def test_files_that_are_no_clips_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video", encoding="utf-8")
    for name in ("text.mp4", "missing.mp4"):
        with pytest.raises(ValueError, match=rf"{name} cannot be read"):
            read_frames(tmp_path / name)


def test_a_file_that_breaks_off_is_named(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", _frames(), 24)
    data = (tmp_path / "clip.mp4").read_bytes()
    (tmp_path / "short.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"short\.mp4 cannot be read"):
        read_frames(tmp_path / "short.mp4")


def test_frames_that_are_no_pictures_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with pytest.raises(ValueError, match=r"clip\.mp4 got frames \(2, 4, 8, 8\)"):
        write_clip(path, torch.zeros(2, 4, 8, 8), 24)
    with pytest.raises(ValueError, match=r"clip\.mp4 got frames with NaN"):
        write_clip(path, torch.full((2, 3, 8, 8), torch.nan), 24)
    assert not path.exists()

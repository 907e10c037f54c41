"""Looping pictures."""

import io
from pathlib import Path

import pytest
import torch
from PIL import Image

from memv2v_core.pictures.contact_sheet import SheetRow
from memv2v_core.pictures.loop import animated_webp, save_grid, save_loop, small_frames


def test_panels_lie_side_by_side_and_the_loop_has_every_second_frame(tmp_path: Path) -> None:
    rising = torch.linspace(0, 1, 7).view(7, 1, 1, 1).expand(7, 3, 16, 24)
    panels = [SheetRow("source", rising), SheetRow("edited", torch.ones(8, 3, 16, 24))]
    save_loop(panels, tmp_path / "loop.webp", frame_rate=8.0, step=2)
    with Image.open(tmp_path / "loop.webp") as loop:
        assert (loop.format, loop.n_frames, loop.info["loop"]) == ("WEBP", 4, 0)
        assert loop.size == (2 * (2 * 24 + 12), 2 * 16 + 27 + 6)
        loop.seek(3)
        loop.load()
        assert loop.info["duration"] == 125
        shown = loop.convert("RGB")
        loop.seek(0)
        dark = loop.convert("RGB")
    assert min(shown.getpixel((30, 45))) > 225
    assert max(dark.getpixel((30, 45))) < 30
    assert min(dark.getpixel((90, 45))) > 225


def test_no_panels_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got 0 panels"):
        save_loop([], tmp_path / "loop.webp", 8.0)


def test_videos_stand_in_rows_and_held_frames_stay_longer(tmp_path: Path) -> None:
    rising = SheetRow("rising", torch.linspace(0, 1, 5).view(5, 1, 1, 1).expand(5, 3, 16, 16))
    white = SheetRow("white", torch.ones(5, 3, 16, 16))
    save_grid([[rising, white], [None, white]], tmp_path / "grid.webp", 4.0, 32, (1, 4), hold_s=1.5)
    durations, shown = [], []
    with Image.open(tmp_path / "grid.webp") as loop:
        assert (loop.n_frames, loop.info["loop"]) == (5, 0)
        assert loop.size == (6 + 2 * (32 + 6), 2 * (32 + 27) + 6)
        for idx in range(loop.n_frames):
            loop.seek(idx)
            loop.load()
            durations.append(loop.info["duration"])
            shown.append(loop.convert("RGB"))
    assert durations == [250, 1500, 250, 250, 1500]
    # The middle of every tile: columns at 6 and 44, rows at 27 and 86.
    middles = {(i, j): (6 + 38 * j + 16, 27 + 59 * i + 16) for i in (0, 1) for j in (0, 1)}
    assert max(shown[0].getpixel(middles[0, 0])) < 30
    assert min(shown[-1].getpixel(middles[0, 0])) > 225
    assert min(shown[0].getpixel(middles[1, 1])) > 225
    assert all(max(frame.getpixel(middles[1, 0])) < 60 for frame in shown)
    with pytest.raises(ValueError, match="got 0 videos"):
        save_grid([[None]], tmp_path / "none.webp", 4.0, 32)


def frames_of(data: bytes) -> list[Image.Image]:
    shown = []
    with Image.open(io.BytesIO(data)) as loop:
        assert (loop.format, loop.info.get("loop", 0)) == ("WEBP", 0)
        for i in range(loop.n_frames):
            loop.seek(i)
            loop.load()
            shown.append(loop.convert("RGB"))
    return shown


def test_frames_become_a_loop_in_their_order() -> None:
    greys = torch.tensor([20, 120, 220], dtype=torch.uint8).view(3, 1, 1, 1)
    shown = frames_of(animated_webp(greys.expand(3, 16, 24, 3), 8.0))
    assert [frame.size for frame in shown] == [(24, 16)] * 3
    for frame, grey in zip(shown, (20, 120, 220), strict=True):
        assert abs(frame.getpixel((12, 8))[1] - grey) < 5


def test_a_loop_of_other_frames_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got torch.float32 of shape \(2, 4, 4, 3\), wanted uint"):
        animated_webp(torch.zeros(2, 4, 4, 3), 8.0)
    with pytest.raises(ValueError, match="at least 1 frame"):
        animated_webp(torch.zeros(0, 4, 4, 3, dtype=torch.uint8), 8.0)


def test_small_frames_are_few_and_narrow() -> None:
    frames = torch.arange(81, dtype=torch.uint8).view(81, 1, 1, 1).expand(81, 90, 160, 3)
    small = small_frames(frames)
    assert small.shape == (24, 72, 128, 3)
    assert small[:, 0, 0, 0].tolist() == [i * 81 // 24 for i in range(24)]
    # Enough as they are.
    assert small_frames(frames[:5, :9, :16]).shape == (5, 9, 16, 3)

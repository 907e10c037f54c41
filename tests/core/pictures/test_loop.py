"""The looping picture."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from memv2v_core.pictures.contact_sheet import SheetRow
from memv2v_core.pictures.loop import save_loop


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

import pytest
import torch

from memv2v_core.pictures.contact_sheet import LABEL_SIZE_PX, MARGIN_PX, SheetRow, contact_sheet


def test_frames_lie_side_by_side_under_their_label() -> None:
    frames = torch.zeros(3, 3, 8, 10)
    frames[2, 0] = 1
    sheet = contact_sheet([SheetRow("a", frames), SheetRow("b", frames)], (0, 2), scale=2)
    label = LABEL_SIZE_PX + 2 * MARGIN_PX
    assert sheet.size == (MARGIN_PX + 2 * (20 + MARGIN_PX), 2 * (16 + label) + MARGIN_PX)
    assert sheet.getpixel((MARGIN_PX, label)) == (0, 0, 0)
    assert sheet.getpixel((2 * MARGIN_PX + 20, label)) == (255, 0, 0)
    assert sheet.getpixel((2 * MARGIN_PX + 39, 2 * label + 31)) == (255, 0, 0)


def test_mask_dims_the_rest() -> None:
    mask = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    mask[..., :2] = True
    sheet = contact_sheet([SheetRow("", torch.ones(1, 3, 4, 4), mask)], (0,))
    top = LABEL_SIZE_PX + 2 * MARGIN_PX
    assert sheet.getpixel((MARGIN_PX, top)) == (255, 255, 255)
    assert sheet.getpixel((MARGIN_PX + 3, top)) == (64, 64, 64)


def test_no_rows_is_an_error() -> None:
    with pytest.raises(ValueError, match="got 0 rows"):
        contact_sheet([], (0,))

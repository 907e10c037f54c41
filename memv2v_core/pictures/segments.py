"""Why each segment was chosen as a memory, as one picture.

It shows the segment to edit, then a row for every earlier segment.
"""

from collections.abc import Mapping

import torch

from ..cache.entry import Segment
from ..retrieval.selection import RankedEntry, Retrieval
from .canvas import BACKGROUND, FAINT_TEXT, GRID, PANEL, QUERY, TEXT, Canvas, stack_pictures
from .retrievals import entry_thumbnail, rank_colour

_WIDTH_PX, _ROW_PX = 640, 84
_PICTURE_PX = 112
_BAR_PX = 250
_MAX_ROWS = 12


def draw_segments(
    retrieval: Retrieval,
    segment: Segment,
    frame: torch.Tensor,
    thumbnails: Mapping[str, torch.Tensor] | None = None,
) -> torch.Tensor:
    """The segment to edit and every candidate, (H, W, 3) in [0, 1].

    The first row shows a `frame` (h, w, 3) of the segment. Each candidate has a row with its
    picture and the similarity of its source.

    thumbnails: see `retrievals.draw_retrieval`.
    """
    pictures = [_query_row(segment, frame)]
    candidates = [*retrieval.ranked, *retrieval.rejected]
    for rank, candidate in enumerate(candidates[:_MAX_ROWS]):
        picture = entry_thumbnail(candidate, thumbnails or {})
        pictures.append(_row(rank, candidate, rank < len(retrieval.ranked), picture))
    # The picture stays readable for long videos: only the best are drawn.
    note = None
    if not candidates:
        note = "no earlier segment: this one is edited without memory"
    elif len(candidates) > _MAX_ROWS:
        note = f"and {len(candidates) - _MAX_ROWS} more with lower ranks"
    if note is not None:
        canvas = Canvas(_WIDTH_PX, 26)
        canvas.text((8, 5), note, FAINT_TEXT)
        pictures.append(canvas.picture())
    return stack_pictures(pictures, gap=6)


def _query_row(segment: Segment, frame: torch.Tensor) -> torch.Tensor:
    canvas = Canvas(_WIDTH_PX, _ROW_PX)
    canvas.box(0, 0, 5, _ROW_PX, QUERY)
    canvas.paste(frame, 14, 6, _PICTURE_PX, _ROW_PX - 12)
    canvas.text((_PICTURE_PX + 28, 12), "to edit", FAINT_TEXT)
    canvas.text((_PICTURE_PX + 28, 34), segment.describe(), TEXT, 15)
    return canvas.picture()


def _row(
    rank: int, candidate: RankedEntry, is_chosen: bool, picture: torch.Tensor | None
) -> torch.Tensor:
    entry = candidate.entry
    assert entry.segment is not None, "only entries of a long video are drawn here"
    canvas = Canvas(_WIDTH_PX, _ROW_PX, PANEL if is_chosen else BACKGROUND)
    colour, ink = (rank_colour(rank), TEXT) if is_chosen else (FAINT_TEXT, FAINT_TEXT)
    canvas.box(0, 0, 5, _ROW_PX, colour)
    if picture is not None:
        canvas.paste(picture, 14, 6, _PICTURE_PX, _ROW_PX - 12)
    left = _PICTURE_PX + 28
    state = "pinned" if entry.is_pinned else "chosen" if is_chosen else "not chosen"
    previous = ", the segment before" if candidate.is_previous else ""
    canvas.text((left, 8), f"rank {rank + 1}: {state}{previous}", ink, 15)
    canvas.text((left, 30), f"{entry.segment.describe()}, {entry.entry_id[:8]}", FAINT_TEXT)
    canvas.box(left, 56, _BAR_PX, 12, GRID)
    # A cosine may be negative; the bar starts at 0.
    canvas.box(left, 56, _BAR_PX * min(max(candidate.score, 0.0), 1.0), 12, colour)
    canvas.text((left + _BAR_PX + 10, 53), f"similarity {candidate.score:.3f}", ink)
    return canvas.picture()

"""Why each memory was chosen, as one picture.

It shows the sphere, then a row for every candidate.
"""

import math
from collections.abc import Mapping

import torch

from ..cameras.trajectory import CameraTrajectory
from ..retrieval.selection import RankedEntry, Retrieval
from ..retrieval.video_fov import VideoFovConfig
from .canvas import (
    BACKGROUND,
    FAINT_TEXT,
    GRID,
    PANEL,
    QUERY,
    SERIES,
    TEXT,
    Canvas,
    blend,
    stack_pictures,
)
from .sphere import SphereView, draw_sphere

_WIDTH_PX = 760
_ROW_PX = 104
_SPHERE_PX = 184
_MAX_ROWS = 12


def draw_retrieval(
    retrieval: Retrieval,
    config: VideoFovConfig | None = None,
    thumbnails: Mapping[str, torch.Tensor] | None = None,
) -> torch.Tensor:
    """The sphere and every candidate, (H, W, 3) in [0, 1].

    The sphere shows the query's view as an outline and the chosen memories' views filled. Each
    candidate has a row with thumbnail, view and score.

    thumbnails: pictures (h, w, 3) in [0, 1] by entry id, better than the thumbnails in the entries.
    """
    config = config or VideoFovConfig()
    # The picture stays readable for large caches: the header counts all, rows show the best.
    pictures = [_header(retrieval), _chosen_sphere(retrieval, config)]
    candidates = [*retrieval.ranked, *retrieval.rejected]
    for rank, candidate in enumerate(drawn_candidates(retrieval)):
        is_chosen = rank < len(retrieval.ranked)
        thumbnail = entry_thumbnail(candidate, thumbnails or {})
        pictures.append(_row(rank, candidate, is_chosen, thumbnail, retrieval, config))
    # The rest is only counted.
    if len(candidates) > _MAX_ROWS:
        more = Canvas(_WIDTH_PX, 24)
        more.text(
            (8, 4),
            f"and {len(candidates) - _MAX_ROWS} more candidates with lower ranks",
            FAINT_TEXT,
        )
        pictures.append(more.picture())
    return stack_pictures(pictures, gap=6)


def drawn_candidates(retrieval: Retrieval) -> list[RankedEntry]:
    """The candidates that have a row in the picture: the best ones."""
    return [*retrieval.ranked, *retrieval.rejected][:_MAX_ROWS]


def _header(retrieval: Retrieval) -> torch.Tensor:
    canvas = Canvas(_WIDTH_PX, 26)
    num_all = len(retrieval.ranked) + len(retrieval.rejected)
    text = (
        f"{len(retrieval.ranked)} of {num_all} memories chosen"
        if num_all
        else "the cache is empty: no memory"
    )
    canvas.text((8, 4), text, TEXT, 15)
    # The legend of the outline.
    canvas.line([(_WIDTH_PX - 250, 14), (_WIDTH_PX - 226, 14)], QUERY, width=3)
    canvas.text((_WIDTH_PX - 218, 5), "what the new path will see", FAINT_TEXT, 13)
    return canvas.picture()


def _chosen_sphere(retrieval: Retrieval, config: VideoFovConfig) -> torch.Tensor:
    views = [
        SphereView(found.entry.camera, rank_colour(rank))
        for rank, found in enumerate(retrieval.ranked)
    ]
    query = _query(retrieval)
    # The query comes last, so that its outline lies over the memories.
    views.append(SphereView(query, QUERY, is_filled=False))
    return draw_sphere(views, query, _WIDTH_PX, config)


def _query(retrieval: Retrieval) -> CameraTrajectory:
    assert retrieval.query is not None, "only what a camera path has chosen is drawn here"
    return retrieval.query


def _row(
    rank: int,
    candidate: RankedEntry,
    is_chosen: bool,
    thumbnail: torch.Tensor | None,
    retrieval: Retrieval,
    config: VideoFovConfig,
) -> torch.Tensor:
    canvas = Canvas(_WIDTH_PX, _ROW_PX, PANEL if is_chosen else BACKGROUND)
    colour = rank_colour(rank) if is_chosen else FAINT_TEXT
    ink = TEXT if is_chosen else FAINT_TEXT
    # A stripe in the colour of the memory on the sphere.
    canvas.box(0, 0, 5, _ROW_PX, colour)
    if thumbnail is None:
        canvas.box(14, 8, 132, _ROW_PX - 16, GRID)
        canvas.text((46, _ROW_PX / 2 - 8), "no picture", FAINT_TEXT, 12)
    else:
        canvas.paste(thumbnail, 14, 8, 132, _ROW_PX - 16)
    # The same sphere, small: this candidate against the query alone.
    query = _query(retrieval)
    views = [
        SphereView(candidate.entry.camera, colour),
        SphereView(query, QUERY, is_filled=False),
    ]
    sphere = draw_sphere(views, query, _SPHERE_PX, config)
    canvas.paste(sphere, 156, (_ROW_PX - _SPHERE_PX // 2) // 2, _SPHERE_PX, _SPHERE_PX // 2)
    _describe(canvas, rank, candidate, is_chosen, ink, config)
    return canvas.picture()


def _describe(
    canvas: Canvas,
    rank: int,
    candidate: RankedEntry,
    is_chosen: bool,
    ink: tuple[int, int, int],
    config: VideoFovConfig,
) -> None:
    entry = candidate.entry
    left, bar_px = 156 + _SPHERE_PX + 14, 250
    state = "pinned" if entry.is_pinned else "chosen" if is_chosen else "not chosen"
    canvas.text(
        (left, 10), f"rank {rank + 1}   turn {entry.turn}   {entry.entry_id[:8]}   {state}", ink, 15
    )
    # The score as a bar, then the two terms of Eq. 3.
    canvas.box(left, 36, bar_px, 12, GRID)
    canvas.box(
        left,
        36,
        bar_px * candidate.score,
        12,
        rank_colour(rank) if is_chosen else blend(GRID, FAINT_TEXT, 0.6),
    )
    canvas.text((left + bar_px + 10, 33), f"score {candidate.score:.3f}", ink, 14)
    if candidate.overlap is not None and candidate.contain is not None:
        weight = config.balance
        terms = (
            f"{weight:g} x overlap {candidate.overlap:.3f} + {1 - weight:g} x containment "
            f"{candidate.contain:.3f}"
        )
        canvas.text((left, 58), terms, FAINT_TEXT, 13)
    details = f"{entry.num_frames} frames, seed {entry.seed}, {entry.mode}"
    canvas.text((left, 78), details, FAINT_TEXT, 13)


def entry_thumbnail(
    candidate: RankedEntry, thumbnails: Mapping[str, torch.Tensor]
) -> torch.Tensor | None:
    """The picture (h, w, 3) in [0, 1] that is given for an entry, else the stored thumbnail.

    None where neither can be read: a picture is for the eye, and must not stop a turn.
    """
    entry = candidate.entry
    if entry.entry_id in thumbnails:
        return thumbnails[entry.entry_id]
    try:
        thumbnail = entry.thumbnail
    except ValueError:
        return None
    return None if thumbnail is None else thumbnail.float() / 255


def rank_colour(rank: int) -> tuple[int, int, int]:
    """The colours of the series in turn, darker in each further round."""
    return blend(
        SERIES[rank % len(SERIES)], BACKGROUND, min(0.6, 0.3 * math.floor(rank / len(SERIES)))
    )

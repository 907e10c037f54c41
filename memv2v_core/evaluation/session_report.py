"""Scores of a session: do the turns agree where the source never looked?"""

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ..cache.memory_cache import MemoryCache
from ..cameras.projection import SHARED_CENTRE_TOLERANCE
from ..cameras.trajectory import CameraTrajectory
from ..pictures.heat_maps import ComparedPair, draw_message, draw_pairs
from .metrics.consistency import centre_distance, turn_disagreement


@dataclass(frozen=True, eq=False)
class ShownTurn:
    """A decoded turn: its name, its frames (F, 3, H, W) in [0, 1], and one camera per frame."""

    name: str
    frames: torch.Tensor
    camera: CameraTrajectory

    def first(self, num_frames: int) -> tuple[torch.Tensor, CameraTrajectory]:
        """Its first frames and their cameras."""
        return self.frames[:num_frames], self.camera.frames(tuple(range(num_frames)))


@dataclass(frozen=True, eq=False)
class SessionReport:
    """The scores of a session.

    text: all numbers as JSON. mae: mean over the pairs of turns, NaN without any.
    picture: one row per pair, (H, W, 3) in [0, 1].
    """

    text: str
    mae: float
    picture: torch.Tensor


def report_session(
    cache: MemoryCache,
    turns: Sequence[ShownTurn],
    source_camera: CameraTrajectory,
    truth: ShownTurn | None = None,
    before_each: Callable[[], None] = lambda: None,
) -> SessionReport:
    """How well all turns of a cache agree with each other, and with the truth where it is given.

    before_each: called before every comparison, so that a user can stop the report.

    Raises: ValueError when there are pairs and none of them can be compared.
    """
    # Step 1: every turn against every other.
    combinations = list(itertools.combinations(turns, 2))
    pairs, notes = _compare(combinations, source_camera, before_each)
    # A mean over nothing would look like a result.
    if combinations and not pairs:
        what = f"0 of {len(combinations)} pairs of turns can be compared"
        raise ValueError(f"{what}; " + "; ".join(notes))
    if not combinations:
        notes.append(
            f"the cache holds {len(cache)} turns, wanted 2 or more; finish another turn to compare"
        )
    # Step 2: every turn against the truth. It does not count for `mae`.
    with_truth = [(truth, turn) for turn in turns] if truth is not None else []
    truths, truth_notes = _compare(with_truth, source_camera, before_each)
    # Step 3: text and picture.
    mae = _mean_mae(pairs)
    text = _report_json(_made_by(cache), mae, pairs, truths, [*notes, *truth_notes])
    shown = [*pairs, *truths]
    message = "nothing to compare: " + "; ".join(notes)
    return SessionReport(text, mae, draw_pairs(shown) if shown else draw_message(message))


def given_turn(images: torch.Tensor | None, camera: CameraTrajectory | None) -> ShownTurn | None:
    """The optional further video as a turn.

    images: (F, H, W, C).

    Raises: ValueError when only one of the two is given, or when the path is shorter than the
    video.
    """
    if images is None and camera is None:
        return None
    if images is None or camera is None:
        missing, given = ("truth", "truth_camera") if images is None else ("truth_camera", "truth")
        raise ValueError(f"{missing} is not connected, but {given} is; connect both or neither")
    if camera.num_frames < images.shape[0]:
        raise ValueError(
            f"truth_camera got {camera.num_frames} frames, wanted {images.shape[0]} as truth has; "
            f"set num_frames of the path to {images.shape[0]}"
        )
    return ShownTurn("truth", images[..., :3].movedim(-1, 1).float().cpu(), camera)


def _compare(
    combinations: Sequence[tuple[ShownTurn, ShownTurn]],
    source_camera: CameraTrajectory,
    before_each: Callable[[], None],
) -> tuple[list[ComparedPair], list[str]]:
    """All pairs whose cameras allow an exact warp, and why others were left out.

    A pair is compared over the frames that both have.
    """
    pairs, notes = [], []
    for a, b in combinations:
        before_each()
        name, num_frames = f"{a.name} and {b.name}", min(len(a.frames), len(b.frames))
        # Depth is unknown: only cameras that rotate about one point can be warped exactly.
        moved = max(centre_distance(a.camera, b.camera), centre_distance(b.camera, source_camera))
        if moved > SHARED_CENTRE_TOLERANCE:
            notes.append(
                f"{name} were left out: camera centres lie {moved:.4g} pose units apart, wanted 0; "
                "without depth only cameras that turn on the spot can be compared"
            )
            continue
        if len(a.frames) != len(b.frames):
            notes.append(
                f"{name} have {len(a.frames)} and {len(b.frames)} frames; the first {num_frames} "
                "are compared"
            )
        (video_a, camera_a), (video_b, camera_b) = a.first(num_frames), b.first(num_frames)
        result = turn_disagreement(video_a, camera_a, video_b, camera_b, source_camera)
        if result.num_pixels == 0:
            notes.append(
                f"{name} never look at the same place in the same frame outside the source's "
                "view, so nothing of them is compared"
            )
        elif math.isinf(result.psnr):
            notes.append(f"{name} are equal in every compared pixel")
        pairs.append(ComparedPair(name, video_a, video_b, result))
    return pairs, notes


def _made_by(cache: MemoryCache) -> dict[str, object]:
    """The model of a cache's turns, and its modes."""
    modes = sorted({entry.mode for entry in cache.entries})
    return {"model": cache.model_name, "mode": ", ".join(modes)}


def _report_json(
    made: dict[str, object],
    mae: float,
    pairs: Sequence[ComparedPair],
    truths: Sequence[ComparedPair],
    notes: Sequence[str],
) -> str:
    """All numbers as JSON text, after the model that made the turns.

    A pair that shares no region has null.
    """
    content = {**made, "mae": _number(mae), "pairs": [_row(pair) for pair in pairs]}
    if truths:
        content["truth"] = [_row(pair) for pair in truths]
    return json.dumps({**content, "notes": list(notes)}, indent=1)


def _mean_mae(pairs: Sequence[ComparedPair]) -> float:
    """Mean over the pairs that share a region outside the source's view; NaN without any."""
    values = [pair.disagreement.mae for pair in pairs if pair.disagreement.num_pixels]
    return sum(values) / len(values) if values else math.nan


def _row(pair: ComparedPair) -> dict[str, object]:
    result = pair.disagreement
    return {
        "pair": pair.name,
        "mae": _number(result.mae),
        "psnr": _number(result.psnr),
        "pixels": result.num_pixels,
        "share_of_picture": round(result.num_pixels / result.mask.numel(), 4),
    }


def _number(value: float) -> float | None:
    return round(value, 5) if math.isfinite(value) else None

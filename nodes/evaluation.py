"""Scores of a session: do the turns agree where the source never looked?"""

import itertools
import json
import math
from dataclasses import dataclass

import comfy.model_management
import comfy.utils
import torch
from comfy.sd import VAE
from comfy_api.latest import io

from ..memv2v_core.cache.entry import MemoryEntry
from ..memv2v_core.cache.memory_cache import MemoryCache
from ..memv2v_core.cameras.projection import SHARED_CENTRE_TOLERANCE
from ..memv2v_core.cameras.trajectory import CameraTrajectory
from ..memv2v_core.evaluation.metrics.consistency import centre_distance, turn_disagreement
from ..memv2v_core.pictures.heat_maps import ComparedPair, draw_message, draw_pairs
from .io_types import CATEGORY, Cache, Camera
from .pictures import PictureAndText


class ConsistencyReport(io.ComfyNode):
    """Agreement of all turns with each other."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistencyReport",
            display_name="Consistency Report",
            category=CATEGORY,
            description="Compares every pair of turns at equal frames, warped exactly into one "
            "another, in the region that no source frame shows. 0 is perfect "
            "agreement. Exact for cameras that rotate about one point; pairs whose "
            "cameras move apart are named and left out.",
            inputs=[
                Cache.Input("cache", tooltip="The turns to compare, two or more."),
                io.Vae.Input("vae", tooltip="The model's VAE: decodes the turns."),
                Camera.Input(
                    "source_camera",
                    tooltip="What the source saw; only pixels outside all its frames count.",
                ),
                io.Image.Input(
                    "truth",
                    optional=True,
                    tooltip="A video to compare every turn with as well, such as a Demo Scene "
                    "along a turn's path. Needs truth_camera. Not part of mae.",
                ),
                Camera.Input("truth_camera", optional=True, tooltip="The camera path of truth."),
            ],
            outputs=[
                io.String.Output(display_name="report", tooltip="Numbers of every pair, as JSON."),
                io.Float.Output(
                    display_name="mae",
                    tooltip="Mean absolute difference, 0 to 1, averaged over the pairs of turns; "
                    "not a number when none can be compared.",
                ),
                io.Image.Output(
                    display_name="heat",
                    tooltip="One row a pair: both turns, the warp, and where they differ.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        cache: MemoryCache,
        vae: VAE,
        source_camera: CameraTrajectory,
        truth: torch.Tensor | None = None,
        truth_camera: CameraTrajectory | None = None,
    ) -> io.NodeOutput:
        progress = comfy.utils.ProgressBar(2 * len(cache))
        turns = [decoded_turn(entry, vae, progress) for entry in cache.entries]
        combinations = list(itertools.combinations(turns, 2))
        pairs, notes = compare(combinations, source_camera, progress)
        if combinations and not pairs:
            raise ValueError(
                f"0 of {len(combinations)} pairs of turns can be compared; " + "; ".join(notes)
            )
        if not combinations:
            notes.append(
                f"the cache holds {len(cache)} turns, wanted 2 or more; finish another turn to "
                "compare"
            )
        truth_turn = given_turn(truth, truth_camera)
        truths, truth_notes = compare(
            [(truth_turn, turn) for turn in turns] if truth_turn else [], source_camera
        )
        mae = mean_mae(pairs)
        report = report_json(made_by(cache), mae, pairs, truths, [*notes, *truth_notes])
        shown = [*pairs, *truths]
        heat = (
            draw_pairs(shown) if shown else draw_message("nothing to compare: " + "; ".join(notes))
        )[None]
        return io.NodeOutput(report, mae, heat, ui=PictureAndText(heat, report, cls))


@dataclass(frozen=True, eq=False)
class ShownTurn:
    """A decoded turn: what to call it, its frames (F, 3, H, W) in [0, 1] and one camera a frame."""

    name: str
    frames: torch.Tensor
    camera: CameraTrajectory

    def first(self, num_frames: int) -> tuple[torch.Tensor, CameraTrajectory]:
        """Its first frames and their cameras."""
        return self.frames[:num_frames], self.camera.frames(tuple(range(num_frames)))


def decoded_turn(entry: MemoryEntry, vae: VAE, progress: comfy.utils.ProgressBar) -> ShownTurn:
    """A turn of the cache as pixels, without the frames that only padded it."""
    comfy.model_management.throw_exception_if_processing_interrupted()
    images = vae.decode(entry.latent[None].float())
    frames = images.reshape(-1, *images.shape[-3:])[: entry.num_frames].movedim(-1, 1).float().cpu()
    progress.update(1)
    return ShownTurn(f"turn {entry.turn}", frames, entry.camera)


def given_turn(images: torch.Tensor | None, camera: CameraTrajectory | None) -> ShownTurn | None:
    """The optional further video.

    Raises: ValueError when only one of the two is given, or the path is shorter than the video.
    """
    if images is None and camera is None:
        return None
    if images is None or camera is None:
        missing, given = ("truth", "truth_camera") if images is None else ("truth_camera", "truth")
        raise ValueError(
            f"{missing} got nothing, but {given} is connected; connect both or neither"
        )
    if camera.num_frames < images.shape[0]:
        raise ValueError(
            f"truth_camera got {camera.num_frames} frames, wanted {images.shape[0]} as truth has; "
            f"set num_frames of the path to {images.shape[0]}"
        )
    return ShownTurn("truth", images[..., :3].movedim(-1, 1).float().cpu(), camera)


def compare(
    combinations: list[tuple[ShownTurn, ShownTurn]],
    source_camera: CameraTrajectory,
    progress: comfy.utils.ProgressBar | None = None,
) -> tuple[list[ComparedPair], list[str]]:
    """All pairs whose cameras allow an exact warp, over the frames that both have, and why others
    were left out.
    """
    pairs, notes = [], []
    for a, b in combinations:
        comfy.model_management.throw_exception_if_processing_interrupted()
        name, num_frames = f"{a.name} and {b.name}", min(len(a.frames), len(b.frames))
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
            notes.append(f"{name} share no region outside the source's view")
        pairs.append(ComparedPair(name, video_a, video_b, result))
    if progress is not None:
        progress.update_absolute(progress.total)
    return pairs, notes


def made_by(cache: MemoryCache) -> dict[str, object]:
    """The model of a cache's turns and the modes that it ran in: trained with memory, or
    training-free.
    """
    return {
        "model": cache.model_name,
        "mode": ", ".join(sorted({entry.mode for entry in cache.entries})),
    }


def report_json(
    made: dict[str, object],
    mae: float,
    pairs: list[ComparedPair],
    truths: list[ComparedPair],
    notes: list[str],
) -> str:
    """All numbers as JSON text, after what made the turns; null where a pair shares no region."""
    content = {**made, "mae": _number(mae), "pairs": [_row(pair) for pair in pairs]}
    if truths:
        content["truth"] = [_row(pair) for pair in truths]
    return json.dumps({**content, "notes": notes}, indent=1)


def mean_mae(pairs: list[ComparedPair]) -> float:
    """Mean over the pairs that share a region outside the source's view; NaN if none does."""
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


NODES = [ConsistencyReport]

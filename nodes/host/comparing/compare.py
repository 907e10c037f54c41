"""The comparison of two videos: decoded, measured, and written for the player."""

from dataclasses import dataclass
from functools import partial

import comfy.model_management
import comfy.utils
import torch
from comfy.sd import VAE

from ....memv2v_core.cache.entry import MemoryEntry
from ....memv2v_core.cache.memory_cache import MemoryCache
from ....memv2v_core.cameras.trajectory import CameraTrajectory
from ..clips.decoding import decode_latent
from ..footage.reading import exact_rate
from .files import ComparedVideos, write_video
from .measuring import (
    all_verdicts,
    difference_pictures,
    leaves_out_source,
    listed_turns,
    verdict_of,
)
from .sides import Choice, Decode, Side, chosen_sides, turn_side


@dataclass(frozen=True, eq=False)
class Compared:
    """What the node returns.

    difference: (F, H, W, 3) in [0, 1].
    """

    report: str
    difference: torch.Tensor
    shown: ComparedVideos


def compare_turns(
    cache: MemoryCache,
    vae: VAE,
    choices: tuple[Choice, Choice],
    source_camera: CameraTrajectory | None,
    frame_rate: float,
    lists_all_pairs: bool,
) -> Compared:
    """Both videos side by side in files, and a report in plain words.

    Raises: ValueError for a choice that is not there, for sizes that differ, for another model's
    VAE and for a full disk.
    """
    stop = comfy.model_management.throw_exception_if_processing_interrupted
    decode = partial(decoded, vae)
    # Step 1: the two videos.
    first, second, notes = chosen_sides(cache, choices, decode, source_camera)
    verdict, assumed = verdict_of(first, second, source_camera)
    difference = difference_pictures(second, verdict)
    # Step 2: files for the player.
    num_frames, rate = min(len(first.frames), len(second.frames)), exact_rate(frame_rate)
    has_heat = verdict.disagreement is not None
    files = (
        write_video(first.frames[:num_frames], rate, stop),
        write_video(second.frames[:num_frames], rate, stop),
        write_video(difference.movedim(-1, 1), rate, stop) if has_heat else None,
    )
    # Step 3: the report. The chosen pair comes first.
    lines = [f"{verdict.text}."]
    if lists_all_pairs:
        lines += _other_pairs(cache, (first, second), decode, source_camera)
    where = "where both look"
    if source_camera is not None and leaves_out_source(first, second):
        where += " and the source never looked"
    lines += [
        f"Numbers: mean difference of the colours, 0 to 1, {where}.",
        *(f"Note: {note}." for note in (*notes, *assumed)),
    ]
    report = "\n".join(lines)
    size = (num_frames, *first.frames.shape[-2:])
    names = (first.name, second.name)
    return Compared(
        report, difference, ComparedVideos(files, names, verdict.text, rate, size, report)
    )


def decoded(vae: VAE, latent: torch.Tensor) -> torch.Tensor:
    """Frames (F, 3, H, W) in [0, 1] of a latent (C, T, h, w), in tiles where memory is short.

    Raises: ValueError for a VAE of other channels.
    """
    comfy.model_management.throw_exception_if_processing_interrupted()
    wanted = latent.shape[0]
    if vae.latent_channels != wanted:
        raise ValueError(
            f"vae decodes latents of {vae.latent_channels} channels, wanted {wanted}; connect the "
            "VAE of the model that made the turns"
        )
    return decode_latent(vae, latent)


def _other_pairs(
    cache: MemoryCache,
    chosen: tuple[Side, Side],
    decode: Decode,
    source_camera: CameraTrajectory | None,
) -> list[str]:
    """Lines about every pair of turns, where there are more than two."""
    entries, left_out = listed_turns(cache, chosen)
    if not entries:
        return []
    decoded = {side.entry_id: side for side in chosen if side.entry_id}
    progress = comfy.utils.ProgressBar(len(entries))

    def side_of(entry: MemoryEntry) -> Side:
        progress.update(1)
        return decoded.get(entry.entry_id) or turn_side(entry, decode)

    stop = comfy.model_management.throw_exception_if_processing_interrupted
    verdicts, every = all_verdicts(entries, side_of, source_camera, stop)
    left = "" if source_camera is None else " where the source never looked"
    lines = [f"All pairs{left}{every}:", *(f"- {verdict.text}" for verdict in verdicts)]
    return [*lines, f"- {left_out}"] if left_out else lines

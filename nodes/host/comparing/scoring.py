"""The videos that Score Turns measures: turns of a cache, decoded, and connected frames."""

from collections import Counter
from collections.abc import Callable, Mapping

import torch
from comfy.sd import VAE

from ....memv2v_core.cache.memory_cache import MemoryCache
from ....memv2v_core.cameras.trajectory import CameraTrajectory
from ....memv2v_core.evaluation.turn_scoring.measuring import ScoredVideo
from .compare import decoded
from .sides import turn_side


def scored_videos(
    cache: MemoryCache | None,
    vae: VAE | None,
    newest: int,
    connected: Mapping[str, torch.Tensor],
    after_each: Callable[[], None],
) -> tuple[list[ScoredVideo], tuple[str, ...]]:
    """The newest turns in their order, then the connected frames; and what was left out.

    newest: how many turns; 0 for all. connected: frames (F, H, W, C) by the names of their sockets.
    after_each: called after every decoded turn.

    Raises: ValueError for a cache without its VAE, and for another model's VAE.
    """
    videos, notes = [], []
    if cache is not None and len(cache):
        if vae is None:
            raise ValueError(
                f"vae is not connected, but cache holds {len(cache)} turns; connect the VAE of "
                "their model, which decodes them"
            )
        entries = cache.entries[-newest:]
        if len(entries) < len(cache):
            notes.append(f"of {len(cache)} turns the {len(entries)} newest are scored")
        turns = Counter(entry.turn for entry in entries)
        for entry in entries:
            side = turn_side(entry, lambda latent: decoded(vae, latent))
            # Two takes of one turn have one label.
            is_single = turns[entry.turn] == 1
            name = side.name if is_single else f"{side.name} ({entry.entry_id[:8]})"
            videos.append(ScoredVideo(name, side.frames, side.camera, side.segment))
            after_each()
    videos += [ScoredVideo(name, frames_of(images)) for name, images in connected.items()]
    return videos, tuple(notes)


def given_truth(images: torch.Tensor | None, camera: CameraTrajectory | None) -> ScoredVideo | None:
    """The true video, with its camera where it is known.

    Raises: ValueError for a camera without its video, and for a path shorter than the video.
    """
    if images is None:
        if camera is not None:
            raise ValueError(
                "truth is not connected, but truth_camera is; connect both, or truth alone"
            )
        return None
    if camera is not None and camera.num_frames < len(images):
        raise ValueError(
            f"truth_camera got {camera.num_frames} frames, wanted {len(images)} as truth has; set "
            f"num_frames of the path to {len(images)}"
        )
    return ScoredVideo("truth", frames_of(images), camera)


def frames_of(images: torch.Tensor) -> torch.Tensor:
    """ComfyUI's frames (F, H, W, C) as (F, 3, H, W)."""
    return images[..., :3].movedim(-1, 1).float().cpu()

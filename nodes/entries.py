"""What a cache keeps of a finished turn."""

import latent_preview
import numpy
import torch
from comfy.model_patcher import ModelPatcher

from ..memv2v_core.bases.base_info import BaseInfo
from ..memv2v_core.cache.entry import MemoryEntry
from ..memv2v_core.cache.memory_cache import MemoryCache
from ..memv2v_core.cameras.trajectory import static_trajectory
from ..memv2v_core.sampling.turn import Shot, finished_entry
from ..memv2v_core.shapes import num_latent_frames, padded_num_frames
from ..memv2v_core.tokens.budget import TokenPlan
from .clips import SegmentQuery
from .conditioning import memories_of


def turn_entry(
    samples: torch.Tensor,
    model: ModelPatcher,
    shot: Shot,
    info: BaseInfo,
    cache: MemoryCache,
    seed: int,
    plan: TokenPlan | None = None,
    **details: object,
) -> MemoryEntry:
    """The cache entry of a finished turn, `samples` (1, C, T, H, W); `details` add to its fields or
    replace them.
    """
    newest = cache.newest
    path = shot.target_path
    if path is None:  # a base without cameras: nothing is known of them
        path = static_trajectory((samples.shape[2] - 1) * info.ratios.temporal + 1, is_assumed=True)
    fields = {
        "num_frames": path.num_frames,
        "turn": cache.next_turn,
        "source_latent": None if shot.source_latent is None else shot.source_latent.cpu(),
        "parent_id": newest.entry_id if newest is not None else None,
        "thumbnail": thumbnail(model, samples),
        "memory_ids": tuple(entry.entry_id for entry in memories_of(plan)),
        **details,
    }
    latent = samples[0].detach().cpu()
    return finished_entry(
        latent, path, model_name=info.model_name, mode=info.mode, seed=seed, **fields
    )


def segment_details(
    query: SegmentQuery, samples: torch.Tensor, info: BaseInfo
) -> dict[str, object]:
    """What an entry says of the segment of a long video that it edits.

    Raises: ValueError when the result is not as long as the segment.
    """
    count = query.segment.num_frames
    wanted = num_latent_frames(padded_num_frames(count, info.ratios.temporal), info.ratios.temporal)
    if samples.shape[2] != wanted:
        raise ValueError(
            f"segment got a result of {samples.shape[2]} latent frames, wanted {wanted} for the "
            f"{count} frames of segment {query.segment.idx + 1}; connect the frames of that very "
            "segment as source"
        )
    return {
        "segment": query.segment,
        "num_frames": count,
        "source_descriptor": query.descriptor,
        "descriptor_name": query.descriptor_name,
    }


def thumbnail(model: ModelPatcher, samples: torch.Tensor) -> torch.Tensor | None:
    """The middle latent frame in the colours of the sampler's previews, (H, W, 3) uint8; None where
    a model has none.

    No VAE is at hand here, and a picture to recognise a turn by needs none.
    """
    latent_format = model.model.latent_format
    if latent_format.latent_rgb_factors is None:
        return None
    previewer = latent_preview.Latent2RGBPreviewer(
        latent_format.latent_rgb_factors,
        latent_format.latent_rgb_factors_bias,
        latent_format.latent_rgb_factors_reshape,
    )
    latent = model.model.process_latent_in(samples[:, :, samples.shape[2] // 2 :].float().cpu())
    return torch.from_numpy(numpy.array(previewer.decode_latent_to_preview(latent)))

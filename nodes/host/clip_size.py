"""Frame count and aspect of a clip that is connected."""

import torch


def clip_length(clip: torch.Tensor | None) -> int | None:
    """Frames of an IMAGE (F, H, W, 3); None where no clip is connected."""
    return None if clip is None else clip.shape[0]


def clip_aspect(clip: torch.Tensor | None) -> float | None:
    """Width divided by height of an IMAGE (F, H, W, 3); None where no clip is connected."""
    return None if clip is None else clip.shape[2] / clip.shape[1]

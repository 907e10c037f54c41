"""Learnable tokenizers, one per kernel size.

The 1x2x2 tokenizer is the base's patch embedding. A coarse tokenizer starts as "average-pool the
latent, then the base's patch embedding". Untrained memory therefore works from the start
(training-free mode).

Source: Sec. 3.3, arXiv:2601.16296v2. Our choice: the starting point.
"""

import torch
import torch.nn.functional as F

from ..shapes import token_grid

BASE_KERNEL = 2
COARSE_KERNELS = (4, 8)


def pad_to_kernel(latent: torch.Tensor, kernel: int) -> torch.Tensor:
    """`latent` (B, C, T, H, W) with H and W grown to multiples of `kernel`.

    The border is repeated; nothing is dropped.
    """
    height, width = latent.shape[-2:]
    rows, columns = token_grid(height, width, kernel)
    # F.pad counts from the last axis: columns, rows, frames.
    padding = (0, columns * kernel - width, 0, rows * kernel - height, 0, 0)
    return F.pad(latent, padding, mode="replicate") if any(padding) else latent


def pool_for_base(latent: torch.Tensor, kernel: int) -> torch.Tensor:
    """`latent` (B, C, T, H, W) averaged for the base's patch embedding.

    One 1x2x2 patch of the result covers kernel x kernel values of the latent.
    """
    factor = kernel // BASE_KERNEL
    padded = pad_to_kernel(latent, kernel)
    return F.avg_pool3d(padded, (1, factor, factor)) if factor > 1 else padded


def coarse_weight_from_base(weight: torch.Tensor, kernel: int) -> torch.Tensor:
    """Convolution weight (D, C, 1, k, k) that equals average pooling, then the base's weight.

    weight: (D, C, 1, 2, 2) of the base.
    """
    factor = kernel // BASE_KERNEL
    # A base weight reads the average of factor x factor inputs, so each input gets an equal part
    # of this weight.
    return weight.repeat_interleave(factor, dim=-1).repeat_interleave(factor, dim=-2) / factor**2

"""What a token knows about its moment: the playback time of its frame.

Every pixel frame of a video shows one moment of the source, counted in the source's pixel frames.
The moments of a latent frame become one embedding, which is added to its tokens as its camera is.
The names are SpaceTimePilot's checkpoint keys.

N latent frames, D width, R pixel frames of a latent frame (4).
Source: DiTBlock and TemporalDownsampler, ZheningHuang/spacetimepilot.
"""

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn

# Sines and cosines of a moment: freq_dim of every Wan.
NUM_TIME_FEATURES = 256
# The longest period, in moments, is 2 pi times this.
_LONGEST = 10_000.0
_KERNEL, _STRIDE = 3, 2
NUM_NORM_GROUPS = 32


class TimeOperations(Protocol):
    """The layers of torch.nn, or ComfyUI's layers with the same names."""

    @property
    def Linear(self) -> type[nn.Linear]: ...
    @property
    def Conv1d(self) -> type[nn.Conv1d]: ...
    @property
    def GroupNorm(self) -> type[nn.GroupNorm]: ...


def frame_time_embedding(dim: int, ops: TimeOperations) -> nn.Sequential:
    """From the features of a moment to its embedding of width `dim`."""
    return nn.Sequential(ops.Linear(NUM_TIME_FEATURES, dim), nn.SiLU(), ops.Linear(dim, dim))


class TemporalDownsampler(nn.Module):
    """One embedding for a latent frame, from the embeddings of its pixel frames.

    Two causal convolutions halve the frames twice. The published layers pad on the left alone, so
    the second convolution reads the first pixel frame; the second and third one count through the
    norm between, the fourth one not at all.
    """

    def __init__(self, dim: int, ops: TimeOperations) -> None:
        super().__init__()
        self.temporal_conv1 = ops.Conv1d(dim, dim, _KERNEL, stride=_STRIDE)
        self.norm1 = ops.GroupNorm(NUM_NORM_GROUPS, dim)
        self.temporal_conv2 = ops.Conv1d(dim, dim, _KERNEL, stride=_STRIDE)
        self.norm2 = ops.GroupNorm(NUM_NORM_GROUPS, dim)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(N, D) of embeddings (N, R, D)."""
        assert frames.shape[1] == _STRIDE**2, "two halvings leave one frame of four"
        x = frames.mT  # (N, D, 4)
        x = F.silu(self.norm1(self.temporal_conv1(F.pad(x, (_KERNEL - 1, 0)))))  # (N, D, 2)
        x = F.silu(self.norm2(self.temporal_conv2(F.pad(x, (_KERNEL - 1, 0)))))  # (N, D, 1)
        return x.squeeze(-1)


def embed_times(
    times: torch.Tensor,
    embedding: nn.Sequential,
    downsampler: TemporalDownsampler,
    dtype: torch.dtype,
) -> torch.Tensor:
    """What the moments `times` (B, T, R) of a video add to its tokens, (B, T, D).

    times: see `FrameCameras`. A latent frame of one pixel frame keeps the embedding as it is.
    """
    is_single = times[..., 1:].isnan().any(-1, keepdim=True)  # (B, T, 1)
    frames = embedding(_features(times.nan_to_num()).to(dtype))  # (B, T, R, D)
    joined = downsampler(frames.flatten(0, 1)).unflatten(0, times.shape[:2])
    return torch.where(is_single, frames[:, :, 0], joined)


def latent_frame_times(times: torch.Tensor, num_latent: int, ratio: int) -> torch.Tensor:
    """The moments (1, T, R) float32 of the latent frames of one video.

    times: (F,) of at least ratio * (num_latent - 1) + 1 pixel frames; ratio: R. The first latent
    frame holds one pixel frame, so its other moments are NaN.
    """
    first = torch.full((1, ratio), math.nan, dtype=times.dtype)
    first[0, 0] = times[0]
    others = times[1 : 1 + ratio * (num_latent - 1)].unflatten(0, (num_latent - 1, ratio))
    return torch.cat((first, others))[None].float()


def time_weights(dim: int) -> dict[str, tuple[int, ...]]:
    """The shape of every weight of one block's times, by its name in the block."""
    shapes: dict[str, tuple[int, ...]] = {
        "frame_time_embedding.0.weight": (dim, NUM_TIME_FEATURES),
        "frame_time_embedding.0.bias": (dim,),
        "frame_time_embedding.2.weight": (dim, dim),
        "frame_time_embedding.2.bias": (dim,),
    }
    for i in (1, 2):
        shapes[f"temporal_downsampler.temporal_conv{i}.weight"] = (dim, dim, _KERNEL)
        shapes[f"temporal_downsampler.temporal_conv{i}.bias"] = (dim,)
        shapes[f"temporal_downsampler.norm{i}.weight"] = (dim,)
        shapes[f"temporal_downsampler.norm{i}.bias"] = (dim,)
    return shapes


def _features(times: torch.Tensor) -> torch.Tensor:
    """Cosines, then sines of every moment, (..., NUM_TIME_FEATURES)."""
    half = NUM_TIME_FEATURES // 2
    # float32 is exact to 1e-5 for videos of thousands of frames; some devices have no float64.
    exponents = torch.arange(half, dtype=times.dtype, device=times.device) / half
    angles = times[..., None] * _LONGEST**-exponents
    return torch.cat((angles.cos(), angles.sin()), dim=-1)

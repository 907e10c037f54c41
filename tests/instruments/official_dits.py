"""Weights and inputs of the recipes beside the golden numbers that official DiTs computed.

A recipe names every tensor and draws it from its own name, so nobody needs the official code or its
weights.
"""

import json
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from memv2v_core.builtin.bundle import build_dit
from memv2v_core.builtin.info import DitConfig
from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from memv2v_core.model.camera_encoder import FrameCameras
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.weights.checkpoint import to_diffusers_names, to_native_names

# Of Wan2.1's 1.3B, with two blocks.
TRUE_SIZES = DitConfig(
    dim=1536, num_heads=12, num_layers=2, ffn_dim=8960, text_dim=4096, freq_dim=256
)
Draw = Callable[[str, tuple[int, ...]], torch.Tensor]
# Weights that lie around 1.
_NORMS = tuple(f"norm{which}.weight" for which in ("_q", "_k", "1", "2", "3"))


def golden(name: str) -> dict[str, Any]:
    """The file of golden numbers beside the tests of the model."""
    path = Path(__file__).parents[1] / "core" / "model" / name
    return json.loads(path.read_text(encoding="utf-8"))


def normal(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """z of the recipes at small sizes, named in their files."""
    return torch.from_numpy(np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape))


def uniform(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """z of the recipes at true sizes, named in their files: seven times quicker to draw."""
    values = np.random.RandomState(zlib.crc32(name.encode())).random_sample(shape)
    return torch.from_numpy(np.float32(math.sqrt(12) * (values - 0.5)))


def weight(draw: Draw, name: str, shape: torch.Size) -> torch.Tensor:
    """The weight of this name in the official state dict."""
    z = draw(name, tuple(shape))
    if name.endswith(_NORMS):
        z = 1 + 0.1 * z
    elif name.endswith(".bias"):
        z = 0.1 * z
    elif name.endswith("modulation"):
        z = 0.3 * z
    else:
        z = z / math.sqrt(math.prod(shape[1:]))
    return z.float()


def build_view(sizes: DitConfig, draw: Draw) -> DiffusersView:
    """Our view of the DiT of a recipe."""
    with torch.device("meta"):
        dit = build_dit(sizes)
    native = {
        name: weight(draw, name, like.shape)
        for name, like in to_native_names(dit.state_dict()).items()
    }
    dit.load_state_dict(to_diffusers_names(native), assign=True)
    return DiffusersView(dit.eval().requires_grad_(False))


def build_adapter(config: AdapterConfig, draw: Draw) -> MemoryAdapter:
    """The adapter of a recipe."""
    with torch.device("meta"):
        made = MemoryAdapter(config)
    weights = {name: weight(draw, name, like.shape) for name, like in made.state_dict().items()}
    made.load_state_dict(weights, assign=True)
    return made.eval().requires_grad_(False)


def cameras_of(poses: torch.Tensor, times: torch.Tensor | None = None) -> FrameCameras:
    """Frames (1, T) whose 12 numbers are `poses` (1, T, 12), rotations or not.

    times: see `FrameCameras`.
    """
    c2w = torch.eye(4).repeat(*poses.shape[:2], 1, 1)
    c2w[:, :, :3] = poses.unflatten(-1, (3, 4))
    return FrameCameras(c2w, torch.eye(3).repeat(*poses.shape[:2], 1, 1), times)

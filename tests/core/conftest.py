"""A DiT of three blocks and an adapter with random weights, and inputs for them."""

from collections.abc import Callable

import pytest
import torch
from diffusers import WanTransformer3DModel
from torch import nn

from memv2v_core.builtin.bundle import build_dit
from memv2v_core.builtin.info import DitConfig
from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from memv2v_core.model.camera_encoder import FrameCameras
from memv2v_core.model.memory_inputs import ConditioningStream
from memv2v_core.tokens.positions import temporal_indices

DIM, BLOCKS, CHANNELS, TEXT_DIM = 96, 3, 16, 24
NUM_TARGET_FRAMES = 3


@torch.no_grad()
def _randomise(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 1:
            parameter.copy_((1.0 if name.endswith("weight") else 0.0) + 0.1 * noise)
        elif "scale_shift_table" in name:
            parameter.copy_(0.3 * noise)
        else:
            parameter.copy_(noise / parameter[0].numel() ** 0.5)


@pytest.fixture(scope="session")
def dit() -> WanTransformer3DModel:
    model = build_dit(
        DitConfig(DIM, num_heads=2, num_layers=BLOCKS, ffn_dim=128, text_dim=TEXT_DIM, freq_dim=32)
    )
    _randomise(model, 0)
    return model.eval().requires_grad_(False)


@pytest.fixture
def make_adapter() -> Callable[..., MemoryAdapter]:
    """make_adapter(**fields of AdapterConfig): an adapter for `dit` with random weights."""

    def make(**fields: bool) -> MemoryAdapter:
        adapter = MemoryAdapter(AdapterConfig(DIM, BLOCKS, CHANNELS, **fields))
        _randomise(adapter, 1)
        return adapter.eval()

    return make


@pytest.fixture
def adapter(make_adapter: Callable[..., MemoryAdapter]) -> MemoryAdapter:
    return make_adapter()


@pytest.fixture
def make_cameras() -> Callable[..., FrameCameras]:
    """make_cameras(seed, num_frames, rows): cameras that differ from frame to frame and row to
    row."""

    def make(seed: int, num_frames: int = NUM_TARGET_FRAMES, rows: int = 1) -> FrameCameras:
        generator = torch.Generator().manual_seed(1000 + seed)
        angle = torch.rand(rows, num_frames, generator=generator)
        c2w = torch.eye(4).repeat(rows, num_frames, 1, 1)
        c2w[..., 0, 0], c2w[..., 0, 2] = angle.cos(), angle.sin()
        c2w[..., 2, 0], c2w[..., 2, 2] = -angle.sin(), angle.cos()
        c2w[..., :3, 3] = torch.randn(rows, num_frames, 3, generator=generator)
        intrinsics = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.7, 0.5], [0.0, 0.0, 1.0]]).repeat(
            rows, num_frames, 1, 1
        )
        return FrameCameras(c2w, intrinsics)

    return make


@pytest.fixture
def make_stream(make_cameras: Callable[..., FrameCameras]) -> Callable[..., ConditioningStream]:
    """make_stream(role, kernel, seed, num_frames, rows): a random clean video of 8 x 12 latents
    with its cameras.
    """

    def make(
        role: str,
        kernel: int = 2,
        seed: int = 0,
        num_frames: int = NUM_TARGET_FRAMES,
        rows: int = 1,
    ) -> ConditioningStream:
        generator = torch.Generator().manual_seed(2000 + seed)
        latent = torch.randn(rows, CHANNELS, num_frames, 8, 12, generator=generator)
        indices = temporal_indices(role, NUM_TARGET_FRAMES, num_frames)
        return ConditioningStream(
            role, kernel, latent, indices, make_cameras(seed, num_frames, rows)
        )

    return make


@pytest.fixture
def make_noisy() -> Callable[..., torch.Tensor]:
    """make_noisy(rows): a target latent of 8 x 12 tokens' worth of noise."""

    def make(rows: int = 1, height: int = 8, width: int = 12) -> torch.Tensor:
        generator = torch.Generator().manual_seed(5)
        return torch.randn(rows, CHANNELS, NUM_TARGET_FRAMES, height, width, generator=generator)

    return make


@pytest.fixture
def make_context() -> Callable[..., torch.Tensor]:
    """make_context(rows): text embeddings of 5 tokens."""
    return lambda rows=1: torch.randn(rows, 5, TEXT_DIM, generator=torch.Generator().manual_seed(6))

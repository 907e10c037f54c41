"""Clips with cameras, and branches for the core's DiT."""

from collections.abc import Callable

import pytest
import torch

from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix
from memv2v_core.context.branch import BranchConfig, ContextBranch, new_branch
from memv2v_core.model.memory_inputs import MemoryInputs

DIM, BLOCKS, WIDTH = 96, 3, 10


@pytest.fixture
def make_path() -> Callable[..., CameraTrajectory]:
    """make_path(num_frames): a camera that turns about y and walks."""

    def make(num_frames: int = 5, aspect: float = 1.0) -> CameraTrajectory:
        angle = 0.2 * torch.arange(num_frames, dtype=torch.float64)
        c2w = torch.eye(4, dtype=torch.float64).repeat(num_frames, 1, 1)
        c2w[:, 0, 0], c2w[:, 0, 2] = angle.cos(), angle.sin()
        c2w[:, 2, 0], c2w[:, 2, 2] = -angle.sin(), angle.cos()
        step = torch.tensor([0.3, -0.1, 0.05], dtype=torch.float64)
        c2w[:, :3, 3] = torch.arange(num_frames, dtype=torch.float64)[:, None] * step
        return CameraTrajectory(
            c2w, intrinsics_matrix(0.9, 0.9 * aspect).expand(num_frames, 3, 3).clone()
        )

    return make


@pytest.fixture
def make_clip() -> Callable[..., torch.Tensor]:
    """make_clip(num_frames, height, width): random pictures."""

    def make(num_frames: int = 5, height: int = 16, width: int = 16, seed: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(num_frames, 3, height, width, generator=generator)

    return make


@pytest.fixture
def make_branch() -> Callable[..., ContextBranch]:
    """make_branch(is_open, **fields of BranchConfig): a branch for the core's `dit`.

    is_open: its weights are random everywhere, so that its gates are open.
    """

    def make(is_open: bool = True, **fields: object) -> ContextBranch:
        config = {"dim": DIM, "num_blocks": BLOCKS, "ffn_dim": 64, **fields}
        branch = new_branch(BranchConfig("an encoder", WIDTH, **config), seed=3)
        if is_open:
            generator = torch.Generator().manual_seed(4)
            with torch.no_grad():
                for parameter in branch.parameters():
                    parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        return branch

    return make


@pytest.fixture
def make_tokens() -> Callable[..., torch.Tensor]:
    """make_tokens(rows, count): random tokens of an encoder."""

    def make(rows: int = 1, count: int = 7, seed: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(20 + seed)
        return torch.randn(rows, count, WIDTH, generator=generator)

    return make


@pytest.fixture
def inputs(make_stream: Callable, make_cameras: Callable) -> MemoryInputs:
    """A source and a memory, with cameras."""
    return MemoryInputs((make_stream("source"), make_stream("memory", 4, 1)), make_cameras(9))

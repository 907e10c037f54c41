"""Random examples for a model in training, whose memories have every kernel and may merge."""

from collections.abc import Sequence

import torch

from memv2v_core.bases.base_info import BaseInfo
from memv2v_core.model.camera_encoder import FrameCameras
from memv2v_core.sampling.inputs import CleanVideo, assemble_inputs
from memv2v_core.tokens.merging import MergeConfig
from memv2v_core.training.data.example import Example
from memv2v_core.training.objective import Noising

KERNELS = (2, 4, 8)


def cameras_of(generator: torch.Generator, rows: int, num_frames: int) -> FrameCameras:
    """Cameras that differ from frame to frame and from row to row."""
    angle = torch.rand(rows, num_frames, generator=generator)
    c2w = torch.eye(4).repeat(rows, num_frames, 1, 1)
    c2w[..., 0, 0], c2w[..., 0, 2] = angle.cos(), angle.sin()
    c2w[..., 2, 0], c2w[..., 2, 2] = -angle.sin(), angle.cos()
    c2w[..., :3, 3] = torch.randn(rows, num_frames, 3, generator=generator)
    lens = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.7, 0.5], [0.0, 0.0, 1.0]])
    return FrameCameras(c2w, lens.repeat(rows, num_frames, 1, 1))


def random_example(
    base: BaseInfo,
    kernels: Sequence[int] = KERNELS,
    share: float | None = 0.5,
    *,
    rows: int = 2,
    num_frames: int = 3,
    side: int = 8,
    seed: int = 0,
) -> Example:
    """A target with a source, and a memory for each of `kernels`, in latents of `side` x `side`.

    share: of the frames to merge; None merges nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, base.ratios.channels, num_frames, side, side)

    def latent() -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    def cameras() -> FrameCameras | None:
        return cameras_of(generator, rows, num_frames) if base.has_cameras else None

    source = latent()
    videos = [CleanVideo("source", 2, source, cameras=cameras())]
    videos += [
        CleanVideo("memory", kernel, latent(), source=latent(), cameras=cameras())
        for kernel in kernels
    ]
    inputs = assemble_inputs(
        base,
        num_frames,
        videos,
        target_cameras=cameras(),
        merging=None if share is None else MergeConfig(share),
    )
    return Example(latent(), inputs, None if base.has_source_tokens else source)


def random_noising(example: Example, seed: int = 1) -> Noising:
    """Noise of another level in each row."""
    generator = torch.Generator().manual_seed(seed)
    rows = len(example.target)
    sigmas = torch.rand(rows, generator=generator)
    noise = torch.randn(example.target.shape, generator=generator)
    return Noising(sigmas, torch.ones(rows), noise)

import pytest
import torch
import torch.nn.functional as F

from memv2v_core.builtin.codec import Codec, fit_patch_basis, start_codec

SIDE, RANK = 8, 16


def smooth_frames(count: int = 12, size: int = 32, seed: int = 0) -> torch.Tensor:
    """Frames (N, 3, H, W) whose 8 x 8 patches are grey plus mixtures of 16 pictures, and on average
    grey.
    """
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randn(RANK, 3 * SIDE * SIDE, generator=torch.Generator().manual_seed(99))
    cells = (size // SIDE) ** 2
    mixture = torch.randn(count, cells, RANK, generator=generator) * torch.linspace(2.0, 0.5, RANK)
    patches = 0.05 * (mixture - mixture.mean((0, 1))) @ pictures + 0.1
    return F.fold(patches.mT, size, SIDE, stride=SIDE)


@pytest.fixture
def codec() -> Codec:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Codec()
    start_codec(made, fit_patch_basis(smooth_frames()))
    return made.eval().requires_grad_(False)


def test_the_basis_is_orthonormal_and_ordered():
    basis = fit_patch_basis(smooth_frames())
    assert basis.directions.shape == (16, 192)
    assert basis.mean.shape == (192,)
    assert basis.scale.shape == (16,)
    torch.testing.assert_close(
        basis.directions @ basis.directions.T, torch.eye(16), atol=1e-5, rtol=0
    )
    assert (basis.scale.diff() <= 0).all()
    assert (basis.scale > 0).all()


def test_the_basis_rebuilds_patches_that_it_spans():
    basis = fit_patch_basis(smooth_frames())
    patches = F.unfold(smooth_frames(seed=1), SIDE, stride=SIDE).mT.flatten(0, 1)
    coefficients = (patches - basis.mean) @ basis.directions.T
    torch.testing.assert_close(
        coefficients @ basis.directions + basis.mean, patches, atol=1e-4, rtol=0
    )


def test_latents_have_a_mean_variance_of_one(codec: Codec):
    latent = codec.encode(smooth_frames(count=200, seed=2).movedim(0, 1)[None])
    variance = latent.flatten(2).var(-1)
    assert variance.mean().item() == pytest.approx(1.0, abs=0.1)


def test_a_started_codec_rebuilds_what_its_basis_spans(codec: Codec):
    video = smooth_frames(seed=3).movedim(0, 1)[None]
    torch.testing.assert_close(codec.decode(codec.encode(video)), video, atol=1e-4, rtol=0)


@pytest.mark.parametrize("num_frames", [1, 5])
def test_latents_are_8_times_smaller_with_one_frame_a_frame(codec: Codec, num_frames: int):
    latent = codec.encode(torch.zeros(2, 3, num_frames, 32, 48))
    assert latent.shape == (2, 16, num_frames, 4, 6)
    assert codec.decode(latent).shape == (2, 3, num_frames, 32, 48)


def test_frames_are_coded_one_by_one(codec: Codec):
    video = smooth_frames(4).movedim(0, 1)[None]
    latent = codec.encode(video)
    for frame in range(4):
        torch.testing.assert_close(
            codec.encode(video[:, :, frame : frame + 1])[:, :, 0], latent[:, :, frame]
        )


def test_the_refinement_starts_at_nothing_and_learns(codec: Codec):
    latent = torch.randn(1, 16, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert codec.refine(latent[:, :, 0]).abs().max() == 0
    codec.refine.requires_grad_(True)
    codec.decode(latent).square().mean().backward()
    assert codec.refine[-1].weight.grad.abs().max() > 0

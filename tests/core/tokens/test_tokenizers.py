import pytest
import torch
import torch.nn.functional as F

from memv2v_core.tokens.tokenizers import coarse_weight_from_base, pad_to_kernel, pool_for_base


@pytest.mark.parametrize("kernel", [4, 8])
def test_coarse_weight_equals_averaging_and_then_the_base_embedding(kernel: int):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(24, 16, 1, 2, 2, generator=generator)
    latent = torch.randn(2, 16, 3, 16, 24, generator=generator)
    averaged_then_embedded = F.conv3d(pool_for_base(latent, kernel), weight, stride=(1, 2, 2))
    coarse = F.conv3d(latent, coarse_weight_from_base(weight, kernel), stride=(1, kernel, kernel))
    assert coarse.shape == (2, 24, 3, 16 // kernel, 24 // kernel)
    torch.testing.assert_close(coarse, averaged_then_embedded, atol=1e-5, rtol=1e-5)


def test_latents_that_do_not_divide_are_padded_by_their_border_and_nothing_is_dropped():
    latent = torch.randn(1, 2, 3, 60, 104, generator=torch.Generator().manual_seed(1))
    padded = pad_to_kernel(latent, 8)
    assert padded.shape == (1, 2, 3, 64, 104)
    assert torch.equal(padded[..., :60, :], latent)
    assert torch.equal(padded[..., 60:, :], latent[..., 59:, :].expand(-1, -1, -1, 4, -1))


def test_latents_that_divide_are_left_alone():
    latent = torch.randn(1, 2, 3, 60, 104)
    assert pad_to_kernel(latent, 4) is latent
    assert pool_for_base(latent, 2) is latent


def test_pooling_averages_squares_within_each_frame():
    latent = torch.arange(2 * 4 * 4, dtype=torch.float32).view(1, 1, 2, 4, 4)
    # 4 x 4 numbers 0..15: the first square is 0, 1, 4, 5
    assert pool_for_base(latent, 4)[0, 0].tolist() == [
        [[2.5, 4.5], [10.5, 12.5]],
        [[18.5, 20.5], [26.5, 28.5]],
    ]

from pathlib import Path

import torch
from diffusers import WanTransformer3DModel

from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_inputs import MemoryInputs
from memv2v_core.model.memory_model import memory_forward
from memv2v_core.tokens.positions import token_positions


def test_rotations_at_whole_indices_equal_the_models_own(dit: WanTransformer3DModel):
    rope = DiffusersView(dit).rope(token_positions(range(3), 4, 6, 2)[None])
    own_cos, own_sin = dit.rope(torch.zeros(1, 16, 3, 8, 12))
    torch.testing.assert_close(
        rope.real, own_cos[..., ::2]
    )  # diffusers repeats each angle for its pair
    torch.testing.assert_close(rope.imag, own_sin[..., 1::2])


def test_rotations_at_fractions_lie_between(dit: WanTransformer3DModel):
    view = DiffusersView(dit)
    one_step = view.rope(torch.tensor([[[0.0, 1.0, 0.0]]]))
    half_step = view.rope(torch.tensor([[[0.0, 0.5, 0.0]]]))
    x = torch.randn(1, 1, 2, view.head_dim, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        view.rotate(view.rotate(x, half_step), half_step), view.rotate(x, one_step)
    )


def test_unpatchify_undoes_the_split_into_patches(dit: WanTransformer3DModel):
    latent = torch.randn(2, 16, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    patches = latent.view(2, 16, 3, 4, 2, 6, 2).permute(0, 2, 3, 5, 4, 6, 1)  # B t h w ph pw C
    assert torch.equal(DiffusersView(dit).unpatchify(patches.reshape(2, 72, 64), (3, 4, 6)), latent)


def test_the_shortcut_for_one_text_token_changes_nothing(dit: WanTransformer3DModel):
    generator = torch.Generator().manual_seed(1)
    latent = torch.randn(2, 16, 2, 4, 4, generator=generator)
    text = torch.randn(2, 1, 24, generator=generator)
    timestep = torch.tensor([10.0, 700.0])
    got = memory_forward(DiffusersView(dit), None, latent, timestep, text, MemoryInputs())
    torch.testing.assert_close(got, dit(latent, timestep, text).sample, atol=1e-5, rtol=0)


def test_embedding_time_takes_one_or_many_timesteps_a_row(dit: WanTransformer3DModel):
    view = DiffusersView(dit)
    many, many_modulation = view.embed_time(torch.tensor([[5.0, 500.0], [500.0, 5.0]]))
    one, one_modulation = view.embed_time(torch.tensor([5.0, 500.0]))
    assert many.shape == (2, 2, 96)
    assert many_modulation.shape == (2, 2, 6, 96)
    assert one.shape == (2, 1, 96)
    assert one_modulation.shape == (2, 1, 6, 96)
    torch.testing.assert_close(many[0], one[:, 0])
    torch.testing.assert_close(many_modulation[1].flip(0), one_modulation[:, 0])


def test_a_half_precision_model_agrees_with_its_own_forward(
    dit: WanTransformer3DModel, tmp_path: Path
):
    dit.save_pretrained(tmp_path)
    half = WanTransformer3DModel.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    assert half.scale_shift_table.dtype == torch.float32
    assert half.proj_out.weight.dtype == torch.bfloat16
    generator = torch.Generator().manual_seed(2)
    latent, text = (
        torch.randn(1, 16, 2, 8, 8, generator=generator),
        torch.randn(1, 5, 24, generator=generator),
    )
    timestep = torch.tensor([437.5])
    with torch.no_grad():
        exact = dit(latent, timestep, text).sample
        own = half(latent.bfloat16(), timestep, text.bfloat16()).sample
        ours = memory_forward(DiffusersView(half), None, latent, timestep, text, MemoryInputs())
    assert ours.dtype == torch.bfloat16
    assert (ours - exact).norm() < 1.5 * (own - exact).norm() < 0.03 * exact.norm()

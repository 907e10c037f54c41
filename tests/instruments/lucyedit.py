"""diffusers' LucyEditPipeline over small random weights, and what it gives its DiT."""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    LucyEditPipeline,
    WanTransformer3DModel,
)

from memv2v_core.weights.checkpoint import to_diffusers_names

from . import tiny_wan


@dataclass(frozen=True, eq=False)
class LucyEditRun:
    """One run: the pipeline's DiT and VAE, the video (1, F, 3, h, w) it edited, and every call of
    its DiT as (keyword arguments, output)."""

    dit: WanTransformer3DModel
    vae: AutoencoderKLWan
    video: torch.Tensor
    calls: list[tuple[dict[str, Any], torch.Tensor]]


def run_pipeline() -> LucyEditRun:
    """Two guided steps of the real pipeline on 9 frames of 64 x 96, with the DiT of
    `tiny_wan.wan_weights(96, 48)` and a small random VAE of Wan2.2's shape."""
    dit = WanTransformer3DModel(
        num_attention_heads=tiny_wan.DIM // 128,
        in_channels=96,
        out_channels=48,
        ffn_dim=tiny_wan.FFN_DIM,
        num_layers=tiny_wan.NUM_BLOCKS,
        rope_max_seq_len=64,
    )
    dit.load_state_dict(to_diffusers_names(tiny_wan.wan_weights(96, 48)))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        vae = AutoencoderKLWan(
            base_dim=8,
            z_dim=48,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            is_residual=True,
            in_channels=12,
            out_channels=12,
            patch_size=2,
            temperal_downsample=[False, True, True],
            scale_factor_spatial=16,
            latents_mean=torch.linspace(-1, 1, 48).tolist(),
            latents_std=torch.linspace(0.5, 2, 48).tolist(),
        )
    calls = []
    dit.register_forward_hook(
        lambda _, args, inputs, output: calls.append((inputs, output[0])), with_kwargs=True
    )
    scheduler = FlowMatchEulerDiscreteScheduler(shift=5.0)
    pipeline = LucyEditPipeline(
        None, None, vae.eval(), scheduler, dit.eval(), expand_timesteps=True
    )
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    video = torch.rand(1, 9, 3, 64, 96, generator=generator)
    prompt, negative = torch.randn(2, 1, 7, tiny_wan.TEXT_DIM, generator=generator)
    pipeline(
        video=video,
        prompt_embeds=prompt,
        negative_prompt_embeds=negative,
        height=64,
        width=96,
        num_frames=9,
        num_inference_steps=2,
        generator=generator,
        output_type="latent",
    )
    return LucyEditRun(dit.requires_grad_(False), vae, video, calls)

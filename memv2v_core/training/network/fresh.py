"""New networks for training from nothing, initialised so that they learn quickly.

C channels, D width.
"""

import torch
from diffusers import WanTransformer3DModel
from torch import nn

from ...builtin.bundle import build_dit
from ...builtin.text_encoder import TextConfig, TextEncoder, train_vocabulary
from ...model.adapter import AdapterBlock, AdapterConfig, MemoryAdapter, start_from_base
from ...synthetic.edits import all_instructions
from ...synthetic.outlines import KINDS
from ..config.model import AdapterOptions, ModelConfig

# Size of the constant in the half of an editor's width that carries no video. Video has a
# deviation of about 1.
CONSTANT = 4.0


def new_adapter_config(model: ModelConfig, options: AdapterOptions) -> AdapterConfig:
    """The adapter of a new DiT."""
    return AdapterConfig(
        model.dim,
        model.num_layers,
        model.in_channels,
        has_rays=model.has_rays and model.has_cameras,
        clean_timestep=options.clean_timestep,
        has_cameras=model.has_cameras,
        has_keyframe=model.has_source_channels,
        attention=options.attention,
        clean_reads_text=options.clean_reads_text,
        has_base_tokenizer=options.has_base_tokenizer,
    )


def build_network(
    model: ModelConfig, adapter_config: AdapterConfig, vocabulary: bytes | None = None
) -> nn.ModuleDict:
    """A new DiT (`dit`, Wan's shape) and its adapter (`adapter`).

    Where the task has text, also a text encoder (`text`), and a helper that teaches the DiT to read
    it (`locator`).

    vocabulary: of the text encoder; None makes one of all instructions.
    """
    dit = build_dit(model)
    adapter = MemoryAdapter(adapter_config)
    if model.has_source_channels:
        _start_for_editing(dit, model)
    else:
        _start_for_copying(dit)
    start_from_base(adapter, dit.patch_embedding.weight, dit.patch_embedding.bias)
    for block in adapter.blocks:
        assert isinstance(block, AdapterBlock)
        # Rays of zero would never lead a query to the right place.
        if block.ray_encoder is not None:
            nn.init.normal_(block.ray_encoder.weight, std=0.3)
    network = nn.ModuleDict({"dit": dit, "adapter": adapter})
    if model.has_text:
        vocabulary = vocabulary or train_vocabulary(all_instructions(KINDS))
        network["text"] = TextEncoder(TextConfig(dim=model.text_dim), vocabulary)
        network["locator"] = nn.Sequential(nn.LayerNorm(model.dim), nn.Linear(model.dim, 1))
    return network


@torch.no_grad()
def _start_for_copying(dit: WanTransformer3DModel) -> None:
    """Initialise a DiT that copies content from tokens with similar rays.

    Keys equal queries, so that such tokens find each other at once. The head undoes the embedding.
    """
    # Step 1: an orthogonal embedding keeps all of the latent, and its transpose reads it back.
    patch = dit.patch_embedding.weight  # (D, C, 1, 2, 2)
    nn.init.orthogonal_(patch.view(patch.shape[0], -1))
    nn.init.zeros_(dit.patch_embedding.bias)
    values = (
        patch.view(patch.shape[0], patch.shape[1], -1).transpose(1, 2).reshape(patch.shape[0], -1)
    )
    dit.proj_out.weight.copy_(values.T * (values.shape[1] / values.shape[0]) ** 0.5)
    nn.init.zeros_(dit.proj_out.bias)
    nn.init.zeros_(dit.scale_shift_table)
    # Step 2: attention subtracts the content that it finds, since the DiT predicts noise - x0.
    for block in dit.blocks:
        block.attn1.to_k.weight.copy_(block.attn1.to_q.weight)
        block.attn1.to_k.bias.copy_(block.attn1.to_q.bias)
        nn.init.orthogonal_(block.attn1.to_v.weight)
        block.attn1.to_out[0].weight.copy_(-block.attn1.to_v.weight.T)
        nn.init.zeros_(block.scale_shift_table)
        # Both gates start half open.
        block.scale_shift_table[:, (2, 5)] = 0.5


@torch.no_grad()
def _start_for_editing(dit: WanTransformer3DModel, config: ModelConfig) -> None:
    """Initialise a DiT that predicts x_t - source and compares tokens by their sources.

    The blocks add nothing yet. Half of the width holds a constant. It is so large that LayerNorm
    divides every token by nearly the same number, so a token keeps the size of its content. The
    modulations remove the constant and undo the division. Unused channels start at zero. They are
    zero in training too, so they stay at zero.
    """
    patch = dit.patch_embedding.weight  # (D, 2 C, 1, 2, 2)
    dim, num_px = patch.shape[0], patch[0, 0].numel()
    used = [stream * config.channels + i for stream in (0, 1) for i in range(config.num_used)]
    if len(used) * num_px > dim:
        raise ValueError(
            f"used_channels got {config.num_used}, wanted at most {dim // (2 * num_px)} for a DiT "
            f"{dim} wide, which carries target and source beside each other; lower it or widen the "
            "DiT"
        )
    # Step 1: the embedding. Content and constant take orthogonal halves of the width.
    basis = nn.init.orthogonal_(torch.empty(dim, dim))
    content, rest = basis[:, : len(used) * num_px], basis[:, len(used) * num_px :]
    nn.init.zeros_(patch)
    patch[:, used] = content.reshape(dim, len(used), *patch.shape[2:])
    constant = rest @ (CONSTANT * torch.randn(rest.shape[1]).sign())
    constant -= constant.mean()
    dit.patch_embedding.bias.copy_(constant)
    # Step 2: LayerNorm divides by `spread`. This modulation multiplies by it and subtracts the
    # constant: LayerNorm(token) * (1 + scale) + shift is the content again.
    spread = (constant.square().mean() + content.shape[1] / dim).sqrt()
    undo = torch.stack((-constant, (spread - 1).expand(dim)))  # (2, D): shift, scale
    # Step 3: the head reads the target's latent minus the source's latent.
    target, source = patch[:, : config.channels], patch[:, config.channels :]
    dit.proj_out.weight.copy_((target - source).flatten(2).transpose(1, 2).reshape(dim, -1).T)
    nn.init.zeros_(dit.proj_out.bias)
    dit.scale_shift_table.copy_(undo[None])
    # Step 4: queries and keys look at the source's half of the content, and a little at the rest.
    # Layers that write to the tokens start at zero, with open gates, so that they learn at once.
    of_source = content[:, content.shape[1] // 2 :]
    for block in dit.blocks:
        turned = nn.init.orthogonal_(torch.empty(dim, dim))
        finds = turned @ (of_source @ of_source.T) + 0.2 * nn.init.orthogonal_(
            torch.empty(dim, dim)
        )
        for linear in (block.attn1.to_q, block.attn1.to_k):
            linear.weight.copy_(finds)
            nn.init.zeros_(linear.bias)
        for silent in (block.attn1.to_out[0], block.attn2.to_out[0], block.ffn.net[2]):
            nn.init.zeros_(silent.weight)
            nn.init.zeros_(silent.bias)
        block.scale_shift_table.copy_(torch.cat((undo, undo.new_ones(1, dim)) * 2)[None])

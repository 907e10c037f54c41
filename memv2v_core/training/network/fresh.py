"""New networks for training from nothing, initialised so that they learn quickly.

C channels, D width.
"""

import torch
import torch.nn.functional as F
from diffusers import WanTransformer3DModel
from torch import nn

from ...builtin.bundle import build_dit, load_text_encoder, read_info
from ...builtin.text_encoder import TextConfig, TextEncoder, train_vocabulary
from ...model.adapter import AdapterBlock, AdapterConfig, MemoryAdapter, start_from_base
from ...synthetic.edits import all_instructions
from ...synthetic.outlines import KINDS
from ..config.model import AdapterOptions, ModelConfig

# Size of the constant in the half of an editor's width that carries no video. Video has a
# deviation of about 1.
CONSTANT = 4.0
# Size of each pair of the constant part of queries and keys, where what tokens show has about 1,
# and the gain of their norms: together they decide how sharply a token looks at its own place.
PLACE_SIZE, PLACE_GAIN = 8.0, 1.5


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
        # A base that reads references with its own weights needs nothing beside them.
        has_tokenizers=model.stream_identity == "temporal_ranges",
        has_merging=model.stream_identity == "temporal_ranges",
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
        if model.stream_identity == "source_id":
            _start_at_the_source(dit)
    start_from_base(adapter, dit.patch_embedding.weight, dit.patch_embedding.bias)
    for block in adapter.blocks:
        assert isinstance(block, AdapterBlock)
        # Rays of zero would never lead a query to the right place.
        if block.ray_encoder is not None:
            nn.init.normal_(block.ray_encoder.weight, std=0.3)
    network = nn.ModuleDict({"dit": dit, "adapter": adapter})
    if model.has_text:
        network["text"] = _text_encoder(model, vocabulary)
        network["locator"] = nn.Sequential(nn.LayerNorm(model.dim), nn.Linear(model.dim, 1))
    return network


def _text_encoder(model: ModelConfig, vocabulary: bytes | None) -> TextEncoder:
    if not model.text_from:
        vocabulary = vocabulary or train_vocabulary(all_instructions(KINDS))
        return TextEncoder(TextConfig(dim=model.text_dim), vocabulary)
    config = read_info(model.text_from).text
    if config is None or config.dim != model.text_dim:
        raise ValueError(
            f"text_from got {model.text_from}, wanted a built-in model with a text encoder "
            f"{model.text_dim} wide, as text_edit; choose it, or leave text_from out"
        )
    return load_text_encoder(model.text_from, config)


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
def _start_at_the_source(dit: WanTransformer3DModel) -> None:
    """Let half of the heads find the source's token at its own place from the first step.

    A constant part of queries and keys makes attention depend on places alone. It lies in the pairs
    of values that turn fast: slow ones would not tell a token from its neighbour. The key's part is
    turned back by the rotation of source_id 1, so that the source fits best, not the target itself.
    """
    heads, width = dit.config.num_attention_heads, dit.config.attention_head_dim
    turn = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    back = torch.polar(torch.ones_like(turn), -turn)
    # The first pair of each axis, and how many of its pairs tell places. Time also tells videos.
    side = width // 6
    time = width // 2 - 2 * side
    places = torch.zeros(heads, width // 2, 1)
    for first, count in ((0, 6), (time, 3), (time + side, 3)):
        places[: heads // 2, first : first + count] = PLACE_SIZE
    for block in dit.blocks:
        query = places * F.normalize(torch.randn(heads, width // 2, 2), dim=-1)
        pairs = torch.view_as_complex(query.double().contiguous())
        block.attn1.to_q.bias.copy_(query.flatten())
        block.attn1.to_k.bias.copy_(torch.view_as_real(pairs * back).float().flatten())
        for norm in (block.attn1.norm_q, block.attn1.norm_k):
            nn.init.constant_(norm.weight, PLACE_GAIN)


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

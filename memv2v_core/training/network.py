"""Fresh networks for training from nothing, started so that they learn quickly.

C channels, D width.
"""

import torch
from diffusers import WanTransformer3DModel
from torch import nn

from ..builtin.bundle import build_dit
from ..builtin.text_encoder import TextConfig, TextEncoder, train_vocabulary
from ..model.adapter import AdapterBlock, MemoryAdapter, start_from_base
from ..synthetic.edits import all_instructions
from ..synthetic.outlines import KINDS
from .config import ModelConfig

CONSTANT = 4.0  # in the half of an editor's width that carries no video, whose deviation is about 1


def build_network(config: ModelConfig, vocabulary: bytes | None = None) -> nn.ModuleDict:
    """A fresh DiT (`dit`, Wan's shape), its adapter (`adapter`) and, where the task has text, a
    text encoder (`text`) with what helps it to be read (`locator`), started for quick learning.
    vocabulary: of the text encoder; one of all instructions if None."""
    dit = build_dit(config)
    adapter = MemoryAdapter(config.adapter)
    if config.has_source_channels:
        _start_for_editing(dit, config)
    else:
        _start_for_copying(dit)
    start_from_base(adapter, dit.patch_embedding.weight, dit.patch_embedding.bias)
    for block in adapter.blocks:
        assert isinstance(block, AdapterBlock)
        if block.ray_encoder is not None:
            nn.init.normal_(block.ray_encoder.weight, std=0.3)
    network = nn.ModuleDict({"dit": dit, "adapter": adapter})
    if config.has_text:
        vocabulary = vocabulary or train_vocabulary(all_instructions(KINDS))
        network["text"] = TextEncoder(TextConfig(dim=config.text_dim), vocabulary)
        network["locator"] = nn.Sequential(nn.LayerNorm(config.dim), nn.Linear(config.dim, 1))
    return network


def adapter_of(network: nn.ModuleDict) -> MemoryAdapter:
    """The adapter in a network."""
    adapter = network["adapter"]
    assert isinstance(adapter, MemoryAdapter)
    return adapter


@torch.no_grad()
def _start_for_copying(dit: WanTransformer3DModel) -> None:
    """Keys equal queries, so that tokens with like rays find each other at once; the head undoes
    the embedding.
    """
    patch = dit.patch_embedding.weight
    nn.init.orthogonal_(patch.view(patch.shape[0], -1))
    nn.init.zeros_(dit.patch_embedding.bias)
    values = (
        patch.view(patch.shape[0], patch.shape[1], -1).transpose(1, 2).reshape(patch.shape[0], -1)
    )
    dit.proj_out.weight.copy_(values.T * (values.shape[1] / values.shape[0]) ** 0.5)
    nn.init.zeros_(dit.proj_out.bias)
    nn.init.zeros_(dit.scale_shift_table)
    for block in dit.blocks:
        block.attn1.to_k.weight.copy_(block.attn1.to_q.weight)
        block.attn1.to_k.bias.copy_(block.attn1.to_q.bias)
        nn.init.orthogonal_(block.attn1.to_v.weight)
        block.attn1.to_out[0].weight.copy_(-block.attn1.to_v.weight.T)
        nn.init.zeros_(block.scale_shift_table)
        block.scale_shift_table[:, (2, 5)] = 0.5


@torch.no_grad()
def _start_for_editing(dit: WanTransformer3DModel, config: ModelConfig) -> None:
    """The fresh DiT predicts x_t - source, and tokens find those of like sources; blocks have yet
    to say anything.

    Half of the width is a constant so large that LayerNorm divides every token by nearly the same
    number and keeps how large its content is; modulations take the constant away and undo the
    division. Channels that carry nothing start at zero and, as they are zero in training, stay
    there.
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
    basis = nn.init.orthogonal_(torch.empty(dim, dim))
    content, rest = basis[:, : len(used) * num_px], basis[:, len(used) * num_px :]
    nn.init.zeros_(patch)
    patch[:, used] = content.reshape(dim, len(used), *patch.shape[2:])
    constant = rest @ (CONSTANT * torch.randn(rest.shape[1]).sign())
    constant -= constant.mean()
    dit.patch_embedding.bias.copy_(constant)
    spread = (constant.square().mean() + content.shape[1] / dim).sqrt()
    undo = torch.stack((-constant, (spread - 1).expand(dim)))  # shift, scale
    target, source = patch[:, : config.channels], patch[:, config.channels :]
    dit.proj_out.weight.copy_((target - source).flatten(2).transpose(1, 2).reshape(dim, -1).T)
    nn.init.zeros_(dit.proj_out.bias)
    dit.scale_shift_table.copy_(undo[None])
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

"""Random adapters of format 2, with changes of the base's weights."""

from typing import Literal

import torch

from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter, start_from_base
from memv2v_core.weights.adapter_file import AdapterFile, TrainingRecord
from memv2v_core.weights.base_changes import difference_name
from memv2v_core.weights.wan_shapes import WanSizes, wan_shapes

Weights = dict[str, torch.Tensor]
RANK = 4


def random_changes(
    sizes: WanSizes, kind: Literal["lora", "full"], seed: int = 31, scale: float = 0.5
) -> Weights:
    """Random changes of the self-attention of every block, norms and biases too, as large as the
    weights themselves times `scale`. Full ones also change the patch embedding.
    """
    generator = torch.Generator().manual_seed(seed)
    changes: Weights = {}
    for name, shape in wan_shapes(sizes).items():
        is_extra = kind == "full" and name == "patch_embedding.weight"
        if not is_extra and not (name.startswith("blocks.") and ".self_attn." in name):
            continue
        spread = scale / (shape[1] if len(shape) == 2 else 64) ** 0.5
        if kind == "lora" and len(shape) == 2:
            layer = name.removesuffix(".weight")
            changes[f"{layer}.lora_A.weight"] = torch.randn(RANK, shape[1], generator=generator)
            up = torch.randn(shape[0], RANK, generator=generator)
            changes[f"{layer}.lora_B.weight"] = spread * up / RANK**0.5
        else:
            changes[difference_name(name)] = spread * torch.randn(shape, generator=generator)
    return changes


def record_of(sizes: WanSizes, base: str = "a small Wan") -> TrainingRecord:
    return TrainingRecord.of(
        base, sizes, recipe="novel_view", data="40 rendered rooms", steps=2000, trained="all of it"
    )


def random_adapter_file(
    config: AdapterConfig, sizes: WanSizes, kind: Literal["lora", "full"], patch: Weights
) -> AdapterFile:
    """An adapter near the base's own start, with random weights added, and changes of the base.

    patch: the base's weights, of which the patch embedding is used.
    """
    adapter = MemoryAdapter(config)
    start_from_base(adapter, patch["patch_embedding.weight"], patch["patch_embedding.bias"])
    generator = torch.Generator().manual_seed(7)
    state = {
        name: tensor + 0.05 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in adapter.state_dict().items()
    }
    return AdapterFile(config, state, random_changes(sizes, kind), record_of(sizes))

"""Published bases, small and random in the real key layout."""

from pathlib import Path

import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import save_file

from memv2v_core.bases.base_info import BaseInfo
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix
from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter, start_from_base
from memv2v_core.weights.checkpoint import save_adapter

Weights = dict[str, torch.Tensor]
DIM, NUM_BLOCKS = 128, 2
SIZES = f"{NUM_BLOCKS} blocks of {DIM}"
NUM_FRAMES = 5

FIRST_SHARD = "diffusion_pytorch_model-00001-of-00002.safetensors"


def diffusers_wan(in_channels: int, out_channels: int) -> Weights:
    """A DiT of 2 blocks of 128, the narrowest whose heads ComfyUI derives, in diffusers' names."""
    torch.manual_seed(0)
    model = WanTransformer3DModel(
        num_attention_heads=1,
        attention_head_dim=128,
        in_channels=in_channels,
        out_channels=out_channels,
        ffn_dim=256,
        num_layers=NUM_BLOCKS,
    )
    return {name: tensor.bfloat16() for name, tensor in model.state_dict().items()}


def info_of(model) -> BaseInfo:
    from memory_v2v.nodes.host.models.attachment import base_info

    return base_info(model)


def adapter_of(model) -> MemoryAdapter | None:
    from memory_v2v.nodes.host.models import attachment

    return attachment.adapter_of(model)


def save_shards(folder: Path, weights: Weights, count: int = 2) -> None:
    folder.mkdir(parents=True)
    names = sorted(weights)
    for i in range(count):
        part = {name: weights[name] for name in names[i::count]}
        save_file(
            part, str(folder / f"diffusion_pytorch_model-{i + 1:05d}-of-{count:05d}.safetensors")
        )


def save_trained_adapter(path: Path, dim: int = DIM, in_channels: int = 16) -> None:
    adapter = MemoryAdapter(AdapterConfig(dim, NUM_BLOCKS, in_channels, clean_timestep="zero"))
    start_from_base(adapter, torch.randn(dim, in_channels, 1, 2, 2), torch.zeros(dim))
    save_adapter(adapter, path)


def path_of(motion: str) -> CameraTrajectory:
    lens = intrinsics_matrix(0.866, 0.866)
    return make_preset(PresetConfig(motion=motion, amplitude=20.0, num_frames=NUM_FRAMES), lens)


def weights_in(model) -> Weights:
    return model.model.diffusion_model.state_dict()


def same(found: Weights, wanted: Weights) -> bool:
    return set(found) == set(wanted) and all(
        torch.equal(found[name], tensor) for name, tensor in wanted.items()
    )

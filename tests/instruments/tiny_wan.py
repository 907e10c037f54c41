"""Small random weights in the key layout of Wan's checkpoints, for tests on a real ComfyUI.

The sizes that ComfyUI derives are a real model's: heads of 128, text of 4096, frequencies of 256.
"""

import torch

from memv2v_core.bases.published import camera_weights
from memv2v_core.model.playback_time import time_weights
from memv2v_core.weights.wan_shapes import WanSizes

DIM, FFN_DIM, NUM_BLOCKS, TEXT_DIM, FREQ_DIM = 256, 512, 3, 4096, 256
_ATTENTIONS = ("self_attn", "cross_attn")
# Of a Wan2.1.
SIZES = WanSizes(DIM, NUM_BLOCKS, 16, 4 * 16, FFN_DIM, TEXT_DIM, FREQ_DIM)


def wan_weights(
    in_channels: int = 16, out_channels: int = 16, seed: int = 0
) -> dict[str, torch.Tensor]:
    """A DiT of 3 blocks of 256 in fp32: 16 to 16 channels is Wan2.1, 48 to 48 Wan2.2, 96 to 48
    LucyEdit.
    """
    generator = torch.Generator().manual_seed(seed)
    return {
        name: _random(name, shape, generator)
        for name, shape in _shapes(in_channels, out_channels).items()
    }


def recammaster_weights(seed: int = 0) -> dict[str, torch.Tensor]:
    """A ReCamMaster: the DiT of `wan_weights`, with cameras in every block."""
    generator = torch.Generator().manual_seed(seed + 3)
    own = {
        f"blocks.{i}.{name}": _random(name, shape, generator)
        for i in range(NUM_BLOCKS)
        for name, shape in camera_weights(DIM).items()
    }
    return wan_weights(seed=seed) | own


def pilot_weights(seed: int = 0) -> dict[str, torch.Tensor]:
    """A SpaceTimePilot: the DiT of `wan_weights`, with cameras and times in every block."""
    generator = torch.Generator().manual_seed(seed + 1)
    shapes = camera_weights(DIM) | time_weights(DIM)
    own = {
        f"blocks.{i}.{name}": _random(name, shape, generator)
        for i in range(NUM_BLOCKS)
        for name, shape in shapes.items()
    }
    return wan_weights(seed=seed) | own


def vace_weights(num_layers: int = NUM_BLOCKS, seed: int = 4) -> dict[str, torch.Tensor]:
    """A VACE on Wan2.1: `wan_weights` and a control's own blocks, as many as `num_layers`."""
    shapes = {
        "vace_patch_embedding.weight": (DIM, 96, 1, 2, 2),
        "vace_patch_embedding.bias": (DIM,),
        **_linear("vace_blocks.0.before_proj", DIM, DIM),
    }
    for i in range(num_layers):
        block = {**_block_shapes(), **_linear("after_proj", DIM, DIM)}
        shapes |= {f"vace_blocks.{i}.{name}": shape for name, shape in block.items()}
    generator = torch.Generator().manual_seed(seed)
    own = {name: _random(name, shape, generator) for name, shape in shapes.items()}
    return {**wan_weights(), **own}


def fun_control_weights(seed: int = 5) -> dict[str, torch.Tensor]:
    """A Fun Control on Wan2.1: channels of a control and of an image, and a reference image."""
    generator = torch.Generator().manual_seed(seed)
    own = {"ref_conv.weight": (DIM, 16, 2, 2), "ref_conv.bias": (DIM,)}
    return {
        **wan_weights(48, 16),
        **{name: _random(name, shape, generator) for name, shape in own.items()},
    }


def fun_camera_weights(seed: int = 6) -> dict[str, torch.Tensor]:
    """A Fun Camera on Wan2.2: channels of an image, and layers for cameras."""
    generator = torch.Generator().manual_seed(seed)
    own = {
        "control_adapter.conv.weight": (DIM, 24 * 64, 2, 2),
        "control_adapter.conv.bias": (DIM,),
        "control_adapter.residual_blocks.0.conv1.weight": (DIM, DIM, 3, 3),
        "control_adapter.residual_blocks.0.conv1.bias": (DIM,),
        "control_adapter.residual_blocks.0.conv2.weight": (DIM, DIM, 3, 3),
        "control_adapter.residual_blocks.0.conv2.bias": (DIM,),
    }
    return {
        **wan_weights(36, 16),
        **{name: _random(name, shape, generator) for name, shape in own.items()},
    }


def lora_weights(rank: int = 4, seed: int = 1) -> dict[str, torch.Tensor]:
    """A LoRA for `wan_weights`: low rank in every attention and feed-forward."""
    generator = torch.Generator().manual_seed(seed)
    lora = {}
    for name, shape in _shapes(16, 16).items():
        if name.startswith("blocks.") and name.endswith(".weight") and len(shape) == 2:
            key = "diffusion_model." + name.removesuffix(".weight")
            lora[f"{key}.lora_A.weight"] = (
                torch.randn(rank, shape[1], generator=generator) / shape[1] ** 0.5
            )
            lora[f"{key}.lora_B.weight"] = (
                torch.randn(shape[0], rank, generator=generator) / rank**0.5
            )
    return lora


def patch_embedding_lora(in_channels: int = 16, seed: int = 2) -> dict[str, torch.Tensor]:
    """A LoRA file that changes how latents become tokens, and nothing else."""
    generator = torch.Generator().manual_seed(seed)
    change = torch.randn(DIM, in_channels, 1, 2, 2, generator=generator) / (in_channels * 4) ** 0.5
    return {"diffusion_model.patch_embedding.diff": change}


def _shapes(in_channels: int, out_channels: int) -> dict[str, tuple[int, ...]]:
    shapes = {
        "patch_embedding.weight": (DIM, in_channels, 1, 2, 2),
        "patch_embedding.bias": (DIM,),
        **_linear("text_embedding.0", TEXT_DIM, DIM),
        **_linear("text_embedding.2", DIM, DIM),
        **_linear("time_embedding.0", FREQ_DIM, DIM),
        **_linear("time_embedding.2", DIM, DIM),
        **_linear("time_projection.1", DIM, 6 * DIM),
        **_linear("head.head", DIM, 4 * out_channels),
        "head.modulation": (1, 2, DIM),
    }
    for i in range(NUM_BLOCKS):
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in _block_shapes().items()}
    return shapes


def _block_shapes() -> dict[str, tuple[int, ...]]:
    shapes = {
        **_linear("ffn.0", DIM, FFN_DIM),
        **_linear("ffn.2", FFN_DIM, DIM),
        "modulation": (1, 6, DIM),
    }
    for attention in _ATTENTIONS:
        for layer in "qkvo":
            shapes |= _linear(f"{attention}.{layer}", DIM, DIM)
        shapes |= {f"{attention}.norm_q.weight": (DIM,), f"{attention}.norm_k.weight": (DIM,)}
    return {**shapes, "norm3.weight": (DIM,), "norm3.bias": (DIM,)}


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _random(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(shape, generator=generator)
    if "modulation" in name:
        return 0.3 * noise
    if len(shape) == 1:
        return ("norm" in name and name.endswith("weight")) + 0.1 * noise
    return noise / (noise[0].numel()) ** 0.5

"""What ComfyUI's own WanModel holds at most in a full-size forward with memory, against the cost
shown beforehand.
"""

import pytest
import torch
from instruments.live_bytes import count_live_bytes

from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from memv2v_core.model.camera_encoder import FrameCameras
from memv2v_core.model.memory_inputs import ConditioningStream, MemoryInputs
from memv2v_core.model.memory_model import memory_forward
from memv2v_core.model.wan_view import WanView
from memv2v_core.tokens.budget import BudgetConfig, kernels_by_rank
from memv2v_core.tokens.cost import DitShape, forward_cost, plan_layout
from memv2v_core.tokens.merging import MergeConfig
from memv2v_core.tokens.positions import temporal_indices

NUM_FRAMES = 21  # of latents: 81 frames


def meta_model(
    shape: DitShape, in_channels: int, out_channels: int
) -> tuple[torch.nn.Module, MemoryAdapter]:
    import comfy.ops
    from comfy.ldm.wan.model import WanModel

    dit = WanModel(
        in_dim=in_channels,
        out_dim=out_channels,
        dim=shape.dim,
        ffn_dim=shape.ffn_dim,
        num_heads=shape.dim // shape.head_dim,
        num_layers=shape.num_blocks,
        text_dim=4096,
        device="meta",
        dtype=torch.bfloat16,
        operations=comfy.ops.disable_weight_init,
    )
    with torch.device("meta"):
        adapter = MemoryAdapter(AdapterConfig(shape.dim, shape.num_blocks, in_channels)).bfloat16()
    return dit, adapter


def fused_attention(original, *args, **kwargs) -> torch.Tensor:
    from comfy.ldm.modules.attention import attention_pytorch

    return attention_pytorch(*args, **kwargs)


@pytest.mark.parametrize("merging", [None, MergeConfig()], ids=["whole", "merged"])
@pytest.mark.parametrize("num_memories", [0, 3, 10])
@pytest.mark.parametrize(
    ("dim", "ffn_dim", "height", "width", "in_channels", "out_channels"),
    [(1536, 8960, 60, 104, 16, 16), (3072, 14336, 30, 52, 48, 48), (3072, 14336, 30, 52, 96, 48)],
    ids=["1.3b", "5b", "lucyedit"],
)
def test_estimated_activations_are_what_the_native_model_holds(
    comfy_api, dim, ffn_dim, height, width, in_channels, out_channels, num_memories, merging
):
    import comfy.ldm.flux.math
    import comfy.model_management
    from comfy.ldm.modules.attention import optimized_attention

    shape = DitShape(dim, ffn_dim, num_blocks=3)
    dit, adapter = meta_model(shape, in_channels, out_channels)
    kernels = kernels_by_rank(num_memories, BudgetConfig())
    roles = [("source", 2)] * (in_channels == out_channels) + [
        ("memory", kernel) for kernel in kernels
    ]
    with torch.device("meta"):
        cameras = FrameCameras(torch.empty(1, NUM_FRAMES, 4, 4), torch.empty(1, NUM_FRAMES, 3, 3))
        latent = torch.empty(1, in_channels, NUM_FRAMES, height, width, dtype=torch.bfloat16)
        context, timestep = torch.empty(1, 512, 4096, dtype=torch.bfloat16), torch.empty(1)
    streams = tuple(
        ConditioningStream(
            role, kernel, latent, temporal_indices(role, NUM_FRAMES, NUM_FRAMES), cameras
        )
        for role, kernel in roles
    )
    options = {"optimized_attention_override": fused_attention}
    view = WanView(
        dit,
        comfy.model_management.cast_to,
        comfy.ldm.flux.math.apply_rope1,
        optimized_attention,
        options,
        latent,
    )
    with count_live_bytes(dit, adapter) as counter:
        memory_forward(
            view,
            adapter,
            latent,
            timestep,
            context,
            MemoryInputs(streams, cameras, merging=merging),
        )
    has_source, frames = in_channels == out_channels, (NUM_FRAMES,) * num_memories
    layout = plan_layout(NUM_FRAMES, height, width, has_source, frames, kernels)
    assert counter.peak == pytest.approx(
        forward_cost(layout, shape, merging).activation_bytes, rel=0.02
    )

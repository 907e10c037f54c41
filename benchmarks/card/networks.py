"""Full-size networks with random weights, and what they see: ComfyUI's own WanModel with our
adapter.

`full_size.py` runs them on a CPU, `gpu.py` on a CUDA card. ComfyUI must be importable before a
network is built. T latent frames, H and W of the latent.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from memv2v_core.model.camera_encoder import FrameCameras
from memv2v_core.model.memory_inputs import ConditioningStream, MemoryInputs
from memv2v_core.model.wan_view import WanView
from memv2v_core.tokens.budget import BudgetConfig, kernels_by_rank
from memv2v_core.tokens.cost import Cost, DitShape, forward_cost, plan_layout
from memv2v_core.tokens.merging import MergeConfig
from memv2v_core.tokens.positions import temporal_indices
from memv2v_core.vocabulary import Role

from . import gguf_weights

TEXT_DIM, NUM_TEXT_TOKENS = 4096, 512
# The dtype of weights, or Q8_0 blocks.
Weights = Literal["bf16", "fp8", "gguf"]
_STORED = {"bf16": torch.bfloat16, "fp8": torch.float8_e4m3fn, "gguf": torch.bfloat16}


@dataclass(frozen=True)
class Base:
    """A published base, and the latents of 81 frames of 832x480 that it sees.

    has_source_tokens: whether the source is tokens of the sequence; else it is half of the input's
    channels.
    """

    title: str
    shape: DitShape
    in_channels: int
    out_channels: int
    latent: tuple[int, int, int]  # (T, H, W)

    @property
    def has_source_tokens(self) -> bool:
        return self.in_channels == self.out_channels

    def resized(self, latent: tuple[int, int, int], **shape: int) -> "Base":
        """The same base with another latent and other sizes of its DiT."""
        return replace(self, shape=replace(self.shape, **shape), latent=latent)

    def cost(self, count: int, is_merged: bool, bytes_per_value: int) -> Cost:
        """The estimate for one forward beside `count` memories."""
        frames, kernels = (self.latent[0],) * count, kernels_by_rank(count, BudgetConfig())
        layout = plan_layout(*self.latent, self.has_source_tokens, frames, kernels)
        return forward_cost(layout, self.shape, merging_for(count, is_merged), bytes_per_value)

    @property
    def native_flops(self) -> int:
        """Of ComfyUI's own forward of the target alone."""
        bare = replace(self.shape, has_adapter=False, has_mergers=False)
        return forward_cost(plan_layout(*self.latent, False, (), ()), bare, None).flops


def merging_for(count: int, is_merged: bool) -> MergeConfig | None:
    """Half of the frames at both merging blocks; nothing merges without memories."""
    return MergeConfig() if is_merged and count else None


BASES = {
    "recammaster": Base(
        "Wan2.1 1.3B with a ReCamMaster adapter",
        DitShape(dim=1536, ffn_dim=8960, num_blocks=30),
        16,
        16,
        (21, 60, 104),
    ),
    "lucyedit": Base(
        "LucyEdit, Wan2.2 5B",
        DitShape(3072, 14336, 30, has_adapter=False, has_mergers=False),
        96,
        48,
        (21, 30, 52),
    ),
}


def start_comfyui(comfyui: Path, on_cpu: bool) -> None:
    """Make ComfyUI importable, with the attention that it has on NVIDIA."""
    sys.path.insert(0, str(comfyui))
    arguments, sys.argv = sys.argv, ["main.py", "--use-pytorch-cross-attention"]
    if on_cpu:
        sys.argv.append("--cpu")
    try:
        import comfy.options

        comfy.options.enable_args_parsing()
        # It reads the arguments when it is imported.
        import comfy.cli_args
    finally:
        sys.argv = arguments


@torch.no_grad()
def materialise(module: nn.Module, generator: torch.Generator) -> nn.Module:
    """Random weights in place of a module's meta tensors, on the generator's device.

    Each is made in its own precision: no other copy of the module ever exists.
    """
    module.to_empty(device=generator.device)
    for name, parameter in module.named_parameters():
        # fp8 has no random numbers of its own.
        is_small = parameter.element_size() == 1
        values = parameter.to(torch.bfloat16) if is_small else parameter
        if values.ndim == 1 and name.endswith("weight"):
            values.fill_(1)
        else:
            bound = (3 / max(values[0].numel(), 1)) ** 0.5 if values.ndim > 1 else 0.1
            values.uniform_(-bound, bound, generator=generator)
        if is_small:
            parameter.copy_(values)
    return module.eval().requires_grad_(False)


@dataclass(frozen=True, eq=False)
class Network:
    """One base with its weights on a device.

    dtype: of everything that is computed.
    """

    base: Base
    dit: Any
    adapter: MemoryAdapter | None
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def build(
        cls,
        base: Base,
        generator: torch.Generator,
        dtype: torch.dtype,
        weights: Weights = "bf16",
    ) -> "Network":
        """ComfyUI's WanModel of these sizes, and the adapter where the base has one.

        ComfyUI chooses the layers by the two dtypes, as where it loads a file.
        """
        import comfy.ops
        from comfy.ldm.wan.model import WanModel

        shape, stored = base.shape, _STORED[weights]
        operations = comfy.ops.pick_operations(stored, dtype)
        dit = WanModel(
            in_dim=base.in_channels,
            out_dim=base.out_channels,
            dim=shape.dim,
            ffn_dim=shape.ffn_dim,
            num_heads=shape.dim // shape.head_dim,
            num_layers=shape.num_blocks,
            text_dim=TEXT_DIM,
            device="meta",
            dtype=stored,
            operations=gguf_weights.operations() if weights == "gguf" else operations,
        )
        materialise(dit, generator)
        if weights == "gguf":
            gguf_weights.fill(dit, generator)
        adapter = None
        if shape.has_adapter:
            config = AdapterConfig(shape.dim, shape.num_blocks, base.in_channels)
            with torch.device("meta"):
                adapter = MemoryAdapter(config, comfy.ops.pick_operations(torch.bfloat16, dtype))
            materialise(adapter.bfloat16(), generator)
        return cls(base, dit, adapter, generator.device, dtype)

    @property
    def num_weights(self) -> int:
        modules = [module for module in (self.dit, self.adapter) if module is not None]
        return sum(each.numel() for module in modules for each in module.parameters())

    def view(self, noisy: torch.Tensor, options: dict[str, Any] | None = None) -> WanView:
        """The view for one forward.

        options: transformer_options of the call.
        """
        import comfy.ldm.flux.math
        import comfy.model_management
        from comfy.ldm.modules.attention import optimized_attention

        return WanView(
            self.dit,
            comfy.model_management.cast_to,
            comfy.ldm.flux.math.apply_rope1,
            optimized_attention,
            {} if options is None else options,
            noisy,
        )

    def random(self, generator: torch.Generator, *shape: int) -> torch.Tensor:
        """Normal values of this network's dtype."""
        made = torch.randn(shape, generator=generator, device=self.device, dtype=torch.float32)
        return made.to(self.dtype)

    def inputs(self, count: int, is_merged: bool, generator: torch.Generator) -> MemoryInputs:
        """A source, where the base takes it as tokens, and memories; half of the frames merge."""
        num_frames, height, width = self.base.latent
        cameras = None
        if self.base.shape.has_adapter:
            cameras = FrameCameras(
                torch.eye(4, device=self.device).repeat(1, num_frames, 1, 1),
                torch.eye(3, device=self.device).repeat(1, num_frames, 1, 1),
            )

        def stream(role: Role, kernel: int) -> ConditioningStream:
            latent = self.random(generator, 1, self.base.in_channels, num_frames, height, width)
            indices = temporal_indices(role, num_frames, num_frames)
            return ConditioningStream(role, kernel, latent, indices, cameras)

        source = (stream("source", 2),) if self.base.has_source_tokens else ()
        kernels = kernels_by_rank(count, BudgetConfig())
        memories = tuple(stream("memory", kernel) for kernel in kernels)
        merging = merging_for(count, is_merged)
        return MemoryInputs((*source, *memories), cameras, merging=merging)

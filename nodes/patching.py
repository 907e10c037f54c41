"""The patch that lets a native MODEL see memory: three wrappers around ComfyUI's sampling.

Outermost, once a run: bring source and memories to the model's space and device. Before loading: tell ComfyUI how many
tokens there will be. Innermost, every step: our forward over the live DiT in place of its own.
"""

import math
from dataclasses import dataclass, field

import comfy.ldm.flux.math
import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ..memv2v_core.model.adapter import MemoryAdapter
from ..memv2v_core.model.memory_inputs import MemoryInputs
from ..memv2v_core.model.memory_model import CleanTokens, memory_forward, tokenize_clean
from ..memv2v_core.model.wan_view import WanView
from ..memv2v_core.sampling.turn import Shot, memory_inputs
from ..memv2v_core.tokens.budget import TokenPlan, plan_layout
from .attachment import KEY, BaseInfo, adapter_of


@dataclass(frozen=True, eq=False)
class MemoryPatch:
    """What one ApplyMemory adds to a MODEL; shared by all clones, so never changed."""

    shot: Shot
    plan: TokenPlan | None
    info: BaseInfo

    def attach(self, model: ModelPatcher) -> ModelPatcher:
        """A clone of `model` with this patch in place of any earlier one."""
        clone = model.clone()
        for kind, wrapper in (
            (WrappersMP.OUTER_SAMPLE, self.outer_sample),
            (WrappersMP.PREPARE_SAMPLING, self.prepare_sampling),
            (WrappersMP.DIFFUSION_MODEL, diffusion_model),
        ):
            clone.remove_wrappers_with_key(kind, KEY)
            clone.add_wrapper_with_key(kind, KEY, wrapper)
        return clone

    def outer_sample(self, executor, noise: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        guider = executor.class_obj
        model, device = guider.model_patcher.model, guider.model_patcher.load_device
        inputs = memory_inputs(
            self.shot,
            self.plan,
            noise.shape[2],
            self.info.ratios,
            lambda latent: model.process_latent_in(latent.to(device, torch.float32)),
            self.info.clean_timestep,
        )
        options = guider.model_options["transformer_options"]
        options[KEY] = MemoryRun(inputs, adapter_of(guider.model_patcher))
        wrappers = options["wrappers"][WrappersMP.DIFFUSION_MODEL]
        wrappers[KEY] = wrappers.pop(KEY)  # innermost: this forward never calls the wrapped one
        return executor(noise, *args, **kwargs)

    def prepare_sampling(self, executor, model: ModelPatcher, noise_shape, conds, *args, **kwargs):
        shape = list(noise_shape)
        shape[2] = math.ceil(shape[2] * self.sequence_growth(*shape[2:]))
        return executor(model, shape, conds, *args, **kwargs)

    def sequence_growth(self, num_frames: int, height: int, width: int) -> float:
        """Tokens of the whole sequence over those of the target alone."""
        entries = self.plan.retrieval.entries if self.plan is not None else ()
        kernels = self.plan.kernels if self.plan is not None else ()
        frames = tuple(entry.latent.shape[1] for entry in entries)
        layout = plan_layout(num_frames, height, width, self.shot.source_latent is not None, frames, kernels)
        return layout.num_tokens / layout.num_target_tokens


@dataclass(eq=False)
class MemoryRun:
    """One sampling run: inputs on their device, and their tokens once the first step has made them."""

    inputs: MemoryInputs
    adapter: MemoryAdapter | None
    tokens: dict[tuple, CleanTokens] = field(default_factory=dict)

    def forward(self, view: WanView, x: torch.Tensor, timestep: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        key = (tuple(x.shape[2:]), x.dtype)
        if key not in self.tokens:
            self.tokens[key] = tokenize_clean(view, self.adapter, self.inputs, x.shape)
        return memory_forward(view, self.adapter, x, timestep, context, self.inputs, self.tokens[key])


def diffusion_model(
    executor, x, timestep, context, clip_fea=None, time_dim_concat=None, transformer_options=None, **kwargs
) -> torch.Tensor:
    """One step of the patched model, in place of the DiT's own forward."""
    for name, given in (("clip_fea", clip_fea), ("time_dim_concat", time_dim_concat)):
        if given is not None:
            raise ValueError(
                f"Memory-V2V got the conditioning {name}, wanted a text-to-video model without it; "
                "disconnect the node that adds it, or ApplyMemory"
            )
    view = WanView(
        executor.class_obj,
        comfy.model_management.cast_to,
        comfy.ldm.flux.math.apply_rope1,
        transformer_options,
        x,
    )
    return transformer_options[KEY].forward(view, x, timestep, context)

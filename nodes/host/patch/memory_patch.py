"""The patch that shows memory to a native MODEL: three wrappers around ComfyUI's sampling.

- Outermost, once per run: brings source and memories to the model's space and device.
- Before loading: tells ComfyUI how many tokens there will be.
- Innermost, every step: our forward over the live DiT in place of its own forward.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import comfy.ldm.common_dit
import comfy.ldm.flux.math
import comfy.ldm.modules.attention
import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP

from ....memv2v_core.model.vace_view import VaceView
from ....memv2v_core.model.wan_view import WanView
from ....memv2v_core.sampling.reuse import ReuseReport, stream_reuse
from ....memv2v_core.sampling.turn import Turn
from ....memv2v_core.shapes import token_grid
from ....memv2v_core.tokens.cost import Cost, forward_cost, plan_layout
from ....memv2v_core.tokens.layout import SequenceLayout
from ....memv2v_core.tokens.reuse import kept_value_bytes
from ..models.attachment import KEY, adapter_of, dit_shape
from .attention_kernel import AttentionChoice, ask_for, fastest_attention
from .conditioning import (
    CONTROL,
    CONTROL_STRENGTHS,
    REFERENCES,
    num_reference_tokens,
    require_references,
    require_text,
)
from .kept_room import KeptRoom, bytes_to_count, frames_for, num_kept
from .memory_run import TIME_AXIS, Blend, MemoryRun
from .other_nodes import require_known_patches

log = logging.getLogger(__name__)


def log_reuse(report: ReuseReport) -> None:
    """Writes a report to the log, where no node can show it."""
    if text := report.describe():
        log.info("Memory-V2V: %s", text)


@dataclass(frozen=True, eq=False)
class MemoryPatch:
    """The addition of one ApplyMemory to a MODEL.

    All clones share it, so it never changes.

    tell: gets the report about reused tokens at the end of every run.
    kernel: finds the attention kernel of a run; None leaves it to ComfyUI.
    """

    turn: Turn
    tell: Callable[[ReuseReport], None] = log_reuse
    kernel: Callable[[ModelPatcher], AttentionChoice] | None = fastest_attention

    def attach(self, model: ModelPatcher) -> ModelPatcher:
        """A clone of `model` with this patch in place of any earlier one."""
        clone = model.clone()
        for kind, wrapper in (
            (WrappersMP.OUTER_SAMPLE, self.outer_sample),
            (WrappersMP.PREPARE_SAMPLING, self.prepare_sampling),
            (WrappersMP.DIFFUSION_MODEL, diffusion_model),
        ):
            # Only one patch may be attached: our forward never calls another one.
            clone.remove_wrappers_with_key(kind, KEY)
            clone.add_wrapper_with_key(kind, KEY, wrapper)
        return clone

    def outer_sample(
        self, executor: WrapperExecutor, noise: torch.Tensor, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Puts a `MemoryRun` into options that live as long as this run.

        `diffusion_model` finds it there.

        Raises: ValueError when the sampler got another latent than ApplyMemory's, for references
        that do not fit the turn, and for other nodes' patches that cannot work beside memory.
        """
        if tuple(noise.shape[1:]) != self.turn.latent_shape:
            raise ValueError(
                f"the sampler's latent got {tuple(noise.shape[1:])} (channels, frames, height, "
                f"width), wanted {self.turn.latent_shape} as source, memories and cameras; connect "
                "the latent output of Apply Memory"
            )
        # Step 1: inputs in the DiT's space, once per run.
        guider = executor.class_obj
        require_known_patches(guider.model_patcher.object_patches)
        require_references(self.turn, guider.conds)
        model, device = guider.model_patcher.model, guider.model_patcher.load_device

        def normalise(latent: torch.Tensor) -> torch.Tensor:
            return model.process_latent_in(latent.to(device, torch.float32))

        inputs = self.turn.inputs(normalise)
        # Step 2: the run, in options of this run: two runs of one MODEL never share it.
        options = guider.model_options["transformer_options"]
        windows = guider.model_options.get("context_handler")
        cost = self.cost(guider.model_patcher, windows)
        new_run = partial(
            MemoryRun,
            adapter=adapter_of(guider.model_patcher),
            latent_shape=self.turn.latent_shape,
            base=self.turn.base,
            retained_latents=tuple(getattr(windows, "latent_retain_index_list", ())),
            retained_conds=tuple(getattr(windows, "cond_retain_index_list", ())),
            has_hooks="registered_hooks" in guider.model_options,
        )
        plan, blend = self.turn.plan, None
        if plan is not None and plan.is_blended:
            alone = self.turn.seeing(plan.without_memories())
            blend = Blend(new_run(alone.inputs(normalise)), plan.strength)
        run = options[KEY] = new_run(
            inputs,
            blend=blend,
            reuse=stream_reuse(
                self.turn.reuse,
                inputs,
                self.turn.base.refresh_every,
                KeptRoom(device, noise.shape[0] * cost.activation_bytes),
            ),
        )
        if run.reuse is not None:
            rows, num_frames = noise.shape[0], noise.shape[TIME_AXIS]
            kept = num_kept(guider, num_frames, rows, inputs.has_shared_clean_tokens)
            run.counted_bytes = bytes_to_count(guider.model_patcher, cost, rows, kept)
        if self.kernel is not None:
            choice = self.kernel(guider.model_patcher)
            run.attention = choice.override
            if blend is not None:
                blend.bare.attention = choice.override
            for line in choice.describe():
                log.info("Memory-V2V: %s", line)
        # Step 3: our wrappers go last, and so innermost. Our forward never calls the wrapped one,
        # and context windows must shrink the shape before we grow it.
        for kind in (WrappersMP.DIFFUSION_MODEL, WrappersMP.PREPARE_SAMPLING):
            wrappers = options["wrappers"][kind]
            wrappers[KEY] = wrappers.pop(KEY)
        # Step 4: what was kept is dropped at once, after an interrupt too.
        try:
            return executor(noise, *args, **kwargs)
        finally:
            run.drop()
            if run.reuse is not None:
                self.tell(run.reuse.report)

    def prepare_sampling(
        self,
        executor: WrapperExecutor,
        model: ModelPatcher,
        noise_shape: torch.Size,
        conds: dict,
        *args: Any,
        **kwargs: Any,
    ) -> tuple:
        """Counts our tokens as frames of the target, so that ComfyUI frees enough memory.

        References count too; ComfyUI itself leaves them out. So do the keys and values that are
        kept, where the device can hold them.
        """
        shape = list(noise_shape)
        num_frames, whole = shape[TIME_AXIS], self.turn.latent_shape[1]
        growth = self.sequence_growth(num_frames, num_reference_tokens(conds, num_frames, whole))
        shape[TIME_AXIS] = math.ceil(num_frames * growth)
        run = _run_of(kwargs)
        if run is not None:
            shape[TIME_AXIS] += frames_for(model.model, shape, run.counted_bytes, TIME_AXIS)
        return executor(model, shape, conds, *args, **kwargs)

    def sequence_growth(self, num_frames: int, num_reference_tokens: int = 0) -> float:
        """Tokens of the whole sequence divided by tokens of the target alone.

        num_frames: latent frames of the target. num_reference_tokens: of references.
        """
        layout = self._layout(num_frames)
        return (layout.num_tokens + num_reference_tokens) / layout.num_target_tokens

    def cost(self, model: ModelPatcher, windows: Any = None) -> Cost:
        """Cost of one call for one row, of the whole target or of a context window of it."""
        whole = self.turn.latent_shape[1]
        layout = self._layout(min(whole, getattr(windows, "context_length", whole)))
        plan, itemsize = self.turn.plan, model.model_dtype().itemsize
        merging = None if plan is None else plan.merging_for(self.turn.base.mode)
        cost = forward_cost(layout, dit_shape(model), merging, itemsize)
        kept = kept_value_bytes(self.turn.reuse.precision, itemsize)
        return replace(cost, kept_bytes=cost.kept_bytes * kept // itemsize)

    def _layout(self, num_frames: int) -> SequenceLayout:
        """The layout of the first blocks, before anything is merged."""
        turn = self.turn
        frames = tuple(turn.plan.frames_of(entry) for entry in turn.memories if turn.plan)
        has_source = turn.source is not None and turn.base.has_source_tokens
        height, width = turn.latent_shape[2:]
        return plan_layout(num_frames, height, width, has_source, frames, turn.kernels)


def _run_of(keywords: dict[str, Any]) -> MemoryRun | None:
    """The run in the options of `prepare_sampling`; None where a model is loaded for no run."""
    options = keywords.get("model_options") or {}
    return options.get("transformer_options", {}).get(KEY)


def diffusion_model(
    executor: WrapperExecutor,
    x: torch.Tensor,
    timestep: torch.Tensor,
    context: torch.Tensor,
    clip_fea: torch.Tensor | None = None,
    time_dim_concat: torch.Tensor | None = None,
    transformer_options: dict[str, Any] | None = None,
    **kwargs: Any,
) -> torch.Tensor:
    """One step of the patched model, in place of the DiT's own forward.

    Raises: ValueError for conditioning that this forward does not read.
    """
    require_text({**kwargs, "clip_fea": clip_fea, "time_dim_concat": time_dim_concat})
    dit = executor.class_obj
    assert transformer_options is not None, "this wrapper was found in them"
    # Other patches read the token grid of the target here, as from the native forward.
    rows, columns = token_grid(x.shape[3], x.shape[4], dit.patch_size[-1])
    transformer_options["grid_sizes"] = (x.shape[2], rows, columns)
    parts = (
        dit,
        comfy.model_management.cast_to,
        comfy.ldm.flux.math.apply_rope1,
        comfy.ldm.modules.attention.optimized_attention,
        transformer_options,
        comfy.ldm.common_dit.pad_to_patch_size(x, dit.patch_size),
    )
    # A VACE model always gets a control; without frames it is an empty one.
    control = kwargs.get(CONTROL)
    new_view: Callable[[], WanView] = (
        partial(WanView, *parts)
        if control is None
        else partial(VaceView, *parts, control=control, strengths=kwargs[CONTROL_STRENGTHS])
    )
    references = kwargs.get(REFERENCES) or ()
    run = transformer_options[KEY]
    ask_for(run.attention, transformer_options)
    predicted = run.entry(new_view, x, timestep, context, references)
    if run.blend is None:
        return predicted
    alone = run.blend.bare.entry(new_view, x, timestep, context, references)
    return torch.lerp(alone, predicted, run.blend.strength)

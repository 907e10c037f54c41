"""The patch that shows memory to a native MODEL: three wrappers around ComfyUI's sampling.

- Outermost, once per run: brings source and memories to the model's space and device.
- Before loading: tells ComfyUI how many tokens there will be.
- Innermost, every step: our forward over the live DiT in place of its own forward.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import comfy.ldm.common_dit
import comfy.ldm.flux.math
import comfy.ldm.modules.attention
import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP

from ....memv2v_core.bases.base_info import BaseInfo
from ....memv2v_core.model.adapter import MemoryAdapter
from ....memv2v_core.model.memory_inputs import MemoryInputs, window_inputs
from ....memv2v_core.model.memory_model import CleanTokens, memory_forward, tokenize_clean
from ....memv2v_core.model.wan_view import WanView
from ....memv2v_core.sampling.inputs import with_references
from ....memv2v_core.sampling.turn import Turn
from ....memv2v_core.shapes import token_grid
from ....memv2v_core.tokens.cost import plan_layout
from .attachment import KEY, adapter_of

_TIME_AXIS = 2
# Inputs of Wan's forwards beside the latent and the prompt, which ours would silently ignore, and
# why it refuses them.
_FOREIGN_INPUTS = {
    "clip_fea": "image-to-video models read it, and memory works on text-to-video models",
    "time_dim_concat": "its frames would take the places of memories in time",
    "reference_latent": "Fun Control's reference image shifts every frame of the target in time",
    "camera_conditions": "Fun Camera's cameras and memory's cameras would disagree",
    "vace_context": "VACE's control runs through blocks of its own beside the target alone",
    "audio_embed": "speech models add it to frames of the target by their number",
    "control": "a ControlNet adds its values to every token, and memories have none",
}
# Given as a clean video where the base reads several; see `with_references`.
_REFERENCES = "context_latents"


@dataclass(frozen=True, eq=False)
class MemoryPatch:
    """The addition of one ApplyMemory to a MODEL.

    All clones share it, so it never changes.
    """

    turn: Turn

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

        Raises: ValueError when the sampler got another latent than ApplyMemory's.
        """
        if tuple(noise.shape[1:]) != self.turn.latent_shape:
            raise ValueError(
                f"the sampler's latent got {tuple(noise.shape[1:])} (channels, frames, height, "
                f"width), wanted {self.turn.latent_shape} as source, memories and cameras; connect "
                "the latent output of Apply Memory"
            )
        # Step 1: inputs in the DiT's space, once per run.
        guider = executor.class_obj
        model, device = guider.model_patcher.model, guider.model_patcher.load_device
        inputs = self.turn.inputs(
            lambda latent: model.process_latent_in(latent.to(device, torch.float32))
        )
        # Step 2: the run, in options of this run: two runs of one MODEL never share it.
        options = guider.model_options["transformer_options"]
        windows = guider.model_options.get("context_handler")
        options[KEY] = MemoryRun(
            inputs,
            adapter_of(guider.model_patcher),
            self.turn.latent_shape,
            retained_latents=tuple(getattr(windows, "latent_retain_index_list", ())),
            retained_conds=tuple(getattr(windows, "cond_retain_index_list", ())),
            has_hooks="registered_hooks" in guider.model_options,
            base=self.turn.base,
        )
        # Step 3: our wrappers go last, and so innermost. Our forward never calls the wrapped one,
        # and context windows must shrink the shape before we grow it.
        for kind in (WrappersMP.DIFFUSION_MODEL, WrappersMP.PREPARE_SAMPLING):
            wrappers = options["wrappers"][kind]
            wrappers[KEY] = wrappers.pop(KEY)
        return executor(noise, *args, **kwargs)

    def prepare_sampling(
        self,
        executor: WrapperExecutor,
        model: ModelPatcher,
        noise_shape: torch.Size,
        conds: dict,
        *args: Any,
        **kwargs: Any,
    ) -> tuple:
        """Counts our tokens as frames of the target, so that ComfyUI frees enough memory."""
        shape = list(noise_shape)
        shape[_TIME_AXIS] = math.ceil(shape[_TIME_AXIS] * self.sequence_growth(shape[_TIME_AXIS]))
        return executor(model, shape, conds, *args, **kwargs)

    def sequence_growth(self, num_frames: int) -> float:
        """Tokens of the whole sequence divided by tokens of the target alone.

        num_frames: latent frames of the target.
        """
        turn = self.turn
        frames = tuple(entry.num_latent_frames for entry in turn.memories)
        has_source = turn.source is not None and turn.base.has_source_tokens
        height, width = turn.latent_shape[2:]
        # The layout of the first blocks, before anything is merged.
        layout = plan_layout(num_frames, height, width, has_source, frames, turn.kernels)
        return layout.num_tokens / layout.num_target_tokens


@dataclass(eq=False)
class MemoryRun:
    """One sampling run: inputs on their device, and the tokens of the newest context window.

    retained_latents, retained_conds: places in a window that hold the frame with that number of the
    whole latent, and of its conditioning.
    has_hooks: whether prompts swap weights from call to call, so that tokens cannot be kept.
    base: the model as memory sees it.
    """

    inputs: MemoryInputs
    adapter: MemoryAdapter | None
    latent_shape: tuple[int, int, int, int]
    base: BaseInfo
    retained_latents: tuple[int, ...] = ()
    retained_conds: tuple[int, ...] = ()
    has_hooks: bool = False
    kept: "_WindowTokens | None" = None

    def forward(
        self,
        view: WanView,
        x: torch.Tensor,
        timestep: torch.Tensor,
        context: torch.Tensor,
        references: Sequence[torch.Tensor] = (),
    ) -> torch.Tensor:
        """The DiT's output for one step of the whole target, or of a context window of it.

        references: clean videos that came with the prompt, cut to the window.

        Raises: ValueError when another node cut the latent into pieces of another kind, and for
        references that the base cannot tell apart.
        """
        # Step 1: which frames of the target this call shows.
        frames = window_frames(view.options.get("context_window"), self.latent_shape[1])
        if tuple(x.shape[2:]) != (len(frames), *self.latent_shape[2:]):
            raise ValueError(
                f"the model got a piece {tuple(x.shape[2:])} of the latent, wanted {len(frames)} "
                f"of its {self.latent_shape[1]} frames, each {self.latent_shape[2:]} (height, "
                "width) and whole; disconnect area conditioning and context windows along other "
                "axes than time, or Apply Memory"
            )
        # Step 2: clean tokens. They stay the same until the window moves or weights change.
        # References belong to a prompt, so their tokens are not kept beyond this call.
        if self.kept is None or self.kept.frames != frames or self.has_hooks or references:
            inputs = self._with_references(self._inputs_of(frames), references)
            tokens = tokenize_clean(view, self.adapter, inputs, x.shape)
            shown = _WindowTokens(frames, inputs, tokens)
            self.kept = None if references else shown
        else:
            shown = self.kept
        # Step 3: our forward. The target was padded to patches, so the padding is cut off.
        out = memory_forward(
            view, self.adapter, view.noisy, timestep, context, shown.inputs, shown.tokens
        )
        return out[..., : x.shape[-2], : x.shape[-1]]

    def _with_references(
        self, inputs: MemoryInputs, references: Sequence[torch.Tensor]
    ) -> MemoryInputs:
        if not references:
            return inputs
        if not self.base.has_source_ids:
            raise ValueError(
                f"the model got the conditioning {_REFERENCES!r} beside memory, but "
                f"{self.base.model_name} tells clean videos apart by their places in time and has "
                "none for it; disconnect Bernini Conditioning, or load Bernini-R"
            )
        for stream in inputs.streams:
            if stream.role == "source" and any(
                given.shape[1:] == stream.latent.shape[1:]
                and torch.allclose(given[:1].float(), stream.latent[:1].to(given).float())
                for given in references
            ):
                raise ValueError(
                    f"the model got the source video twice: as source of Apply Memory and in "
                    f"{_REFERENCES!r}; disconnect it from one of them"
                )
        return with_references(inputs, references, self.base.max_source_id)

    def _inputs_of(self, frames: tuple[int, ...]) -> MemoryInputs:
        num_frames = self.latent_shape[1]
        # Without a window, the inputs are used as they are.
        if frames == tuple(range(num_frames)):
            return self.inputs
        target, source = (
            _retain(frames, places) for places in (self.retained_latents, self.retained_conds)
        )
        return window_inputs(self.inputs, num_frames, target, source)


@dataclass(frozen=True, eq=False)
class _WindowTokens:
    """The inputs and the tokens of one context window, or of the whole target."""

    frames: tuple[int, ...]
    inputs: MemoryInputs
    tokens: CleanTokens


def window_frames(window: Any, num_frames: int) -> tuple[int, ...]:
    """Latent frames in a native context window over time; all `num_frames` without a window.

    ComfyUI may put the frame before a window in front of it. It then drops the result of that
    frame.
    """
    if window is None or window.dim != _TIME_AXIS:
        return tuple(range(num_frames))
    anchor = getattr(window, "causal_anchor_index", None)
    return (*([anchor] if anchor is not None and anchor >= 0 else []), *window.index_list)


def _retain(frames: Sequence[int], places: Sequence[int]) -> tuple[int, ...]:
    return tuple(place if place in places else frame for place, frame in enumerate(frames))


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
    others = {**kwargs, "clip_fea": clip_fea, "time_dim_concat": time_dim_concat}
    for name, reason in _FOREIGN_INPUTS.items():
        if others.get(name) is not None:
            raise ValueError(
                f"the model got the conditioning {name!r} beside memory, wanted text alone: "
                f"{reason}; disconnect the node that adds it, or Apply Memory"
            )
    dit = executor.class_obj
    assert transformer_options is not None, "this wrapper was found in them"
    # Other patches read the token grid of the target here, as from the native forward.
    rows, columns = token_grid(x.shape[3], x.shape[4], dit.patch_size[-1])
    transformer_options["grid_sizes"] = (x.shape[2], rows, columns)
    view = WanView(
        dit,
        comfy.model_management.cast_to,
        comfy.ldm.flux.math.apply_rope1,
        comfy.ldm.modules.attention.optimized_attention,
        transformer_options,
        comfy.ldm.common_dit.pad_to_patch_size(x, dit.patch_size),
    )
    references = kwargs.get(_REFERENCES) or ()
    return transformer_options[KEY].forward(view, x, timestep, context, references)

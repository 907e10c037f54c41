"""One sampling run of a patched MODEL: its inputs, and the clean tokens that it keeps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import comfy.ldm.common_dit
import torch

from ....memv2v_core.bases.base_info import BaseInfo
from ....memv2v_core.model.adapter import MemoryAdapter
from ....memv2v_core.model.memory_inputs import ConditioningStream, MemoryInputs, window_inputs
from ....memv2v_core.model.memory_model import CleanTokens, memory_forward, tokenize_clean
from ....memv2v_core.model.wan_view import WanView
from ....memv2v_core.sampling.inputs import with_references
from ....memv2v_core.tokens.tokenizers import BASE_KERNEL

TIME_AXIS = 2


@dataclass(eq=False)
class MemoryRun:
    """One sampling run: inputs on their device, and the tokens of the newest context window.

    base: the model as memory sees it.
    retained_latents, retained_conds: places in a window that hold the frame with that number of the
    whole latent, and of its conditioning.
    has_hooks: whether prompts swap weights from call to call, so that tokens cannot be kept.
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

        Raises: ValueError when another node cut the latent into pieces of another kind.
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
        shown = self.kept
        rows = x.shape[0] if self.base.has_source_ids else 1
        if references or self.has_hooks or shown is None or shown.place != (frames, rows):
            inputs = self._inputs_of(frames)
            if references:
                inputs = with_references(inputs, references, self.base.max_source_id)
            if self.base.has_source_ids:
                inputs = _as_comfyui_embeds(inputs, view.model.patch_size, rows)
            tokens = tokenize_clean(view, self.adapter, inputs, x.shape)
            shown = _WindowTokens((frames, rows), inputs, tokens)
            self.kept = self.kept if references else shown
        # Step 3: our forward. The target was padded to patches, so the padding is cut off.
        out = memory_forward(
            view, self.adapter, view.noisy, timestep, context, shown.inputs, shown.tokens
        )
        return out[..., : x.shape[-2], : x.shape[-1]]

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
    """The inputs and the tokens of one context window, or of the whole target.

    place: the frames of the window, and the rows that the tokens were made for; 1 serves all.
    """

    place: tuple[tuple[int, ...], int]
    inputs: MemoryInputs
    tokens: CleanTokens


def _as_comfyui_embeds(
    inputs: MemoryInputs, patch_size: tuple[int, int, int], rows: int
) -> MemoryInputs:
    """Clean videos as ComfyUI's own forward embeds its `context_latents`.

    It pads them to patches as it pads the target, and embeds them once for each row of a batch. A
    convolution may round several rows in another way than one, so both decide the bits.
    """

    def embedded(stream: ConditioningStream) -> ConditioningStream:
        if stream.kernel != BASE_KERNEL:
            return stream
        padded = comfy.ldm.common_dit.pad_to_patch_size(stream.latent, patch_size)
        return replace(stream, latent=padded.expand(rows, -1, -1, -1, -1))

    return replace(inputs, streams=tuple(embedded(stream) for stream in inputs.streams))


def window_frames(window: Any, num_frames: int) -> tuple[int, ...]:
    """Latent frames in a native context window over time; all `num_frames` without a window.

    ComfyUI may put the frame before a window in front of it. It then drops the result of that
    frame.
    """
    if window is None or window.dim != TIME_AXIS:
        return tuple(range(num_frames))
    anchor = getattr(window, "causal_anchor_index", None)
    return (*([anchor] if anchor is not None and anchor >= 0 else []), *window.index_list)


def _retain(frames: Sequence[int], places: Sequence[int]) -> tuple[int, ...]:
    return tuple(place if place in places else frame for place, frame in enumerate(frames))

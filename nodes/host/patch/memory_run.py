"""One sampling run of a patched MODEL: its inputs, and the clean tokens that it keeps."""

import sys
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import comfy.ldm.common_dit
import torch

from ....memv2v_core.bases.base_info import BaseInfo
from ....memv2v_core.model.adapter import MemoryAdapter
from ....memv2v_core.model.kept_streams import KeptRows
from ....memv2v_core.model.memory_inputs import ConditioningStream, MemoryInputs, window_inputs
from ....memv2v_core.model.memory_model import CleanTokens, memory_forward, tokenize_clean
from ....memv2v_core.model.wan_view import WanView
from ....memv2v_core.sampling.inputs import with_references
from ....memv2v_core.sampling.reuse import StreamReuse
from ....memv2v_core.tokens.cost import kept_bytes
from ....memv2v_core.tokens.reuse import kept_value_bytes
from ....memv2v_core.tokens.tokenizers import BASE_KERNEL
from .attention_kernel import FastAttention
from .other_nodes import require_known_parts

TIME_AXIS = 2


@dataclass(eq=False)
class MemoryRun:
    """One sampling run: inputs on their device, and the tokens of the newest context window.

    base: the model as memory sees it.
    retained_latents, retained_conds: places in a window that hold the frame with that number of the
    whole latent, and of its conditioning.
    has_hooks: whether prompts swap weights from call to call, so that tokens cannot be kept.
    reuse: of the clean tokens' keys and values between calls; None refreshes them in every call.
    counted_bytes: of what it keeps, in ComfyUI's estimate of memory.
    attention: a faster kernel, one object for all calls; None leaves attention to ComfyUI.
    knows_parts: whether other nodes' code in the DiT was looked at, in the first call.
    blend: the same run without memories, where memory has a strength; None where it is 1.
    """

    inputs: MemoryInputs
    adapter: MemoryAdapter | None
    latent_shape: tuple[int, int, int, int]
    base: BaseInfo
    retained_latents: tuple[int, ...] = ()
    retained_conds: tuple[int, ...] = ()
    has_hooks: bool = False
    reuse: StreamReuse | None = None
    counted_bytes: int = 0
    attention: FastAttention | None = None
    kept: "_WindowTokens | None" = None
    knows_parts: bool = False
    blend: "Blend | None" = None

    def __post_init__(self) -> None:
        self.entry: Callable[..., torch.Tensor] = outside_graphs(self.forward)
        if self.reuse is not None:
            self.call_by_reuse = outside_graphs(self.reuse.call)

    def drop(self) -> None:
        """Forget everything that was kept for later calls."""
        self.kept = None
        if self.reuse is not None:
            self.reuse.drop()
        if self.blend is not None:
            self.blend.bare.drop()

    def forward(
        self,
        new_view: Callable[[], WanView],
        x: torch.Tensor,
        timestep: torch.Tensor,
        context: torch.Tensor,
        references: Sequence[torch.Tensor] = (),
    ) -> torch.Tensor:
        """The DiT's output for one step of the whole target, or of a context window of it.

        new_view: a view of the DiT for one forward. references: clean videos that came with the
        prompt, cut to the window.

        Raises: ValueError when another node cut the latent into pieces of another kind, or put code
        into the DiT that cannot work beside memory.
        """
        # Step 1: which frames of the target this call shows.
        view = new_view()
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
        if not self.knows_parts:
            layout = shown.tokens.layout
            require_known_parts(view, context, layout.num_tokens, layout.num_target_tokens)
            self.knows_parts = True
        # Step 3: our forward. The target was padded to patches, so the padding is cut off.
        # A view serves one forward, and a second one is made where a call is tried again: VACE's
        # embeds its control.
        given, views = shown, [view]

        def forward(clean: CleanTokens, kept: KeptRows | None) -> torch.Tensor:
            fresh = views.pop() if views else new_view()
            return memory_forward(
                fresh, self.adapter, fresh.noisy, timestep, context, given.inputs, clean, kept
            )

        if self.reuse is None:
            out = forward(shown.tokens, None)
        else:
            out = self._by_reuse(self.reuse, forward, view, timestep, shown, bool(references))
        return out[..., : x.shape[-2], : x.shape[-1]]

    def _by_reuse(
        self,
        reuse: StreamReuse,
        forward: Callable[[CleanTokens, KeptRows | None], torch.Tensor],
        view: WanView,
        timestep: torch.Tensor,
        shown: "_WindowTokens",
        has_references: bool,
    ) -> torch.Tensor:
        """The result of a call that refreshes clean tokens or reuses them."""
        if self.has_hooks:
            reuse.switch_off("hooks change the model's weights from prompt to prompt")
        inputs, options, noisy = shown.inputs, view.options, view.noisy
        # References belong to one prompt.
        is_shared = inputs.has_shared_clean_tokens and not has_references
        prompts: Sequence[Hashable] = ("all",) if is_shared else options.get("uuids") or ("all",)
        rows = 1 if is_shared else noisy.shape[0] // len(prompts)
        place = (shown.place[0], rows, noisy.device, patches_of(options))
        itemsize = kept_value_bytes(reuse.precision, noisy.element_size())
        layout, dim = shown.tokens.layout, view.model.dim
        return self.call_by_reuse(
            forward,
            shown.tokens,
            [(prompt, place) for prompt in prompts],
            timestep,
            rows * kept_bytes(layout, view.num_blocks, dim, inputs.merging, itemsize),
            is_shared,
        )

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


def outside_graphs(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """`function` as torch.compile must not trace it; functions that it calls are traced.

    ComfyUI lets torch.compile take for granted whatever lies in the options of a call, and so the
    frames of a context window, the tokens of a run and what is kept.
    """
    # Whoever compiled a model imported it; the import takes seconds.
    if "torch._dynamo" not in sys.modules:
        return function
    return torch.compiler.disable(function, recursive=False)


@dataclass(frozen=True)
class _Same:
    """A function, equal to itself alone. Not every function that is a patch can be hashed."""

    function: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.function is other.function

    def __hash__(self) -> int:
        return id(self.function)


def patches_of(options: dict[str, Any]) -> Hashable:
    """The patches of other nodes that take part in a call.

    What was kept under some of them, as when guidance skips a layer, serves no call under others.
    """

    def named(patches: Iterable[tuple[Any, Any]]) -> tuple:
        return tuple((str(name), _Same(patch)) for name, patch in patches)

    lists = options.get("patches", {})
    added = ((name, patch) for name, patches in lists.items() for patch in patches)
    override = options.get("optimized_attention_override")
    replaced = options.get("patches_replace", {}).get("dit", {})
    return named(added), named(replaced.items()), _Same(override)


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


@dataclass(frozen=True, eq=False)
class Blend:
    """How far a step goes from the run without memories to the run with them.

    strength: see `TokenPlan.strength`.
    """

    bare: MemoryRun
    strength: float

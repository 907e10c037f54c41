"""The things a MODEL carries beside its weights.

These are the memory adapter and the description of the base that ApplyMemory needs.
"""

import uuid
from dataclasses import dataclass, field, replace

import comfy.model_patcher
import comfy.ops
import torch

from ....memv2v_core.bases.base_info import BaseInfo, adapted
from ....memv2v_core.bases.experts import pair_name
from ....memv2v_core.bases.published import DitSizes
from ....memv2v_core.bases.registry import base_of
from ....memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from ....memv2v_core.shapes import VaeRatios
from ....memv2v_core.tokens.cost import DitShape
from ....memv2v_core.vocabulary import TurnMode
from ....memv2v_core.weights.adapter_file import TrainingRecord
from ....memv2v_core.weights.checkpoint import require_fit
from ..compat import temporal_ratio
from .base_changes import require_base, with_changes, without_changes

KEY = "memory_v2v"
# The description of a MODEL before the user's adapter, for the adapter that replaces it.
_BARE_KEY = "memory_v2v_bare"


@dataclass(frozen=True, eq=False)
class LoadedAdapter:
    """An adapter file's weights, ready for any base that they fit.

    mode: the mode of a base with this adapter: "trained", or "training-free" where the file has
    cameras alone.
    base_changes: changes of the base's own weights. record: how it was trained, where the file
    says it.
    adapter_id: differs from load to load.
    """

    name: str
    config: AdapterConfig
    state: dict[str, torch.Tensor]
    mode: TurnMode = "trained"
    base_changes: dict[str, torch.Tensor] = field(default_factory=dict)
    record: TrainingRecord | None = None
    adapter_id: uuid.UUID = field(default_factory=uuid.uuid4)


def attach_adapter(
    model: comfy.model_patcher.ModelPatcher,
    config: AdapterConfig,
    state: dict[str, torch.Tensor],
    info: BaseInfo,
) -> comfy.model_patcher.ModelPatcher:
    """A clone of `model` that loads the adapter together with itself.

    Raises: ValueError when the adapter was made for another base.
    """
    dit = model.model.diffusion_model
    require_fit(config, dit.dim, len(dit.blocks), dit.in_dim)
    # The adapter keeps the dtype of its file; manual_cast converts when it computes.
    stored = {tensor.dtype for tensor in state.values()}
    dtype = stored.pop() if len(stored) == 1 else torch.float32
    adapter = MemoryAdapter(config, comfy.ops.manual_cast).to(dtype).eval()
    patcher = comfy.model_patcher.CoreModelPatcher(
        adapter,
        load_device=model.load_device,
        offload_device=model.offload_device,
    )
    adapter.load_state_dict(state, assign=patcher.is_dynamic())
    # ComfyUI loads and offloads the adapter with the model.
    clone = model.clone()
    clone.set_additional_models(KEY, [patcher])
    clone.set_attachments(KEY, info)
    return clone


def with_adapter(
    model: comfy.model_patcher.ModelPatcher, adapter: LoadedAdapter | None
) -> comfy.model_patcher.ModelPatcher:
    """`model` with this adapter in place of any other; the same model for None.

    Weights that another adapter changed get their own values again, LoRAs stay.

    Raises: ValueError when the adapter was made for another base.
    """
    if adapter is None:
        return model
    dit = model.model.diffusion_model
    info = model.get_attachment(_BARE_KEY) or base_info(model)
    require_fit(adapter.config, dit.dim, len(dit.blocks), dit.in_dim)
    if adapter.record is not None:
        require_base(adapter.name, adapter.record, dit)
    # Another name, so that caches keep the results of two adapters apart. Adapters of two experts
    # are one pair.
    has_experts = info.expert_boundary is not None
    name = pair_name(adapter.name) if has_experts else adapter.name
    named = replace(info, model_name=f"{info.model_name} with {name}")
    bare = without_changes(model)
    changed = with_changes(bare, adapter.base_changes, adapter.adapter_id)
    whole = attach_adapter(
        changed, adapter.config, adapter.state, adapted(named, adapter.config, adapter.mode)
    )
    whole.set_attachments(_BARE_KEY, info)
    return whole


def base_info(model: comfy.model_patcher.ModelPatcher) -> BaseInfo:
    """The description of a MODEL.

    A MODEL of another loader is the published base whose sizes it has. It works in training-free
    mode and takes no cameras until it gets an adapter.

    Raises: ValueError when the MODEL is no Wan DiT, or a Wan DiT that needs more than text and
    video.
    """
    info = model.get_attachment(KEY)
    if info is not None:
        return info
    # From another loader: the shape of the DiT says what it is.
    dit, kind = model.model.diffusion_model, type(model.model).__name__
    base = None
    if type(dit).__name__ in ("WanModel", "VaceWanModel"):
        base = base_of(dit_sizes(model))
    if base is None:
        raise ValueError(
            f"model got {kind} ({type(dit).__name__}, {getattr(dit, 'in_dim', 'unknown')} input "
            "channels), wanted a Wan text-to-video DiT, a VACE or LucyEdit. Image-to-video, Fun "
            "Control, Fun Camera and speech models take more channels or layers beside the target, "
            "and memories have nothing for them; load Wan2.1 T2V, ReCamMaster, LucyEdit or a "
            "built-in model"
        )
    # The latent format of a small model may have other ratios than its published Wan.
    latent = model.get_model_object("latent_format")
    ratios = VaeRatios(
        temporal_ratio(latent), latent.spacial_downscale_ratio, latent.latent_channels
    )
    return base.info(f"{kind} of {len(dit.blocks)} blocks of {dit.dim}", ratios)


def dit_sizes(model: comfy.model_patcher.ModelPatcher) -> DitSizes:
    """The sizes of a native Wan MODEL that tell its base."""
    dit = model.model.diffusion_model
    return DitSizes(dit.dim, len(dit.blocks), dit.in_dim, dit.out_dim)


def describe_model(model: comfy.model_patcher.ModelPatcher) -> list[str]:
    """A MODEL in words, line by line: its base, its flow shift, its cameras and its memory."""
    info = base_info(model)
    lines = [
        f"{info.model_name}, {info.mode} mode",
        f"flow shift {model.get_model_object('model_sampling').shift:g}",
        "takes camera paths"
        if info.has_cameras
        else "no camera weights: takes no camera paths; choose memories with Recent Retrieve or "
        "DINO Segment Retrieve",
    ]
    if info.has_frame_times:
        lines.append("takes a playback time with the target's path, from Playback Time")
    if info.mode == "training-free":
        lines.append("no trained memory: the base's own weights read the memories")
    return lines


def adapter_of(model: comfy.model_patcher.ModelPatcher) -> MemoryAdapter | None:
    """The adapter that was attached to a MODEL, if any."""
    patchers = model.get_additional_models_with_key(KEY)
    return patchers[0].model if patchers else None


def dit_shape(model: comfy.model_patcher.ModelPatcher) -> DitShape:
    """The sizes of a native Wan MODEL that decide its cost."""
    dit, adapter, info = model.model.diffusion_model, adapter_of(model), base_info(model)
    return DitShape(
        dit.dim,
        dit.ffn_dim,
        len(dit.blocks),
        num_text_tokens=dit.text_len if info.text_width is None else 1,
        head_dim=dit.dim // dit.num_heads,
        has_adapter=adapter is not None and adapter.config.has_cameras,
        has_mergers=adapter is not None and len(adapter.mergers) > 0,
        attention=info.attention,
        clean_reads_text=info.clean_reads_text,
    )

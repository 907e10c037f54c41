"""What a MODEL carries beside its weights: the memory adapter, and what ApplyMemory must know of the base."""

from dataclasses import dataclass

import comfy.model_patcher
import comfy.ops
import torch

from ..memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from ..memv2v_core.model.checkpoint import require_fit
from ..memv2v_core.shapes import VaeRatios

KEY = "memory_v2v"


@dataclass(frozen=True)
class BaseInfo:
    """The base model as memory sees it.

    model_name: caches of another name are refused. mode: "trained" or "training-free". ratios: of its VAE.
    text_width: width of its text tokens where the empty prompt is a zero vector, else None: a prompt is needed.
    clean_timestep: what clean tokens are told. has_cameras: whether cameras can condition it. latent_size: rows and
    columns of the latents it was made for, used where no video says how large to work.
    """

    model_name: str
    mode: str
    ratios: VaeRatios
    text_width: int | None
    clean_timestep: str
    has_cameras: bool
    latent_size: tuple[int, int] = (60, 104)


def attach_adapter(
    model: comfy.model_patcher.ModelPatcher, config: AdapterConfig, state: dict[str, torch.Tensor], info: BaseInfo
) -> comfy.model_patcher.ModelPatcher:
    """A clone of `model` that loads the adapter with itself.

    Raises: ValueError when the adapter was made for another base.
    """
    dit = model.model.diffusion_model
    require_fit(config, dit.dim, len(dit.blocks), dit.in_dim)
    adapter = MemoryAdapter(config, comfy.ops.manual_cast).eval()
    patcher = comfy.model_patcher.CoreModelPatcher(
        adapter,
        load_device=model.load_device,
        offload_device=model.offload_device,
    )
    adapter.load_state_dict(state, assign=patcher.is_dynamic())
    clone = model.clone()
    clone.set_additional_models(KEY, [patcher])
    clone.set_attachments(KEY, info)
    return clone


def base_info(model: comfy.model_patcher.ModelPatcher) -> BaseInfo:
    """What is known of a MODEL; one without an adapter works in training-free mode and takes no cameras."""
    info = model.get_attachment(KEY)
    if info is not None:
        return info
    latent = model.get_model_object("latent_format")
    ratios = VaeRatios(latent.temporal_downscale_ratio, latent.spacial_downscale_ratio, latent.latent_channels)
    return BaseInfo(type(model.model).__name__, "training-free", ratios, None, "target", has_cameras=False)


def adapter_of(model: comfy.model_patcher.ModelPatcher) -> MemoryAdapter | None:
    """The adapter that was attached to a MODEL, if any."""
    patchers = model.get_additional_models_with_key(KEY)
    return patchers[0].model if patchers else None

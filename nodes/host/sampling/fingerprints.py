"""The parts of a model and a VAE that decide a result, as plain values.

A later run compares them to find what changed.
"""

from collections.abc import Mapping

import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from torch import nn

from ..models.attachment import adapter_of, base_info


def model_parts(model: ModelPatcher) -> tuple[object, ...]:
    """Everything of a model that decides a result.

    The base counts by name and weights, adapter and LoRAs by their weights, then noise levels, and
    other patches by name.
    """
    info = base_info(model)
    return (
        info.model_name,
        info.mode,
        base_parts(model),
        weight_parts(adapter_of(model)),
        model.get_model_object("model_sampling").sigmas,
        model.patches,
        _names(model.model_options),
    )


def models_parts(
    model: ModelPatcher, low_noise_model: ModelPatcher | None = None
) -> tuple[object, ...]:
    """Everything of one model, or of two experts, that decides a result."""
    parts = model_parts(model)
    # One model alone counts as in versions without experts, so that old sessions stay.
    return parts if low_noise_model is None else (parts, model_parts(low_noise_model))


def base_parts(model: ModelPatcher) -> dict[str, object]:
    """A sample of every weight of the DiT: a vector whole, a matrix by its first row.

    Two trainings, and a merge, share neither. A weight with a loaded LoRA counts as it was before.
    A quantized weight counts by its shape alone.
    """
    parts = {}
    for name, weight in model.model.diffusion_model.named_parameters():
        # Here ComfyUI keeps the weight without its LoRA.
        unpatched = model.backup.get(f"diffusion_model.{name}")
        weight = weight if unpatched is None else unpatched.weight
        is_plain = type(weight) in (torch.Tensor, nn.Parameter) and weight.ndim
        sample = weight[:1] if is_plain and weight.ndim > 1 else weight
        # torch.compile adds this prefix to names.
        parts[name.replace("_orig_mod.", "")] = sample if is_plain else tuple(weight.shape)
    return parts


def vae_parts(vae: VAE) -> tuple[object, ...]:
    """The VAE by its weights."""
    return type(vae.first_stage_model).__qualname__, weight_parts(vae.first_stage_model)


def weight_parts(module: nn.Module | None) -> object:
    """The vectors (biases and norms) of a module, which tell two trainings apart.

    Larger weights count by their shape alone.
    """
    if module is None:
        return None
    state = module.state_dict()
    return {
        name: weight if weight.ndim <= 1 else tuple(weight.shape) for name, weight in state.items()
    }


def _names(options: object) -> object:
    """The keys of nested options.

    Of a value that is no mapping, list, number or text, only the kind counts.
    """
    if isinstance(options, Mapping):
        return {str(key): _names(value) for key, value in options.items()}
    if isinstance(options, list | tuple):
        return [_names(value) for value in options]
    return options if isinstance(options, int | float | str) else type(options).__qualname__

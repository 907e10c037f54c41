"""An adapter's changes of the base's weights, as ComfyUI's own weight patches.

ComfyUI adds them as it adds a LoRA. So fp8 and GGUF weights, offloading and LoRAs before or after
go on working, and the weights of the file stay as they are.
"""

import dataclasses
import math
import uuid
from collections.abc import Mapping
from typing import Any

import comfy.lora
import torch
from comfy.model_patcher import ModelPatcher

from ....memv2v_core.weights.adapter_file import TrainingRecord
from ....memv2v_core.weights.base_changes import change_of
from ....memv2v_core.weights.wan_shapes import WanSizes, shapes_hash, wan_shapes

# The patches that an adapter added to a MODEL, so that they can be taken away again.
_KEY = "memory_v2v_base_changes"
_PREFIX = "diffusion_model."


def require_base(name: str, record: TrainingRecord, dit: Any) -> None:
    """Raise ValueError unless the live `dit` has the shapes of the base of an adapter `name`.

    The sizes of the DiT decide, not its tensors: packed weights have other shapes.
    """
    sizes = live_sizes(dit)
    if shapes_hash(wan_shapes(sizes)) == record.base_shapes:
        return
    wanted = dataclasses.asdict(record.base_sizes)
    differing = ", ".join(
        f"{size} got {got}, wanted {wanted[size]}"
        for size, got in dataclasses.asdict(sizes).items()
        if got != wanted[size]
    )
    raise ValueError(
        f"the adapter {name} changes weights of {record.base!r}, and this model has other weights "
        f"({differing}); choose the adapter made for it, or load its base"
    )


def live_sizes(dit: Any) -> WanSizes:
    """The sizes of a native WanModel."""
    return WanSizes(
        dim=dit.dim,
        num_blocks=len(dit.blocks),
        in_channels=dit.in_dim,
        out_values=dit.out_dim * math.prod(dit.patch_size),
        ffn_dim=dit.ffn_dim,
        text_dim=dit.text_dim,
        freq_dim=dit.freq_dim,
    )


def with_changes(
    model: ModelPatcher, changes: Mapping[str, torch.Tensor], adapter_id: uuid.UUID
) -> ModelPatcher:
    """A clone of `model` with an adapter's changes added; the same model where it has none.

    adapter_id: the same for the same changes, so that ComfyUI knows that two clones have the same
    weights and patches them once.

    Raises: ValueError for a model that lacks a changed weight.
    """
    if not changes:
        return model
    shapes = wan_shapes(live_sizes(model.model.diffusion_model))
    # ComfyUI takes the weight of each layer, and derives the name of its bias.
    layers = {change_of(name, shapes).layer for name in changes}
    places = {layer: f"{_PREFIX}{layer}.weight" for layer in sorted(layers)}
    patches = comfy.lora.load_lora(dict(changes), places)
    clone = model.clone()
    if missing := sorted(set(patches) - set(clone.add_patches(patches))):
        raise ValueError(
            f"this model has no weight {missing[0].removeprefix(_PREFIX)!r}, which the adapter "
            "changes; load the base with Load Diffusion Model"
        )
    clone.patches_uuid = uuid.uuid5(model.patches_uuid, str(adapter_id))
    clone.set_attachments(_KEY, tuple(patches.values()))
    return clone


def without_changes(model: ModelPatcher) -> ModelPatcher:
    """A clone of `model` without the changes of an earlier adapter; the same model without them.

    LoRAs and other patches stay.
    """
    ours = model.get_attachment(_KEY)
    if ours is None:
        return model
    added = {id(patch) for patch in ours}
    clone = model.clone()
    for key, patches in list(clone.patches.items()):
        kept = [patch for patch in patches if id(patch[1]) not in added]
        if kept:
            clone.patches[key] = kept
        else:
            del clone.patches[key]
    clone.patches_uuid = uuid.uuid5(model.patches_uuid, "without changes")
    clone.remove_attachments(_KEY)
    return clone

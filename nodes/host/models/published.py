"""Published base models as MODEL, each with the description that memory needs."""

from pathlib import Path

import comfy.model_management
import comfy.model_sampling
import comfy.sd
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher

from ....memv2v_core.bases.base_info import adapted
from ....memv2v_core.bases.registry import PUBLISHED
from ....memv2v_core.weights.checkpoint import (
    dit_weights,
    own_adapter_of,
    read_own_adapter,
    require_base_finite,
    require_whole,
)
from ....memv2v_core.weights.detection import WeightFile, detect, require_base
from ....memv2v_core.weights.reading.boundary import place, reading
from ....memv2v_core.weights.reading.finite import require_finite
from ....memv2v_core.weights.weight_files import (
    SAFETENSORS_SUFFIXES,
    read_header,
    read_weights,
    shards_of,
    stem_of,
)
from .attachment import KEY, attach_adapter

_VAE_PREFIX = "vae."
# Share of the computer's memory in which files of weights stay after they were read.
_CHECKED_SHARE = 0.5


def load_base(path: Path) -> tuple[ModelPatcher, comfy.sd.VAE | None]:
    """The MODEL of a published base in training-free mode, and its VAE where the file has one.

    The flow shift is set, and the file's own adapter, as ReCamMaster's cameras, is attached.
    ComfyUI chooses the dtype. Weights stay on the disk until they are used.
    Raises: ValueError naming a file that is broken, not whole or no base, and the kind of file
    wanted.
    """
    header = read_header(path)
    file = detect(header.shapes, header.metadata, path)
    require_base(file, place(path))
    require_whole(path, header, file)
    model = load_dit(path, file)
    # Caches of two bases with equal shapes must not mix, so the name is more than the shape.
    base = PUBLISHED[file.kind]
    info = base.info(file.model_name(stem_of(path)))
    # Some bases have their cameras in the file of the DiT.
    if own_adapter_of(file) is not None:
        config, state = read_own_adapter(path)
        model = attach_adapter(model, config, state, adapted(info, config, info.mode))
    else:
        model.set_attachments(KEY, info)
    has_vae = any(name.startswith(_VAE_PREFIX) for name in header.shapes)
    return with_shift(model, base.shift), _load_vae(path) if has_vae else None


def load_dit(path: Path, file: WeightFile, disable_dynamic: bool = False) -> ModelPatcher:
    """The MODEL of the Wan DiT in a file.

    file: the detected content of the file.

    Raises: ValueError when ComfyUI does not know it.
    """
    weights, metadata = _read(path)
    native = dit_weights(path, weights, file)
    # Larger files would be read from the disk twice: once here, once when they are used.
    if sum(tensor.nbytes for tensor in native.values()) <= _checked_bytes():
        require_base_finite(path, native)
    # Passed only when wanted: older ComfyUIs do not have this option.
    options = {"disable_dynamic": True} if disable_dynamic else {}
    with reading(path, "a Wan DiT that ComfyUI can build", "update ComfyUI, or download it again"):
        model = comfy.sd.load_diffusion_model_state_dict(native, metadata=metadata, **options)
    if model is None:
        raise ValueError(
            f"{place(path)} is {file.what}, but this ComfyUI does not know it; update ComfyUI"
        )
    model.cached_patcher_init = (load_dit, (path, file))
    return model


def with_shift(model: ModelPatcher, shift: float) -> ModelPatcher:
    """A clone of a flow MODEL that samples with this shift.

    The native node ModelSamplingSD3 sets it in the same way.
    """
    clone = model.clone()
    sampling = _ShiftedFlow(clone.model.model_config)
    sampling.set_parameters(shift=shift, multiplier=1000)
    clone.add_object_patch("model_sampling", sampling)
    return clone


class _ShiftedFlow(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
    pass


def _load_vae(path: Path) -> comfy.sd.VAE:
    weights, metadata = _read(path)
    own = {
        name.removeprefix(_VAE_PREFIX): value
        for name, value in weights.items()
        if name.startswith(_VAE_PREFIX)
    }
    with reading(path, "a VAE that ComfyUI can build", "download it again"):
        require_finite(own)
        vae = comfy.sd.VAE(sd=own, metadata=metadata)
        vae.throw_exception_if_invalid()
    return vae


def _checked_bytes() -> float:
    """Bytes of weights that stay in memory after they were looked through."""
    device = torch.device("cpu")
    return comfy.model_management.get_total_memory(device) * _CHECKED_SHARE


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """A file's tensors and metadata.

    safetensors are mapped as ComfyUI maps them; other files are read without executing their
    content.
    """
    weights: dict[str, torch.Tensor] = {}
    metadata: dict[str, str] = {}
    for shard in shards_of(path):
        if shard.suffix.lower() in SAFETENSORS_SUFFIXES:
            # Our own look at the header comes first: ComfyUI's mapping checks no sizes.
            read_header(shard)
            with reading(shard):
                tensors, extra = comfy.utils.load_torch_file(
                    str(shard), safe_load=True, return_metadata=True
                )
            weights |= tensors
            metadata |= extra or {}
        else:
            weights |= read_weights(shard)
    return weights, metadata

"""Published base models as MODEL, each with the description that memory needs."""

import re
from dataclasses import dataclass
from pathlib import Path

import comfy.model_management
import comfy.model_sampling
import comfy.sd
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ....memv2v_core.bases.base_info import adapted
from ....memv2v_core.bases.experts import pair_name
from ....memv2v_core.bases.published import PublishedBase
from ....memv2v_core.bases.registry import PUBLISHED, look_alikes
from ....memv2v_core.weights.checkpoint import (
    dit_weights,
    own_adapter_of,
    read_own_adapter,
    require_base_finite,
    require_whole,
)
from ....memv2v_core.weights.detection import WeightFile, detect, require_base, title_of
from ....memv2v_core.weights.reading.boundary import place, reading
from ....memv2v_core.weights.reading.finite import require_finite
from ....memv2v_core.weights.weight_files import (
    SAFETENSORS_SUFFIXES,
    read_header,
    read_weights,
    shards_of,
    stem_of,
)
from .attachment import KEY, adapter_of, attach_adapter, base_info, dit_sizes

_VAE_PREFIX = "vae."
# Share of the computer's memory in which files of weights stay after they were read.
_CHECKED_SHARE = 0.5


def name_of(base: PublishedBase) -> str:
    """The base in words, without a size."""
    # A title goes on with a size, or with its Wan in brackets.
    return re.split(r" [({]", base.title)[0]


# Bases whose weights look like those of another, by their names.
DESCRIBABLE = {name_of(base): base for base in PUBLISHED.values() if look_alikes(base)}


@dataclass(frozen=True, eq=False)
class LoadedBase:
    """A published base from a file.

    vae: None where the file has none.
    told_by: the word of the file's name that told it from bases that look alike; "" where none did.
    look_alikes: names of those bases.
    """

    model: ModelPatcher
    vae: comfy.sd.VAE | None
    told_by: str = ""
    look_alikes: tuple[str, ...] = ()


def load_base(path: Path) -> LoadedBase:
    """A published base in training-free mode.

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
    stem = stem_of(path)
    if base.expert_boundary is not None:
        stem = pair_name(stem)
    info = base.info(file.model_name(stem))
    # Some bases have their cameras in the file of the DiT.
    if own_adapter_of(file) is not None:
        config, state = read_own_adapter(path)
        model = attach_adapter(model, config, state, adapted(info, config, info.mode))
    else:
        model.set_attachments(KEY, info)
    has_vae = any(name.startswith(_VAE_PREFIX) for name in header.shapes)
    return LoadedBase(
        with_shift(model, base.shift),
        _load_vae(path) if has_vae else None,
        file.word,
        tuple(name_of(other) for other in look_alikes(base)),
    )


def described(model: ModelPatcher, name: str, sets_shift: bool) -> ModelPatcher:
    """A clone of `model` that counts as the base of `DESCRIBABLE` with this name.

    In caches it has the name that `load_base` gives to that base, so both share them.
    sets_shift: whether it gets the base's flow shift; else it keeps its own.

    Raises: ValueError for a MODEL of other channels, and for one that has an adapter or memory
    already.
    """
    base, found = DESCRIBABLE[name], base_info(model).model_name
    # Step 1: what the description would contradict.
    if adapter_of(model) is not None:
        raise ValueError(
            f"model got {found}, which has an adapter, wanted one without: an adapter is made for "
            "the base as it was loaded; connect Describe Base directly behind the loader"
        )
    if model.get_wrappers(WrappersMP.DIFFUSION_MODEL, KEY):
        raise ValueError(
            f"model got {found} with memory from Apply Memory, wanted one without: its memory was "
            "made for the base as it was loaded; connect Describe Base directly behind the loader"
        )
    sizes = dit_sizes(model)
    if not base.fits(sizes):
        raise ValueError(
            f"base got {name}, of {base.in_channels} input and {base.out_channels} output "
            f"channels, but model is {found}, of {sizes.in_channels} and {sizes.out_channels}; "
            "remove Describe Base, or load another model"
        )
    # Step 2: the description.
    clone = with_shift(model, base.shift) if sets_shift else model.clone()
    clone.set_attachments(KEY, base.info(title_of(base, sizes)))
    return clone


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

"""The model of a run: a new one, a built-in one, or a published base, with its adapter."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from ...bases.base_info import BaseInfo, adapted
from ...bases.published import PublishedBase
from ...bases.registry import PUBLISHED
from ...builtin.bundle import load_bundle, read_info
from ...builtin.codec import Codec, codec_ratios
from ...builtin.info import builtin_base
from ...model.adapter import AdapterConfig, MemoryAdapter, start_from_base
from ...weights.adapter_file import read_adapter_file
from ...weights.checkpoint import (
    dit_weights,
    own_adapter_of,
    read_own_adapter,
    require_base_finite,
    require_whole,
    to_diffusers_names,
)
from ...weights.convert import weights_file
from ...weights.detection import WeightFile, detect, require_base
from ...weights.wan_shapes import WanSizes, measured_sizes
from ...weights.weight_files import read_header, read_weights, stem_of
from ..config.model import AdapterOptions, ModelConfig
from ..config.run import TrainConfig
from .fresh import build_network, new_adapter_config

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel

HEAD_DIM = 128
# diffusers keeps these in fp32 in any model.
_FP32 = ("time_embedder", "scale_shift_table", "norm1", "norm2", "norm3")


@dataclass(frozen=True, eq=False)
class Parts:
    """A model before it is put together for training.

    base: the model as memory sees it.
    name: of the base, for an adapter's record.
    codec, text, locator: of a small model.
    """

    dit: "WanTransformer3DModel"
    adapter: MemoryAdapter
    base: BaseInfo
    name: str
    codec: Codec | None = None
    text: nn.Module | None = None
    locator: nn.Module | None = None


def build_parts(
    config: TrainConfig,
    dtype: torch.dtype,
    codec: Codec | None = None,
    vocabulary: bytes | None = None,
) -> Parts:
    """The model that a run begins with.

    dtype: of a published base's weights. codec, vocabulary: of a new model; a new vocabulary has
    all instructions.

    Raises: ValueError naming a file that is missing, broken or of another kind.
    """
    if config.base.kind == "new":
        return _new_parts(config, codec, vocabulary)
    if config.base.kind == "builtin":
        return _builtin_parts(config)
    assert config.base.path is not None, "BaseConfig has checked it"
    return _published_parts(config, config.base.path, dtype)


def _new_parts(config: TrainConfig, codec: Codec | None, vocabulary: bytes | None) -> Parts:
    model = config.base.model
    has_text = model.has_text
    adapter_config = new_adapter_config(model, config.adapter)
    network = build_network(model, adapter_config, vocabulary)
    adapter = network["adapter"]
    assert isinstance(adapter, MemoryAdapter)
    return Parts(
        network["dit"],
        adapter,
        adapted(new_base(model), adapter.config, "trained"),
        "a new model",
        codec,
        network["text"] if has_text else None,
        network["locator"] if has_text else None,
    )


def new_base(model: ModelConfig) -> BaseInfo:
    """A new model as memory sees it, before it has an adapter."""
    return BaseInfo(
        "in training",
        "training-free",
        codec_ratios(model.channels),
        text_width=None if model.has_text else model.text_dim,
        clean_timestep="target",
        has_cameras=False,
        source_placement="channels" if model.has_source_channels else "sequence",
        stream_identity=model.stream_identity,
        max_source_id=model.max_source_id,
    )


def _builtin_parts(config: TrainConfig) -> Parts:
    name = config.base.name
    info, bundle = read_info(name), load_bundle(name)
    if info.task != config.task:
        raise ValueError(
            f"base got the built-in model {name} for {info.task}, wanted one for {config.task}"
        )
    dit = bundle.backbone.model
    own = bundle.adapter
    adapter = _adapter_for(config, dit, own.config.has_cameras, own)
    base = adapted(builtin_base(name, info, bundle.codec.ratios), adapter.config, "trained")
    return Parts(dit, adapter, base, base.model_name, bundle.codec, bundle.text_encoder)


def _published_parts(config: TrainConfig, path: Path, dtype: torch.dtype) -> Parts:
    # Step 1: the DiT. All checks come before the weights are read.
    file, path = published_file(path)
    published = PUBLISHED[file.kind]
    require_task(config, published)
    weights = read_weights(path)
    native = dit_weights(path, weights, file)
    require_base_finite(path, native)
    shapes = {name: tuple(tensor.shape) for name, tensor in native.items()}
    assert file.sizes is not None
    dit = _diffusers_dit(measured_sizes(shapes, file.sizes.num_blocks), native, dtype)
    # Step 2: the adapter; the file may have one, as ReCamMaster's cameras.
    cameras = None
    if own_adapter_of(file) is not None:
        camera_config, state = read_own_adapter(path)
        cameras = MemoryAdapter(camera_config)
        cameras.load_state_dict(state)
    adapter = _adapter_for(config, dit, config.task == "novel_view", cameras)
    base = published.info(file.model_name(stem_of(path)))
    return Parts(dit, adapter, adapted(base, adapter.config, "trained"), base.model_name)


def published_file(path: Path) -> tuple[WeightFile, Path]:
    """What the file of a published base is, from its header, and its path.

    path: a file, or a folder in diffusers' layout.

    Raises: ValueError naming a file that is missing, not whole, or no base.
    """
    if not path.exists():
        raise ValueError(
            f"base.path got {path}, which is not there; download step20000.ckpt of "
            "KwaiVGI/ReCamMaster-Wan2.1, Wan-AI/Wan2.1-T2V-1.3B-Diffusers, "
            "decart-ai/Lucy-Edit-Dev or Wan-AI/Wan2.2-TI2V-5B-Diffusers, and name the file or its "
            "folder"
        )
    path = weights_file(path)
    header = read_header(path)
    file = detect(header.shapes, header.metadata, path)
    require_base(file, str(path))
    require_whole(path, header, file)
    return file, path


def require_task(config: TrainConfig, published: PublishedBase) -> None:
    """Raise ValueError unless the base is made for the recipe's task."""
    for is_so, trait in (
        (published.stream_identity == "source_id", "tells clean videos apart by numbers"),
        (published.has_frame_times, "reads a playback time of every frame"),
    ):
        if is_so:
            raise ValueError(
                f"base got {published.kind}, which {trait}; memory cannot be trained on such a "
                "base yet, and works on it without training; train on ReCamMaster, Wan or LucyEdit"
            )
    is_editor = published.source_placement == "channels"
    if is_editor != (config.task == "text_edit"):
        use = "edits" if is_editor else "takes its source as tokens"
        raise ValueError(
            f"base got {published.kind}, which {use}, and the task {config.task}; use LucyEdit for "
            "text_edit, ReCamMaster or Wan for novel_view"
        )


def empty_dit(sizes: WanSizes) -> "WanTransformer3DModel":
    """A diffusers DiT of these sizes on the device meta: shapes without numbers."""
    from diffusers import WanTransformer3DModel

    with torch.device("meta"):
        dit = WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=max(1, sizes.dim // HEAD_DIM),
            attention_head_dim=min(sizes.dim, HEAD_DIM),
            in_channels=sizes.in_channels,
            out_channels=sizes.out_values // 4,
            text_dim=sizes.text_dim,
            freq_dim=sizes.freq_dim,
            ffn_dim=sizes.ffn_dim,
            num_layers=sizes.num_blocks,
            cross_attn_norm=True,
        )
    # The view makes the rotations itself.
    dit.rope = nn.Identity()
    return dit


def kept_dtype(name: str, dtype: torch.dtype) -> torch.dtype:
    """The type of the DiT's weight `name` in a model of type `dtype`."""
    return torch.float32 if any(part in name for part in _FP32) else dtype


def _diffusers_dit(
    sizes: WanSizes, native: dict[str, torch.Tensor], dtype: torch.dtype
) -> "WanTransformer3DModel":
    """A diffusers DiT of these sizes that holds these weights, without a second copy of them."""
    dit = empty_dit(sizes)
    state = {
        name: tensor.to(kept_dtype(name, dtype))
        for name, tensor in to_diffusers_names(native).items()
    }
    dit.load_state_dict(state, assign=True)
    return dit


def _adapter_for(
    config: TrainConfig,
    dit: "WanTransformer3DModel",
    has_cameras: bool,
    known: MemoryAdapter | None,
) -> MemoryAdapter:
    """The adapter to train: it leaves the base unchanged, or goes on from `known` or a file.

    known: the base's own adapter. Its weights are taken where both have them.
    """
    if config.base.adapter is not None:
        file = read_adapter_file(config.base.adapter)
        if file.base_changes:
            raise ValueError(
                f"base.adapter got {config.base.adapter}, which also changes the base's "
                "self-attention; resume its run instead"
            )
        known = MemoryAdapter(file.config)
        known.load_state_dict({name: tensor.float() for name, tensor in file.state.items()})
    options = config.adapter
    patch = dit.patch_embedding
    adapter_config = adapter_config_of(
        options,
        dim=patch.weight.shape[0],
        num_blocks=len(dit.blocks),
        in_channels=patch.weight.shape[1],
        has_cameras=has_cameras,
        has_rays=has_cameras
        and (options.has_rays or (known is not None and known.config.has_rays)),
    )
    if known is not None:
        adapter_config = replace(adapter_config, has_keyframe=known.config.has_keyframe)
    adapter = MemoryAdapter(adapter_config)
    start_from_base(adapter, patch.weight.float(), patch.bias.float())
    if known is not None:
        own = adapter.state_dict()
        shared = {
            name: tensor.float()
            for name, tensor in known.state_dict().items()
            if name in own and own[name].shape == tensor.shape
        }
        adapter.load_state_dict(shared, strict=False)
    return adapter


def adapter_config_of(
    options: AdapterOptions,
    *,
    dim: int,
    num_blocks: int,
    in_channels: int,
    has_cameras: bool,
    has_rays: bool,
) -> AdapterConfig:
    """The adapter of a base of these sizes."""
    names = {field.name for field in fields(AdapterOptions)} - {"has_rays"}
    return AdapterConfig(
        dim,
        num_blocks,
        in_channels,
        has_rays=has_rays,
        has_cameras=has_cameras,
        **{name: getattr(options, name) for name in names},
    )

"""The shape of every tensor of a Wan DiT, so that a file is compared before a model is made."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from ..bases.published import Shapes
from .reading.boundary import Fault, quoted
from .reading.json_text import parse_object
from .reading.limits import MAX_HEADS, MAX_TEXT_TOKENS
from .reading.settings import require_size

# Layers with these beside them are packed: their weight has another shape, which ComfyUI knows.
_PACKED = ("comfy_quant", "weight_scale_2", "absmax")
# What ComfyUI reads of the metadata.
_CONFIG, _QUANTISATION = "config", "_quantization_metadata"


@dataclass(frozen=True)
class WanSizes:
    """All sizes of a Wan text-to-video DiT. out_values: values per output token."""

    dim: int
    num_blocks: int
    in_channels: int
    out_values: int
    ffn_dim: int
    text_dim: int
    freq_dim: int

    @property
    def takes_source_channels(self) -> bool:
        """Whether its input holds two latents, the second one of the source (LucyEdit)."""
        # The head gives the values of a patch of 1x2x2.
        return 2 * self.in_channels == self.out_values


def wan_shapes(sizes: WanSizes) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor, by its native name."""
    dim = sizes.dim
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embedding.weight": (dim, sizes.in_channels, 1, 2, 2),
        "patch_embedding.bias": (dim,),
        "head.modulation": (1, 2, dim),
        **_linear("text_embedding.0", sizes.text_dim, dim),
        **_linear("text_embedding.2", dim, dim),
        **_linear("time_embedding.0", sizes.freq_dim, dim),
        **_linear("time_embedding.2", dim, dim),
        **_linear("time_projection.1", dim, 6 * dim),
        **_linear("head.head", dim, sizes.out_values),
    }
    for i in range(sizes.num_blocks):
        block = f"blocks.{i}."
        shapes[f"{block}modulation"] = (1, 6, dim)
        for attention in ("self_attn", "cross_attn"):
            for layer in "qkvo":
                shapes |= _linear(f"{block}{attention}.{layer}", dim, dim)
            for layer in ("norm_q", "norm_k"):
                shapes[f"{block}{attention}.{layer}.weight"] = (dim,)
        shapes |= {f"{block}norm3.weight": (dim,), f"{block}norm3.bias": (dim,)}
        shapes |= _linear(f"{block}ffn.0", dim, sizes.ffn_dim)
        shapes |= _linear(f"{block}ffn.2", sizes.ffn_dim, dim)
    return shapes


def shapes_hash(shapes: Shapes) -> str:
    """A text that is the same for all DiTs of the same weights: their native names and shapes."""
    listed = [[name, list(shapes[name])] for name in sorted(shapes)]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def measured_sizes(shapes: Shapes, num_blocks: int) -> WanSizes:
    """The sizes of the DiT in a file.

    shapes: by native names, each tensor of `wan_shapes` among them.

    Raises: Fault for a tensor that has too few axes to have a size.
    """
    return WanSizes(
        dim=_axis(shapes, "head.modulation", -1),
        num_blocks=num_blocks,
        in_channels=_axis(shapes, "patch_embedding.weight", 1),
        out_values=_axis(shapes, "head.head.weight", 0),
        ffn_dim=_axis(shapes, "blocks.0.ffn.0.weight", 0),
        text_dim=_axis(shapes, "text_embedding.0.weight", 1),
        freq_dim=_axis(shapes, "time_embedding.0.weight", 1),
    )


def require_shapes(found: Shapes, wanted: Shapes) -> None:
    """Raise Fault unless each tensor that is `wanted` has its shape, and no block is too many.

    found: by native names. Tensors that are missing are left to others.
    """
    for name, shape in wanted.items():
        layer = name.rpartition(".")[0]
        is_packed = any(f"{layer}.{mark}" in found for mark in _PACKED)
        if name in found and found[name] != shape and not is_packed:
            raise Fault(
                f"has a tensor {quoted(name)} of size {quoted(found[name])}, which must be "
                f"{quoted(shape)}"
            )
    # Other programs count blocks by any of their tensors, and would make a whole block of each.
    blocks = {name.split(".")[1] for name in wanted if name.startswith("blocks.")}
    for name in found:
        block = re.match(r"blocks\.([^.]*)", name)
        if block and block[1] not in blocks:
            raise Fault(f"has a tensor {quoted(name)}, and no block of this number")


def require_config(metadata: dict[str, str], sizes: WanSizes) -> None:
    """Raise Fault unless the configuration in a file's metadata fits its tensors.

    ComfyUI makes the model as this configuration says, without a comparison.
    """
    if _QUANTISATION in metadata:
        parse_object(metadata[_QUANTISATION], "quantisation data")
    if _CONFIG not in metadata:
        return
    config = parse_object(metadata[_CONFIG], "a configuration").get("transformer", {})
    if not isinstance(config, dict):
        raise Fault(f"has a configuration of a transformer that is {quoted(config)}")
    known: dict[str, Any] = {
        "dim": sizes.dim,
        "num_layers": sizes.num_blocks,
        "in_dim": sizes.in_channels,
        "ffn_dim": sizes.ffn_dim,
        "text_dim": sizes.text_dim,
        "freq_dim": sizes.freq_dim,
    }
    for name, value in config.items():
        if name == "num_heads":
            require_size(name, value, MAX_HEADS)
            # Positions turn pairs of values, so a head has an even width.
            if sizes.dim % value or sizes.dim // value % 2:
                raise Fault(f"has {value} heads, which do not divide its width of {sizes.dim}")
        elif name == "text_len":
            require_size(name, value, MAX_TEXT_TOKENS)
        elif name not in known:
            raise Fault(f"has the setting {quoted(name)}, which no Wan text-to-video DiT has")
        elif type(value) is not int or value != known[name]:
            raise Fault(f"has {quoted(value)} for {name}, and tensors for {known[name]}")


def _linear(name: str, num_inputs: int, num_outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (num_outputs, num_inputs), f"{name}.bias": (num_outputs,)}


def _axis(shapes: Shapes, name: str, axis: int) -> int:
    shape = shapes.get(name, ())
    if not -len(shape) <= axis < len(shape) or shape[axis] < 1:
        raise Fault(f"has a tensor {quoted(name)} of size {quoted(shape)}, too small for a Wan DiT")
    return shape[axis]

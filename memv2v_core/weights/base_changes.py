"""Changes that an adapter makes to the weights of its base.

A change is a difference, never a whole weight. So it is added to a base of any precision, and LoRAs
beside it go on working.

Names are native names of layers (L):
- L.lora_A.weight (r, inputs) and L.lora_B.weight (outputs, r): a low-rank difference of L's weight,
lora_B @ lora_A. lora_B already holds alpha / rank.
- L.diff: a full difference of L's weight.
- L.diff_b: a difference of L's bias.
Modulations stay as they are: they belong to no layer, and ComfyUI patches layers alone.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch

from ..bases.published import Shapes
from .reading.boundary import Fault, quoted

Kind = Literal["lora_A", "lora_B", "diff", "diff_b"]

_ENDINGS: tuple[tuple[str, Kind], ...] = (
    (".lora_A.weight", "lora_A"),
    (".lora_B.weight", "lora_B"),
    (".diff_b", "diff_b"),
    (".diff", "diff"),
)
# Low rank is a product of two matrices, so convolutions have full differences alone.
_MATRIX_AXES = 2


class BaseChange(NamedTuple):
    """One tensor of a change: its layer, what it is, and the native weight that it changes."""

    layer: str
    kind: Kind
    target: str


def difference_name(weight_name: str) -> str:
    """The name of the full difference of a layer's weight or bias.

    Raises: ValueError for a weight that belongs to no layer (a modulation).
    """
    layer, _, kind = weight_name.rpartition(".")
    endings = {"weight": ".diff", "bias": ".diff_b"}
    if kind not in endings:
        raise ValueError(
            f"a change got {quoted(weight_name)}, wanted a layer's weight or bias: ComfyUI can "
            "patch nothing else; leave it as it is"
        )
    return layer + endings[kind]


def change_of(name: str, base: Shapes) -> BaseChange:
    """The change that a name means.

    base: the shapes of the base's weights, by native names.

    Raises: Fault for a name that changes no layer of the base.
    """
    for ending, kind in _ENDINGS:
        layer = name.removesuffix(ending)
        if layer == name:
            continue
        target = f"{layer}.bias" if kind == "diff_b" else f"{layer}.weight"
        if target in base:
            return BaseChange(layer, kind, target)
    raise Fault(f"has a change {quoted(name)}, which changes no layer of its base")


def require_changes(found: Shapes, base: Shapes) -> None:
    """Raise Fault unless each change has the size of its weight, and no weight two changes.

    found: shapes of the changes. base: shapes of the base's weights, by native names.
    """
    for name, shape in found.items():
        change = change_of(name, base)
        wanted = base[change.target]
        if change.kind in ("lora_A", "lora_B"):
            wanted = _low_rank_shape(change, found, wanted)
        if shape != wanted:
            raise Fault(
                f"has a change {quoted(name)} of size {quoted(shape)}, which must be "
                f"{quoted(wanted)}"
            )


def apply_base_changes(
    native_state: Mapping[str, torch.Tensor], changes: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The base's weights with the changes added, for use without ComfyUI.

    Sums are made in fp32; each weight keeps its type and device. Other weights are shared.

    Raises: ValueError for a change that does not fit.
    """
    base = _shapes(native_state)
    require_changes(_shapes(changes), base)
    state = dict(native_state)
    for name, tensor in changes.items():
        layer, kind, target = change_of(name, base)
        # The product of a pair is made once, at its second half.
        if kind == "lora_A":
            continue
        weight = state[target]
        difference = tensor.to(weight.device, torch.float32)
        if kind == "lora_B":
            difference = difference @ changes[f"{layer}.lora_A.weight"].to(difference)
        state[target] = (weight.float() + difference).to(weight.dtype)
    return state


def _low_rank_shape(change: BaseChange, found: Shapes, weight: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that one half of a low-rank pair must have. The pair's rank is the one of lora_A.

    Raises: Fault for half a pair, for a weight that is no matrix, and beside a full difference.
    """
    layer = change.layer
    for half in ("lora_A", "lora_B"):
        if f"{layer}.{half}.weight" not in found:
            raise Fault(f"has half of the change of {quoted(layer)}, and no {half}")
    if len(weight) != _MATRIX_AXES:
        raise Fault(f"has a low-rank change of {quoted(layer)}, whose weight is no matrix")
    if f"{layer}.diff" in found:
        raise Fault(f"has two changes of {quoted(layer)}, a low-rank one and a full one")
    rank = next(iter(found[f"{layer}.lora_A.weight"]), 0)
    if rank < 1:
        raise Fault(f"has a low-rank change of {quoted(layer)} of rank 0")
    return (rank, weight[1]) if change.kind == "lora_A" else (weight[0], rank)


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}

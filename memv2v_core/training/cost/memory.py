"""Memory of one GPU: weights and what training keeps beside them, and activations."""

from dataclasses import dataclass
from typing import Literal

from ..config.run import TrainConfig
from ..network.parts import num_parameters
from ..optim.muon import Muon
from ..optim.optimizers import build_optimizers
from .planned_model import PlannedModel

# One GPU; DDP: a whole copy on every GPU; FSDP2: each GPU has a part of every weight.
Way = Literal["one GPU", "DDP", "FSDP2"]
FP32 = 4
# FSDP2 gathers one block's weights while it computes with another's.
_GATHERED_BLOCKS = 2
# Assumed for CUDA and its libraries, and for gaps between tensors.
RESERVE = 2 * 2**30


@dataclass(frozen=True)
class Weights:
    """Numbers and bytes of a model's weights.

    trained: numbers by part. in_muon: trained numbers that Muon moves; AdamW moves the others.
    frozen, frozen_bytes: of the whole model. block_frozen_bytes, block_trained, block_numbers: of
    one block; blocks are alike. outside_numbers: of everything outside blocks.
    """

    trained: dict[str, int]
    in_muon: int
    frozen: int
    frozen_bytes: int
    block_frozen_bytes: int
    block_trained: int
    block_numbers: int
    outside_numbers: int

    @property
    def num_trained(self) -> int:
        return sum(self.trained.values())


def weights_of(config: TrainConfig, planned: PlannedModel) -> Weights:
    """The weights of a model."""
    model = planned.model
    frozen = [p for p in model.parameters() if not p.requires_grad]
    block = list(model.blocks[0].parameters())
    block_frozen = [p for p in block if not p.requires_grad]
    numbers = sum(p.numel() for p in model.parameters())
    block_numbers = sum(p.numel() for p in block)
    optimizers = build_optimizers(planned.weights, config.trained, config.optim)
    in_muon = sum(
        p.numel()
        for each in optimizers.each
        if isinstance(each, Muon)
        for group in each.param_groups
        for p in group["params"]
    )
    return Weights(
        {part: count for part, count in num_parameters(planned.weights).items()},
        in_muon,
        sum(p.numel() for p in frozen),
        # The scales of weights in fp8 are buffers.
        sum(t.numel() * t.element_size() for t in (*frozen, *model.buffers())),
        sum(p.numel() * p.element_size() for p in (*block_frozen, *model.blocks[0].buffers())),
        sum(p.numel() for p in block if p.requires_grad),
        block_numbers,
        numbers - block_numbers * len(model.blocks),
    )


@dataclass(frozen=True)
class State:
    """Bytes on one GPU that stay between steps.

    copies: of gradients or weights that DDP or FSDP2 makes.
    """

    frozen: float
    trained: float
    gradients: float
    moments: float
    average: float
    copies: float

    @property
    def total(self) -> float:
        return (
            self.frozen + self.trained + self.gradients + self.moments + self.average + self.copies
        )


def is_possible(config: TrainConfig, weights: Weights, way: Way) -> bool:
    """Whether the trainer runs this recipe in this way."""
    return way != "FSDP2" or (weights.in_muon == 0 and config.optim.resident_blocks is None)


def state_of(config: TrainConfig, weights: Weights, way: Way, gpus: int, num_blocks: int) -> State:
    """What stays on each of `gpus` GPUs."""
    optim, trained = config.optim, weights.num_trained
    frozen = weights.frozen_bytes
    if optim.resident_blocks is not None:
        frozen -= weights.block_frozen_bytes * max(0, num_blocks - optim.resident_blocks)
    parts, copies = 1, 0
    if way == "DDP":
        # Gradients are copied into buckets, which are exchanged.
        copies = FP32 * trained
    elif way == "FSDP2":
        parts = gpus
        # Weights are gathered in the precision of the forward pass. Those outside blocks stay.
        width = 2 if optim.precision == "bf16" else FP32
        gathered = weights.outside_numbers + _GATHERED_BLOCKS * weights.block_numbers
        copies = width * gathered + FP32 * weights.block_trained
    return State(
        frozen / parts,
        FP32 * trained / parts,
        FP32 * trained / parts,
        # Two moments of AdamW, one of Muon.
        FP32 * (2 * trained - weights.in_muon) / parts,
        FP32 * trained / parts if optim.ema > 0 else 0,
        copies,
    )


def gpu_bytes(state: State, activations: float) -> float:
    """Bytes of a GPU at the fullest moment.

    The optimisers need a copy of the trained weights, after the activations are gone.
    """
    return state.total + max(activations, state.trained) + RESERVE

"""Activations of a training step: counted on the device meta for one block and two, then scaled.

B rows, C channels, T frames, H rows and W columns of latents.
"""

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ...model.camera_encoder import FrameCameras
from ...model.memory_inputs import ConditioningStream, MemoryInputs
from ...tokens.tokenizers import BASE_KERNEL
from ...vocabulary import Role
from ..config.run import TrainConfig
from ..data.example import Example
from ..network.module import TrainedModel
from ..objective import Noising
from .clips import ClipSizes
from .compute import num_text_tokens
from .draws import Draw
from .live_bytes import GpuFunctions, LiveBytes
from .planned_model import PlannedModel, planned_model

# Two draws whose bytes give a straight line over their tokens.
_SHORT, _LONG = (4,), (BASE_KERNEL, BASE_KERNEL, 4)


@dataclass(frozen=True)
class Line:
    """Bytes that grow with tokens: `fixed` + `per_token` * tokens."""

    fixed: float
    per_token: float

    def at(self, tokens: int) -> float:
        return self.fixed + self.per_token * tokens


@dataclass(frozen=True)
class Growth:
    """Bytes of a pass over a model: with one block, and what every further block adds."""

    one_block: Line
    each_further: Line

    def at(self, tokens: int, num_blocks: int) -> float:
        return self.one_block.at(tokens) + (num_blocks - 1) * self.each_further.at(tokens)


@dataclass(frozen=True)
class Activations:
    """Bytes of activations at the fullest moments of a step.

    forward: the moment lies in the last block; with few tokens the copies of trained weights in
    bf16 count most, which autocast keeps for the whole pass.
    backward: it lies in the block that makes its activations again. Each further block adds its
    input with checkpointing, else all that its backward pass reads.
    """

    forward: Growth
    backward: Growth
    num_blocks: int

    def peak(self, tokens: int) -> float:
        """Bytes for this number of tokens, of all rows of a forward pass together."""
        return max(each.at(tokens, self.num_blocks) for each in (self.forward, self.backward))


class Peaks(NamedTuple):
    """The most bytes of each pass of a step."""

    forward: int
    backward: int


def counted_activations(config: TrainConfig, clips: ClipSizes, num_blocks: int) -> Activations:
    """The activations of a recipe's steps.

    num_blocks: of the whole model.
    """
    models = [planned_model(config, count) for count in (1, 2)]
    has_source = models[0].model.base_info.has_source_tokens
    draws = [Draw(1.0, kernels, has_source, None) for kernels in (_SHORT, _LONG)]
    tokens = [draw.layout(clips).num_tokens for draw in draws]
    one, two = ([counted_peaks(each, config, draw, clips) for draw in draws] for each in models)

    def growth(pass_idx: int) -> Growth:
        first, second = ([peaks[pass_idx] for peaks in counted] for counted in (one, two))
        added = [b - a for a, b in zip(first, second, strict=True)]
        return Growth(_line(tokens, first), _line(tokens, added))

    return Activations(growth(0), growth(1), num_blocks)


def counted_peaks(
    planned: PlannedModel, config: TrainConfig, draw: Draw, clips: ClipSizes
) -> Peaks:
    """Bytes of a step with one row at its fullest moments, beside weights and their gradients."""
    model = planned.model
    model.set_checkpointing(config.optim.has_checkpointing)
    for weight in planned.weights.values():
        # A gradient that is there is added to in place, and counts with the weights.
        weight.grad = torch.zeros_like(weight)
    known = [*model.parameters(), *model.buffers()]
    known += [weight.grad for weight in planned.weights.values() if weight.grad is not None]
    example = empty_example(model, draw, clips)
    sigmas, weights = (torch.empty(1, device="meta") for _ in range(2))
    noising = Noising(sigmas, weights, torch.empty_like(example.target))
    with (
        warnings.catch_warnings(),
        LiveBytes(known) as live,
        GpuFunctions(config.optim.precision == "bf16") as functions,
    ):
        # Trained norms of q and k have fp32 weights beside tokens in bf16, in training too.
        warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")
        loss = model.loss(example, noising)
        forward = live.peak
        functions.forget_copies()
        live.peak = live.now
        functions.backward(loss)
    return Peaks(forward, live.peak)


def empty_example(model: TrainedModel, draw: Draw, clips: ClipSizes) -> Example:
    """One row of a draw, on the device meta."""
    dit, base = model.dit.config, model.base_info
    size = (clips.height, clips.width)

    def video(channels: int, num_frames: int) -> torch.Tensor:
        return torch.empty(1, channels, num_frames, *size, device="meta")

    def cameras(num_frames: int) -> FrameCameras | None:
        if not base.has_cameras:
            return None
        shapes = ((1, num_frames, 4, 4), (1, num_frames, 3, 3))
        return FrameCameras(*(torch.empty(shape, device="meta") for shape in shapes))

    def stream(role: Role, kernel: int, channels: int, num_frames: int) -> ConditioningStream:
        latent, indices = video(channels, num_frames), tuple(range(num_frames))
        return ConditioningStream(role, kernel, latent, indices, cameras(num_frames))

    streams = [
        stream("memory", kernel, model.adapter.config.memory_channels, clips.memory_frames)
        for kernel in draw.kernels
    ]
    if draw.has_source:
        streams.insert(0, stream("source", BASE_KERNEL, dit.in_channels, clips.source_frames))
    inputs = MemoryInputs(
        tuple(streams),
        cameras(clips.target_frames),
        camera_conditioning=base.camera_conditioning,
        merging=draw.merging,
        clean_timestep=base.clean_timestep,
        attention=base.attention,
        clean_reads_text=base.clean_reads_text,
    )
    beside = dit.in_channels - dit.out_channels
    return Example(
        video(dit.out_channels, clips.target_frames),
        inputs,
        video(beside, clips.target_frames) if beside else None,
        context=torch.empty(1, num_text_tokens(model), dit.text_dim, device="meta"),
    )


def _line(tokens: list[int], values: list[int]) -> Line:
    slope = (values[1] - values[0]) / (tokens[1] - tokens[0])
    return Line(values[0] - slope * tokens[0], slope)

"""The network of a run as one module, whose blocks are the units that wrappers act on.

DDP and FSDP put hooks around a module's forward. So everything that reads weights runs inside
`TrainedModel.forward`, and everything that reads a block's weights inside `TrainedBlock.forward`.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from ...bases.base_info import BaseInfo
from ...model.adapter import MemoryAdapter
from ...model.attention_patterns import Attend
from ...model.diffusers_view import DiffusersView
from ...model.memory_model import memory_forward
from ..data.example import Example
from ..objective import Noising, flow_matching_loss
from .residence import Residence

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel

Result = TypeVar("Result")


class TrainedBlock(nn.Module):
    """One block of the DiT (`base`) and its cameras in the adapter (`cameras`)."""

    def __init__(self, base: nn.Module, cameras: nn.Module | None) -> None:
        super().__init__()
        self.base = base
        self.cameras = cameras
        self.has_checkpointing = False

    def forward(self, run: Callable[..., Any], *tensors: torch.Tensor) -> Any:
        """run(*tensors), with this block's weights at hand."""
        if self.has_checkpointing and tensors and torch.is_grad_enabled():
            return checkpoint(run, *tensors, use_reentrant=False)
        return run(*tensors)


class TrainingView(DiffusersView):
    """A `DiffusersView` that enters each block through its `TrainedBlock`."""

    def __init__(
        self, model: "WanTransformer3DModel", blocks: Sequence[nn.Module], attend: Attend
    ) -> None:
        super().__init__(model, attend)
        self._trained = blocks
        self.residence: Residence | None = None

    def around_block(
        self,
        block_idx: int,
        x: torch.Tensor,
        time: torch.Tensor,
        text: torch.Tensor,
        rope: torch.Tensor,
        run: Callable[[torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        return self._trained[block_idx](self._brought(block_idx, run), x)

    def inside_block(self, block_idx: int, run: Callable[[], Result]) -> Result:
        return self._trained[block_idx](self._brought(block_idx, run))

    def _brought(self, block_idx: int, run: Callable[..., Result]) -> Callable[..., Result]:
        if self.residence is None:
            return run
        residence = self.residence

        # Inside the checkpoint, so that the backward pass brings the weights again.
        def brought(*tensors: torch.Tensor) -> Result:
            residence.bring(block_idx)
            return run(*tensors)

        return brought


class TrainedModel(nn.Module):
    """DiT, adapter and helpers.

    Its state has the names `dit.*` and `adapter.*` for everything outside blocks,
    `blocks.N.base.*` and `blocks.N.cameras.*` for blocks, `text.*` and `locator.*`.

    base: the model as memory sees it.
    text, locator: the text encoder and its training aid, for a small model that has them.
    """

    # accelerate shards modules of this class one by one.
    _no_split_modules = (TrainedBlock.__name__,)

    def __init__(
        self,
        dit: "WanTransformer3DModel",
        adapter: MemoryAdapter,
        base: BaseInfo,
        text: nn.Module | None = None,
        locator: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.base_info = base
        cameras: list[nn.Module | None] = list(adapter.blocks) or [None] * len(dit.blocks)
        self.blocks = nn.ModuleList(
            TrainedBlock(block, camera) for block, camera in zip(dit.blocks, cameras, strict=True)
        )
        # Each weight has one owner: the whole finds its blocks, but does not own them.
        _disown_blocks(dit)
        _disown_blocks(adapter)
        self.dit, self.adapter = dit, adapter
        self.text, self.locator = text, locator
        self.view = TrainingView(dit, tuple(self.blocks), F.scaled_dot_product_attention)
        # Makes the context of a forward: the precision of its matrix products.
        self.computing: Callable[[], AbstractContextManager] = nullcontext

    def forward(self, work: "Callable[[TrainedModel], Result]") -> Result:
        """work(self) in the run's precision. A wrapper passes this call on, between its hooks."""
        with self.computing():
            return work(self)

    def context_of(self, example: Example) -> torch.Tensor:
        """Text tokens (B, L, D) of an example."""
        if example.context is not None:
            return example.context
        rows = len(example.target)
        if example.prompts is None or self.text is None:
            # A model without text reads one zero token, its empty prompt.
            width = self.dit.config.text_dim
            return torch.zeros(rows, 1, width, device=example.target.device)
        return self.text(example.prompts)

    def loss(self, example: Example, noising: Noising) -> torch.Tensor:
        """The loss of a batch."""
        context = self.context_of(example)
        return flow_matching_loss(self.view, self.adapter, example, context, noising, self.locator)

    def velocity(self, x: torch.Tensor, timestep: torch.Tensor, example: Example) -> torch.Tensor:
        """The velocity (B, C, T, H, W) of `x` beside the inputs of an example.

        timestep: (B,) in [0, 1000].
        """
        given = x if example.source is None else torch.cat((x, example.source), dim=1)
        context = self.context_of(example)
        return memory_forward(
            self.view, self.adapter, given, timestep, context, example.inputs
        ).float()

    def set_checkpointing(self, is_on: bool) -> None:
        """Whether a block's activations are computed again in the backward pass."""
        for block in self.blocks:
            assert isinstance(block, TrainedBlock)
            block.has_checkpointing = is_on


def _disown_blocks(module: nn.Module) -> None:
    """Keep `module.blocks` as a plain list, so that it is no part of the module's state."""
    blocks = list(module.blocks)  # type: ignore[arg-type]
    del module._modules["blocks"]
    module.__dict__["blocks"] = blocks

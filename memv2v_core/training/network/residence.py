"""Frozen weights of a few blocks on the device at a time, the others in main memory.

C blocks run one after another forwards, and backwards with their activations computed again
(gradient checkpointing). So a block's weights are needed twice a step, each time for a short while.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn


class Residence:
    """The blocks whose frozen weights are on `device` now, at most `num_resident` of them.

    Weights that are trained stay where they are.

    Raises: ValueError for no resident block.
    """

    def __init__(
        self, blocks: Sequence[nn.Module], num_resident: int, device: torch.device
    ) -> None:
        if num_resident < 1:
            raise ValueError(f"resident_blocks got {num_resident}, wanted at least 1")
        self._device, self._num_resident = device, num_resident
        self._home = [self._at_home(block) for block in blocks]
        # Newest last.
        self._resident: OrderedDict[int, None] = OrderedDict()

    def settle(self, model: nn.Module) -> None:
        """Put everything of `model` that does not wait in main memory on the device."""
        waiting = {id(parameter) for block in self._home for parameter, _ in block}
        for parameter in model.parameters():
            if id(parameter) not in waiting:
                parameter.data = parameter.data.to(self._device)
        for module in model.modules():
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, buffer.to(self._device))

    @property
    def resident(self) -> tuple[int, ...]:
        """Numbers of the blocks on the device, oldest first."""
        return tuple(self._resident)

    def bring(self, block_idx: int) -> None:
        """Put a block's frozen weights on the device; the block used longest ago leaves.

        The block that leaves is not in use: blocks run in order, and its backward pass has ended
        when the block before it computes its activations again.
        """
        if block_idx in self._resident:
            self._resident.move_to_end(block_idx)
            return
        while len(self._resident) >= self._num_resident:
            oldest, _ = self._resident.popitem(last=False)
            for parameter, stored in self._home[oldest]:
                parameter.data = stored
        for parameter, stored in self._home[block_idx]:
            parameter.data = stored.to(self._device, non_blocking=True)
        self._resident[block_idx] = None

    def _at_home(self, block: nn.Module) -> list[tuple[nn.Parameter, torch.Tensor]]:
        """The frozen weights of a block, in main memory."""
        home = []
        for parameter in block.parameters():
            if not parameter.requires_grad:
                stored = parameter.data.to("cpu")
                # Page-locked memory is copied to a GPU while the GPU computes.
                if self._device.type == "cuda":
                    stored = stored.pin_memory()
                parameter.data = stored
                home.append((parameter, stored))
        return home

"""The memory for kept keys and values: how much a run wants, and where it finds room."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher

from ....memv2v_core.model.kept_streams import DeviceShelf, HostShelf, Shelf
from ....memv2v_core.tokens.cost import Cost

# Of the device, left for everything that no estimate counts.
_RESERVE = 0.05
# Of the host's free memory; the rest is left to other programs.
_HOST_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class KeptRoom:
    """Room on one device, and on its host.

    call_bytes: activations of the largest call of the model.
    """

    device: torch.device
    call_bytes: int

    def shelf(self, num_bytes: int) -> Shelf | None:
        """A place for so many bytes more: the device, else the host of a GPU; None for neither.

        It is asked right before the call that fills it, so the call's own memory is still free.
        """
        free = comfy.model_management.get_free_memory(self.device)
        if num_bytes + self.call_bytes <= free:
            return DeviceShelf()
        if self.device.type != "cuda":
            return None
        host = comfy.model_management.get_free_memory(torch.device("cpu"))
        return self._host_shelf if num_bytes <= _HOST_SHARE * host else None

    @cached_property
    def _host_shelf(self) -> HostShelf:
        """One for the whole run: its copies wait for each other, not for the computation."""
        return HostShelf(self.device)


def num_kept(guider: Any, num_frames: int, num_rows: int, is_shared: bool) -> int:
    """How many times keys and values of one row are kept: for each row of each prompt and window.

    num_frames: latent frames of the whole target. num_rows: of a batch. is_shared: whether one row
    serves all rows and prompts.
    """
    prompts: Mapping[str, Sequence[Any]] = guider.conds
    read = dict(prompts)
    # At cfg 1 ComfyUI does not run the negative prompt, unless a patch forbids this.
    if getattr(guider, "cfg", None) == 1 and not guider.model_options.get(
        "disable_cfg1_optimization", False
    ):
        read.pop("negative", None)
    windows, handler = 1, guider.model_options.get("context_handler")
    length = getattr(handler, "context_length", num_frames)
    if length < num_frames:
        step = max(1, length - getattr(handler, "context_overlap", 0))
        windows = 1 + math.ceil((num_frames - length) / step)
    return windows * (1 if is_shared else num_rows * sum(map(len, read.values())))


def bytes_to_count(model: ModelPatcher, cost: Cost, rows: int, kept: int) -> int:
    """Bytes that ComfyUI should leave free for what is kept; 0 where the device cannot hold it.

    cost: of one row. rows: of a batch. kept: how many times one row is kept. What the device cannot
    hold beside the weights goes to the host, and asking for it would only push weights out.
    """
    wanted = kept * cost.kept_bytes
    total = comfy.model_management.get_total_memory(model.load_device)
    # ComfyUI may run both prompts as one batch.
    others = model.model_size() + 2 * rows * cost.activation_bytes
    return wanted if wanted + others <= (1 - _RESERVE) * total else 0


def frames_for(model: Any, shape: Sequence[int], num_bytes: int, axis: int) -> int:
    """Frames that a latent of `shape` must have more, so that ComfyUI frees so many bytes more."""
    if not num_bytes:
        return 0

    def wanted(num_frames: int) -> float:
        # ComfyUI counts two rows for each.
        return model.memory_required([2 * shape[0], *shape[1:axis], num_frames, *shape[axis + 1 :]])

    num_frames = shape[axis]
    of_one = wanted(num_frames + 1) - wanted(num_frames)
    return math.ceil(num_bytes / of_one) if of_one > 0 else 0

"""The model of a run without its weights, to count what it costs."""

from dataclasses import dataclass

import torch
from torch import nn

from ...bases.base_info import adapted
from ...model.adapter import MemoryAdapter
from ...weights.weight_files import DTYPES
from ..config.run import TrainConfig
from ..network.bases import (
    Parts,
    adapter_config_of,
    build_parts,
    empty_dit,
    kept_dtype,
    require_task,
)
from ..network.fp8 import keep_in_fp8
from ..network.module import TrainedModel
from ..network.parts import add_lora, freeze_others
from .base_sizes import planned_base


@dataclass(frozen=True, eq=False)
class PlannedModel:
    """A model on the device meta: it has sizes and types, but no numbers.

    weights: the trained ones, by name. origin: where its sizes come from, in words.
    """

    model: TrainedModel
    weights: dict[str, nn.Parameter]
    origin: str


def planned_model(config: TrainConfig, num_blocks: int | None = None) -> PlannedModel:
    """The model that a run of this recipe trains, made as the run makes it.

    num_blocks: only the first blocks; None is all. The small models of this pack are read, a
    published base is not.

    Raises: ValueError as `build_parts`, but not for a base that is not there and has a size.
    """
    parts, origin = _parts(config)
    if num_blocks is not None:
        parts.dit.blocks = parts.dit.blocks[:num_blocks]
        parts.adapter.blocks = parts.adapter.blocks[:num_blocks]
    with torch.device("meta"):
        add_lora(parts.dit, config.trained)
    model = TrainedModel(parts.dit, parts.adapter, parts.base, parts.text, parts.locator)
    model.to("meta")
    weights = freeze_others(model, config.trained)
    if config.base.has_fp8:
        for block in model.blocks:
            keep_in_fp8(block)
    return PlannedModel(model, weights, origin)


def _parts(config: TrainConfig) -> tuple[Parts, str]:
    dtype = DTYPES[config.optim.precision]
    if config.base.kind != "file":
        return build_parts(config, dtype), "sizes of the recipe or of the built-in model"
    base = planned_base(config.base)
    require_task(config, base.published)
    dit = empty_dit(base.sizes)
    for name, parameter in dit.named_parameters():
        parameter.data = parameter.data.to(kept_dtype(name, dtype))
    has_cameras = config.task == "novel_view"
    adapter_config = adapter_config_of(
        config.adapter,
        dim=base.sizes.dim,
        num_blocks=base.sizes.num_blocks,
        in_channels=base.sizes.in_channels,
        has_cameras=has_cameras,
        has_rays=has_cameras and config.adapter.has_rays,
    )
    with torch.device("meta"):
        adapter = MemoryAdapter(adapter_config)
    name = base.published.kind
    info = adapted(base.published.info(name), adapter_config, "trained")
    return Parts(dit, adapter, info, name), base.origin

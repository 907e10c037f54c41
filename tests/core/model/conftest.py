"""One memory forward on fixed noise and text, and inputs with every part."""

from collections.abc import Callable

import pytest
import torch
from diffusers import WanTransformer3DModel

from memv2v_core.model.adapter import MemoryAdapter, start_from_base
from memv2v_core.model.camera_encoder import FrameCameras
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_inputs import ConditioningStream, MemoryInputs
from memv2v_core.model.memory_model import (
    memory_forward,
)
from memv2v_core.tokens.merging import MergeConfig

Forward = Callable[..., torch.Tensor]
MakeStream = Callable[..., ConditioningStream]
TIMESTEP = 437.5


@pytest.fixture
def forward(dit: WanTransformer3DModel, make_noisy: Callable, make_context: Callable) -> Forward:
    """forward(adapter, inputs, rows, timestep, **others): one memory forward on fixed noise and
    text.
    """

    def run(
        adapter: MemoryAdapter | None,
        inputs: MemoryInputs,
        rows: int = 1,
        timestep: torch.Tensor | None = None,
        noisy: torch.Tensor | None = None,
        context: torch.Tensor | None = None,
        view: DiffusersView | None = None,
        **others: object,
    ) -> torch.Tensor:
        noisy = make_noisy(rows) if noisy is None else noisy
        context = make_context(rows) if context is None else context
        timestep = torch.full((len(noisy),), TIMESTEP) if timestep is None else timestep
        return memory_forward(
            view or DiffusersView(dit), adapter, noisy, timestep, context, inputs, **others
        )

    return run


@pytest.fixture
def fresh_adapter(dit: WanTransformer3DModel, adapter: MemoryAdapter) -> MemoryAdapter:
    start_from_base(adapter, dit.patch_embedding.weight, dit.patch_embedding.bias)
    return adapter


@pytest.fixture
def inputs(make_stream: MakeStream, make_cameras: Callable[..., FrameCameras]) -> MemoryInputs:
    """A source, memories at every coarse kernel, all with cameras, half of the frames merged."""
    streams = (
        make_stream("source"),
        make_stream("memory", 4, 1),
        make_stream("memory", 8, 2, num_frames=4),
    )
    return MemoryInputs(streams, make_cameras(9), merging=MergeConfig(share=0.5))

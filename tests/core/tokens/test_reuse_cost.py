"""FLOPs and memory of reused keys and values, against counted ones."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from diffusers import WanTransformer3DModel
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from memv2v_core.model.adapter import MemoryAdapter
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.kept_streams import KeptRows, KeptStreams
from memv2v_core.model.memory_inputs import MemoryInputs
from memv2v_core.model.memory_model import memory_forward, tokenize_clean
from memv2v_core.tokens.budget import BudgetConfig, kernels_by_rank
from memv2v_core.tokens.cost import Cost, DitShape, forward_cost, plan_layout
from memv2v_core.tokens.merging import MergeConfig, share_for

TINY = DitShape(dim=96, ffn_dim=128, num_blocks=3, num_text_tokens=5, head_dim=48)
WAN_1_3B = DitShape(dim=1536, ffn_dim=8960, num_blocks=30)
FULL_SIZE = (21, 60, 104)


@pytest.mark.parametrize("merging", [None, MergeConfig(share=0.5)], ids=["whole", "merged"])
@pytest.mark.parametrize("attention", ["two_way", "one_way"])
def test_a_reusing_forward_costs_and_keeps_what_is_said(
    dit: WanTransformer3DModel,
    adapter: MemoryAdapter,
    make_stream: Callable,
    make_cameras: Callable,
    attention: str,
    merging: MergeConfig | None,
) -> None:
    streams = (make_stream("source"), make_stream("memory", 4, 1), make_stream("memory", 8, 2))
    inputs = MemoryInputs(streams, make_cameras(9), merging=merging, attention=attention)
    latent, view = torch.randn(1, 16, 3, 8, 12), DiffusersView(dit)
    clean = tokenize_clean(view, adapter, inputs, latent.shape)
    kept = KeptRows([KeptStreams()], 1, on_failure=lambda: pytest.fail("there is room"))
    counted = []
    for tokens in (clean, clean.target_alone):
        # Torch counts no other kernel of attention on a CPU.
        with (
            FlopCounterMode(display=False) as counter,
            sdpa_kernel(SDPBackend.MATH),
            torch.no_grad(),
        ):
            memory_forward(
                *(view, adapter, latent, torch.tensor([400.0]), torch.randn(1, 5, 24), inputs),
                tokens,
                kept,
            )
        counted.append(counter.get_total_flops())
    shape = replace(TINY, attention=attention)
    cost = forward_cost(clean.layout, shape, merging, bytes_per_value=4)
    # Embeddings and head cost the same in both, and no formula counts them. Before a merge the
    # cameras of all 12 frames are encoded once more, which no formula counts either.
    again = 0 if merging is None else 2 * 2 * 12 * 12 * TINY.dim
    assert counted[0] - counted[1] == cost.flops - cost.reuse_flops + again
    assert kept.parts[0].num_bytes == cost.kept_bytes


def full_size(count: int, shape: DitShape = WAN_1_3B) -> Cost:
    """With the merging that Dynamic Tokenize chooses."""
    layout = plan_layout(*FULL_SIZE, True, (21,) * count, kernels_by_rank(count, BudgetConfig()))
    merging = MergeConfig(share=share_for(count + 1)) if count else None
    return forward_cost(layout, shape, merging)


@pytest.mark.parametrize(
    ("count", "every", "second", "fourth", "once", "kept_gib"),
    [
        (0, 1.000, 0.750, 0.625, 0.506, 5.62),
        (1, 0.890, 0.680, 0.575, 0.475, 4.80),
        (3, 1.226, 0.884, 0.712, 0.550, 6.76),
        (6, 1.316, 0.936, 0.746, 0.566, 7.16),
        (10, 1.409, 0.989, 0.778, 0.579, 7.49),
    ],
)
def test_the_table_of_the_docs(
    count: int, every: float, second: float, fourth: float, once: float, kept_gib: float
) -> None:
    alone, cost = full_size(0).flops, full_size(count)
    one_way = full_size(count, replace(WAN_1_3B, attention="one_way"))
    found = [cost.mean_flops(n) / alone for n in (1, 2, 4)]
    assert [*found, one_way.mean_flops(None, 50) / alone] == pytest.approx(
        [every, second, fourth, once], abs=6e-4
    )
    assert cost.kept_bytes / 2**30 == pytest.approx(kept_gib, abs=6e-3)


def test_ten_memories_at_every_fourth_call_cost_less_than_the_source_alone() -> None:
    alone = full_size(0)
    assert full_size(10).mean_flops(4) / alone.flops == pytest.approx(0.778, abs=5e-4)
    # A run of 50 calls begins with a refresh: 13 of 50.
    assert full_size(10).mean_flops(4, 50) / alone.flops == pytest.approx(0.787, abs=5e-4)
    one_way = full_size(10, replace(WAN_1_3B, attention="one_way"))
    assert one_way.mean_flops(None, 50) / alone.flops == pytest.approx(0.579, abs=5e-4)


def test_means_lie_between_a_refresh_and_reuse() -> None:
    cost = full_size(3)
    assert cost.mean_flops(1) == cost.mean_flops(1, 50) == cost.flops
    assert cost.mean_flops(None) == cost.reuse_flops
    assert cost.mean_flops(None, 1) == cost.flops
    assert cost.mean_flops(4) == pytest.approx(0.25 * cost.flops + 0.75 * cost.reuse_flops)

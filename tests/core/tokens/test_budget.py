"""Token counts and FLOPs at Wan2.1-1.3B's full size: 81 frames of 480 x 832, so 21 x 60 x 104 latents."""

from functools import cache

import pytest
import torch
from diffusers import WanTransformer3DModel
from torch.utils.flop_counter import FlopCounterMode

from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from memv2v_core.model.camera_encoder import FrameCameras
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_inputs import ConditioningStream, MemoryInputs
from memv2v_core.model.memory_model import memory_forward, tokenize_clean
from memv2v_core.tokens.budget import BudgetConfig, DitShape, forward_cost, kernels_by_rank, plan_layout
from memv2v_core.tokens.layout import SequenceLayout
from memv2v_core.tokens.merging import MergeConfig
from memv2v_core.tokens.positions import temporal_indices

FRAMES, HEIGHT, WIDTH = 21, 60, 104
WAN_1_3B = DitShape(dim=1536, ffn_dim=8960, num_blocks=30, num_text_tokens=512)
SOURCE_ONLY_FLOPS = 970.8e12
# Memories: FLOPs relative to target and source alone, all at 1x2x2, dynamic, dynamic and half of the frames merged.
TABLE = {1: (2.11, 1.24, 0.89), 3: (5.56, 1.80, 1.23), 6: (13.78, 2.05, 1.38), 10: (30.45, 2.41, 1.59)}
CASES = [(0, "dynamic", 1.0)] + [
    (count, kind, value)
    for count, row in TABLE.items()
    for kind, value in zip(("uniform", "dynamic", "merged"), row, strict=True)
]


def kernels_of(count: int, kind: str) -> tuple[int, ...]:
    return (2,) * count if kind == "uniform" else kernels_by_rank(count, BudgetConfig())


def layout_of(count: int, kind: str) -> SequenceLayout:
    return plan_layout(FRAMES, HEIGHT, WIDTH, True, (FRAMES,) * count, kernels_of(count, kind))


def merging_of(kind: str) -> MergeConfig | None:
    return MergeConfig(share=0.5) if kind == "merged" else None


@cache
def meta_model(num_blocks: int) -> tuple[DiffusersView, MemoryAdapter]:
    with torch.device("meta"):
        dit = WanTransformer3DModel(num_attention_heads=12, ffn_dim=8960, num_layers=num_blocks, rope_max_seq_len=128)
        return DiffusersView(dit), MemoryAdapter(AdapterConfig(1536, num_blocks, 16))


@cache
def counted_forward(count: int, kind: str, num_blocks: int) -> int:
    """FLOPs that torch counts in a forward on meta tensors."""
    view, adapter = meta_model(num_blocks)
    with torch.device("meta"):
        cameras = FrameCameras(torch.empty(1, FRAMES, 4, 4), torch.empty(1, FRAMES, 3, 3))
        latent = torch.empty(1, 16, FRAMES, HEIGHT, WIDTH)
        context = torch.empty(1, 512, 4096)
    roles = ["source"] + ["memory"] * count
    streams = tuple(
        ConditioningStream(role, kernel, latent, temporal_indices(role, FRAMES, FRAMES), cameras)
        for role, kernel in zip(roles, (2, *kernels_of(count, kind)), strict=True)
    )
    inputs = MemoryInputs(streams, cameras, merging=merging_of(kind))
    clean = tokenize_clean(view, adapter, inputs, latent.shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        memory_forward(view, adapter, latent, torch.empty(1, device="meta"), context, inputs, clean)
    return counter.get_total_flops()


@pytest.mark.parametrize(("kernel", "expected"), [(2, 32_760), (4, 8_190), (8, 2_184)])
def test_a_full_size_video_has_exactly_so_many_tokens(kernel: int, expected: int):
    layout = plan_layout(FRAMES, HEIGHT, WIDTH, True, (FRAMES,), (kernel,))
    assert layout.num_target_tokens == layout.groups[1].num_tokens == 32_760
    assert layout.groups[2].num_tokens == expected


def test_memories_of_one_kernel_form_one_group_and_coarse_ones_come_last():
    layout = plan_layout(FRAMES, HEIGHT, WIDTH, True, (21, 5, 21, 7), (4, 8, 4, 8))
    assert [(group.role, group.kernel, group.num_frames) for group in layout.groups] == [
        ("target", 2, 21),
        ("source", 2, 21),
        ("memory", 4, 42),
        ("memory", 8, 12),
    ]


def test_the_best_three_get_finer_tokens():
    assert kernels_by_rank(5, BudgetConfig()) == (4, 4, 4, 8, 8)
    assert kernels_by_rank(2, BudgetConfig()) == (4, 4)
    assert kernels_by_rank(0, BudgetConfig()) == ()
    assert kernels_by_rank(3, BudgetConfig(num_top=1, top_kernel=2, rest_kernel=4)) == (2, 4, 4)


def test_a_kernel_without_tokenizer_is_refused():
    with pytest.raises(ValueError, match=r"rest_kernel got 16, wanted one of \(2, 4, 8\)"):
        BudgetConfig(rest_kernel=16)


@pytest.mark.parametrize(("count", "kind", "expected"), CASES)
def test_estimated_flops_reproduce_the_table(count: int, kind: str, expected: float):
    flops = forward_cost(layout_of(count, kind), WAN_1_3B, merging_of(kind)).flops
    assert flops == pytest.approx(expected * SOURCE_ONLY_FLOPS, rel=0.005)


@pytest.mark.parametrize(("count", "kind", "expected"), CASES)
def test_a_real_forward_on_meta_tensors_reproduces_the_table(count: int, kind: str, expected: float):
    without_embeddings_and_head = counted_forward(count, kind, 30) - counted_forward(0, "dynamic", 0)
    assert without_embeddings_and_head == pytest.approx(expected * SOURCE_ONLY_FLOPS, rel=0.005)
    estimate = forward_cost(layout_of(count, kind), WAN_1_3B, merging_of(kind)).flops
    assert without_embeddings_and_head == pytest.approx(estimate, rel=1e-7)


def test_cost_counts_tokens_before_and_after_merging():
    cost = forward_cost(layout_of(3, "merged"), WAN_1_3B, MergeConfig(share=0.5))
    layout = layout_of(3, "merged")
    # 21 source frames of 1560 tokens and 63 memory frames of 390; first 11 and 31 are merged to 390 and 104 tokens,
    # then of the 10 and 32 that are whole 5 and 16 more.
    assert cost.tokens_in == layout.num_tokens == 90_090
    assert cost.tokens_out == 32_760 + 5 * 1560 + 16 * 390 + 16 * 390 + 47 * 104 == 57_928


def test_discarding_costs_less_than_merging_and_keeping_most():
    layout = layout_of(3, "merged")
    flops = [
        forward_cost(layout, WAN_1_3B, MergeConfig(unresponsive=kind)).flops for kind in ("discard", "merge", "keep")
    ]
    assert flops == sorted(flops) and flops[2] == forward_cost(layout, WAN_1_3B, None).flops


def test_a_pool_of_memories_costs_nothing_where_there_are_none():
    layout = layout_of(0, "dynamic")
    assert forward_cost(layout, WAN_1_3B, MergeConfig(pool="memory")) == forward_cost(layout, WAN_1_3B, None)


@pytest.mark.parametrize(
    ("count", "pool", "saved"),
    [
        (3, "conditioning", 0.317),
        (6, "conditioning", 0.328),
        (10, "conditioning", 0.340),
        (3, "memory", 0.147),
        (6, "memory", 0.172),
        (10, "memory", 0.199),
    ],
)
def test_share_of_flops_that_each_pool_saves(count: int, pool: str, saved: float) -> None:
    layout = layout_of(count, "dynamic")
    merged = forward_cost(layout, WAN_1_3B, MergeConfig(share=0.5, pool=pool)).flops
    assert 1 - merged / forward_cost(layout, WAN_1_3B, None).flops == pytest.approx(saved, abs=5e-4)

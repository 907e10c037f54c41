"""Token counts, FLOPs and activations of real bases at full size: 81 frames of 480 x 832.

That is 21 x 60 x 104 latents for Wan2.1-1.3B, 21 x 30 x 52 for Wan2.2-5B and LucyEdit.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel
from instruments.live_bytes import count_live_bytes
from torch.utils.flop_counter import FlopCounterMode

from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from memv2v_core.model.camera_encoder import FrameCameras
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_inputs import ConditioningStream, MemoryInputs
from memv2v_core.model.memory_model import memory_forward, tokenize_clean
from memv2v_core.retrieval.selection import RankedEntry, Retrieval
from memv2v_core.tokens.budget import BudgetConfig, kernels_by_rank, plan_tokens, retrieval_kernels
from memv2v_core.tokens.cost import DitShape, forward_cost, plan_layout
from memv2v_core.tokens.layout import SequenceLayout
from memv2v_core.tokens.merging import MergeConfig
from memv2v_core.tokens.positions import temporal_indices
from memv2v_core.vocabulary import UnresponsiveChoice

FRAMES, HEIGHT, WIDTH = 21, 60, 104
WAN_1_3B = DitShape(dim=1536, ffn_dim=8960, num_blocks=30, num_text_tokens=512)
SOURCE_ONLY_FLOPS = 970.8e12
# Memories: FLOPs relative to target and source alone, all at 1x2x2, dynamic, dynamic and half of
# the frames merged.
TABLE = {
    1: (2.11, 1.24, 0.89),
    3: (5.56, 1.80, 1.23),
    6: (13.78, 2.05, 1.38),
    10: (30.45, 2.41, 1.59),
}
CASES = [(0, "dynamic", 1.0)] + [
    (count, kind, value)
    for count, row in TABLE.items()
    for kind, value in zip(("uniform", "dynamic", "merged"), row, strict=True)
]


@dataclass(frozen=True)
class Base:
    """A public base at 81 frames of 480 x 832. height and width: of its latents."""

    shape: DitShape
    height: int
    width: int
    in_channels: int
    out_channels: int
    has_source: bool


RECAMMASTER = Base(WAN_1_3B, HEIGHT, WIDTH, 16, 16, has_source=True)
WAN_5B = DitShape(dim=3072, ffn_dim=14336, num_blocks=30, has_adapter=False, has_mergers=False)
WAN22_5B = Base(WAN_5B, 30, 52, 48, 48, has_source=True)
LUCYEDIT = Base(WAN_5B, 30, 52, 96, 48, has_source=False)
BASES = {"recammaster": RECAMMASTER, "wan2.2-5b": WAN22_5B, "lucyedit": LUCYEDIT}


def kernels_of(count: int, kind: str) -> tuple[int, ...]:
    return (2,) * count if kind == "uniform" else kernels_by_rank(count, BudgetConfig())


def layout_of(count: int, kind: str, base: Base = RECAMMASTER) -> SequenceLayout:
    kernels = kernels_of(count, kind)
    return plan_layout(FRAMES, base.height, base.width, base.has_source, (FRAMES,) * count, kernels)


def merging_of(kind: str, base: Base = RECAMMASTER) -> MergeConfig | None:
    return (
        MergeConfig(share=0.5, pool="conditioning" if base.has_source else "memory")
        if kind == "merged"
        else None
    )


@cache
def meta_model(
    base: Base, num_blocks: int, dtype: torch.dtype = torch.float32
) -> tuple[DiffusersView, MemoryAdapter | None]:
    shape = base.shape
    with torch.device("meta"):
        dit = WanTransformer3DModel(
            num_attention_heads=shape.dim // shape.head_dim,
            in_channels=base.in_channels,
            out_channels=base.out_channels,
            ffn_dim=shape.ffn_dim,
            num_layers=num_blocks,
            rope_max_seq_len=128,
        )
        adapter = (
            MemoryAdapter(AdapterConfig(shape.dim, num_blocks, base.in_channels))
            if shape.has_adapter
            else None
        )
    return DiffusersView(dit.to(dtype)), None if adapter is None else adapter.to(dtype)


def run_forward(
    base: Base, view: DiffusersView, adapter: MemoryAdapter | None, count: int, kind: str
) -> None:
    """One forward on meta tensors, source and memories tokenised in it."""
    with torch.device("meta"):
        cameras = None
        if adapter is not None:
            cameras = FrameCameras(torch.empty(1, FRAMES, 4, 4), torch.empty(1, FRAMES, 3, 3))
        latent = torch.empty(1, base.in_channels, FRAMES, base.height, base.width, dtype=view.dtype)
        context, timestep = torch.empty(1, 512, 4096, dtype=view.dtype), torch.empty(1)
    kinds = [("source", 2)] * base.has_source + [
        ("memory", kernel) for kernel in kernels_of(count, kind)
    ]
    streams = tuple(
        ConditioningStream(role, kernel, latent, temporal_indices(role, FRAMES, FRAMES), cameras)
        for role, kernel in kinds
    )
    inputs = MemoryInputs(
        streams,
        cameras,
        merging=merging_of(kind, base),
        attention=base.shape.attention,
        clean_reads_text=base.shape.clean_reads_text,
    )
    clean = tokenize_clean(view, adapter, inputs, latent.shape)
    memory_forward(view, adapter, latent, timestep, context, inputs, clean)


@cache
def counted_flops(base: Base, count: int, kind: str) -> int:
    """FLOPs that torch counts in the blocks, on meta tensors: of the model, less those of the same
    without blocks.
    """
    flops = []
    for num_blocks in (base.shape.num_blocks, 0):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            run_forward(base, *meta_model(base, num_blocks), count, kind)
        flops.append(counter.get_total_flops())
    return flops[0] - flops[1]


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
@pytest.mark.slow
def test_a_real_forward_on_meta_tensors_reproduces_the_table(
    count: int, kind: str, expected: float
):
    counted = counted_flops(RECAMMASTER, count, kind)
    assert counted == pytest.approx(expected * SOURCE_ONLY_FLOPS, rel=0.005)
    assert counted == pytest.approx(
        forward_cost(layout_of(count, kind), WAN_1_3B, merging_of(kind)).flops, rel=1e-7
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dynamic", "merged"])
@pytest.mark.parametrize("count", [0, 3, 10])
@pytest.mark.parametrize("base", [WAN22_5B, LUCYEDIT], ids=["wan2.2-5b", "lucyedit"])
def test_estimated_flops_of_5b_bases_without_adapter_are_those_of_a_meta_forward(
    base: Base, count: int, kind: str
):
    base = replace(
        base, shape=replace(base.shape, num_blocks=6)
    )  # a fifth of the blocks: quicker, and no less exact
    estimate = forward_cost(layout_of(count, kind, base), base.shape, merging_of(kind, base)).flops
    assert counted_flops(base, count, kind) == pytest.approx(estimate, rel=1e-7)


@pytest.mark.parametrize(
    ("count", "tokens"), [(0, 8190), (1, 10_374), (3, 14_742), (6, 16_506), (10, 18_858)]
)
def test_lucyedits_source_costs_no_tokens(count: int, tokens: int):
    # 21 frames of 15 x 26, then 8 x 13 a memory frame for the best three and 4 x 7 for the others
    assert layout_of(count, "dynamic", LUCYEDIT).num_tokens == tokens
    assert layout_of(count, "dynamic", WAN22_5B).num_tokens == tokens + 8190


@pytest.mark.parametrize("kind", ["dynamic", "merged"])
@pytest.mark.parametrize("count", [0, 3, 10])
@pytest.mark.parametrize("name", BASES)
def test_estimated_activations_are_the_most_bytes_that_live_at_once(
    name: str, count: int, kind: str
):
    base = BASES[name]
    view, adapter = meta_model(
        base, 3, torch.bfloat16
    )  # every block frees what it used: three are as full as thirty
    with count_live_bytes(view.model, *([] if adapter is None else [adapter])) as counter:
        run_forward(base, view, adapter, count, kind)
    estimate = forward_cost(
        layout_of(count, kind, base), base.shape, merging_of(kind, base)
    ).activation_bytes
    assert counter.peak == pytest.approx(estimate, rel=0.02)


@pytest.mark.slow
def test_thirty_blocks_are_no_fuller_than_three():
    peaks = []
    for num_blocks in (3, 30):
        view, _ = meta_model(LUCYEDIT, num_blocks, torch.bfloat16)
        with count_live_bytes(view.model) as counter:
            run_forward(LUCYEDIT, view, None, 3, "merged")
        peaks.append(counter.peak)
    assert peaks[0] == peaks[1]


def test_cost_counts_tokens_before_and_after_merging():
    cost = forward_cost(layout_of(3, "merged"), WAN_1_3B, MergeConfig(share=0.5))
    layout = layout_of(3, "merged")
    # 21 source frames of 1560 tokens and 63 memory frames of 390; first 11 and 31 are merged to 390
    # and 104 tokens, then of the 10 and 32 that are whole 5 and 16 more.
    assert cost.tokens_in == layout.num_tokens == 90_090
    assert cost.tokens_out == 32_760 + 5 * 1560 + 16 * 390 + 16 * 390 + 47 * 104 == 57_928


def test_discarding_costs_less_than_merging_and_keeping_most():
    layout = layout_of(3, "merged")
    flops = [
        forward_cost(layout, WAN_1_3B, MergeConfig(unresponsive=kind)).flops
        for kind in ("discard", "merge", "keep")
    ]
    assert flops == sorted(flops)
    assert flops[2] == forward_cost(layout, WAN_1_3B, None).flops


def test_a_pool_of_memories_costs_nothing_where_there_are_none():
    layout = layout_of(0, "dynamic")
    assert forward_cost(layout, WAN_1_3B, MergeConfig(pool="memory")) == forward_cost(
        layout, WAN_1_3B, None
    )


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


def test_the_previous_segment_keeps_every_token_and_counts_for_no_rank():
    ranked = tuple(RankedEntry(None, 1.0, is_previous=i == 0) for i in range(6))
    assert retrieval_kernels(Retrieval(None, ranked), BudgetConfig()) == (2, 4, 4, 4, 8, 8)
    assert retrieval_kernels(
        Retrieval(None, ranked), BudgetConfig(previous_kernel=4, num_top=1)
    ) == (4, 4, 8, 8, 8, 8)
    assert retrieval_kernels(Retrieval(None, ranked[1:]), BudgetConfig()) == (4, 4, 4, 8, 8)


def test_a_plan_merges_the_share_that_suits_the_number_of_videos_unless_told_otherwise():
    few, many = (
        Retrieval(None, tuple(RankedEntry(None, 1.0) for _ in range(count))) for count in (3, 10)
    )
    assert plan_tokens(few).kernels == (4, 4, 4)
    assert plan_tokens(few).merging == MergeConfig(0.5)
    assert plan_tokens(many).merging == MergeConfig(0.7)
    assert plan_tokens(few, unresponsive="keep").merging is None
    plan = plan_tokens(few, BudgetConfig(num_top=1), "discard", 0.4, "memory", "source")
    assert plan.kernels == (4, 8, 8)
    assert plan.memory_range == "source"
    assert plan.merging == MergeConfig(0.4, "memory", "discard")
    with pytest.raises(
        ValueError,
        match="share got 0.8, wanted 0 for automatic or 0.3 to 0.7.*unresponsive to keep",
    ):
        plan_tokens(few, share=0.8)


def test_an_automatic_plan_merges_only_where_memory_is_trained():
    one = Retrieval(None, (RankedEntry(None, 1.0),))
    automatic = plan_tokens(one)
    assert automatic.merging_for("trained") == MergeConfig(0.5)
    assert automatic.merging_for("training-free") is None
    assert "if the model's memory is trained" in automatic.describe()
    assert automatic.describe("training-free") == "memories by rank: 1x4x4; nothing merged"
    chosen = plan_tokens(one, unresponsive="merge")
    assert chosen.merging_for("training-free") == MergeConfig(0.5)


@pytest.mark.parametrize("unresponsive", ["automatic", "merge", "discard", "keep"])
def test_without_memories_nothing_is_merged(unresponsive: UnresponsiveChoice):
    plan = plan_tokens(Retrieval(None, ()), unresponsive=unresponsive)
    assert plan.merging_for("trained") is None
    assert plan.describe() == "no memory; nothing merged"


def test_one_way_attention_and_clean_tokens_without_text_cost_what_a_meta_forward_counts():
    shape = replace(WAN_1_3B, num_blocks=2, attention="one_way", clean_reads_text=False)
    base = replace(RECAMMASTER, shape=shape)
    layout = layout_of(3, "dynamic")
    num_target, num_clean = 32_760, 32_760 + 3 * 8_190
    assert (layout.num_target_tokens, layout.num_tokens) == (num_target, num_target + num_clean)
    # Of one block: query, key, value, output, projector, two layers of the feed-forward on every
    # token; the target sees all tokens, clean tokens see clean ones; query and output of the
    # target and key and value of 512 text tokens, which the target alone sees; 12 pose numbers of
    # 105 frames.
    num_tokens = num_target + num_clean
    linear = 2 * num_tokens * 1536 * (5 * 1536 + 2 * 8960)
    seen = 4 * (num_target * num_tokens + num_clean * num_clean) * 1536
    text = 4 * (num_target + 512) * 1536**2 + 4 * num_target * 512 * 1536
    poses = 2 * 105 * 12 * 1536
    assert linear + seen + text + poses == 45_828_764_725_248
    cost = forward_cost(layout, shape, None)
    assert cost.flops == 2 * 45_828_764_725_248
    assert counted_flops(base, 3, "dynamic") == cost.flops
    two_way = forward_cost(layout, replace(shape, attention="two_way", clean_reads_text=True), None)
    assert two_way.flops > cost.flops
    assert forward_cost(layout_of(0, "dynamic"), shape, None).flops > 0


@pytest.mark.parametrize(
    ("label", "frames", "kernel"),
    [
        ("none", (), 2),
        ("3, the best 2 latent frames of each", (2,) * 3, 2),
        ("3 at 1x4x4", (FRAMES,) * 3, 4),
        ("1 whole", (FRAMES,), 2),
        ("3 whole", (FRAMES,) * 3, 2),
    ],
)
def test_the_documented_cost_of_references(
    label: str, frames: tuple[int, ...], kernel: int
) -> None:
    """The table of Bernini-R in docs/real_models.md."""
    layout = plan_layout(FRAMES, HEIGHT, WIDTH, True, frames, (kernel,) * len(frames))
    cells = [f"{layout.num_tokens:,}"]
    small = replace(WAN_1_3B, has_adapter=False, has_mergers=False)
    for shape in (small, replace(small, dim=5120, ffn_dim=13824, num_blocks=40)):
        cost = forward_cost(layout, shape, None)
        cells.append(f"{cost.flops / 1e12:,.0f}, {cost.activation_bytes / 2**30:.1f} GiB")
    text = (Path(__file__).parents[3] / "docs" / "real_models.md").read_text(encoding="utf-8")
    assert f"| {label} | {' | '.join(cells)} |" in text

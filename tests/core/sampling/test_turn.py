from dataclasses import replace

import pytest
import torch
from instruments.entry_files import with_content

from memv2v_core.bases.base_info import BaseInfo, adapted
from memv2v_core.builtin.bundle import build_dit
from memv2v_core.builtin.info import DitConfig
from memv2v_core.cache.entry import MemoryEntry, Segment
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cameras.extent import Reach
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, pose_vectors, static_trajectory
from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter, start_from_base
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.retrieval.segments import SegmentQuery
from memv2v_core.retrieval.selection import RankedEntry, Retrieval
from memv2v_core.sampling.denoising import SamplerConfig, sample_latent
from memv2v_core.sampling.entries import finished_entry
from memv2v_core.sampling.turn import Turn
from memv2v_core.shapes import VaeRatios
from memv2v_core.tokens.budget import TokenPlan
from memv2v_core.tokens.merging import MergeConfig

BASE = BaseInfo(
    "m", "trained", VaeRatios(temporal=4, spatial=8, channels=16), 64, "zero", has_cameras=True
)
NUM_LATENT = 3  # of 9 frames


def path(preset: str, angle: float = 20.0, num_frames: int = 9) -> CameraTrajectory:
    return make_preset(PresetConfig(preset, angle, num_frames))


def latent(seed: int) -> torch.Tensor:
    return torch.randn(16, NUM_LATENT, 8, 8, generator=torch.Generator().manual_seed(seed))


def entry(turn: int, camera: CameraTrajectory) -> MemoryEntry:
    made = Turn(BASE, target_path=camera)
    return finished_entry(made, latent(turn), MemoryCache(), number=turn, seed=turn)


def plan_of(*entries: MemoryEntry, kernels: tuple[int, ...], **fields: object) -> TokenPlan:
    ranked = tuple(RankedEntry(made, 1.0) for made in entries)
    return TokenPlan(Retrieval(path("pan_right"), ranked), kernels, **fields)


def inputs_of(
    turn: Turn, plan: TokenPlan | None = None, normalise=lambda x: x, base: BaseInfo = BASE
):
    return replace(turn, plan=plan, base=base).inputs(normalise)


@pytest.fixture
def turn() -> Turn:
    source = path("pan_left")
    return Turn(BASE, latent(0), source.frames(tuple(range(2, 9)) + (8, 8)), path("pan_right"))


def test_streams_are_the_source_and_then_memories_in_rank_order(turn: Turn):
    plan = plan_of(entry(1, path("pan_left")), entry(2, path("tilt_up")), kernels=(4, 8))
    inputs = inputs_of(turn, plan)
    assert [(s.role, s.kernel) for s in inputs.streams] == [
        ("source", 2),
        ("memory", 4),
        ("memory", 8),
    ]
    assert [s.frame_indices for s in inputs.streams] == [(3, 4, 5), (6, 7, 8), (6, 7, 8)]
    for stream, seed in zip(inputs.streams, (0, 1, 2), strict=True):
        assert torch.equal(stream.latent, latent(seed)[None])


def test_latents_are_normalised_for_the_dit(turn: Turn):
    inputs = inputs_of(
        turn, plan_of(entry(1, path("pan_left")), kernels=(4,)), normalise=lambda x: 2 * x + 1
    )
    for stream, seed in zip(inputs.streams, (0, 1), strict=True):
        assert torch.equal(stream.latent, 2 * latent(seed)[None] + 1)


def test_cameras_are_relative_to_the_sources_first_frame_at_every_latent_frame(turn: Turn):
    memory_path = path("tilt_up")
    inputs = inputs_of(turn, plan_of(entry(1, memory_path), kernels=(4,)))
    every_fourth = (0, 4, 8)
    for cameras, own in (
        (inputs.target_cameras, turn.target_path),
        (inputs.streams[0].cameras, turn.source_path),
        (inputs.streams[1].cameras, memory_path),
    ):
        torch.testing.assert_close(
            cameras.poses()[0], pose_vectors(own.frames(every_fourth), turn.source_path)
        )


def test_without_a_source_the_targets_first_camera_is_the_origin():
    inputs = inputs_of(Turn(BASE, None, None, path("pan_right")))
    assert inputs.streams == ()
    torch.testing.assert_close(inputs.target_cameras.c2w[0, 0], torch.eye(4))


def test_without_a_target_path_no_stream_has_cameras(turn: Turn):
    inputs = inputs_of(Turn(BASE, turn.source), plan_of(entry(1, path("pan_left")), kernels=(4,)))
    assert inputs.target_cameras is None
    assert [s.cameras for s in inputs.streams] == [None, None]


def test_the_plan_decides_merging_positions_and_conditioning(turn: Turn):
    merging = MergeConfig(share=0.3)
    plan = plan_of(
        entry(1, path("pan_left")),
        kernels=(4,),
        merging=merging,
        memory_range="source",
        camera_conditioning="target",
    )
    inputs = inputs_of(turn, plan)
    assert inputs.merging is merging
    assert inputs.camera_conditioning == "target"
    assert inputs.streams[1].frame_indices == (3, 4, 5)
    assert inputs.clean_timestep == "zero"


def test_a_source_without_a_path_is_an_error_where_cameras_matter():
    with pytest.raises(ValueError, match="source_camera is not connected, wanted a camera path"):
        inputs_of(Turn(BASE, latent(0), None, path("pan_right")))


def test_a_path_shorter_than_its_video_is_an_error(turn: Turn):
    short = replace(turn, target_path=path("pan_right", num_frames=5))
    with pytest.raises(ValueError, match="the camera path got 5 frames, wanted at least 9"):
        inputs_of(short)


@pytest.fixture
def small_model() -> tuple[DiffusersView, MemoryAdapter]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dit = build_dit(
            DitConfig(64, num_heads=2, num_layers=2, ffn_dim=64, text_dim=8, freq_dim=16)
        )
        adapter = MemoryAdapter(AdapterConfig(64, 2, 16))
    start_from_base(adapter, dit.patch_embedding.weight, dit.patch_embedding.bias)
    return DiffusersView(dit.eval()), adapter.eval()


def test_a_turn_outside_comfyui_is_decided_by_its_noise_and_sees_its_memory(
    turn: Turn, small_model: tuple[DiffusersView, MemoryAdapter]
):
    context, noise = torch.zeros(1, 1, 8), latent(9)[None]
    config = SamplerConfig(num_steps=2)

    def sample(plan: TokenPlan | None) -> torch.Tensor:
        return sample_latent(*small_model, inputs_of(turn, plan), context, noise, config)

    with_memory = sample(plan_of(entry(1, path("pan_left")), kernels=(4,)))
    assert with_memory.shape == noise.shape
    assert not with_memory.requires_grad
    assert torch.equal(with_memory, sample(plan_of(entry(1, path("pan_left")), kernels=(4,))))
    assert not torch.equal(with_memory, sample(None))


def test_a_finished_turn_knows_where_it_came_from():
    parent = entry(1, path("pan_left"))
    turn = Turn(BASE, target_path=path("pan_right", num_frames=8))
    made = finished_entry(turn, latent(2), MemoryCache().append(parent), seed=7, prompt="a room")
    assert (made.turn, made.seed, made.num_frames, made.prompt, made.mode) == (
        2,
        7,
        8,
        "a room",
        "trained",
    )
    assert made.parent_id == parent.entry_id
    assert made.created_s >= parent.created_s
    assert torch.equal(made.latent, latent(2))


def test_a_result_of_another_length_than_its_segment_is_refused():
    query = SegmentQuery(Segment(0, 0, 9))
    made = finished_entry(Turn(BASE), latent(1), MemoryCache(), seed=1, query=query)
    assert (made.segment, made.num_frames) == (query.segment, 9)
    with pytest.raises(
        ValueError, match="a result of 3 latent frames, wanted 4 for the 13 frames of segment 1"
    ):
        finished_entry(
            Turn(BASE), latent(1), MemoryCache(), seed=1, query=SegmentQuery(Segment(0, 0, 13))
        )


def test_base_that_takes_its_source_on_channels_sees_each_memory_beside_its_own_source(turn: Turn):
    base = replace(BASE, source_placement="channels")
    made = with_content(entry(1, path("pan_left")), source_latent=latent(5))
    (memory,) = inputs_of(
        turn, plan_of(made, kernels=(4,)), normalise=lambda x: 2 * x, base=base
    ).streams
    assert memory.role == "memory"
    assert memory.frame_indices == (6, 7, 8)
    assert torch.equal(memory.latent, 2 * torch.cat((latent(1), latent(5)))[None])


def test_memory_without_the_source_that_the_base_wants_is_named(turn: Turn):
    base = replace(BASE, source_placement="channels")
    made = entry(1, path("pan_left"))
    with pytest.raises(
        ValueError, match=f"source of memory {made.entry_id[:8]} is missing, wanted a latent of"
    ):
        inputs_of(turn, plan_of(made, kernels=(4,)), base=base)


@pytest.mark.parametrize(
    ("asked", "wanted"), [("as_trained", "target"), ("per_video", "per_video")]
)
def test_the_plan_or_else_the_weights_decide_whose_camera_is_told(
    turn: Turn, asked: str, wanted: str
):
    base = replace(BASE, camera_conditioning="target")
    plan = plan_of(entry(1, path("pan_left")), kernels=(4,), camera_conditioning=asked)
    assert inputs_of(turn, plan, base=base).camera_conditioning == wanted
    assert inputs_of(turn, base=base).camera_conditioning == "target"


@pytest.mark.parametrize(
    ("order", "previous", "others"),
    [("forward", (3, 4, 5), (6, 7, 8)), ("reversed", (5, 4, 3), (8, 7, 6))],
)
def test_the_previous_segment_has_a_range_of_its_own_in_the_order_that_the_weights_know(
    order: str, previous: tuple[int, ...], others: tuple[int, ...]
):
    ranked = (
        RankedEntry(entry(2, path("tilt_up")), 1.0, is_previous=True),
        RankedEntry(entry(1, path("pan_left")), 0.5),
    )
    plan = TokenPlan(Retrieval(None, ranked), (2, 4))
    base = replace(BASE, has_cameras=False, memory_order=order)
    streams = inputs_of(Turn(base), plan, base=base).streams
    assert [(s.kernel, s.frame_indices) for s in streams] == [(2, previous), (4, others)]


def test_memories_that_were_trained_without_their_source_need_and_show_none(turn: Turn):
    base = replace(BASE, source_placement="channels", memories_carry_source=False)
    for made in (
        entry(1, path("pan_left")),
        with_content(entry(1, path("pan_left")), source_latent=latent(5)),
    ):
        (memory,) = inputs_of(turn, plan_of(made, kernels=(4,)), base=base).streams
        assert torch.equal(memory.latent, latent(1)[None])


def test_the_base_decides_what_clean_tokens_see(turn: Turn):
    assert inputs_of(turn).attention == "two_way"
    assert inputs_of(turn).clean_reads_text
    config = AdapterConfig(64, 2, 16, attention="one_way", clean_reads_text=False)
    inputs = inputs_of(turn, base=adapted(BASE, config, "trained"))
    assert inputs.attention == "one_way"
    assert not inputs.clean_reads_text


def test_an_adapter_for_a_base_with_source_channels_is_refused_on_one_with_source_tokens():
    config = AdapterConfig(64, 2, 96, has_base_tokenizer=True, memories_carry_source=False)
    editor = replace(BASE, source_placement="channels")
    assert not adapted(editor, config, "trained").memories_carry_source
    with pytest.raises(ValueError, match="takes its source as tokens, wanted a base with"):
        adapted(BASE, config, "trained")


def test_a_turn_without_a_source_says_so_and_what_that_means(turn: Turn):
    assert "source: none" not in turn.describe()
    assert "so it stays as it is" in Turn(BASE).describe()
    alone = Turn(BASE, target_path=path("pan_right"))
    assert "made from nothing but noise along the camera path" in alone.describe()
    seen = Turn(
        BASE, target_path=path("pan_right"), plan=plan_of(entry(1, path("pan_left")), kernels=(4,))
    )
    assert "made from memories alone along the camera path" in seen.describe()
    assert seen.describe().endswith("connect VAE Encode to source")


def test_a_path_beyond_the_training_is_named_in_the_words_of_a_turn(turn: Turn):
    known = replace(BASE, reach=Reach(1.2, 0.5, 0.9))
    far = replace(turn, source_path=static_trajectory(9), target_path=path("dolly_in", 30.0))
    assert "trained" not in far.describe().split("\n", 1)[1]
    lines = replace(far, base=known).describe().splitlines()
    assert lines[-1].startswith("the target camera moves 30 pose units forward or back (trained: ")
    near = replace(far, base=known, target_path=path("dolly_in", 0.6))
    assert "trained:" not in near.describe()
    # Without a source path its own first camera counts.
    moved = make_preset(PresetConfig("pan_right", 20.0, 9))
    c2w = moved.c2w.clone()
    c2w[:, 2, 3] += 5.0
    alone = Turn(known, target_path=replace(moved, c2w=c2w))
    assert "trained:" not in alone.describe()


def test_another_adapter_takes_its_training_with_it():
    known = replace(BASE, reach=Reach(1.2, 0.5, 0.9))
    assert adapted(known, AdapterConfig(64, 2, 16), "trained").reach is None

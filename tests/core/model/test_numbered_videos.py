"""Clean videos told apart by numbers (Bernini-R), against a forward written out from words."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from diffusers import WanTransformer3DModel
from instruments.literal_wan import LiteralWan, Sizes, Video, Weights, patches

from memv2v_core.bases.base_info import BaseInfo
from memv2v_core.bases.registry import PUBLISHED
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_inputs import ConditioningStream, MemoryInputs, window_inputs
from memv2v_core.model.memory_model import memory_forward, tokenize_clean
from memv2v_core.sampling.inputs import CleanVideo, assemble_inputs, with_references
from memv2v_core.tokens.merging import MergeConfig
from memv2v_core.tokens.positions import source_ids

FRAMES, HEIGHT, WIDTH = 3, 8, 12
TIMESTEP = 437.5


@pytest.fixture
def bernini() -> BaseInfo:
    return PUBLISHED["bernini"].info("Bernini")


def latent(seed: int, num_frames: int = FRAMES, size: tuple[int, int] = (HEIGHT, WIDTH)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 16, num_frames, *size, generator=generator)


def seen(base: BaseInfo, kernels: tuple[int, ...], merging: MergeConfig | None = None):
    """The inputs of a source and memories at these kernels, best first."""
    videos = [CleanVideo("source", 2, latent(1))]
    videos += [CleanVideo("memory", kernel, latent(2 + i)) for i, kernel in enumerate(kernels)]
    return assemble_inputs(base, FRAMES, videos, merging=merging)


def rows_of(number: float, num_frames: int, rows: int, columns: int, kernel: int = 2):
    """(t, y, x, number) of every token, one after the other."""
    middle = (kernel / 2 - 1) / 2
    return [
        [float(t), y * kernel / 2 + middle, x * kernel / 2 + middle, number]
        for t in range(num_frames)
        for y in range(rows)
        for x in range(columns)
    ]


def positions(dit: WanTransformer3DModel, inputs: MemoryInputs) -> torch.Tensor:
    shape = torch.Size((1, 16, FRAMES, HEIGHT, WIDTH))
    return tokenize_clean(DiffusersView(dit), None, inputs, shape).positions


def test_every_token_has_its_place_from_frame_0_and_the_number_of_its_rank(
    dit: WanTransformer3DModel, bernini: BaseInfo
) -> None:
    got = positions(dit, seen(bernini, (2, 2, 2)))
    wanted = [row for number in range(5) for row in rows_of(number, FRAMES, 4, 6)]
    assert got.tolist() == wanted


def test_coarse_videos_keep_the_numbers_of_their_ranks(
    dit: WanTransformer3DModel, bernini: BaseInfo
) -> None:
    """The best memory has the coarsest kernel, so it stands last and keeps number 2."""
    got = positions(dit, seen(bernini, (8, 2, 4)))
    wanted = rows_of(0, FRAMES, 4, 6) + rows_of(1, FRAMES, 4, 6) + rows_of(3, FRAMES, 4, 6)
    wanted += rows_of(4, FRAMES, 2, 3, kernel=4) + rows_of(2, FRAMES, 1, 2, kernel=8)
    assert got.tolist() == wanted


def test_references_stand_behind_the_source_and_move_memories_up(
    dit: WanTransformer3DModel, bernini: BaseInfo
) -> None:
    references = [latent(20, 1, (6, 10)), latent(21, 2)]
    inputs = with_references(seen(bernini, (2,)), references, bernini.max_source_id)
    wanted = rows_of(0, FRAMES, 4, 6) + rows_of(1, FRAMES, 4, 6)
    wanted += rows_of(2, 1, 3, 5) + rows_of(3, 2, 4, 6) + rows_of(4, FRAMES, 4, 6)
    assert positions(dit, inputs).tolist() == wanted


def test_without_a_source_the_first_reference_is_number_1(
    dit: WanTransformer3DModel, bernini: BaseInfo
) -> None:
    given = [latent(20), latent(21, 1)]
    inputs = with_references(assemble_inputs(bernini, FRAMES, []), given, bernini.max_source_id)
    wanted = rows_of(0, FRAMES, 4, 6) + rows_of(1, FRAMES, 4, 6) + rows_of(2, 1, 4, 6)
    assert positions(dit, inputs).tolist() == wanted


def test_more_videos_than_training_had_share_its_numbers_evenly(bernini: BaseInfo) -> None:
    numbers = [stream.source_id for stream in seen(bernini, 10 * (2,)).streams]
    assert numbers == torch.linspace(1, 5, 11, dtype=torch.float64).tolist()
    assert source_ids(5, 5) == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert source_ids(6, 5) == pytest.approx((1, 1.8, 2.6, 3.4, 4.2, 5))


def test_a_part_of_the_target_begins_every_video_at_frame_0(bernini: BaseInfo) -> None:
    part = window_inputs(seen(bernini, (2,)), FRAMES, (1, 2), (1, 2))
    source, memory = part.streams
    assert (source.frame_indices, memory.frame_indices) == ((0, 1), (0, 1, 2))
    assert (source.source_id, memory.source_id) == (1.0, 2.0)


def literal_weights(dit: WanTransformer3DModel) -> Weights:
    """By `LiteralWan`'s names, with cameras that change nothing."""
    dim = dit.config.num_attention_heads * dit.config.attention_head_dim
    w = {}
    for name, value in dit.state_dict().items():
        first, *rest = name.split(".")
        is_block = first == "blocks"
        w[".".join(["blocks", rest[0], "base", *rest[1:]]) if is_block else f"dit.{name}"] = value
    for i in range(dit.config.num_layers):
        w[f"blocks.{i}.cameras.projector.weight"] = torch.eye(dim)
        w[f"blocks.{i}.cameras.projector.bias"] = torch.zeros(dim)
        w[f"blocks.{i}.cameras.cam_encoder.weight"] = torch.zeros(dim, 12)
        w[f"blocks.{i}.cameras.cam_encoder.bias"] = torch.zeros(dim)
    return w


def literal_video(w: Weights, shown: torch.Tensor, number: float) -> Video:
    x = patches(w, "dit.patch_embedding", shown[0].double(), 2)  # (T, rows, columns, D)
    count, rows, columns = x.shape[:3]
    places = torch.tensor(rows_of(number, count, rows, columns)).double()
    frame = torch.arange(count).repeat_interleave(rows * columns)
    return Video(
        ("video", 2),
        x.flatten(0, 2),
        places,
        frame,
        torch.zeros(len(frame), 12).double(),
        (rows, columns),
    )


def test_every_token_of_every_block_equals_the_literal_forward(
    dit: WanTransformer3DModel, bernini: BaseInfo, make_context: Callable
) -> None:
    inputs, noisy, text = seen(bernini, (2, 2, 2)), latent(9), make_context(1)
    config = dit.config
    dim = config.num_attention_heads * config.attention_head_dim
    w = {name: value.double() for name, value in literal_weights(dit).items()}
    sizes = Sizes(
        dim, config.num_attention_heads, config.num_layers, config.freq_dim, tuple(noisy.shape[1:])
    )
    wan = LiteralWan(w, sizes, TIMESTEP / 1000, text[0], is_one_way=False, is_clean_zero=False)
    videos = [
        literal_video(w, shown, number)
        for number, shown in enumerate([noisy, *(latent(1 + i) for i in range(4))])
    ]
    read: list[torch.Tensor] = []
    got = memory_forward(
        DiffusersView(dit),
        None,
        noisy,
        torch.tensor([TIMESTEP]),
        text,
        inputs,
        probe=lambda i, h, sequence: read.append(sequence.x[0]),
    )
    current = videos
    for i, tokens in enumerate(read):
        wanted = torch.cat([video.x for video in current])
        torch.testing.assert_close(tokens.double(), wanted, atol=2e-5, rtol=0)
        current = wan.block(i, current)
    assert len(read) == config.num_layers
    wanted = wan.velocity(videos[0], videos[1:], None)
    torch.testing.assert_close(got[0].double(), wanted, atol=2e-5, rtol=0)
    # The numbers decide the result: swapped ones are far from it.
    source, first, *others = inputs.streams
    swapped = [
        replace(source, source_id=first.source_id),
        replace(first, source_id=source.source_id),
        *others,
    ]
    other = memory_forward(
        DiffusersView(dit),
        None,
        noisy,
        torch.tensor([TIMESTEP]),
        text,
        replace(inputs, streams=tuple(swapped)),
    )
    assert (other - got).abs().max() > 1e-3


def test_merged_tokens_keep_the_number_of_their_video_exactly(
    dit: WanTransformer3DModel, bernini: BaseInfo, make_context: Callable
) -> None:
    """Eleven videos: most of their numbers are no whole ones."""
    inputs = seen(bernini, (2, 4, 8, 2, 4, 2, 4, 8, 2, 4), MergeConfig(share=0.6))
    numbers, counts = [], []
    memory_forward(
        DiffusersView(dit),
        None,
        latent(9),
        torch.tensor([TIMESTEP]),
        make_context(1),
        inputs,
        probe=lambda i, h, sequence: (
            numbers.append(set(sequence.positions[..., 3].flatten().tolist())),
            counts.append(sequence.x.shape[1]),
        ),
        on_merge=lambda i, plan: counts.append(-1),
    )
    assert counts.count(-1) > 0
    assert counts[-1] < counts[0]
    wanted = {0.0, *torch.linspace(1, 5, 11, dtype=torch.float64).float().tolist()}
    assert all(found <= wanted for found in numbers)
    assert numbers[-1] == wanted


def test_streams_without_numbers_leave_positions_as_they_were(
    dit: WanTransformer3DModel,
) -> None:
    plain = MemoryInputs((ConditioningStream("source", 2, latent(1), (3, 4, 5)),))
    assert positions(dit, plain).shape == (2 * FRAMES * 24, 3)

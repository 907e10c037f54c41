from dataclasses import replace

import pytest
import torch
from torch import nn

from memv2v_core.builtin.codec import Codec
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_model import memory_forward
from memv2v_core.synthetic.worlds import WorldConfig
from memv2v_core.training.config import EditDataConfig, ModelConfig, TrainConfig
from memv2v_core.training.data.text_edit import (
    EditRow,
    EditStructure,
    TextEditExamples,
    draw_edit_structure,
    edit_example,
)
from memv2v_core.training.network import build_network
from memv2v_core.training.objective import flow_matching_loss
from memv2v_core.training.trainer import build_optimizers, fit_codec

DATA = EditDataConfig(
    size=32,
    num_frames=3,
    target_frames=2,
    memory_frames=2,
    num_canvases=3,
    first_canvases=2,
    num_segments=6,
    worlds=WorldConfig(canvas_height=48),
)
STRUCTURE = EditStructure((0, 2), ((0, 1), (2,)), (2, 4), True, 0.4)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    model = ModelConfig(
        64,
        num_heads=2,
        num_layers=3,
        ffn_dim=64,
        text_dim=16,
        freq_dim=16,
        channels=20,
        used_channels=8,
        has_source_channels=True,
        has_rays=False,
        has_cameras=False,
        has_text=True,
    )
    return TrainConfig(task="text_edit", model=model, edits=DATA)


@pytest.fixture(scope="module")
def codec(config: TrainConfig) -> Codec:
    return fit_codec(config, generator(100))


def test_the_previous_segment_has_the_finest_tokens_and_the_others_coarse_ones():
    for seed in range(200):
        structure = draw_edit_structure(DATA, False, generator(seed))
        assert len(structure.kernels) == len(structure.memory_frames) <= 4
        first, others = structure.kernels[:1], structure.kernels[1:]
        assert set(others) <= {4, 8}
        if first:
            assert (first[0] == 2) == structure.has_previous


def test_an_object_often_comes_back_as_the_target_starts():
    """Then only memories before the previous segment show it."""
    examples = TextEditExamples(replace(DATA, away_share=1.0), generator(5))
    start = 12
    gone = [examples._away(start) for _ in range(60)]
    just_back = [span for span in gone if span[1] == start - 1]
    assert 20 <= len(just_back) <= 45
    assert all(last - first + 1 >= DATA.num_frames for first, last in just_back)
    assert TextEditExamples(replace(DATA, away_share=0.0), generator(5))._away(start) is None


def test_whole_segments_hold_every_frame():
    structure = draw_edit_structure(replace(DATA, memory_counts=(0.0, 0.0, 1.0)), True, generator())
    assert structure.target_frames == (0, 1, 2)
    assert structure.memory_frames == (
        (0, 1, 2),
        (0, 1, 2),
    )


def test_memories_lie_before_the_target_and_the_previous_one_next_to_it():
    examples = TextEditExamples(DATA, generator(2))
    for _ in range(40):
        target, previous, other = examples._starts(STRUCTURE)
        assert target - previous in (2, 3)
        assert 0 <= other < previous < target


def test_a_segment_and_its_memories_share_one_answer():
    config = replace(DATA, irrelevant_share=0.0, empty_share=0.0, away_share=0.0, named_share=0.0)
    for seed in range(12):
        row = TextEditExamples(config, generator(seed)).draw_row(STRUCTURE)
        assert row.instruction
        colours = []
        for pair in (row.target, *row.memories):
            changed = (pair.target - pair.source).abs().sum(1, keepdim=True) > 0.3
            assert changed.any()
            colours.append((pair.target * changed).sum((0, 2, 3)) / changed.sum())
        assert max((colour - colours[0]).abs().max() for colour in colours) < 0.15


def test_the_empty_prompt_asks_for_no_change():
    row = TextEditExamples(replace(DATA, empty_share=1.0), generator()).draw_row(STRUCTURE)
    assert row.instruction == ""
    assert torch.equal(row.target.target, row.target.source)


def test_a_faulty_memory_shows_a_poorer_hat_at_the_same_place(codec: Codec):
    config = replace(
        DATA,
        fault_share=1.0,
        memory_noise=0.0,
        irrelevant_share=0.0,
        kinds=("hat",),
        away_share=0.0,
    )
    rows = [TextEditExamples(config, generator(seed)).draw_row(STRUCTURE) for seed in range(6)]
    example = edit_example(config, STRUCTURE, rows, codec, generator(5))
    true = edit_example(
        config, STRUCTURE, [_without_faults(row) for row in rows], codec, generator(5)
    )
    assert torch.equal(example.target, true.target)
    for i, (found, wanted) in enumerate(
        zip(example.inputs.streams, true.inputs.streams, strict=True)
    ):
        edited, source = wanted.latent[:, :20], wanted.latent[:, 20:]
        other = codec.encode(
            torch.stack([row.memories[i].other for row in rows]).transpose(1, 2) * 2 - 1
        )
        faulty = found.latent[:, :20]
        assert torch.equal(found.latent[:, 20:], source)
        same = (edited == source) & (other == source)
        assert torch.equal(faulty[same], source[same])
        assert same.any()
        least = torch.minimum(torch.minimum(edited, other), source) - 1e-4
        most = torch.maximum(torch.maximum(edited, other), source) + 1e-4
        assert ((least <= faulty) & (faulty <= most)).all()
        to_true, to_other = (
            (faulty - latent).square().mean((1, 2, 3, 4)) for latent in (edited, other)
        )
        assert (to_true > 0).all()
        assert to_true.sum() < to_other.sum()


def test_the_model_draws_the_memories_of_a_share_of_the_steps():
    with_memory = replace(DATA, memory_counts=(0.5, 0.5))

    def structures(share: float) -> list[EditStructure]:
        config = replace(with_memory, own_share=share)
        return [draw_edit_structure(config, False, generator(seed)) for seed in range(60)]

    assert not any(structure.is_own for structure in structures(0.0))
    assert all(structure.is_own == bool(structure.kernels) for structure in structures(1.0))
    half = [structure.is_own for structure in structures(0.5) if structure.kernels]
    assert 0.25 * len(half) < sum(half) < 0.75 * len(half)
    assert [replace(structure, is_own=False) for structure in structures(1.0)] == structures(0.0)


def test_own_memories_stand_for_true_ones_where_the_answer_is_the_rows(codec: Codec):
    config = replace(DATA, memory_noise=0.0, irrelevant_share=0.4, empty_share=0.3, fault_share=0.5)
    rows = [TextEditExamples(config, generator(seed)).draw_row(STRUCTURE) for seed in range(12)]
    drawn = torch.full((12, 20, 1, 1, 1), 7.0)

    def editor(
        given: torch.Tensor, timesteps: torch.Tensor, prompts: tuple[str, ...], inputs
    ) -> torch.Tensor:
        assert prompts == tuple(row.instruction for row in rows)
        return (given[:, :20] - drawn) / timesteps.view(-1, 1, 1, 1, 1) * 1000

    own = edit_example(config, replace(STRUCTURE, is_own=True), rows, codec, generator(5), editor)
    plain = edit_example(
        config, STRUCTURE, [_without_faults(row) for row in rows], codec, generator(5)
    )
    assert torch.equal(own.target, plain.target)
    assert torch.equal(own.source, plain.source)
    for i, (found, true) in enumerate(zip(own.inputs.streams, plain.inputs.streams, strict=True)):
        assert torch.equal(found.latent[:, 20:], true.latent[:, 20:])
        is_drawn = [torch.allclose(latent, drawn[0], atol=1e-3) for latent in found.latent[:, :20]]
        assert is_drawn == [row.instruction != "" and row.memories[i].is_relevant for row in rows]
        assert 0 < sum(is_drawn) < 12


def test_own_memories_without_a_model_are_refused(codec: Codec):
    row = TextEditExamples(DATA, generator()).draw_row(STRUCTURE)
    with pytest.raises(ValueError, match="own_share got more than 0 without a model to draw"):
        edit_example(DATA, replace(STRUCTURE, is_own=True), [row], codec, generator())


def test_memories_of_colours_and_of_no_share_have_no_faults():
    for changed in (
        {"kinds": ("recolour",), "fault_share": 1.0},
        {"kinds": ("hat",), "fault_share": 0.0},
    ):
        row = TextEditExamples(replace(DATA, **changed), generator(1)).draw_row(STRUCTURE)
        assert all(pair.other is None for pair in row.memories)


def _without_faults(row: EditRow) -> EditRow:
    return replace(row, memories=tuple(replace(pair, other=None) for pair in row.memories))


def test_a_row_says_where_the_named_object_is():
    config = replace(
        DATA, size=64, away_share=0.0, empty_share=0.0, named_share=0.0, kinds=("recolour",)
    )
    for seed in range(8):
        row = TextEditExamples(config, generator(seed)).draw_row(STRUCTURE)
        changed = (row.target.target - row.target.source).abs().amax(1) > 0.1
        assert row.named.shape == changed.shape == (2, 64, 64)
        assert row.named.any()
        assert (row.named & ~changed).sum() < 0.1 * row.named.sum()
    assert (
        not TextEditExamples(replace(config, empty_share=1.0), generator())
        .draw_row(STRUCTURE)
        .named.any()
    )


def test_the_locator_adds_what_it_misses_and_teaches_the_text_encoder(
    config: TrainConfig, codec: Codec
):
    torch.manual_seed(0)
    network = build_network(config.model)
    nn.init.normal_(network["dit"].blocks[0].attn2.to_out[0].weight, std=0.1)  # silent at first
    rows = [TextEditExamples(DATA, generator(seed)).draw_row(STRUCTURE) for seed in (0, 1)]
    example = edit_example(DATA, STRUCTURE, rows, codec, generator(5))
    assert example.named.shape == (2, 2 * 2 * 2)
    noise = torch.randn(example.target.shape, generator=generator(6))
    view, sigmas = DiffusersView(network["dit"]), torch.tensor([0.4, 0.8])
    context = network["text"](example.prompts)
    plain = flow_matching_loss(view, network["adapter"], example, context, sigmas, noise)
    both = flow_matching_loss(
        view, network["adapter"], example, context, sigmas, noise, network["locator"]
    )
    (gradient,) = torch.autograd.grad(both - plain, network["text"].model.shared.weight)
    assert both > plain
    assert gradient.abs().max() > 0


def test_a_batch_holds_source_and_edit_of_every_memory_on_the_channel_axis(codec: Codec):
    config = replace(DATA, memory_noise=0.0)
    rows = [TextEditExamples(config, generator(seed)).draw_row(STRUCTURE) for seed in (0, 1)]
    example = edit_example(config, STRUCTURE, rows, codec, generator(5))
    assert example.target.shape == example.source.shape == (2, 20, 2, 4, 4)
    assert example.prompts == tuple(row.instruction for row in rows)
    previous, other = example.inputs.streams
    assert (previous.kernel, previous.frame_indices) == (2, (3, 4))
    assert (
        other.kernel,
        other.frame_indices,
    ) == (4, (8,))
    for b, row in enumerate(rows):
        for stream, pair in zip(example.inputs.streams, row.memories, strict=True):
            for channels, video in ((slice(0, 20), pair.target), (slice(20, 40), pair.source)):
                expected = codec.encode(video.transpose(0, 1)[None] * 2 - 1)[0]
                torch.testing.assert_close(stream.latent[b, channels], expected)
    assert example.inputs.clean_timestep == "zero"
    assert example.inputs.target_cameras is None


def test_an_error_counts_more_where_the_edit_is_and_next_to_it(codec: Codec):
    config = replace(DATA, edit_weight=5.0, empty_share=0.0, away_share=0.0)
    rows = [TextEditExamples(config, generator(seed)).draw_row(STRUCTURE) for seed in range(4)]
    example = edit_example(config, STRUCTURE, rows, codec, generator(5))
    weight = example.weight[:, 0]
    assert weight.shape == (4, 2, 4, 4)
    assert set(weight.unique().tolist()) == {1.0, 5.0}
    changed = ((example.target - example.source).abs().amax(1) > 0.2).nonzero().tolist()
    assert changed
    near = torch.zeros_like(weight, dtype=torch.bool)
    for row, frame, y, x in changed:
        near[row, frame, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = True
    assert torch.equal(weight == 5.0, near)


def test_after_one_step_the_loss_reaches_the_text_the_tokenizers_and_the_dit(
    config: TrainConfig, codec: Codec
):
    torch.manual_seed(0)
    network = build_network(config.model)
    optimizers = build_optimizers(network, config.optim)
    rows = [TextEditExamples(DATA, generator(seed)).draw_row(STRUCTURE) for seed in (0, 1)]
    example = edit_example(DATA, STRUCTURE, rows, codec, generator(5))
    noise = torch.randn(example.target.shape, generator=generator(6))
    view, sigmas = DiffusersView(network["dit"]), torch.tensor([0.4, 0.8])
    losses = []
    for _ in range(3):  # blocks start silent, so the first step moves their output matrices alone
        network.zero_grad()
        context = network["text"](example.prompts)
        loss = flow_matching_loss(view, network["adapter"], example, context, sigmas, noise)
        loss.backward()
        losses.append(loss.item())
        for optimizer in optimizers:
            optimizer.step()
    for part, name in (
        ("text", "shared"),
        ("adapter", "tokenizers.4"),
        ("adapter", "mergers.0"),
        ("dit", "patch"),
    ):
        gradients = [p.grad for n, p in network[part].named_parameters() if name in n]
        assert gradients, name
        assert all(g is not None and g.abs().max() > 0 for g in gradients), name
    assert losses[-1] < losses[0]


def test_channels_that_carry_nothing_stay_silent(config: TrainConfig, codec: Codec):
    torch.manual_seed(0)
    network = build_network(config.model)
    used = config.model.num_used
    silent = [*range(used, 20), *range(20 + used, 40)]
    assert network["dit"].patch_embedding.weight[:, silent].abs().max() == 0
    rows = [TextEditExamples(DATA, generator(0)).draw_row(STRUCTURE)]
    example = edit_example(DATA, STRUCTURE, rows, codec, generator(5))
    assert example.target[:, used:].abs().max() == 0
    assert example.weight[:, used:].max() == 0
    for stream in example.inputs.streams:
        assert stream.latent[:, silent].abs().max() == 0


def test_a_fresh_editor_predicts_the_noisy_target_less_its_source(
    config: TrainConfig, codec: Codec
):
    torch.manual_seed(0)
    network = build_network(config.model)
    rows = [TextEditExamples(DATA, generator(seed)).draw_row(STRUCTURE) for seed in (0, 1)]
    example = edit_example(DATA, STRUCTURE, rows, codec, generator(5))
    noisy = torch.randn(example.target.shape, generator=generator(6))
    noisy[:, config.model.num_used :] = 0
    given = torch.cat((noisy, example.source), dim=1)
    with torch.no_grad():
        context = network["text"](example.prompts)
        view, inputs = DiffusersView(network["dit"]), example.inputs
        velocity = memory_forward(
            view, network["adapter"], given, torch.full((2,), 900.0), context, inputs
        )
    wanted = noisy - example.source
    assert (velocity - wanted).std() < 0.45 * wanted.std()


def test_more_channels_than_a_dit_has_room_for_are_refused(config: TrainConfig):
    with pytest.raises(
        ValueError, match="used_channels got 20, wanted at most 8 for a DiT 64 wide"
    ):
        build_network(replace(config.model, used_channels=20))

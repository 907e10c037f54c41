from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from memv2v_core.bases.base_info import BaseInfo, adapted
from memv2v_core.builtin.codec import Codec
from memv2v_core.training.codec_trainer import fit_codec
from memv2v_core.training.config.data import WorldsConfig
from memv2v_core.training.config.run import TrainConfig
from memv2v_core.training.data.draws import MemoryStructure
from memv2v_core.training.data.own_memories import Editor
from memv2v_core.training.data.worlds import EditRow, WorldExamples, WorldStructure
from memv2v_core.training.network.bases import new_base
from memv2v_core.training.network.fresh import new_adapter_config
from memv2v_core.training.seeds import seeded

pytestmark = pytest.mark.slow

STRUCTURE = WorldStructure(
    0, MemoryStructure((2, 4), 0.4, True), (0, 2), ((0, 1), (2,)), stride=2, has_previous=True
)
Made = Callable[..., WorldExamples]


def rows(*numbers: int) -> list[torch.Generator]:
    return [seeded(5, "row", number) for number in numbers]


@pytest.fixture(scope="module")
def codec(editor_config: TrainConfig) -> Codec:
    return fit_codec(editor_config, torch.device("cpu"))


@pytest.fixture(scope="module")
def make(editor_config: TrainConfig, codec: Codec) -> Made:
    """make(noise, editor, **fields of WorldsConfig): examples with this noise on memories."""
    model = editor_config.base.model
    adapter = new_adapter_config(model, editor_config.adapter)
    base: BaseInfo = adapted(new_base(model), adapter, "trained")

    def made(noise: float = 0.0, editor: Editor | None = None, **fields) -> WorldExamples:
        worlds: WorldsConfig = replace(editor_config.worlds, **fields)
        worlds = replace(worlds, memory=replace(worlds.memory, noise=noise))
        return WorldExamples(worlds, base, codec, 6, editor)

    return made


def drawn_rows(examples: WorldExamples, *numbers: int) -> list[EditRow]:
    return [examples.draw_row(STRUCTURE, row) for row in rows(*numbers)]


def test_the_previous_segment_has_the_finest_tokens_and_the_others_coarse_ones(make: Made):
    examples = make()
    for seed in range(200):
        structure = examples.structure(0, False, seeded(seed))
        assert len(structure.kernels) == len(structure.memory_frames) <= 4
        first, others = structure.kernels[:1], structure.kernels[1:]
        assert set(others) <= {4, 8}
        assert structure.stride in (2, 3)
        if first:
            assert (first[0] == 2) == structure.has_previous


def test_an_object_often_comes_back_as_the_target_starts(make: Made):
    """Then only memories before the previous segment show it."""
    start = 12
    gone = [make(away_share=1.0)._away(start, seeded(seed)) for seed in range(60)]
    just_back = [span for span in gone if span[1] == start - 1]
    assert 20 <= len(just_back) <= 45
    assert all(last - first + 1 >= 3 for first, last in just_back)
    assert make(away_share=0.0)._away(start, seeded(0)) is None


def test_whole_segments_hold_every_frame(make: Made, editor_config: TrainConfig):
    examples = make(memory=replace(editor_config.worlds.memory, counts=(0.0, 0.0, 1.0)))
    structure = examples.structure(0, True, seeded(0))
    assert structure.target_frames == (0, 1, 2)
    assert structure.memory_frames == ((0, 1, 2), (0, 1, 2))


def test_memories_lie_before_the_target_and_the_previous_one_next_to_it(make: Made):
    for seed in range(40):
        target, previous, other = make()._starts(STRUCTURE, seeded(seed))
        assert target - previous == 2
        assert 0 <= other < previous < target


def test_a_segment_and_its_memories_share_one_answer(make: Made):
    examples = make(irrelevant_share=0.0, empty_share=0.0, away_share=0.0, named_share=0.0)
    for row in drawn_rows(examples, *range(12)):
        assert row.instruction
        colours = []
        for pair in (row.target, *row.memories):
            is_changed = (pair.target - pair.source).abs().sum(1, keepdim=True) > 0.3
            assert is_changed.any()
            colours.append((pair.target * is_changed).sum((0, 2, 3)) / is_changed.sum())
        assert max((colour - colours[0]).abs().max() for colour in colours) < 0.15


def test_the_empty_prompt_asks_for_no_change(make: Made):
    (row,) = drawn_rows(make(empty_share=1.0), 0)
    assert row.instruction == ""
    assert torch.equal(row.target.target, row.target.source)
    assert not row.named.any()


def test_a_faulty_memory_shows_a_poorer_hat_at_the_same_place(make: Made, codec: Codec):
    examples = make(fault_share=1.0, irrelevant_share=0.0, kinds=("hat",), away_share=0.0)
    drawn = drawn_rows(examples, *range(6))
    example = examples.encoded(STRUCTURE, drawn, rows(*range(6)))
    true = examples.encoded(STRUCTURE, without_faults(drawn), rows(*range(6)))
    assert torch.equal(example.target, true.target)
    for i, (found, wanted) in enumerate(
        zip(example.inputs.streams, true.inputs.streams, strict=True)
    ):
        edited, source = wanted.latent[:, :20], wanted.latent[:, 20:]
        other = codec.encode_frames(torch.stack([row.memories[i].other for row in drawn]))
        faulty = found.latent[:, :20]
        assert torch.equal(found.latent[:, 20:], source)
        # Where the two hats agree with the source, there is nothing to mix.
        is_same = (edited == source) & (other == source)
        assert torch.equal(faulty[is_same], source[is_same])
        assert is_same.any()
        least = torch.minimum(torch.minimum(edited, other), source) - 1e-4
        most = torch.maximum(torch.maximum(edited, other), source) + 1e-4
        assert ((least <= faulty) & (faulty <= most)).all()
        to_true, to_other = (
            (faulty - latent).square().mean((1, 2, 3, 4)) for latent in (edited, other)
        )
        assert (to_true > 0).all()
        assert to_true.sum() < to_other.sum()


def test_memories_of_colours_and_of_no_share_have_no_faults(make: Made):
    for fields in (
        {"kinds": ("recolour",), "fault_share": 1.0},
        {"kinds": ("hat",), "fault_share": 0.0},
    ):
        (row,) = drawn_rows(make(**fields), 1)
        assert all(pair.other is None for pair in row.memories)


def test_the_model_draws_the_memories_of_a_share_of_the_steps(
    make: Made, editor_config: TrainConfig
):
    memory = replace(editor_config.worlds.memory, counts=(0.5, 0.5))

    def structures(share: float) -> list[WorldStructure]:
        examples = make(memory=memory, own_share=share)
        return [examples.structure(0, False, seeded(seed)) for seed in range(60)]

    assert all(structure.sight is None for structure in structures(0.0))
    assert all((s.sight is not None) == bool(s.kernels) for s in structures(1.0))
    assert {s.sight for s in structures(1.0)} == {None, 0, 1, 2}
    half = [structure.sight is not None for structure in structures(0.5) if structure.kernels]
    assert 0.25 * len(half) < sum(half) < 0.75 * len(half)
    assert [s.memory for s in structures(1.0)] == [s.memory for s in structures(0.0)]


def test_own_memories_stand_for_true_ones_where_the_answer_is_the_rows(make: Made):
    drawn = torch.full((12, 20, 1, 1, 1), 7.0)
    prompts: list[tuple[str, ...]] = []

    def editor(
        given: torch.Tensor, timesteps: torch.Tensor, asked: tuple[str, ...], inputs: object
    ) -> torch.Tensor:
        prompts.append(asked)
        return (given[:, :20] - drawn) / timesteps.view(-1, 1, 1, 1, 1) * 1000

    examples = make(editor=editor, irrelevant_share=0.4, empty_share=0.3, fault_share=0.5)
    found = drawn_rows(examples, *range(12))
    own = examples.encoded(replace(STRUCTURE, sight=1), found, rows(*range(12)))
    plain = examples.encoded(STRUCTURE, without_faults(found), rows(*range(12)))
    assert set(prompts) == {tuple(row.instruction for row in found)}
    assert torch.equal(own.target, plain.target)
    assert torch.equal(own.source, plain.source)
    for i, (mine, true) in enumerate(zip(own.inputs.streams, plain.inputs.streams, strict=True)):
        assert torch.equal(mine.latent[:, 20:], true.latent[:, 20:])
        is_drawn = [torch.allclose(latent, drawn[0], atol=1e-3) for latent in mine.latent[:, :20]]
        assert is_drawn == [row.instruction != "" and row.memories[i].is_relevant for row in found]
        assert 0 < sum(is_drawn) < 12


def test_own_memories_without_a_model_are_refused(make: Made):
    with pytest.raises(ValueError, match="own_share got more than 0 without a model to draw"):
        make().draw(replace(STRUCTURE, sight=0), rows(0))


def without_faults(drawn: list[EditRow]) -> list[EditRow]:
    return [
        replace(row, memories=tuple(replace(pair, other=None) for pair in row.memories))
        for row in drawn
    ]


def test_a_row_says_where_the_named_object_is(make: Made):
    examples = make(size=64, away_share=0.0, empty_share=0.0, named_share=0.0, kinds=("recolour",))
    for row in drawn_rows(examples, *range(8)):
        is_changed = (row.target.target - row.target.source).abs().amax(1) > 0.1
        assert row.named.shape == is_changed.shape == (2, 64, 64)
        assert row.named.any()
        assert (row.named & ~is_changed).sum() < 0.1 * row.named.sum()


def test_a_batch_holds_source_and_edit_of_every_memory_on_the_channel_axis(
    make: Made, codec: Codec
):
    examples = make()
    drawn = drawn_rows(examples, 0, 1)
    example = examples.encoded(STRUCTURE, drawn, rows(0, 1))
    assert example.target.shape == example.source.shape == (2, 20, 2, 4, 4)
    assert example.prompts == tuple(row.instruction for row in drawn)
    assert example.named.shape == (2, 2 * 2 * 2)
    previous, other = example.inputs.streams
    assert (previous.kernel, previous.frame_indices) == (2, (3, 4))
    assert (other.kernel, other.frame_indices) == (4, (8,))
    for b, row in enumerate(drawn):
        for stream, pair in zip(example.inputs.streams, row.memories, strict=True):
            for channels, video in ((slice(0, 20), pair.target), (slice(20, 40), pair.source)):
                expected = codec.encode(video.transpose(0, 1)[None] * 2 - 1)[0]
                torch.testing.assert_close(stream.latent[b, channels], expected)
    assert example.inputs.clean_timestep == "zero"
    assert example.inputs.target_cameras is None


def test_an_error_counts_more_where_the_edit_is_and_next_to_it(make: Made, codec: Codec):
    examples = make(edit_weight=5.0, empty_share=0.0, away_share=0.0)
    example = examples.draw(STRUCTURE, rows(*range(4)))
    weight = example.weight[:, 0]
    assert weight.shape == (4, 2, 4, 4)
    assert set(weight.unique().tolist()) == {1.0, 5.0}
    is_changed = (example.target - example.source).abs().amax(1) > 0.2
    assert is_changed.any()
    near = torch.zeros_like(weight, dtype=torch.bool)
    for row, frame, y, x in is_changed.nonzero().tolist():
        near[row, frame, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = True
    assert torch.equal(weight == 5.0, near)


def test_channels_that_carry_nothing_stay_zero_under_noise(make: Made, codec: Codec):
    example = make(noise=0.3).draw(STRUCTURE, rows(0))
    used = codec.used
    assert example.target[:, used:].abs().max() == 0
    assert example.weight[:, used:].max() == 0
    for stream in example.inputs.streams:
        assert stream.latent[:, used:20].abs().max() == 0
        assert stream.latent[:, 20 + used :].abs().max() == 0


def test_a_row_is_the_same_alone_and_in_a_batch(make: Made):
    fields = {"noise": 0.3, "fault_share": 0.7, "irrelevant_share": 0.3, "empty_share": 0.2}
    batch = make(**fields).draw(STRUCTURE, rows(*range(6)))
    for number in range(6):
        alone = make(**fields).draw(STRUCTURE, rows(number))
        assert alone.prompts[0] == batch.prompts[number]
        for one, all_rows in (
            (alone.target, batch.target),
            (alone.source, batch.source),
            (alone.weight, batch.weight),
            (alone.named, batch.named),
            *(
                (a.latent, b.latent)
                for a, b in zip(alone.inputs.streams, batch.inputs.streams, strict=True)
            ),
        ):
            torch.testing.assert_close(one[0], all_rows[number], atol=1e-5, rtol=0)


def test_held_out_rows_show_backgrounds_that_training_never_sees(make: Made):
    examples = make(first_canvases=6, num_canvases=6)

    def canvases(is_held_out: bool) -> set[bytes]:
        steps = (0,) if is_held_out else range(20)
        return {
            examples.pool.draw(step, seeded(step, i), is_held_out).numpy().tobytes()
            for step in steps
            for i in range(8)
        }

    trained, held_out = canvases(False), canvases(True)
    assert len(trained) > 15
    assert len(held_out) > 2
    assert not trained & held_out
    one, other = (examples.draw(STRUCTURE, rows(0), is_held_out=h).source for h in (False, True))
    assert not torch.equal(one, other)


def test_examples_follow_the_seed_of_the_run(make: Made):
    one = make().draw(STRUCTURE, rows(0)).target
    assert torch.equal(make().draw(STRUCTURE, rows(0)).target, one)
    examples = make()
    other = WorldExamples(examples.config, examples.base, examples.codec, seed=7)
    assert not torch.equal(other.draw(STRUCTURE, rows(0)).target, one)


def test_a_base_of_numbered_videos_gets_source_and_references_as_tokens(
    editor_config: TrainConfig,
) -> None:
    """The form of Bernini: every clean video counts from frame 0 and has its number."""
    model = replace(
        editor_config.base.model,
        channels=16,
        used_channels=None,
        has_source_channels=False,
        stream_identity="source_id",
        max_source_id=5,
    )
    config = replace(editor_config, base=replace(editor_config.base, model=model))
    adapter = new_adapter_config(model, config.adapter)
    assert not adapter.has_tokenizers
    assert not adapter.has_merging
    base = adapted(new_base(model), adapter, "trained")
    codec = fit_codec(config, torch.device("cpu"))
    worlds = replace(config.worlds, memory=replace(config.worlds.memory, noise=0.0))
    examples = WorldExamples(worlds, base, codec, 6)
    structure = replace(STRUCTURE, memory=replace(STRUCTURE.memory, kernels=(2, 2), share=None))
    drawn = [examples.draw_row(structure, row) for row in rows(1, 2)]
    example = examples.encoded(structure, drawn, rows(1, 2))
    assert example.source is None
    source, *memories = example.inputs.streams
    assert (source.role, source.frame_indices, source.source_id) == ("source", (0, 2), 1.0)
    assert torch.equal(
        source.latent, codec.encode_frames(torch.stack([row.target.source for row in drawn]))
    )
    assert [(memory.frame_indices, memory.source_id) for memory in memories] == [
        ((0, 1), 2.0),
        ((2,), 3.0),
    ]
    # A reference is the true edit alone, without its source.
    for i, memory in enumerate(memories):
        edits = torch.stack([row.memories[i].target for row in drawn])
        assert torch.equal(memory.latent, codec.encode_frames(edits))
    assert example.inputs.merging is None

from dataclasses import replace

import pytest
import torch

from memv2v_core.builtin.codec import Codec
from memv2v_core.model.memory_inputs import ConditioningStream
from memv2v_core.synthetic.panoramas import render_panorama
from memv2v_core.training.config import DataConfig, TrainConfig
from memv2v_core.training.data.novel_view import (
    SceneStream,
    Structure,
    draw_example,
    draw_row,
    draw_structure,
)
from memv2v_core.training.trainer import fit_codec

STRUCTURE = Structure((0, 2), (1, 2), ((0, 1), (2,)), (4, 8), 0.4)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def data(tiny_config: TrainConfig) -> DataConfig:
    return tiny_config.data


@pytest.fixture(scope="module")
def codec(tiny_config: TrainConfig) -> Codec:
    return fit_codec(tiny_config, generator(100))


def structures(data: DataConfig, count: int = 400) -> list[Structure]:
    shared = generator(1)
    return [draw_structure(data, False, shared) for _ in range(count)]


def share_of(drawn: list[Structure], is_true) -> float:
    return sum(bool(is_true(structure)) for structure in drawn) / len(drawn)


def test_a_quarter_of_the_steps_has_no_memory_a_half_one_a_quarter_two(data: DataConfig):
    drawn = structures(data)
    for count, expected in enumerate((0.25, 0.5, 0.25)):
        assert share_of(drawn, lambda s, count=count: len(s.kernels) == count) == pytest.approx(
            expected, abs=0.08
        )


def test_every_kernel_and_both_kinds_of_step_occur(data: DataConfig):
    two = [structure.kernels for structure in structures(data) if len(structure.kernels) == 2]
    assert {kernel for kernels in two for kernel in kernels} == {2, 4, 8}
    alike = sum(a == b for a, b in two) / len(two)
    assert 0.55 < alike < 0.9  # one half by intent, the rest by chance: 0.5 + 0.5 * 0.46


def test_shares_of_merged_frames_stay_in_the_papers_range(data: DataConfig):
    shares = [structure.share for structure in structures(data)]
    drawn = [share for share in shares if share is not None]
    assert len(drawn) / len(shares) == pytest.approx(0.5, abs=0.08)
    assert min(drawn) >= 0.3
    assert max(drawn) <= 0.7


def test_the_source_is_only_dropped_where_there_is_memory(data: DataConfig):
    drawn = structures(replace(data, drop_source=0.5))
    assert all(structure.source_frames for structure in drawn if not structure.kernels)
    assert any(not structure.source_frames for structure in drawn if structure.kernels)


def test_late_steps_draw_all_frames(data: DataConfig):
    structure = draw_structure(data, True, generator())
    assert structure.target_frames == structure.source_frames == (0, 1, 2)


def test_a_pool_fills_up_and_then_replaces_its_oldest_scene(data: DataConfig):
    scenes = SceneStream(data, generator())
    assert len(scenes._pool) == 2
    first = scenes._pool[0]
    scenes.add()
    assert len(scenes._pool) == 3
    assert scenes._pool[0] is first
    scenes.add()
    assert len(scenes._pool) == 3
    assert scenes._pool[0] is not first


def test_a_drawn_scene_is_a_picture_again(data: DataConfig):
    scene = SceneStream(data, generator()).draw()
    assert scene.panorama.dtype == torch.float32
    assert scene.panorama.max() <= 1
    assert scene.half_width_rad > scene.half_height_rad > 0


def test_a_row_films_one_scene_at_the_frames_asked_for(data: DataConfig):
    scene = SceneStream(data, generator()).draw()
    row = draw_row(data, STRUCTURE, scene, generator(5))
    assert row.reference.num_frames == 3
    assert [view.path.num_frames for view in (row.target, row.source, *row.memories)] == [
        2,
        2,
        2,
        1,
    ]
    assert torch.equal(row.source.path.c2w, row.reference.frames((1, 2)).c2w)
    for view in (row.target, row.source, *row.memories):
        assert torch.equal(view.frames, render_panorama(scene, view.path, 32, 32))


def test_an_example_tells_every_frames_true_time_and_camera(data: DataConfig, codec: Codec):
    example = draw_example(data, STRUCTURE, 2, SceneStream(data, generator()), codec, generator(2))
    assert example.target.shape == (2, 16, 2, 4, 4)
    inputs = example.inputs
    assert inputs.target_frame_indices == (0, 2)
    assert [(s.role, s.kernel, s.frame_indices) for s in inputs.streams] == [
        ("source", 2, (4, 5)),
        ("memory", 4, (6, 7)),
        ("memory", 8, (8,)),
    ]
    assert [s.latent.shape for s in inputs.streams] == [
        (2, 16, 2, 4, 4),
        (2, 16, 2, 4, 4),
        (2, 16, 1, 4, 4),
    ]
    assert [s.cameras.c2w.shape for s in inputs.streams] == [
        (2, 2, 4, 4),
        (2, 2, 4, 4),
        (2, 1, 4, 4),
    ]
    assert inputs.merging.share == 0.4
    assert inputs.clean_timestep == "zero"
    assert not example.target.requires_grad


def test_memories_are_noisy_and_the_source_is_not(data: DataConfig, codec: Codec):
    def latents(memory_noise: float) -> list[torch.Tensor]:
        config = replace(data, memory_noise=memory_noise)
        example = draw_example(
            config, STRUCTURE, 2, SceneStream(data, generator()), codec, generator(2)
        )
        return [stream.latent for stream in example.inputs.streams]

    (source, *memories), (clean_source, *clean_memories) = latents(0.3), latents(0.0)
    assert torch.equal(source, clean_source)
    for noisy, clean in zip(memories, clean_memories, strict=True):
        assert 0 < (noisy - clean).std(dim=(1, 2, 3, 4)).max() < 0.4


def test_an_irrelevant_memory_shows_another_rows_scene_with_that_rows_camera(
    data: DataConfig, codec: Codec
):
    config = replace(data, memory_noise=0.0)

    def memory(share: float) -> ConditioningStream:
        example = draw_example(
            replace(config, irrelevant_share=share),
            STRUCTURE,
            2,
            SceneStream(data, generator()),
            codec,
            generator(2),
        )
        return example.inputs.streams[1]

    right, wrong = memory(0.0), memory(1.0)
    assert torch.equal(wrong.latent, right.latent.flip(0))
    assert not torch.equal(wrong.cameras.c2w, right.cameras.c2w)


def test_an_example_follows_its_generator(data: DataConfig, codec: Codec):
    one, other = (
        draw_example(data, STRUCTURE, 2, SceneStream(data, generator()), codec, generator(2))
        for _ in range(2)
    )
    assert torch.equal(one.target, other.target)
    assert torch.equal(one.inputs.streams[1].latent, other.inputs.streams[1].latent)


def test_without_memory_the_source_alone_conditions(data: DataConfig, codec: Codec):
    structure = Structure((0, 1), (0, 1), (), (), None)
    inputs = draw_example(
        data, structure, 1, SceneStream(data, generator()), codec, generator(2)
    ).inputs
    assert [stream.role for stream in inputs.streams] == ["source"]
    assert inputs.merging is None

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from memv2v_core.bases.base_info import BaseInfo, adapted
from memv2v_core.builtin.codec import Codec
from memv2v_core.model.memory_inputs import ConditioningStream
from memv2v_core.synthetic.panoramas import Scene, render_panorama
from memv2v_core.synthetic.solids.filming import film_solids
from memv2v_core.synthetic.solids.paths import random_lens_deg
from memv2v_core.synthetic.solids.scene import SolidScene
from memv2v_core.training.codec_trainer import fit_codec
from memv2v_core.training.config.data import ScenesConfig
from memv2v_core.training.config.run import TrainConfig
from memv2v_core.training.data.draws import MemoryStructure, chance
from memv2v_core.training.data.example import Example
from memv2v_core.training.data.scenes import SceneExamples, SceneRow, SceneStructure
from memv2v_core.training.network.bases import new_base
from memv2v_core.training.network.fresh import new_adapter_config
from memv2v_core.training.seeds import seeded

pytestmark = pytest.mark.slow

STRUCTURE = SceneStructure(4, MemoryStructure((4, 8), 0.4, True), (0, 2), (1, 2), ((0, 1), (2,)))
Made = Callable[..., SceneExamples]


def rows(*numbers: int) -> list[torch.Generator]:
    return [seeded(5, "row", number) for number in numbers]


@pytest.fixture(scope="module")
def codec(tiny_config: TrainConfig) -> Codec:
    return fit_codec(tiny_config, torch.device("cpu"))


@pytest.fixture(scope="module")
def make(tiny_config: TrainConfig, codec: Codec) -> Made:
    """make(noise, **fields of ScenesConfig): examples with this noise on memories."""
    model = tiny_config.base.model
    adapter = new_adapter_config(model, tiny_config.adapter)
    base: BaseInfo = adapted(new_base(model), adapter, "trained")

    def made(noise: float = 0.0, **fields) -> SceneExamples:
        scenes: ScenesConfig = replace(tiny_config.scenes, **fields)
        scenes = replace(scenes, memory=replace(scenes.memory, noise=noise))
        return SceneExamples(scenes, base, codec, seed=6)

    return made


def streams(example: Example) -> tuple[ConditioningStream, ...]:
    return example.inputs.streams


def test_a_step_draws_parts_of_videos_and_a_whole_step_all_frames(make: Made):
    examples = make(memory=replace(ScenesConfig().memory, drop_source=0.0))
    part = examples.structure(0, False, seeded(0, 1))
    assert len(part.target_frames) == len(part.source_frames) == 2
    whole = examples.structure(0, True, seeded(0, 1))
    assert whole.target_frames == whole.source_frames == (0, 1, 2)
    assert all(frames == (0, 1, 2) for frames in whole.memory_frames)
    assert len(whole.memory_frames) == len(whole.memory.kernels)


def test_a_step_without_source_has_none_in_its_examples(make: Made):
    memory = replace(STRUCTURE.memory, has_source=False)
    structure = replace(STRUCTURE, memory=memory, source_frames=())
    example = make().draw(structure, rows(0))
    assert [stream.role for stream in streams(example)] == ["memory", "memory"]


def test_a_row_films_one_scene_at_the_frames_asked_for(make: Made):
    examples = make(irrelevant_share=0.0)
    row = examples.draw_row(STRUCTURE, rows(0)[0])
    panorama, width, height = examples.pool.draw(4, rows(0)[0])
    scene = Scene(panorama.float() / 255, width, height)
    views = (row.target, row.source, *row.memories)
    assert row.reference.num_frames == 3
    assert [view.path.num_frames for view in views] == [2, 2, 2, 1]
    assert torch.equal(row.source.path.c2w, row.reference.frames((1, 2)).c2w)
    for view in views:
        torch.testing.assert_close(view.frames, render_panorama(scene, view.path, 32, 32))


def test_an_example_tells_every_frames_true_time_and_camera(make: Made):
    example = make().draw(STRUCTURE, rows(0, 1))
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
    assert inputs.target_cameras.c2w.shape == (2, 2, 4, 4)
    assert inputs.merging.share == 0.4
    assert (inputs.clean_timestep, inputs.attention) == ("zero", "one_way")
    assert not example.target.requires_grad


def test_memories_are_noisy_and_the_source_is_not(make: Made):
    (source, *memories), (clean_source, *clean_memories) = (
        [stream.latent for stream in streams(make(noise).draw(STRUCTURE, rows(0, 1)))]
        for noise in (0.3, 0.0)
    )
    assert torch.equal(source, clean_source)
    for noisy, clean in zip(memories, clean_memories, strict=True):
        assert 0 < (noisy - clean).std(dim=(1, 2, 3, 4)).max() < 0.4


def test_an_irrelevant_memory_shows_another_scene_than_the_target(make: Made):
    structure = replace(STRUCTURE, memory_frames=((0, 1, 2), (0, 1, 2)))

    def shown(share: float) -> list[bool]:
        """Whether each memory of some rows films the row's own scene."""
        found = []
        for number in range(12):
            examples = make(irrelevant_share=share, first_scenes=60, num_scenes=60)
            row = examples.draw_row(structure, rows(number)[0])
            panorama, width, height = examples.pool.draw(4, rows(number)[0])
            scene = Scene(panorama.float() / 255, width, height)
            for view in row.memories:
                own = render_panorama(scene, view.path, 32, 32)
                found.append(bool((view.frames - own).abs().max() < 1e-4))
        return found

    assert all(shown(0.0))
    assert sum(shown(1.0)) <= 1  # by chance the same scene again
    assert 5 < sum(shown(0.5)) < 19


def test_a_row_is_the_same_alone_and_in_a_batch(make: Made):
    examples = make(0.3)
    batch = examples.draw(STRUCTURE, rows(0, 1, 2))
    for number in range(3):
        alone = make(0.3).draw(STRUCTURE, rows(number))
        torch.testing.assert_close(alone.target[0], batch.target[number], atol=1e-6, rtol=0)
        for one, all_rows in zip(streams(alone), streams(batch), strict=True):
            torch.testing.assert_close(one.latent[0], all_rows.latent[number], atol=1e-6, rtol=0)
            assert torch.equal(one.cameras.c2w[0], all_rows.cameras.c2w[number])


def test_held_out_rows_show_scenes_that_training_never_sees(make: Made):
    examples = make(first_scenes=6, num_scenes=6)

    def scenes(is_held_out: bool) -> set[bytes]:
        steps = (0,) if is_held_out else range(30)
        return {
            examples.pool.draw(step, seeded(step, i), is_held_out)[0].numpy().tobytes()
            for step in steps
            for i in range(8)
        }

    trained, held_out = scenes(False), scenes(True)
    assert len(trained) > 20
    assert len(held_out) > 2
    assert not trained & held_out
    one, other = (examples.draw(STRUCTURE, rows(0), is_held_out=h).target for h in (False, True))
    assert not torch.equal(one, other)


def test_without_memory_the_source_alone_conditions(make: Made):
    structure = SceneStructure(0, MemoryStructure((), None, True), (0, 1), (0, 1), ())
    inputs = make().draw(structure, rows(0)).inputs
    assert [stream.role for stream in inputs.streams] == ["source"]
    assert inputs.merging is None


def test_videos_for_a_codec_span_minus_one_to_one(make: Made):
    video = make().videos(0, rows(0, 1))
    assert video.shape == (2, 3, 2, 32, 32)
    assert -1 <= video.min() < -0.2
    assert 0.2 < video.max() <= 1


def moves(row: SceneRow) -> bool:
    """Whether its source's camera leaves its place: in panoramas no camera does."""
    return bool(row.reference.c2w[-1, :3, 3].any())


def solids_of(examples: SceneExamples, number: int) -> SolidScene:
    """The scene of a row whose examples are all of solids."""
    generator = rows(number)[0]
    assert chance(1.0, generator)
    random_lens_deg(examples.config.solid_paths, generator)
    return examples.solids.draw(4, generator)


def test_rows_of_solids_film_one_scene_at_the_frames_asked_for(make: Made):
    examples = make(solid_share=1.0, irrelevant_share=0.0)
    frozen = []
    for number in range(4):
        row, scene = examples.draw_row(STRUCTURE, rows(number)[0]), solids_of(examples, number)
        assert moves(row)
        assert torch.equal(row.source.path.c2w, row.reference.frames((1, 2)).c2w)
        views = (row.target, row.source, *row.memories)
        frames = (STRUCTURE.target_frames, STRUCTURE.source_frames, *STRUCTURE.memory_frames)
        for view, moments in zip(views, frames, strict=True):
            # One lens for all videos of a row.
            assert (view.path.intrinsics == row.reference.intrinsics[0]).all()
            film = film_solids(scene, view.path, 32, 32, torch.tensor(moments))
            assert torch.equal(view.frames, film.frames)
            still = film_solids(scene, view.path, 32, 32, torch.zeros(len(moments)))
            frozen.append(torch.equal(view.frames, still.frames))
    # Things move: a video of the frames asked for is no video of the first moment.
    assert sum(frozen) < len(frozen)


def test_a_share_of_rows_is_of_solids(make: Made):
    def count(share: float) -> int:
        examples = make(solid_share=share, irrelevant_share=0.0)
        drawn = [examples.draw_row(STRUCTURE, rows(number)[0]) for number in range(12)]
        return sum(moves(row) for row in drawn)

    assert (count(0.0), count(1.0)) == (0, 12)
    assert 2 < count(0.5) < 10


def test_cameras_of_solids_are_relative_to_the_source(make: Made):
    examples = make(solid_share=1.0)
    row, inputs = examples.draw_row(STRUCTURE, rows(3)[0]), examples.draw(STRUCTURE, rows(3)).inputs
    start = torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(row.reference.c2w[0], start, atol=1e-12, rtol=0)
    cameras = (inputs.target_cameras, *(stream.cameras for stream in inputs.streams))
    views = (row.target, row.source, *row.memories)
    for camera, view in zip(cameras, views, strict=True):
        expected = view.path.relative_to(row.reference).c2w
        torch.testing.assert_close(camera.c2w[0].double(), expected, atol=1e-6, rtol=0)
        assert view.path.c2w[:, :3, 3].norm(dim=1).max() < 1.3
    assert any(view.path.c2w[:, :3, 3].any() for view in (row.target, *row.memories))


def test_held_out_rows_show_solids_that_training_never_sees(make: Made):
    examples = make(solid_share=1.0, first_scenes=6, num_scenes=6)

    def scenes(is_held_out: bool) -> set[bytes]:
        steps = (0,) if is_held_out else range(12)
        return {
            examples.solids.draw(step, seeded(step, i), is_held_out).sky.numpy().tobytes()
            for step in steps
            for i in range(8)
        }

    trained, held_out = scenes(False), scenes(True)
    assert len(trained) > 8
    assert len(held_out) > 2
    assert not trained & held_out
    one, other = (examples.draw(STRUCTURE, rows(0), is_held_out=h).target for h in (False, True))
    assert not torch.equal(one, other)


def test_an_irrelevant_memory_shows_other_solids(make: Made):
    """At a share of 1 every memory draws a scene of its own."""
    fields = {"solid_share": 1.0, "first_scenes": 60, "num_scenes": 60}
    own, foreign = 0, 0
    for number in range(4):
        examples = make(irrelevant_share=1.0, **fields)
        row, scene = examples.draw_row(STRUCTURE, rows(number)[0]), solids_of(examples, number)
        for view, moments in zip(row.memories, STRUCTURE.memory_frames, strict=True):
            film = film_solids(scene, view.path, 32, 32, torch.tensor(moments))
            is_own = torch.equal(view.frames, film.frames)
            own, foreign = own + is_own, foreign + (not is_own)
    assert own <= 1  # by chance the same scene again
    assert foreign >= 7


def test_videos_of_solids_train_a_codec_too(make: Made):
    video = make(solid_share=1.0).videos(0, rows(0, 1))
    assert video.shape == (2, 3, 2, 32, 32)
    assert -1 <= video.min() < -0.2
    assert 0.2 < video.max() <= 1


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_of_solids_out_of_range_is_an_error(share: float):
    with pytest.raises(ValueError, match=f"solid_share got {share}, wanted a share from 0 to 1"):
        ScenesConfig(solid_share=share)

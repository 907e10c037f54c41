"""Examples from a prepared folder: views of scenes, and edits of clips."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from instruments.prepared_folders import FolderMaker, latent_of, path_of, text_of

from memv2v_core.bases.base_info import BaseInfo
from memv2v_core.model.camera_encoder import FrameCameras
from memv2v_core.shapes import VaeRatios
from memv2v_core.training.config.data import MemoryDraws, PreparedConfig
from memv2v_core.training.data.draws import MemoryStructure
from memv2v_core.training.data.example import Example
from memv2v_core.training.data.prepared import PreparedExamples, PreparedStructure
from memv2v_core.training.seeds import seeded

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
RATIOS = VaeRatios(4, 8, 4)
SIZE = (4, 3, 4, 4)
VIEWS = BaseInfo("a base", "trained", RATIOS, None, "zero", has_cameras=True)
EDITS = replace(VIEWS, has_cameras=False, source_placement="channels")
STRUCTURE = PreparedStructure(MemoryStructure((2, 4), None, True))
ALONE = PreparedStructure(MemoryStructure((), None, True))
Made = Callable[..., PreparedExamples]


def rows(*numbers: int) -> list[torch.Generator]:
    return [seeded(5, "row", number) for number in numbers]


def known(latents: torch.Tensor, names: list[str]) -> list[str]:
    """The names of the videos in a batch of latents (B, C, T, H, W)."""
    named = {name: latent_of(name, SIZE) for name in names}
    return [next(n for n in names if torch.equal(named[n], latent)) for latent in latents]


@pytest.fixture
def scenes(tmp_path: Path) -> FolderMaker:
    """Scenes of four views, one of them held out."""
    maker = FolderMaker(tmp_path / "views", "novel_view", RATIOS)
    for name in ("a", "b", "c"):
        maker.add_scene(name, 4, "held_out" if name == "c" else "train")
    return maker


@pytest.fixture
def edits(tmp_path: Path) -> FolderMaker:
    """Edits of three segments that are lengthened by two."""
    maker = FolderMaker(tmp_path / "edits", "text_edit", RATIOS)
    maker.add_edit("a", 3, 2)
    maker.add_edit("b", 3, 2)
    maker.add_edit("c", 3, 2, "held_out")
    return maker


def examples_of(maker: FolderMaker, base: BaseInfo, **fields) -> PreparedExamples:
    """Examples whose memories have no noise."""
    folder = maker.folder()
    draws = MemoryDraws(noise=0.0, **fields.pop("draws", {}))
    config = PreparedConfig(folder.path, **{"memory": draws, "empty_share": 0.0, **fields})
    return PreparedExamples(config, folder, base, CPU)


def names_of(maker: FolderMaker) -> list[str]:
    return [video.name for item in maker.folder().items for video in item.videos]


def memories_of(example: Example) -> Iterator[torch.Tensor]:
    """The latents of every memory."""
    return (s.latent for s in example.inputs.streams if s.role == "memory")


def test_a_row_is_a_target_a_source_and_memories_of_one_scene(scenes: FolderMaker):
    examples, names = examples_of(scenes, VIEWS), names_of(scenes)
    seen = set()
    for number in range(40):
        example = examples.draw(STRUCTURE, rows(number))
        (target,) = known(example.target, names)
        source, *memories = (known(s.latent, names)[0] for s in example.inputs.streams)
        assert len({target, source, *memories}) == 4
        assert {name[0] for name in (target, source, *memories)} <= {"a", "b"}
        assert len({name[0] for name in (target, source, *memories)}) == 1
        seen.add(target)
        assert [s.role for s in example.inputs.streams] == ["source", "memory", "memory"]
        assert [s.frame_indices[0] for s in example.inputs.streams] == [3, 6, 6]
        assert torch.equal(example.context[0], text_of(f"view {target[-1]} of {target[0]}"))
        assert example.source is None
    assert seen == {f"{name}_{i}" for name in "ab" for i in range(4)}


def test_a_scene_of_few_views_repeats_them_but_never_shows_the_target(tmp_path: Path):
    maker = FolderMaker(tmp_path / "few", "novel_view", RATIOS)
    for name, count in (("a", 2), ("b", 3), ("c", 1)):
        maker.add_scene(name, count)
    examples, names = examples_of(maker, VIEWS), names_of(maker)
    structure = PreparedStructure(MemoryStructure((4,) * 6, None, True))
    for number in range(40):
        example = examples.draw(structure, rows(number))
        (target,) = known(example.target, names)
        shown = {known(latent, names)[0] for latent in memories_of(example)}
        assert target[0] in "ab"
        assert target not in shown
        assert shown == {name for name in names if name[0] == target[0]} - {target}


def test_cameras_are_relative_to_the_first_frame_of_the_source(scenes: FolderMaker):
    examples, names = examples_of(scenes, VIEWS), names_of(scenes)
    for structure in (STRUCTURE, replace_source(STRUCTURE, False)):
        example = examples.draw(structure, rows(0, 1, 2))
        whole = examples.draw(STRUCTURE, rows(0, 1, 2))
        sources = known(whole.inputs.streams[0].latent, names)
        targets = known(example.target, names)
        pairs = [(example.inputs.target_cameras, targets)]
        pairs += [(s.cameras, known(s.latent, names)) for s in example.inputs.streams]
        for cameras, videos in pairs:
            for row, (video, source) in enumerate(zip(videos, sources, strict=True)):
                first = torch.linalg.inv(path_of(source, 3).c2w[0])
                wanted = (first @ path_of(video, 3).c2w).float()
                torch.testing.assert_close(cameras.c2w[row], wanted, atol=1e-6, rtol=0)
    assert isinstance(example.inputs.target_cameras, FrameCameras)


def replace_source(structure: PreparedStructure, has_source: bool) -> PreparedStructure:
    return replace(structure, memory=replace(structure.memory, has_source=has_source))


def test_a_step_that_drops_the_source_shows_memories_alone(scenes: FolderMaker):
    examples = examples_of(scenes, VIEWS, draws={"drop_source": 1.0})
    structure = examples.structure(0, True, seeded(0))
    assert not structure.memory.has_source
    example = examples.draw(structure, rows(0))
    assert {stream.role for stream in example.inputs.streams} == {"memory"}


def test_memories_that_come_after_the_target_or_before_it(edits: FolderMaker):
    names = names_of(edits)
    reversed_base = replace(EDITS, memory_order="reversed", memories_carry_source=False)
    forward_base = replace(EDITS, memory_order="forward", memories_carry_source=True)
    structure = PreparedStructure(MemoryStructure((4, 4, 4, 4), None, True))
    for base in (reversed_base, forward_base):
        examples, targets = examples_of(edits, base), set()
        for number in range(40):
            example = examples.draw(structure, rows(number))
            (target,) = known(example.target, names)
            item, _, segment = target.split("_")
            targets.add(int(segment))
            assert known(example.source, names) == [f"{item}_source_{segment}"]
            shown = {known(m[:, :4], names)[0] for m in memories_of(example)}
            edited = [f"{item}_edited_{i}" for i in range(3)]
            if base is reversed_base:
                later = edited[int(segment) + 1 :] + [f"{item}_extended_{i}" for i in range(2)]
                assert shown == set(later)
            else:
                assert shown == set(edited[: int(segment)])
        assert targets == ({0, 1, 2} if base is reversed_base else {1, 2})


def test_temporal_indices_of_reversed_memories_run_backwards(edits: FolderMaker):
    base = replace(EDITS, memory_order="reversed", memories_carry_source=False)
    structure = PreparedStructure(MemoryStructure((2, 4), None, True), has_previous=True)
    previous, other = examples_of(edits, base).draw(structure, rows(0)).inputs.streams
    assert previous.frame_indices == (5, 4, 3)
    assert other.frame_indices == (8, 7, 6)


def test_the_previous_segment_is_the_one_next_to_the_target_in_the_finest_tokens(
    edits: FolderMaker,
):
    names = names_of(edits)
    structure = PreparedStructure(MemoryStructure((8, 4), None, True), has_previous=True)
    assert structure.kernels == (2, 4)
    for order, step in (("reversed", 1), ("forward", -1)):
        base = replace(EDITS, memory_order=order, memories_carry_source=False)
        examples = examples_of(edits, base)
        for number in range(20):
            example = examples.draw(structure, rows(number))
            (target,) = known(example.target, names)
            item, _, segment = target.split("_")
            nearest = int(segment) + step
            wanted = f"{item}_edited_{nearest}" if nearest < 3 else f"{item}_extended_0"
            first, second = example.inputs.streams
            assert known(first.latent, names) == [wanted]
            assert (first.kernel, second.kernel) == (2, 4)
            assert (min(first.frame_indices), min(second.frame_indices)) == (3, 6)


def test_memories_carry_their_source_where_the_base_wants_it(edits: FolderMaker):
    names = names_of(edits)
    structure = PreparedStructure(MemoryStructure((4,), None, True))
    carrying = examples_of(edits, EDITS).draw(structure, rows(*range(8)))
    (latent,) = memories_of(carrying)
    assert latent.shape[1] == 8
    for edited, source in zip(
        known(latent[:, :4], names), known(latent[:, 4:], names), strict=True
    ):
        assert source == edited.replace("edited", "source")
    alone = replace(EDITS, memories_carry_source=False)
    (latent,) = memories_of(examples_of(edits, alone).draw(structure, rows(0)))
    assert latent.shape[1] == 4


def test_a_segment_without_its_source_is_no_memory_that_carries_one(tmp_path: Path):
    maker = FolderMaker(tmp_path / "edits", "text_edit", RATIOS)
    maker.add_edit("a", 4, num_sources=2)
    examples = examples_of(maker, replace(EDITS, memory_order="reversed"))
    structure = PreparedStructure(MemoryStructure((4, 4), None, True))
    for number in range(10):
        example = examples.draw(structure, rows(number))
        assert known(example.target, names_of(maker)) == ["a_edited_0"]
        for latent in memories_of(example):
            assert known(latent[:, 4:], names_of(maker)) == ["a_source_1"]


def test_an_editors_source_is_never_dropped(edits: FolderMaker):
    examples = examples_of(edits, EDITS, draws={"drop_source": 1.0})
    for seed in range(20):
        structure = examples.structure(0, True, seeded(seed))
        assert structure.memory.has_source
        example = examples.draw(structure, rows(0))
        assert example.source.shape == example.target.shape
        assert all(stream.role == "memory" for stream in example.inputs.streams)


def test_the_previous_segment_comes_first_in_a_share_of_the_steps(edits: FolderMaker):
    examples = examples_of(edits, EDITS, previous_share=0.5, draws={"counts": (0.5, 0.5)})
    drawn = [examples.structure(0, True, seeded(seed)) for seed in range(200)]
    assert not any(structure.has_previous for structure in drawn if not structure.kernels)
    share = [structure.has_previous for structure in drawn if structure.kernels]
    assert sum(share) / len(share) == pytest.approx(0.5, abs=0.12)


def test_noise_lies_on_memories_alone(scenes: FolderMaker):
    names, structure = names_of(scenes), STRUCTURE
    noisy = examples_of(scenes, VIEWS, memory=MemoryDraws(noise=0.1))
    example = noisy.draw(structure, rows(0))
    assert known(example.inputs.streams[0].latent, names)
    clean = examples_of(scenes, VIEWS).draw(structure, rows(0))
    for found, wanted in zip(memories_of(example), memories_of(clean), strict=True):
        assert (found - wanted).std().item() == pytest.approx(0.1, rel=0.2)
    dropped = noisy.draw(replace_source(structure, False), rows(0))
    for latent in memories_of(dropped):
        assert known(latent, names)


def test_a_share_of_the_rows_has_the_empty_prompt(scenes: FolderMaker):
    examples = examples_of(scenes, VIEWS, empty_share=0.3)
    context = examples.draw(ALONE, rows(*range(120))).context
    is_empty = (context == 0).all(2).all(1)
    assert is_empty.float().mean().item() == pytest.approx(0.3, abs=0.1)


def test_a_row_is_the_same_alone_and_in_a_batch(scenes: FolderMaker, edits: FolderMaker):
    for maker, base in ((scenes, VIEWS), (edits, EDITS)):
        examples = examples_of(maker, base, memory=MemoryDraws(noise=0.1), empty_share=0.3)
        structure = replace(STRUCTURE, has_previous=base is EDITS)
        batch = examples.draw(structure, rows(0, 1, 2))
        for number in range(3):
            alone = examples.draw(structure, rows(number))
            assert torch.equal(alone.target[0], batch.target[number])
            assert torch.equal(alone.context[0], batch.context[number])
            for one, every in zip(alone.inputs.streams, batch.inputs.streams, strict=True):
                assert torch.equal(one.latent[0], every.latent[number])


def test_held_out_items_are_never_drawn_in_training(scenes: FolderMaker):
    examples, names = examples_of(scenes, VIEWS), names_of(scenes)
    assert examples.has_held_out
    numbers = range(30)
    trained = set(known(examples.draw(ALONE, rows(*numbers)).target, names))
    held_out = set(known(examples.draw(ALONE, rows(*numbers), is_held_out=True).target, names))
    assert {name[0] for name in trained} == {"a", "b"}
    assert {name[0] for name in held_out} == {"c"}


def test_videos_are_cut_to_the_frames_of_the_recipe(tmp_path: Path):
    maker = FolderMaker(tmp_path / "views", "novel_view", RATIOS)
    maker.add_scene("a", 2)
    maker.add_scene("b", 2, size=(4, 5, 4, 4))
    examples = examples_of(maker, VIEWS, num_frames=2)
    example = examples.draw(STRUCTURE, rows(*range(6)))
    assert example.target.shape[2] == 2
    assert example.inputs.target_cameras.c2w.shape[1] == 2
    assert [stream.frame_indices[0] for stream in example.inputs.streams] == [2, 4, 4]


def test_folders_that_do_not_fit_are_refused(
    scenes: FolderMaker, edits: FolderMaker, tmp_path: Path
):
    with pytest.raises(ValueError, match="holds data for text_edit, wanted novel_view"):
        examples_of(edits, VIEWS)
    with pytest.raises(ValueError, match="holds data for novel_view, wanted text_edit"):
        examples_of(scenes, EDITS)
    other = replace(VIEWS, ratios=VaeRatios(4, 16, 48))
    with pytest.raises(ValueError, match=r"latents of .*spatial=8.*wanted .*spatial=16"):
        examples_of(scenes, other)
    scenes.add_scene("d", 2, size=(4, 3, 4, 6))
    with pytest.raises(ValueError, match=r"latents of 2 sizes .*\(4, 3, 4, 4\).*wanted one"):
        examples_of(scenes, VIEWS)
    lonely = FolderMaker(tmp_path / "lonely", "novel_view", RATIOS)
    lonely.add_scene("a", 1)
    lonely.add_scene("b", 4, "held_out")
    with pytest.raises(ValueError, match="holds no item for training that has a target and"):
        examples_of(lonely, VIEWS)
    short = FolderMaker(tmp_path / "short", "text_edit", RATIOS)
    short.add_edit("a", 1)
    with pytest.raises(ValueError, match="holds no item for training that has a target and"):
        examples_of(short, EDITS)
    short.add_edit("b", 1, num_extended=1)
    assert examples_of(short, replace(EDITS, memory_order="reversed", memories_carry_source=False))

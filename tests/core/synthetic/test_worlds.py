from dataclasses import replace
from itertools import combinations

import pytest
import torch

from memv2v_core.synthetic.edits import AMBIGUOUS, Edit, all_instructions, draw_edit
from memv2v_core.synthetic.outlines import COLOURS, HATS, KINDS, hat_distance
from memv2v_core.synthetic.rendering import render_world, visible_part
from memv2v_core.synthetic.worlds import World, WorldConfig, make_world

CONFIG = WorldConfig(canvas_height=64)
SIZE = 48


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(CONFIG, generator(3))


def test_a_seed_gives_one_world_and_any_frame_of_it_alone(world: World):
    again = make_world(CONFIG, generator(3))
    video = render_world(world, range(4, 9), SIZE)
    assert video.shape == (5, 3, SIZE, SIZE)
    assert video.min() >= 0
    assert video.max() <= 1
    assert torch.equal(video, render_world(again, range(4, 9), SIZE))
    torch.testing.assert_close(render_world(world, [6], SIZE)[0], video[2])


def test_no_two_objects_share_a_name():
    for seed in range(20):
        objects = make_world(CONFIG, generator(seed)).objects
        assert 2 <= len(objects) <= 3
        for names in ([item.kind for item in objects], [item.colour_name for item in objects]):
            assert len(set(names)) == len(names)
            assert set(names) <= {*KINDS, *COLOURS}


def test_an_object_has_about_the_colour_that_its_name_says():
    for seed in range(20):
        for item in make_world(CONFIG, generator(seed)).objects:
            assert item.name == f"{item.colour_name} {item.kind}"
            assert (
                max(abs(a - b) for a, b in zip(item.colour, COLOURS[item.colour_name], strict=True))
                <= 0.06
            )


def test_the_first_object_can_be_called_like_another(world: World):
    worlds = [make_world(CONFIG, generator(seed), like=world.objects[0]) for seed in range(5)]
    assert {other.objects[0].name for other in worlds} == {world.objects[0].name}
    assert len({other.objects[0].x for other in worlds}) == 5


def test_the_visible_part_of_an_object_is_what_a_new_colour_changes(world: World):
    frames = range(0, 30, 6)
    for idx, item in enumerate(world.objects):
        colour = tuple(1 - value for value in item.colour)
        edit = Edit("", idx, "recolour", colour)
        changed = (
            render_world(world, frames, SIZE, edit) - render_world(world, frames, SIZE)
        ).abs().amax(1) > 0.25
        shown = visible_part(world, frames, SIZE, idx)
        assert shown.any()
        assert (shown ^ changed).float().sum() < 0.25 * shown.sum()


def test_an_object_is_where_its_path_says():
    world = make_world(
        replace(CONFIG, num_clutter=0, texture=0.0, min_objects=2, max_objects=2), generator(5)
    )
    item = world.objects[-1]  # in front of the other
    item = replace(item, kind="ball")
    world = replace(world, objects=(item,))
    empty = replace(world, objects=())
    for frame in (0, 11, 37):
        changed = (
            render_world(world, [frame], SIZE) - render_world(empty, [frame], SIZE)
        ).abs().sum(1)[0] > 0.05
        rows, columns = torch.nonzero(changed).float().add(0.5).div(SIZE).mean(0).tolist()
        assert (columns, rows) == pytest.approx(item.centre(frame), abs=0.02)


def test_an_object_that_is_away_is_outside_and_comes_back():
    item = make_world(CONFIG, generator(7), away=(20, 40)).objects[0]
    assert not any(item.is_visible(frame) for frame in range(20, 41))
    assert item.is_visible(0)
    assert item.is_visible(60)
    assert item.centre(0) == make_world(CONFIG, generator(7)).objects[0].centre(0)


@pytest.mark.parametrize("kind", list(AMBIGUOUS))
def test_an_edit_changes_its_object_and_nothing_else(world: World, kind: str):
    edit = draw_edit(world, generator(1), kind=kind, object_idx=0)
    item, frames = world.objects[0], range(0, 30, 6)
    change = (
        (render_world(world, frames, SIZE, edit) - render_world(world, frames, SIZE)).abs().sum(1)
    )
    assert change.amax((1, 2)).min() > 0.1
    axis = (torch.arange(SIZE) + 0.5) / SIZE
    for frame, moved in zip(frames, change, strict=True):
        x, y = item.centre(frame)
        far = torch.maximum((axis[None] - x).abs(), (axis[:, None] - y).abs()) > 2.2 * item.radius
        assert moved[far].max() == 0


def test_instructions_leave_the_answer_open_unless_they_name_a_colour(world: World):
    num_named = {"recolour": 0, "hat": 0}
    for seed in range(60):
        edit = draw_edit(world, generator(seed), named_share=0.5)
        # A colour at the end is the object's new one, a colour and a kind of hat are the hat's.
        named = [name for name in COLOURS if edit.instruction.endswith(f" {name}")]
        named += [name for name in COLOURS for hat in HATS if f"a {name} {hat}" in edit.instruction]
        assert edit.is_ambiguous == (not named)
        if named:
            num_named[edit.kind] += 1
            assert edit.colour == COLOURS[named[0]]
            assert edit.kind == "recolour" or f"{named[0]} {edit.shape}" in edit.instruction
        assert world.objects[edit.object_idx].name in edit.instruction
        if edit.kind == "hat":
            assert edit.shape in HATS
        if edit.kind == "reshape":
            assert edit.shape in KINDS
            assert edit.shape != world.objects[edit.object_idx].kind
        assert edit.instruction in all_instructions(KINDS)
    assert min(num_named.values()) > 8


def test_where_none_is_named_a_hat_takes_nothing_more_from_the_generator(world: World):
    """So that the clips of evaluation and demos stay what they are."""
    one, other = generator(3), generator(3)
    assert draw_edit(world, one, kind="hat").is_ambiguous
    for count in (3, 2, 4, 3, 3):  # kind and object that are not asked for, colour, wording, hat
        torch.randint(count, (), generator=other) if count != 4 else torch.rand(4, generator=other)
    assert torch.equal(one.get_state(), other.get_state())


def test_one_instruction_has_many_answers(world: World):
    answers = {
        draw_edit(world, generator(seed), kind="hat", object_idx=0).shape for seed in range(30)
    }
    assert answers == set(HATS)


def test_kinds_of_hats_can_be_told_apart():
    v, u = torch.meshgrid(torch.linspace(-2, 1, 90), torch.linspace(-2, 2, 120), indexing="ij")
    for first, second in combinations([hat_distance(kind, u, v) < 0 for kind in HATS], 2):
        assert (first & second).sum() < 0.5 * (first | second).sum()

"""Held-out rendered clips of six segments, with an instruction that leaves the answer open.

There are four families: one shot; one shot whose object leaves for three segments; two shots; a
shot, another, and the first again. A later shot has another object of the same name, and the
instruction holds for it too. N frames of the whole clip.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from ...builtin.info import BuiltinInfo
from ...synthetic.edits import TRAINED_KINDS, Edit, draw_edit
from ...synthetic.rendering import render_world
from ...synthetic.worlds import World, WorldConfig, make_world
from ..held_out_seeds import held_out_generator
from ..metrics.segment_looks import ObjectTrack, SceneVideo, joined_scenes

Family = Literal["one_shot", "away", "two_shot", "return"]
FAMILIES: tuple[Family, ...] = ("one_shot", "away", "two_shot", "return")
NUM_SEGMENTS = 6
AWAY_SEGMENTS = (1, 2, 3)
# The world of each segment: 0 is the first, 1 the other.
WORLD_OF_SEGMENT: dict[Family, tuple[int, ...]] = {
    "one_shot": (0,) * NUM_SEGMENTS,
    "away": (0,) * NUM_SEGMENTS,
    "two_shot": (0, 0, 0, 1, 1, 1),
    "return": (0, 0, 1, 1, 0, 0),
}
MAX_CLIPS = 2**16
# Purposes of the generators of one clip. `novel_view.scenes` has the purposes below 16.
CLIP, FIFO_NOISE, SEGMENT_NOISE = 16, 17, 18


@dataclass(frozen=True, eq=False)
class LongClip:
    """One clip.

    scene: its frames, its frames without the edited object, and the track of the object.
    truth: (N, 3, H, W), one right answer. answers: the same shape, with another answer in every
    segment.
    shots: (start, stop) of each.
    world_of_segment: segments with the same number show the same world.
    """

    family: Family
    index: int
    instruction: str
    edit_kind: str
    scene: SceneVideo
    truth: torch.Tensor
    answers: torch.Tensor
    shots: tuple[tuple[int, int], ...]
    world_of_segment: tuple[int, ...]

    @property
    def num_frames(self) -> int:
        return len(self.truth)

    @property
    def has_open_shape(self) -> bool:
        """Whether the instruction leaves the shape open too.

        A new colour keeps the shape of the object.
        """
        return self.edit_kind != "recolour"

    def generator(self, purpose: int) -> torch.Generator:
        """The generator of this clip for one purpose.

        purpose: CLIP, FIFO_NOISE, or SEGMENT_NOISE + the segment's number.
        """
        return _generator(self.family, self.index, purpose)


def long_clip(
    family: Family, index: int, info: BuiltinInfo, config: WorldConfig | None = None
) -> LongClip:
    """Clip `index` of a family, at the size and window of a built-in model.

    It is the same for every number of clips. Kinds of edits take turns. The second world draws its
    own answer.
    """
    # Step 1: two worlds with an object of the same name, and one answer for each.
    config = config or WorldConfig()
    generator = _generator(family, index, CLIP)
    length = info.num_frames
    away = None
    if family == "away":
        away = (AWAY_SEGMENTS[0] * length, (AWAY_SEGMENTS[-1] + 1) * length - 1)
    # Kinds take turns, so that every number of clips has a fair share of each.
    edit_kind = TRAINED_KINDS[index % len(TRAINED_KINDS)]
    first = make_world(config, generator, away=away)
    second = make_world(config, generator, like=first.objects[0])
    worlds = (first, second)
    edits = tuple(draw_edit(world, generator, kind=edit_kind, object_idx=0) for world in worlds)
    # Step 2: segment by segment: the scene, the right answer, and one more answer.
    order = WORLD_OF_SEGMENT[family]
    scenes, truths, answers = [], [], []
    for i, number in enumerate(order):
        frames = range(i * length, (i + 1) * length)
        scenes.append(film(worlds[number], edits[number], frames, info.size))
        truths.append(render_world(worlds[number], frames, info.size, edits[number]))
        # The answer of an editor without memory: a right one, drawn for this segment alone.
        answer = draw_edit(worlds[number], generator, kind=edit_kind, object_idx=0)
        answers.append(render_world(worlds[number], frames, info.size, answer))
    return LongClip(
        family,
        index,
        edits[0].instruction,
        edit_kind,
        joined_scenes(scenes),
        torch.cat(truths),
        torch.cat(answers),
        _shots(order, length),
        order,
    )


def object_track(world: World, edit: Edit, frames: Sequence[int]) -> ObjectTrack:
    """The edited object's track.

    A hat stays upright when the object below it turns.
    """
    item = world.objects[edit.object_idx]
    # The crop turns with the object, so that its shape can be compared between frames.
    turns = [0.0 if edit.kind == "hat" else item.turn(frame) for frame in frames]
    return ObjectTrack(
        centres=torch.tensor([item.centre(frame) for frame in frames]),
        radius=torch.full((len(frames),), item.radius),
        turn=torch.tensor(turns),
        visible=torch.tensor([item.is_visible(frame) for frame in frames]),
    )


def film(world: World, edit: Edit, frames: Sequence[int], size: int) -> SceneVideo:
    """The unedited clip, and the known facts about the object that `edit` changes."""
    # Objects are listed from back to front.
    idx = edit.object_idx
    behind, before = world.objects[:idx], world.objects[idx + 1 :]
    # Without the object, and without the objects before it too. Where the two differ, another
    # object hides the edited one.
    views = ((*behind, *before), behind)
    empty, uncovered = (
        render_world(replace(world, objects=objects), frames, size) for objects in views
    )
    hidden = (empty - uncovered).abs().amax(1, keepdim=True) > 0
    return SceneVideo(
        render_world(world, frames, size), empty, hidden.float(), object_track(world, edit, frames)
    )


def _shots(order: Sequence[int], length: int) -> tuple[tuple[int, int], ...]:
    # A cut is where the world changes.
    cuts = [i * length for i in range(1, len(order)) if order[i] != order[i - 1]]
    edges = [0, *cuts, len(order) * length]
    return tuple(zip(edges[:-1], edges[1:], strict=True))


def _generator(family: Family, index: int, purpose: int) -> torch.Generator:
    assert 0 <= index < MAX_CLIPS
    return held_out_generator(FAMILIES.index(family) * MAX_CLIPS + index, purpose)

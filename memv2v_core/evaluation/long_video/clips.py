"""Held-out rendered clips of six segments, with an instruction that leaves the answer open.

One shot; one shot whose object leaves for three segments; two shots; a shot, another, and the first
again. A later shot holds another object of the same name, and the instruction holds for it as well.
N frames of the whole clip.
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
# World of each segment: 0 is the first, 1 the other.
WORLD_OF_SEGMENT: dict[Family, tuple[int, ...]] = {
    "one_shot": (0,) * NUM_SEGMENTS,
    "away": (0,) * NUM_SEGMENTS,
    "two_shot": (0, 0, 0, 1, 1, 1),
    "return": (0, 0, 1, 1, 0, 0),
}
MAX_CLIPS = 2**16
# What the generators of one clip are for: `held_out` has the purposes below 16.
CLIP, FIFO_NOISE, SEGMENT_NOISE = 16, 17, 18


@dataclass(frozen=True, eq=False)
class LongClip:
    """One clip. scene: its frames, its frames without the edited object, and where that is. truth:
    (N, 3, H, W), one right answer. answers: like `truth`, another one in every segment. shots:
    (start, stop) of each. world_of_segment: segments of one number show one world.
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
        """Whether the instruction leaves the shape open too; a new colour keeps the object's
        own."""
        return self.edit_kind != "recolour"

    def generator(self, purpose: int) -> torch.Generator:
        """The generator of this clip for one of CLIP, FIFO_NOISE, or SEGMENT_NOISE + the segment's
        number.
        """
        return _generator(self.family, self.index, purpose)


def long_clip(
    family: Family, index: int, info: BuiltinInfo, config: WorldConfig | None = None
) -> LongClip:
    """Clip `index` of a family at the size and window of a built-in model; the same whatever the
    number of clips.

    Kinds of edits take turns. The second world's own answer is drawn anew.
    """
    config = config or WorldConfig()
    generator = _generator(family, index, CLIP)
    length = info.num_frames
    away = None
    if family == "away":
        away = (AWAY_SEGMENTS[0] * length, (AWAY_SEGMENTS[-1] + 1) * length - 1)
    edit_kind = TRAINED_KINDS[index % len(TRAINED_KINDS)]
    first = make_world(config, generator, away=away)
    second = make_world(config, generator, like=first.objects[0])
    worlds = (first, second)
    edits = tuple(draw_edit(world, generator, kind=edit_kind, object_idx=0) for world in worlds)
    order = WORLD_OF_SEGMENT[family]
    scenes, truths, answers = [], [], []
    for i, number in enumerate(order):
        frames = range(i * length, (i + 1) * length)
        scenes.append(film(worlds[number], edits[number], frames, info.size))
        truths.append(render_world(worlds[number], frames, info.size, edits[number]))
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
    """The edited object's track; a hat stays upright when the object below it turns."""
    item = world.objects[edit.object_idx]
    turns = [0.0 if edit.kind == "hat" else item.turn(frame) for frame in frames]
    return ObjectTrack(
        centres=torch.tensor([item.centre(frame) for frame in frames]),
        radius=torch.full((len(frames),), item.radius),
        turn=torch.tensor(turns),
        visible=torch.tensor([item.is_visible(frame) for frame in frames]),
    )


def film(world: World, edit: Edit, frames: Sequence[int], size: int) -> SceneVideo:
    """The unedited clip, and what is known of the object that `edit` is for."""
    idx = edit.object_idx
    behind, before = world.objects[:idx], world.objects[idx + 1 :]
    views = ((*behind, *before), behind)
    empty, uncovered = (
        render_world(replace(world, objects=objects), frames, size) for objects in views
    )
    hidden = (empty - uncovered).abs().amax(1, keepdim=True) > 0
    return SceneVideo(
        render_world(world, frames, size), empty, hidden.float(), object_track(world, edit, frames)
    )


def _shots(order: Sequence[int], length: int) -> tuple[tuple[int, int], ...]:
    cuts = [i * length for i in range(1, len(order)) if order[i] != order[i - 1]]
    edges = [0, *cuts, len(order) * length]
    return tuple(zip(edges[:-1], edges[1:], strict=True))


def _generator(family: Family, index: int, purpose: int) -> torch.Generator:
    assert 0 <= index < MAX_CLIPS
    return held_out_generator(FAMILIES.index(family) * MAX_CLIPS + index, purpose)

"""Rendered long clips for users who try the second task.

Training never draws them.
"""

from collections.abc import Callable

import torch

from .edits import Edit, EditKind, draw_edit
from .rendering import render_world
from .worlds import World, WorldConfig, make_world

# Neither training nor evaluation draws from these seeds. torch reads only the lowest 32 bits of a
# seed.
DEMO_SEED_OFFSET = 0xD800_0000
FRAME_RATE = 8.0
# Pixels per side, as in the training of text_edit.
SIZE = 96
_FRAMES_AT_ONCE = 16
# Number of shots: the world that each shot shows. The third shot returns to the first world.
WORLD_OF_SHOT = {1: (0,), 2: (0, 1), 3: (0, 1, 0)}


def demo_scenes(seed: int, shots: int, kind: EditKind) -> tuple[tuple[World, Edit], ...]:
    """The scene and the true edit of every shot.

    A scene that returns keeps its edit. The same seed gives the same scenes for every instruction
    and every number of shots. Every scene has an object of the same name, the one that is edited.
    """
    generator = torch.Generator().manual_seed(DEMO_SEED_OFFSET + seed)
    first = make_world(WorldConfig(), generator)
    # Both worlds are always drawn, so the number of shots changes no draw.
    worlds = first, make_world(WorldConfig(), generator, like=first.objects[0])
    scenes = [(world, draw_edit(world, generator, kind, object_idx=0)) for world in worlds]
    return tuple(scenes[idx] for idx in WORLD_OF_SHOT[shots])


def shot_spans(shots: int, num_frames: int) -> tuple[range, ...]:
    """Frames of every shot; all shots are equally long.

    Raises: ValueError when there are fewer frames than shots.
    """
    if num_frames < shots:
        raise ValueError(
            f"num_frames got {num_frames}, wanted at least {shots}, one a shot; raise it"
        )
    return tuple(
        range(i * num_frames // shots, (i + 1) * num_frames // shots) for i in range(shots)
    )


def render_shots(
    scenes: tuple[tuple[World, Edit], ...],
    num_frames: int,
    size: int,
    after_each: Callable[[int], None] = lambda _count: None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The clip and its true edit, each (F, H, W, 3) in [0, 1].

    Time also passes in a scene that is not shown.

    after_each: called with the number of frames that were just rendered, a few at a time.
    """
    source, target = torch.empty(2, num_frames, size, size, 3).unbind(0)
    for (world, edit), span in zip(scenes, shot_spans(len(scenes), num_frames), strict=True):
        # In pieces, so that progress shows and a stop is noticed.
        for first in span[::_FRAMES_AT_ONCE]:
            frames = range(first, min(first + _FRAMES_AT_ONCE, span.stop))
            here = slice(frames.start, frames.stop)
            source[here] = render_world(world, frames, size).movedim(1, -1)
            target[here] = render_world(world, frames, size, edit).movedim(1, -1)
            after_each(len(frames))
    return source, target

"""The rendered long clips that users try the second task on; training never draws them."""

import torch

from .edits import Edit, EditKind, draw_edit
from .worlds import World, WorldConfig, make_world

# Seeds that neither training nor evaluation draws from; torch reads the lowest 32 bits of a seed
# alone.
DEMO_SEED_OFFSET = 0xD800_0000
FRAME_RATE = 8.0
WORLD_OF_SHOT = {1: (0,), 2: (0, 1), 3: (0, 1, 0)}


def demo_scenes(seed: int, shots: int, kind: EditKind) -> tuple[tuple[World, Edit], ...]:
    """The scene of every shot and its answer to the first one's instruction; a scene that returns
    keeps its answer.

    The same seed gives the same scenes whatever the instruction, and however many shots show them.
    An object of the same name is in all of them.
    """
    generator = torch.Generator().manual_seed(DEMO_SEED_OFFSET + seed)
    first = make_world(WorldConfig(), generator)
    worlds = first, make_world(WorldConfig(), generator, like=first.objects[0])
    scenes = [(world, draw_edit(world, generator, kind, object_idx=0)) for world in worlds]
    return tuple(scenes[idx] for idx in WORLD_OF_SHOT[shots])


def shot_spans(shots: int, num_frames: int) -> tuple[range, ...]:
    """Frames of every shot; shots are equally long.

    Raises: ValueError when there are fewer frames than shots.
    """
    if num_frames < shots:
        raise ValueError(
            f"num_frames got {num_frames}, wanted at least {shots}, one a shot; raise it"
        )
    return tuple(
        range(i * num_frames // shots, (i + 1) * num_frames // shots) for i in range(shots)
    )

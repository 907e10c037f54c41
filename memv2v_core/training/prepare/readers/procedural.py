"""The drawn scenes and edits that the built-in models learnt from, any number of them.

Item i of a seed is always the same. Its numbers come from a range of seeds that no other part of
the project draws from: training begins below it, clips for users and held-out clips lie above.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import torch

from ....cameras.trajectory import CameraTrajectory
from ....synthetic.edits import Edit, draw_edit
from ....synthetic.panoramas import (
    Scene,
    make_scene,
    random_edit_path,
    random_source_path,
    render_panorama,
)
from ....synthetic.rendering import render_world
from ....synthetic.worlds import World, make_world
from ....vocabulary import Task
from ...data.prepared_folder import VideoRole
from ..config import ProceduralOptions
from .raw import ClipSize, RawItem, RawVideo

# torch reads the lowest 32 bits of a seed. Of these, a seed of ours takes MAX_ITEMS, and 256 seeds
# end before 0xA000_0000.
FIRST_SEED = 0x9000_0000
MAX_ITEMS = 2**20
# Canvases and answers have generators of their own, in the upper half of a seed's numbers, so that
# an instruction is known without drawing the picture.
_SECOND = 2**19


@dataclass(frozen=True)
class ProceduralReader:
    """seed: below 256."""

    options: ProceduralOptions
    clip: ClipSize
    seed: int

    def __post_init__(self) -> None:
        if self.clip.height != self.clip.width:
            raise ValueError(
                f"height and width got {self.clip.height} and {self.clip.width}, wanted one "
                "number: drawn clips are square; correct them"
            )
        limits = (("num_items", 1, _SECOND), ("num_views", 2, 64), ("num_segments", 1, 64))
        for name, least, most in limits:
            value = getattr(self.options, name)
            if not least <= value <= most:
                raise ValueError(f"{name} got {value}, wanted {least} to {most}; correct it")
        if self.options.extended_frames < 0:
            raise ValueError("extended_frames got less than 0; correct it")

    @property
    def task(self) -> Task:
        return self.options.task

    def items(self) -> Iterator[RawItem]:
        # The views of a scene are asked for one after the other: it is drawn once.
        scene_of = lru_cache(maxsize=1)(self._scene)
        world_of = lru_cache(maxsize=1)(self._world)
        for index in range(self.options.num_items):
            if self.task == "novel_view":
                yield RawItem(f"scene{index:06d}", partial(self._views, index, scene_of))
            else:
                yield RawItem(f"edit{index:06d}", partial(self._edit, index, world_of))

    def _views(self, index: int, scene_of: Callable[[int], Scene]) -> tuple[RawVideo, ...]:
        return tuple(
            RawVideo(
                f"scene{index:06d}.view{view:02d}",
                "view",
                partial(self._view_frames, index, view, scene_of),
                cameras=partial(self._path, index, view),
            )
            for view in range(self.options.num_views)
        )

    def _edit(self, index: int, world_of: Callable[[int], World]) -> tuple[RawVideo, ...]:
        name, num_frames = f"edit{index:06d}", self.clip.num_frames
        edit = self._answer(index)
        frames = partial(self._edit_frames, index, world_of)
        num_segments = self.options.num_segments

        def video(role: VideoRole, answer: Edit | None, count: int, first: int = 0) -> RawVideo:
            shown = partial(frames, answer)
            text = edit.instruction
            return RawVideo(name, role, shown, text, count_segments=lambda: count, first=first)

        videos = (video("source", None, num_segments), video("edited", edit, num_segments))
        count = self.options.extended_frames // num_frames
        if count == 0:
            return videos
        return (*videos, video("extended", edit, count, num_segments * num_frames))

    def _scene(self, index: int) -> Scene:
        return make_scene(self.options.scenes, self._generator(index))

    def _path(self, index: int, view: int, _aspect: float = 1.0) -> CameraTrajectory:
        """The path of one view; the first one is the source, which hardly moves."""
        generator = self._generator(index, _SECOND)
        paths = [random_source_path(self.options.scenes, self.clip.num_frames, generator)]
        for _ in range(view):
            paths.append(random_edit_path(self.options.scenes, self.clip.num_frames, generator))
        return paths[view]

    def _view_frames(
        self, index: int, view: int, scene_of: Callable[[int], Scene], first: int
    ) -> torch.Tensor:
        assert first == 0
        size = self.clip.height
        return render_panorama(scene_of(index), self._path(index, view), size, size)

    def _world(self, index: int) -> World:
        return make_world(self.options.worlds, self._generator(index))

    def _answer(self, index: int) -> Edit:
        # Objects are drawn before the canvas, so they are those of `_world`.
        blank = torch.zeros(3, 1, 2)
        world = make_world(self.options.worlds, self._generator(index), canvas=blank)
        return draw_edit(world, self._generator(index, _SECOND), kinds=self.options.kinds)

    def _edit_frames(
        self, index: int, world_of: Callable[[int], World], edit: Edit | None, first: int
    ) -> torch.Tensor:
        frames = range(first, first + self.clip.num_frames)
        return render_world(world_of(index), frames, self.clip.height, edit)

    def _generator(self, index: int, purpose: int = 0) -> torch.Generator:
        seed = FIRST_SEED + self.seed * MAX_ITEMS + purpose + index
        return torch.Generator().manual_seed(seed)

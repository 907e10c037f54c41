"""Endless multi-turn examples from procedural scenes.

Scenes, cameras and noise differ from row to row.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from ...bases.base_info import BaseInfo
from ...builtin.codec import Codec
from ...cameras.trajectory import CameraTrajectory
from ...model.camera_encoder import FrameCameras
from ...sampling.inputs import CleanVideo, assemble_inputs
from ...synthetic.panoramas import (
    FilmedView,
    Scene,
    film_scene,
    make_scene,
    random_edit_path,
    random_source_path,
)
from ...synthetic.solids.filming import film_solids
from ...synthetic.solids.making import make_solid_scene
from ...synthetic.solids.paths import random_lens_deg, random_solid_path, random_solid_source
from ...synthetic.solids.scene import SolidScene
from ...vocabulary import Role
from ..config.data import ScenesConfig
from .draws import MemoryStructure, chance, draw_memories, some_frames, with_noise
from .example import Example
from .pools import Pool
from .rows import Rows

# A panorama, or a scene of solids.
AnyScene = TypeVar("AnyScene")


@dataclass(frozen=True)
class SceneStructure:
    """The properties that all rows of one step share."""

    step: int
    memory: MemoryStructure
    target_frames: tuple[int, ...]
    source_frames: tuple[int, ...]
    memory_frames: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class SceneRow:
    """The videos of one scene.

    Cameras are relative to `reference`, the source's first frame.
    """

    reference: CameraTrajectory
    target: FilmedView
    source: FilmedView | None
    memories: tuple[FilmedView, ...]


class SceneExamples:
    """Endless examples of the first task, rendered and encoded on the codec's device.

    base: the model in training, as memory sees it. seed: of the scenes.
    """

    def __init__(self, config: ScenesConfig, base: BaseInfo, codec: Codec, seed: int) -> None:
        self.config, self.base, self.codec = config, base, codec
        self.pool: Pool[tuple[torch.Tensor, float, float]] = Pool(
            "scene", seed, config.first_scenes, config.num_scenes, self._make
        )
        self.solids: Pool[SolidScene] = Pool(
            "solids", seed, config.first_scenes, config.num_scenes, self._make_solids
        )

    has_held_out = True

    def structure(self, step: int, is_whole: bool, generator: torch.Generator) -> SceneStructure:
        config = self.config
        memory = draw_memories(config.memory, generator)

        def some(count: int) -> tuple[int, ...]:
            frames = config.num_frames if is_whole else count
            return some_frames(frames, config.num_frames, generator)

        return SceneStructure(
            step,
            memory,
            some(config.target_frames),
            some(config.source_frames) if memory.has_source else (),
            tuple(some(config.memory_frames) for _ in memory.kernels),
        )

    def draw(self, structure: SceneStructure, rows: Rows, is_held_out: bool = False) -> Example:
        config, memory = self.config, structure.memory
        drawn = [self.draw_row(structure, generator, is_held_out) for generator in rows]
        videos = []
        if structure.source_frames:
            # Rows share a structure, so all of them have a source or none.
            sources = [row.source for row in drawn if row.source is not None]
            videos.append(self._video("source", 2, sources, drawn, structure.source_frames))
        for i, kernel in enumerate(memory.kernels):
            views = [row.memories[i] for row in drawn]
            video = self._video("memory", kernel, views, drawn, structure.memory_frames[i])
            noisy = with_noise(video.latent, config.memory, memory.has_source, rows)
            videos.append(replace(video, latent=noisy))
        inputs = assemble_inputs(
            self.base,
            config.num_frames,
            videos,
            target_cameras=_cameras([row.target for row in drawn], drawn),
            target_frames=structure.target_frames,
            merging=memory.merging(bool(videos)),
        )
        return Example(self._encode([row.target for row in drawn]), inputs)

    def draw_row(
        self, structure: SceneStructure, generator: torch.Generator, is_held_out: bool = False
    ) -> SceneRow:
        """Random cameras in one scene, rendered at the frames of the structure."""
        config = self.config
        # Without scenes of solids nothing is drawn for the choice: older recipes draw as before.
        if config.solid_share and chance(config.solid_share, generator):
            return self._draw_solids(structure, generator, is_held_out)

        def scene() -> Scene:
            panorama, width, height = self.pool.draw(structure.step, generator, is_held_out)
            return Scene(panorama.float() / 255, width, height)

        def view(seen: Scene, path: CameraTrajectory, frames: tuple[int, ...]) -> FilmedView:
            return film_scene(seen, path.frames(frames), config.size)

        # The source is nearly still; edits start at its first pose and turn away.
        return self._filmed(
            structure,
            generator,
            scene,
            lambda: random_source_path(config.scenes, config.num_frames, generator),
            lambda: random_edit_path(config.scenes, config.num_frames, generator),
            view,
        )

    def _draw_solids(
        self, structure: SceneStructure, generator: torch.Generator, is_held_out: bool
    ) -> SceneRow:
        """Random cameras in one scene of solids; things are where the frames' moments put them."""
        config, paths = self.config, self.config.solid_paths
        fov_deg = random_lens_deg(paths, generator)

        def view(seen: SolidScene, path: CameraTrajectory, frames: tuple[int, ...]) -> FilmedView:
            size, moments = config.size, torch.tensor(frames)
            filmed = film_solids(seen, path.frames(frames), size, size, moments)
            # What its pixels show is not kept: a batch needs the pictures alone.
            return FilmedView(filmed.frames, filmed.path)

        return self._filmed(
            structure,
            generator,
            lambda: self.solids.draw(structure.step, generator, is_held_out),
            lambda: random_solid_source(paths, config.num_frames, fov_deg, generator),
            lambda: random_solid_path(paths, config.num_frames, fov_deg, generator),
            view,
        )

    def _filmed(
        self,
        structure: SceneStructure,
        generator: torch.Generator,
        scene: Callable[[], AnyScene],
        source: Callable[[], CameraTrajectory],
        edit: Callable[[], CameraTrajectory],
        view: Callable[[AnyScene, CameraTrajectory, tuple[int, ...]], FilmedView],
    ) -> SceneRow:
        """One scene filmed at the frames of the structure.

        scene, source, edit: draw a scene, its source's path, and another path. view: films.
        """
        own = scene()
        source_path = source()
        target = view(own, edit(), structure.target_frames)
        memories = []
        for frames in structure.memory_frames:
            # Some memories show another scene: the model learns to ignore wrong ones.
            seen = scene() if chance(self.config.irrelevant_share, generator) else own
            memories.append(view(seen, edit(), frames))
        shown = None
        if structure.source_frames:
            shown = view(own, source_path, structure.source_frames)
        return SceneRow(source_path, target, shown, tuple(memories))

    def videos(self, step: int, generators: Rows) -> torch.Tensor:
        """Videos (B, 3, F, H, W) in [-1, 1] for training a codec."""
        structure = self.structure(step, False, generators[0])
        structure = replace(structure, memory_frames=(), source_frames=())
        drawn = [self.draw_row(structure, generator) for generator in generators]
        return torch.stack([row.target.frames for row in drawn]).transpose(1, 2) * 2 - 1

    def _make(self, generator: torch.Generator) -> tuple[torch.Tensor, float, float]:
        scene = make_scene(self.config.scenes, generator, self.codec.device)
        # Stored as bytes: a quarter of the memory.
        panorama = (scene.panorama * 255).round().byte()
        return panorama, scene.half_width_rad, scene.half_height_rad

    def _make_solids(self, generator: torch.Generator) -> SolidScene:
        return make_solid_scene(self.config.solids, generator, self.codec.device)

    def _video(
        self,
        role: Role,
        kernel: int,
        views: list[FilmedView],
        rows: list[SceneRow],
        frames: tuple[int, ...],
    ) -> CleanVideo:
        cameras = _cameras(views, rows)
        return CleanVideo(role, kernel, self._encode(views), cameras=cameras, frames=frames)

    def _encode(self, views: list[FilmedView]) -> torch.Tensor:
        return self.codec.encode_frames(torch.stack([view.frames for view in views]))


def _cameras(views: list[FilmedView], rows: list[SceneRow]) -> FrameCameras:
    return FrameCameras.joined(
        [
            FrameCameras.from_trajectory(view.path, row.reference)
            for view, row in zip(views, rows, strict=True)
        ]
    )

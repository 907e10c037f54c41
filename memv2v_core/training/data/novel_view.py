"""Endless multi-turn examples from procedural scenes.

All examples of one step share a structure (number of memories, kernels, frames, merging), because
the rows of a batch share a token layout. Scenes, cameras and noise differ from row to row.
"""

from dataclasses import dataclass, replace

import torch

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
from ...tokens.merging import MergeConfig
from ...vocabulary import Role
from ..config import DataConfig
from .draws import Draws
from .example import Example, base_in_training


@dataclass(frozen=True)
class Structure:
    """The properties that all rows of one step share."""

    target_frames: tuple[int, ...]
    source_frames: tuple[int, ...]
    memory_frames: tuple[tuple[int, ...], ...]
    kernels: tuple[int, ...]
    share: float | None


class SceneStream:
    """A pool of scenes, stored as bytes.

    It takes in a new scene at every step until it is full, then each new scene replaces the oldest.
    """

    def __init__(self, config: DataConfig, generator: torch.Generator) -> None:
        self.config = config
        self.generator = generator
        self._pool: list[tuple[torch.Tensor, float, float]] = []
        self._next = 0
        for _ in range(config.first_scenes):
            self.add()

    def add(self) -> None:
        scene = make_scene(self.config.scenes, self.generator)
        # Stored as bytes: a quarter of the memory.
        item = ((scene.panorama * 255).round().byte(), scene.half_width_rad, scene.half_height_rad)
        if len(self._pool) < self.config.num_scenes:
            self._pool.append(item)
        else:
            self._pool[self._next % self.config.num_scenes] = item
        self._next += 1

    def draw(self) -> Scene:
        index = int(torch.randint(len(self._pool), (), generator=self.generator))
        panorama, half_width, half_height = self._pool[index]
        return Scene(panorama.float() / 255, half_width, half_height)


class NovelViewExamples:
    """Endless examples of the first task."""

    def __init__(self, config: DataConfig, generator: torch.Generator) -> None:
        self.config = config
        self.generator = generator
        self.scenes = SceneStream(config, generator)

    def draw(self, all_frames: bool, batch_size: int, codec: Codec) -> Example:
        """The next batch, with whole clips or some frames of each."""
        structure = draw_structure(self.config, all_frames, self.generator)
        self.scenes.add()
        return draw_example(self.config, structure, batch_size, self.scenes, codec, self.generator)

    def videos(self, count: int) -> torch.Tensor:
        """Videos (count, 3, F, H, W) in [-1, 1] for training a codec."""
        structure = draw_structure(self.config, False, self.generator)
        rows = [
            draw_row(self.config, structure, self.scenes.draw(), self.generator)
            for _ in range(count)
        ]
        self.scenes.add()
        return torch.stack([row.target.frames for row in rows]).transpose(1, 2) * 2 - 1


def draw_structure(config: DataConfig, all_frames: bool, generator: torch.Generator) -> Structure:
    """Frames, kernels and merging of one step.

    A share `single_kernel_share` of the steps gives every memory the same random kernel, the others
    mix kernels.
    Source: Sec. 4.1, arXiv:2601.16296v2.
    """

    draws = Draws(generator)

    def some(count: int) -> tuple[int, ...]:
        return draws.frames(config.num_frames if all_frames else count, config.num_frames)

    # Step 1: how many memories, and the kernel of each.
    weights = torch.tensor(config.memory_counts)
    num_memories = int(torch.multinomial(weights, 1, generator=generator))
    # Shares of 1x2x2, 1x4x4 and 1x8x8.
    pick = torch.tensor([0.1, 0.6, 0.3])
    choice = torch.multinomial(
        pick, max(num_memories, 1), replacement=True, generator=generator
    ).tolist()
    if draws.chance(config.single_kernel_share):
        choice = [choice[0]] * len(choice)
    kernels = tuple((2, 4, 8)[c] for c in choice[:num_memories])
    # Step 2: merging, at a share from the range of the paper.
    share = draws.merge_share(config.merge_probability)
    # Step 3: frames of each video. Some steps drop the source, so that memories must serve alone
    # (App. D.1).
    memory_frames = tuple(some(config.memory_frames) for _ in kernels)
    has_source = num_memories == 0 or not draws.chance(config.drop_source)
    return Structure(
        some(config.target_frames),
        some(config.source_frames) if has_source else (),
        memory_frames,
        kernels,
        share,
    )


@dataclass(frozen=True, eq=False)
class Row:
    """The videos of one scene.

    Cameras are relative to `reference`, the source's first frame.
    """

    reference: CameraTrajectory
    target: FilmedView
    source: FilmedView | None
    memories: tuple[FilmedView, ...]


def draw_example(
    config: DataConfig,
    structure: Structure,
    batch_size: int,
    scenes: SceneStream,
    codec: Codec,
    generator: torch.Generator,
) -> Example:
    """A batch of this structure, encoded by the codec."""
    rows = [draw_row(config, structure, scenes.draw(), generator) for _ in range(batch_size)]
    videos = []
    if structure.source_frames:
        # Rows share a structure, so all of them have a source or none.
        sources = [row.source for row in rows if row.source is not None]
        videos.append(_clean_video("source", 2, sources, rows, structure.source_frames, codec))
    for i, kernel in enumerate(structure.kernels):
        # Some memories come from another row's scene: the model learns to ignore wrong ones.
        wrong = torch.rand(batch_size, generator=generator) < config.irrelevant_share
        views = [
            rows[(b + 1) % batch_size if wrong[b] else b].memories[i] for b in range(batch_size)
        ]
        video = _clean_video("memory", kernel, views, rows, structure.memory_frames[i], codec)
        level = config.memory_noise * torch.rand(batch_size, 1, 1, 1, 1, generator=generator)
        noise = torch.randn(video.latent.shape, generator=generator).to(video.latent)
        # Eq. 15, with a random level instead of one fixed sigma.
        videos.append(replace(video, latent=video.latent + level.to(noise) * noise))
    inputs = assemble_inputs(
        base_in_training(codec.ratios, "sequence"),
        config.num_frames,
        videos,
        target_cameras=_cameras([row.target for row in rows], rows),
        target_frames=structure.target_frames,
        merging=None if structure.share is None or not videos else MergeConfig(structure.share),
    )
    return Example(_encode(codec, [row.target for row in rows]), inputs)


def draw_row(
    config: DataConfig, structure: Structure, scene: Scene, generator: torch.Generator
) -> Row:
    """Random cameras in one scene, rendered at the frames of the structure."""
    # The source is nearly still; edits start at its first pose and turn away.
    source_path = random_source_path(config.scenes, config.num_frames, generator)

    def view(path: CameraTrajectory, frames: tuple[int, ...]) -> FilmedView:
        chosen = path.frames(frames)
        return film_scene(scene, chosen, config.size)

    def edit() -> CameraTrajectory:
        return random_edit_path(config.scenes, config.num_frames, generator)

    return Row(
        reference=source_path,
        target=view(edit(), structure.target_frames),
        source=view(source_path, structure.source_frames) if structure.source_frames else None,
        memories=tuple(view(edit(), frames) for frames in structure.memory_frames),
    )


def _clean_video(
    role: Role,
    kernel: int,
    views: list[FilmedView],
    rows: list[Row],
    frames: tuple[int, ...],
    codec: Codec,
) -> CleanVideo:
    latent, cameras = _encode(codec, views), _cameras(views, rows)
    return CleanVideo(role, kernel, latent, cameras=cameras, frames=frames)


def _encode(codec: Codec, views: list[FilmedView]) -> torch.Tensor:
    return codec.encode_frames(torch.stack([view.frames for view in views]))


def _cameras(views: list[FilmedView], rows: list[Row]) -> FrameCameras:
    return FrameCameras.joined(
        [
            FrameCameras.from_trajectory(view.path, row.reference)
            for view, row in zip(views, rows, strict=True)
        ]
    )

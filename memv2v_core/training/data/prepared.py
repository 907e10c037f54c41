"""Examples from a prepared folder: views of scenes, or edits of clips.

Every row draws its item by itself, so a run has no order that a resume could lose (our choice).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from ...bases.base_info import BaseInfo
from ...cameras.trajectory import CameraTrajectory
from ...model.camera_encoder import FrameCameras
from ...sampling.inputs import CleanVideo, assemble_inputs
from ...tokens.tokenizers import BASE_KERNEL
from ...vocabulary import Role
from ..config.data import PreparedConfig
from .draws import MemoryStructure, chance, draw_memories, with_noise
from .example import Example
from .prepared_folder import PreparedFolder, PreparedItem, PreparedVideo, Split
from .rows import Rows


@dataclass(frozen=True)
class PreparedStructure:
    """The properties that all rows of one step share.

    has_previous: whether the first memory is the segment next to the target.
    """

    memory: MemoryStructure
    has_previous: bool = False

    @property
    def kernels(self) -> tuple[int, ...]:
        """The kernel of every memory."""
        first = (BASE_KERNEL,) if self.has_previous else ()
        return first + self.memory.kernels[len(first) :]


@dataclass(frozen=True)
class _Row:
    """The videos of one row: a target, its source, and its memories with their sources.

    sources: beside each memory, for a base that takes both on the channel axis; else None.
    """

    target: PreparedVideo
    source: PreparedVideo
    memories: tuple[PreparedVideo, ...]
    sources: tuple[PreparedVideo | None, ...]


@dataclass(frozen=True)
class PreparedExamples:
    """Examples of either task.

    base: the model in training, as memory sees it. device: of the examples.

    Raises: ValueError for a folder of another task, with too few items, or with videos of several
    sizes.
    """

    config: PreparedConfig
    folder: PreparedFolder
    base: BaseInfo
    device: torch.device

    def __post_init__(self) -> None:
        task = "novel_view" if self.base.has_source_tokens else "text_edit"
        if self.folder.header.task != task:
            raise ValueError(
                f"{self.folder.path} holds data for {self.folder.header.task}, wanted {task} for "
                "this base; prepare it with this recipe"
            )
        if self.folder.header.ratios != self.base.ratios:
            raise ValueError(
                f"{self.folder.path} holds latents of {self.folder.header.ratios}, wanted "
                f"{self.base.ratios} of this base; prepare it with the base's VAE"
            )
        if not self._usable("train"):
            raise ValueError(
                f"{self.folder.path} holds no item for training that has a target and a video to "
                "remember; add views of each scene, or longer or lengthened edits"
            )
        sizes = {self._size(video) for item in self.folder.items for video in item.videos}
        if len(sizes) > 1:
            raise ValueError(
                f"{self.folder.path} holds latents of {len(sizes)} sizes (channels, frames, "
                f"height, width): {sorted(sizes)[:3]}, wanted one; prepare it with one size and "
                "length, or set prepared.num_frames"
            )

    def structure(self, step: int, is_whole: bool, generator: torch.Generator) -> PreparedStructure:
        memory = draw_memories(self.config.memory, generator)
        if self.base.has_source_tokens:
            return PreparedStructure(memory)
        # An editor's source lies beside its target and cannot be dropped.
        memory = replace(memory, has_source=True)
        wants_previous = chance(self.config.previous_share, generator)
        return PreparedStructure(memory, wants_previous and len(memory.kernels) > 0)

    def draw(self, structure: PreparedStructure, rows: Rows, is_held_out: bool = False) -> Example:
        drawn = [self._row(structure, generator, is_held_out) for generator in rows]
        target = self._latents([row.target for row in drawn])
        source = self._latents([row.source for row in drawn])
        has_cameras, videos = self.base.has_cameras, []
        if structure.memory.has_source:
            cameras = self._cameras([row.source for row in drawn], drawn)
            videos.append(CleanVideo("source", BASE_KERNEL, source, cameras=cameras))
        for i, kernel in enumerate(structure.kernels):
            memories = [row.memories[i] for row in drawn]
            latent = self._latents(memories)
            noisy = with_noise(latent, self.config.memory, structure.memory.has_source, rows)
            role: Role = "previous" if i == 0 and structure.has_previous else "memory"
            beside = [row.sources[i] for row in drawn]
            sources = [video for video in beside if video is not None]
            videos.append(
                CleanVideo(
                    role,
                    kernel,
                    noisy,
                    source=self._latents(sources) if sources else None,
                    cameras=self._cameras(memories, drawn),
                )
            )
        inputs = assemble_inputs(
            self.base,
            target.shape[2],
            videos,
            target_cameras=self._cameras([row.target for row in drawn], drawn),
            merging=structure.memory.merging(bool(videos)),
        )
        assert has_cameras == (inputs.target_cameras is not None)
        context = self._context([row.target for row in drawn], rows)
        beside_target = None if self.base.has_source_tokens else source
        return Example(target, inputs, beside_target, context=context)

    def _row(
        self, structure: PreparedStructure, generator: torch.Generator, is_held_out: bool
    ) -> _Row:
        items = self._usable("held_out" if is_held_out else "train")
        item = items[int(torch.randint(len(items), (), generator=generator))]
        if self.base.has_source_tokens:
            return _views_row(item, len(structure.kernels), generator)
        return _edit_row(item, structure, self.base, generator)

    def _usable(self, split: Split) -> tuple[PreparedItem, ...]:
        return self._train if split == "train" else self._held_out

    @cached_property
    def _train(self) -> tuple[PreparedItem, ...]:
        return tuple(each for each in self.folder.items_of("train") if self._is_usable(each))

    @cached_property
    def _held_out(self) -> tuple[PreparedItem, ...]:
        return tuple(each for each in self.folder.items_of("held_out") if self._is_usable(each))

    def _is_usable(self, item: PreparedItem) -> bool:
        if self.base.has_source_tokens:
            return len(_of(item, "view")) >= 2
        return bool(_edit_targets(item, self.base))

    @property
    def has_held_out(self) -> bool:
        """Whether there is an item that training never sees."""
        return bool(self._held_out)

    def _size(self, video: PreparedVideo) -> tuple[int, int, int, int]:
        channels, num_frames, height, width = video.latent_size
        return channels, min(num_frames, self.config.num_frames or num_frames), height, width

    def _latents(self, videos: Sequence[PreparedVideo]) -> torch.Tensor:
        """(B, C, T, H, W) of one video a row, the first frames of each."""
        latents = [self.folder.latent(video)[:, : self._size(video)[1]] for video in videos]
        return torch.stack(latents).to(self.device)

    def _cameras(
        self, videos: Sequence[PreparedVideo], rows: Sequence[_Row]
    ) -> FrameCameras | None:
        """Cameras relative to the first frame of each row's source, where the base takes any."""
        if not self.base.has_cameras:
            return None
        paths = [self._path(video) for video in videos]
        references = [self._path(row.source) for row in rows]
        return FrameCameras.joined(
            [
                FrameCameras.from_trajectory(path, reference)
                for path, reference in zip(paths, references, strict=True)
            ]
        )

    def _path(self, video: PreparedVideo) -> CameraTrajectory:
        return self.folder.cameras(video).frames(tuple(range(self._size(video)[1])))

    def _context(self, videos: Sequence[PreparedVideo], rows: Rows) -> torch.Tensor:
        """Text tokens (B, L, D); some rows have the empty prompt."""
        texts = []
        for video, generator in zip(videos, rows, strict=True):
            is_empty = chance(self.config.empty_share, generator)
            texts.append(self.folder.text("" if is_empty else video.caption))
        # Rows shorter than the longest are filled with zeros, as the encoder fills them.
        return torch.nn.utils.rnn.pad_sequence(texts, batch_first=True).to(self.device)


def _views_row(item: PreparedItem, count: int, generator: torch.Generator) -> _Row:
    """A target, a source and memories: different views of one scene.

    A scene with too few views repeats them, but never shows the target.
    """
    views = _of(item, "view")
    order = torch.randperm(len(views), generator=generator).tolist()
    target, *others = (views[i] for i in order)
    memories = tuple(others[(i + 1) % len(others)] for i in range(count))
    return _Row(target, others[0], memories, (None,) * count)


def _edit_row(
    item: PreparedItem, structure: PreparedStructure, base: BaseInfo, generator: torch.Generator
) -> _Row:
    """A segment to edit, and memories from its future or its past, as the base's order wants."""
    targets = _edit_targets(item, base)
    number = targets[int(torch.randint(len(targets), (), generator=generator))]
    sources, edited = _of(item, "source"), _of(item, "edited")
    pool = _memory_numbers(item, number, base)
    nearest = pool[0]
    order = [pool[i] for i in torch.randperm(len(pool), generator=generator).tolist()]
    if structure.has_previous:
        order.remove(nearest)
        order.insert(0, nearest)
    chosen = [order[i % len(order)] for i in range(len(structure.kernels))]
    videos = edited + _of(item, "extended")
    beside = tuple(sources[i] if base.memories_carry_source else None for i in chosen)
    return _Row(edited[number], sources[number], tuple(videos[i] for i in chosen), beside)


def _edit_targets(item: PreparedItem, base: BaseInfo) -> list[int]:
    """Numbers of the edited segments that have a source and something to remember."""
    count = min(len(_of(item, "source")), len(_of(item, "edited")))
    return [number for number in range(count) if _memory_numbers(item, number, base)]


def _memory_numbers(item: PreparedItem, target: int, base: BaseInfo) -> list[int]:
    """Numbers of the segments that may be remembered beside a target, nearest in time first.

    Segments are numbered in time: edited ones, then the ones that the extension added. Those have
    no source.
    """
    num_segments = len(_of(item, "edited"))
    if base.memories_carry_source:
        num_segments = min(num_segments, len(_of(item, "source")))
    else:
        num_segments += len(_of(item, "extended"))
    if base.memory_order == "reversed":
        return list(range(target + 1, num_segments))
    return list(range(target - 1, -1, -1))


def _of(item: PreparedItem, role: str) -> tuple[PreparedVideo, ...]:
    """The item's videos of one role, in time where they are segments."""
    return tuple(video for video in item.videos if video.role == role)

"""Small prepared folders, written by hand: views of scenes, and edits with their lengthening."""

from pathlib import Path

import torch

from memv2v_core.cameras.trajectory import CameraTrajectory, default_intrinsics
from memv2v_core.shapes import VaeRatios
from memv2v_core.training.data.prepared_folder import (
    PreparedFolder,
    PreparedHeader,
    PreparedItem,
    PreparedVideo,
    Split,
    VideoRole,
)
from memv2v_core.training.data.prepared_writing import PreparedWriter
from memv2v_core.vocabulary import Task

TEXT_WIDTH = 8
Size = tuple[int, int, int, int]


def latent_of(name: str, size: Size) -> torch.Tensor:
    """The latent of a video: noise that only this name has."""
    generator = torch.Generator().manual_seed(
        sum(ord(c) * 31**i for i, c in enumerate(name)) % 2**31
    )
    return torch.randn(size, generator=generator).half().float()


def path_of(name: str, num_frames: int) -> CameraTrajectory:
    """The cameras of a video: turned and moved in a way that only this name has."""
    generator = torch.Generator().manual_seed(
        sum(ord(c) * 37**i for i, c in enumerate(name)) % 2**31
    )
    angle = torch.rand(num_frames, generator=generator, dtype=torch.float64)
    c2w = torch.eye(4, dtype=torch.float64).repeat(num_frames, 1, 1)
    c2w[:, 0, 0] = c2w[:, 2, 2] = angle.cos()
    c2w[:, 0, 2], c2w[:, 2, 0] = angle.sin(), -angle.sin()
    c2w[:, :3, 3] = torch.randn(num_frames, 3, generator=generator, dtype=torch.float64)
    return CameraTrajectory(c2w, default_intrinsics(num_frames))


def text_of(caption: str) -> torch.Tensor:
    """Two text tokens that only this caption has; the empty prompt is zero."""
    if caption == "":
        return torch.zeros(2, TEXT_WIDTH)
    return torch.full((2, TEXT_WIDTH), float(len(caption)))


class FolderMaker:
    """Writes a prepared folder of one task; `folder` joins and opens it."""

    def __init__(
        self, path: Path, task: Task, ratios: VaeRatios, text_width: int | None = TEXT_WIDTH
    ) -> None:
        header = PreparedHeader(task, "made by hand", "noise", ratios, text_width)
        self.writer = PreparedWriter(path, header)
        self.size: Size = (ratios.channels, 3, 4, 4)
        if text_width is not None:
            self.writer.write_text("", text_of(""))

    def add_scene(
        self, name: str, num_views: int, split: Split = "train", size: Size | None = None
    ) -> None:
        """A scene with views NAME_0, NAME_1 ..."""
        videos = [
            self._video(f"{name}_{i}", "view", size, f"view {i} of {name}")
            for i in range(num_views)
        ]
        self.writer.finish(PreparedItem(name, split, tuple(videos)))

    def add_edit(
        self,
        name: str,
        num_segments: int,
        num_extended: int = 0,
        split: Split = "train",
        num_sources: int | None = None,
    ) -> None:
        """An edit: NAME_source_0 ..., NAME_edited_0 ... and NAME_extended_0 ..."""
        counts: dict[VideoRole, int] = {
            "source": num_segments if num_sources is None else num_sources,
            "edited": num_segments,
            "extended": num_extended,
        }
        videos = [
            self._video(f"{name}_{role}_{i}", role, None, f"edit {name}")
            for role, count in counts.items()
            for i in range(count)
        ]
        self.writer.finish(PreparedItem(name, split, tuple(videos)))

    def folder(self) -> PreparedFolder:
        """The folder with all items, opened."""
        self.writer.write_index()
        return PreparedFolder.open(self.writer.path)

    def _video(self, name: str, role: VideoRole, size: Size | None, caption: str) -> PreparedVideo:
        size = size or self.size
        is_view = role == "view"
        video = PreparedVideo(name, role, size, size[1], caption, has_cameras=is_view)
        self.writer.write_latent(video, latent_of(name, size))
        if is_view:
            self.writer.write_cameras(video, path_of(name, size[1]))
        if self.writer.header.text_width is not None and not self.writer.has_text(caption):
            self.writer.write_text(caption, text_of(caption))
        return video

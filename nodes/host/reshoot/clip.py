"""A clip to re-shoot, as a model sees it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from comfy_api.latest import Input

from ....memv2v_core.bases.base_info import BaseInfo
from ....memv2v_core.cameras.trajectory import CameraTrajectory, lens_intrinsics
from ....memv2v_core.cameras.written import parse_paths
from ....memv2v_core.clips.fitted_cameras import (
    fitted_target_path,
    held_to_the_end,
)
from ....memv2v_core.clips.fitting import Aspect, FittingPlan, describe_fitting, plan_fitting
from ....memv2v_core.reshoot.settings import CameraMove
from ....memv2v_core.shapes import padded_num_frames
from ..clips.fitted import fitted_frames
from ..clips.segments import eight_bits, model_budget
from ..footage.reading import Clip, Tell, exact_rate, open_clip

NO_PATHS = (
    "paths is empty, wanted at least one camera path; write one a line, such as 'pan_left 30', or "
    "connect a camera"
)


@dataclass(frozen=True)
class FitSettings:
    """How a clip is fitted. The fields have the names of the widgets.

    num_frames, width, height: 0 takes the number of the model.
    """

    num_frames: int
    width: int
    height: int
    aspect: Aspect


@dataclass(frozen=True, eq=False)
class ShotClip:
    """A clip with the plan that fits it to the model `info`."""

    clip: Clip
    plan: FittingPlan
    info: BaseInfo
    aspect: Aspect

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of its latent."""
        ratios, (height, width) = self.info.ratios, self.plan.size
        return ratios.channels, height // ratios.spatial, width // ratios.spatial

    @cached_property
    def frames(self) -> torch.Tensor:
        """The fitted clip (num_frames, H, W, 3)."""
        return fitted_frames(self.clip, self.plan)

    @cached_property
    def digest(self) -> str:
        """Hash of the fitted frames; it is the same on every day and device."""
        digest = hashlib.blake2b(f"{self.plan.scaled} {self.plan.size}".encode(), digest_size=16)
        for frame in self.frames:
            digest.update(eight_bits(frame))
        return digest.hexdigest()

    @property
    def summary(self) -> str:
        """How the clip was fitted, in words."""
        return describe_fitting(self.plan, self.aspect, self.info.ratios.temporal)


def open_shot(
    info: BaseInfo,
    settings: FitSettings,
    video: Input.Video | None,
    images: torch.Tensor | None,
    frame_rate: float,
    audio: dict | None,
    tell: Tell | None,
) -> ShotClip:
    """The connected clip, with the plan that fits it to a model.

    Raises: ValueError for a clip, sound or size that is not possible, see `open_clip`.
    """
    budget = model_budget(info, settings.width, settings.height, settings.aspect)
    clip = open_clip(images, video, exact_rate(frame_rate), audio, tell=tell)
    temporal = info.ratios.temporal
    count = settings.num_frames or padded_num_frames(info.num_frames, temporal)
    plan = plan_fitting(clip.num_frames, clip.size, budget, count, temporal, settings.aspect)
    return ShotClip(clip, plan, info, settings.aspect)


def moves_of(
    shot: ShotClip,
    paths: str,
    cameras: Mapping[str, CameraTrajectory],
    source_path: CameraTrajectory | None,
    fov_deg: float,
) -> tuple[tuple[CameraMove, ...], tuple[str, ...]]:
    """The camera paths of a re-shoot over the fitted clip, and notes about them.

    paths: in words, see `parse_paths`. cameras: the connected ones by their sockets' names; where
    there is one, `paths` is not read.
    source_path: the fitted camera of the clip, whose lens written paths take.
    fov_deg: the lens of written paths else; 0 takes the model's.

    Raises: ValueError where there is no path, and for paths that are not possible.
    """
    if not cameras:
        return _written_moves(shot, paths, _lens(shot, source_path, fov_deg)), ()
    moves = tuple(
        CameraMove(name, fitted_target_path(path, shot.plan)) for name, path in cameras.items()
    )
    num_chosen = len(shot.plan.chosen)
    fitting = (shot.plan.num_source, num_chosen, shot.plan.num_frames)
    notes = [
        f"{name}: {path.num_frames} cameras are spread evenly over the {num_chosen} frames that "
        "the model sees"
        for name, path in cameras.items()
        if path.num_frames not in fitting
    ]
    if paths.strip():
        notes.append("cameras are connected, so the words in paths are not used")
    return moves, tuple(notes)


def _written_moves(shot: ShotClip, paths: str, lens: torch.Tensor) -> tuple[CameraMove, ...]:
    count = len(shot.plan.chosen)
    moves = tuple(
        CameraMove(written.name, held_to_the_end(written.path(count, lens), shot.plan))
        for written in parse_paths(paths)
    )
    if not moves:
        raise ValueError(NO_PATHS)
    return moves


def _lens(shot: ShotClip, source_path: CameraTrajectory | None, fov_deg: float) -> torch.Tensor:
    if source_path is not None:
        return source_path.intrinsics[0]
    height, width = shot.plan.size
    # 0 stands for the default lens here too.
    return lens_intrinsics(fov_deg or shot.info.fov_deg or 0.0, 1.0, width / height)

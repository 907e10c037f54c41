"""One turn: a source, a path, and the memories that the model sees while it edits.

C channels, T latent frames, H rows and W columns of latents.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from ..bases.base_info import BaseInfo
from ..cache.entry import MemoryEntry
from ..cameras.playback import playback_summary
from ..cameras.trajectory import CameraTrajectory, require_length, static_trajectory
from ..model.camera_encoder import FrameCameras
from ..model.memory_inputs import MemoryInputs
from ..model.playback_time import latent_frame_times
from ..retrieval.frames import evenly_spread, frames_by_source, frames_by_view
from ..shapes import latent_frame_indices, num_latent_frames
from ..tokens.budget import TokenPlan
from ..tokens.reuse import ReuseConfig
from ..tokens.tokenizers import BASE_KERNEL
from ..vocabulary import CameraConditioning, Role
from .inputs import CleanVideo, assemble_inputs, shown_parts

Normalise = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Turn:
    """One edit: everything that decides the model's input, except prompts and noise.

    source: (C, T, H, W) in the VAE's unnormalised space, or None.
    source_path, target_path: one camera per (padded) pixel frame; None for a base without cameras.
    plan: the memories. None asks for a turn without memory; an empty plan found none.
    """

    base: BaseInfo
    source: torch.Tensor | None = None
    source_path: CameraTrajectory | None = None
    target_path: CameraTrajectory | None = None
    plan: TokenPlan | None = None

    @property
    def memories(self) -> tuple[MemoryEntry, ...]:
        """The memories, best first."""
        return self.plan.retrieval.entries if self.plan is not None else ()

    @property
    def kernels(self) -> tuple[int, ...]:
        """The kernel of every memory."""
        return self.plan.kernels if self.plan is not None else ()

    @property
    def reuse(self) -> ReuseConfig:
        """How often clean tokens are computed anew."""
        return ReuseConfig() if self.plan is None else self.plan.reuse

    @property
    def is_bare(self) -> bool:
        """Whether the model gets no source, path or memory, and so stays as it is."""
        return self.source is None and self.target_path is None and not self.memories

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """(C, T, H, W) of the target.

        With a source it is the shape of the source. Without one, T comes from the path and H, W
        from the memories; where these are missing too, the base's own size counts.

        Raises: ValueError for a path whose length the VAE's temporal ratio does not fit.
        """
        if self.source is not None:
            channels, num_latent, height, width = self.source.shape
            return channels, num_latent, height, width
        # Without a path, memories also decide the length.
        num_latent = self.memories[0].num_latent_frames if self.memories else 1
        if self.target_path is not None:
            num_latent = num_latent_frames(self.target_path.num_frames, self.base.ratios.temporal)
        height, width = self.base.latent_size
        if self.memories:
            _, height, width = self.memories[0].latent_shape
        return self.base.ratios.channels, num_latent, height, width

    def inputs(self, normalise: Normalise) -> MemoryInputs:
        """The inputs of the DiT beside the noisy target.

        normalise: from the VAE's latent space to the DiT's. Cameras are relative to the source's
        first frame.

        Raises: ValueError when a path is shorter than its video, when memories have no camera path
        to be relative to, or when a memory lacks the source that the base takes with it.
        """
        num_target, plan = self.latent_shape[1], self.plan
        videos = []
        # Step 1: the source, always at the finest kernel.
        if self.source is not None:
            cameras = self._cameras(self.source_path, self.source.shape[1])
            latent = normalise(self.source.unsqueeze(0))
            videos.append(CleanVideo("source", BASE_KERNEL, latent, cameras=cameras))
        # Step 2: the memories, each at the kernel of its rank.
        if plan is not None:
            for ranked, kernel in zip(plan.retrieval.ranked, plan.kernels, strict=True):
                entry = ranked.entry
                role: Role = "previous" if ranked.is_previous else "memory"
                # An editor sees every memory beside the source that it was edited from, unless its
                # adapter was trained on edits alone.
                source = None
                if self.base.shows_sources_of_memories:
                    source = normalise(_source_of(entry).unsqueeze(0))
                cameras = self._cameras(entry.camera, entry.num_latent_frames)
                latent = normalise(entry.latent.unsqueeze(0))
                whole = CleanVideo(role, kernel, latent, source, cameras)
                videos += shown_parts(whole, self._shown_frames(entry), self.base.has_source_ids)
        # Step 3: temporal indices, cameras and merging.
        return assemble_inputs(
            self.base,
            num_target,
            videos,
            target_cameras=self._cameras(self.target_path, num_target),
            merging=None if plan is None else plan.merging_for(self.base.mode),
            memory_range="own" if plan is None else plan.memory_range,
            camera_conditioning=self._camera_conditioning(),
        )

    def describe(self) -> str:
        """The memories that the model sees, its mode, and what is assumed, in words."""
        pairs = zip(self.memories, self.kernels, strict=True)
        seen = ", ".join(f"turn {entry.turn} at 1x{kernel}x{kernel}" for entry, kernel in pairs)
        lines = [f"{self.base.model_name}, {self.base.mode} mode", f"memories: {seen or 'none'}"]
        if self.source is None:
            lines.append(f"source: none; {self._without_source()}")
        if self.source_path is not None and self.source_path.is_assumed:
            lines.append("the source's camera is unknown and taken as static")
        if self.target_path is not None and self.target_path.times is not None:
            lines.append(f"the target {playback_summary(self.target_path.times)}")
        if remark := self._beyond_training():
            lines.append(remark)
        return "\n".join(lines)

    def _beyond_training(self) -> str:
        """Where the target moves farther than the base's training, in words; else ""."""
        if self.target_path is None or self.base.reach is None:
            return ""
        return self.base.reach.remark(self.target_path, self.source_path or self.target_path)

    def _without_source(self) -> str:
        """What it means that no source is connected, and the remedy."""
        if self.is_bare:
            return "nothing is connected that the model could see, so it stays as it is"
        seen = "memories alone" if self.memories else "nothing but noise"
        path = " along the camera path" if self.base.has_cameras else ""
        return (
            f"the video is made from {seen}{path}, and nothing of your clip is in it; to edit a "
            "clip, connect VAE Encode to source"
        )

    def of_frames(self, frames: slice) -> "Turn":
        """The same turn on these latent frames alone, without memories."""
        assert self.source is not None, "a turn without a source has no frames to choose from"
        chosen = range(self.source.shape[1])[frames]
        ratio = self.base.ratios.temporal
        # Pixel frames of these latent frames: ratio * (n - 1) + 1, as the VAE counts.
        pixels = tuple(range(chosen.start * ratio, (chosen.stop - 1) * ratio + 1))

        def part(path: CameraTrajectory | None) -> CameraTrajectory | None:
            if path is not None and self.base.has_frame_times:
                # Stated, the moments stay those of the whole source.
                path = replace(path, times=path.moments())
            return path and path.frames(pixels)

        source_path, target_path = part(self.source_path), part(self.target_path)
        return Turn(self.base, self.source[:, frames], source_path, target_path)

    def seeing(self, plan: TokenPlan | None) -> "Turn":
        """The same turn with the memories of another plan."""
        return replace(self, plan=plan)

    def _cameras(self, path: CameraTrajectory | None, num_latent: int) -> FrameCameras | None:
        """The cameras (1, T, ...) of a video's latent frames; None where the turn has none."""
        # A base without cameras gets none, whatever the entries hold.
        if self.target_path is None:
            return None
        if path is None:
            raise ValueError(
                "source_camera is not connected, wanted a camera path; connect one or use a static "
                "path"
            )
        # One camera per latent frame: the camera of its first pixel frame.
        ratio = self.base.ratios.temporal
        chosen = path.frames(latent_frame_indices(num_latent, ratio))
        cameras = FrameCameras.from_trajectory(chosen, self.source_path or self.target_path)
        if not self.base.has_frame_times:
            _require_no_times(self.base, path, "the camera path of a memory")
            return cameras
        # A latent frame has one camera, and the moment of each of its pixel frames.
        return replace(cameras, times=latent_frame_times(path.moments(), num_latent, ratio))

    def _shown_frames(self, entry: MemoryEntry) -> tuple[int, ...] | None:
        """The latent frames of a memory that the DiT sees, in their order; None for all.

        Where the turn has cameras they choose, else sources do; without either, frames are evenly
        spread.
        """
        assert self.plan is not None, "memories come with a plan"
        count, num_latent = self.plan.frames_of(entry), entry.num_latent_frames
        if count == num_latent:
            return None
        if self.target_path is not None:
            ratio = self.base.ratios.temporal
            paths = (
                (self.target_path, self.latent_shape[1]),
                (entry.camera, num_latent),
            )
            target, seen = (path.frames(latent_frame_indices(n, ratio)) for path, n in paths)
            return frames_by_view(target, seen, count)
        source = entry.source_latent
        if self.source is None or source is None or source.shape[1] != num_latent:
            return evenly_spread(num_latent, count)
        return frames_by_source(self.source.to(source), source, count)

    def _camera_conditioning(self) -> CameraConditioning:
        if self.plan is None or self.plan.camera_conditioning == "as_trained":
            return self.base.camera_conditioning
        return self.plan.camera_conditioning


def checked_turn(
    base: BaseInfo,
    source: torch.Tensor | None = None,
    plan: TokenPlan | None = None,
    source_path: CameraTrajectory | None = None,
    target_path: CameraTrajectory | None = None,
) -> Turn:
    """The turn of inputs that a user connected. An unknown source camera is static.

    Raises: ValueError for cameras that the base cannot take, for path lengths that do not fit, for
    memories of another model or size, and for a base that edits a source and has none.
    """
    if source is None and not base.has_source_tokens:
        raise ValueError(
            f"source is not connected, but {base.model_name} edits a video; connect VAE Encode"
        )
    # Cameras first: a missing path would make the later errors misleading.
    turn = Turn(base, source, source_path, target_path, plan)
    _require_cameras(turn)
    if source is not None and target_path is not None:
        num_frames = (source.shape[1] - 1) * base.ratios.temporal + 1
        require_length(target_path, num_frames, "target")
        if source_path is not None:
            require_length(source_path, num_frames, "source")
    if source_path is None and target_path is not None:
        # The source is filmed with the lens of the target: no other lens is known.
        lens = target_path.intrinsics[0]
        static = static_trajectory(target_path.num_frames, lens, is_assumed=True)
        turn = replace(turn, source_path=static)
    # Memories of another model or size would be read as noise.
    for entry in turn.memories:
        _require_fit(entry, turn)
    return turn


def _source_of(entry: MemoryEntry) -> torch.Tensor:
    source = entry.source_latent
    if source is None or tuple(source.shape) != entry.content.latent_size:
        state = "is missing" if source is None else f"has the size {tuple(source.shape)}"
        raise ValueError(
            f"the source of memory {entry.entry_id[:8]} {state}, wanted a latent of "
            f"{entry.content.latent_size}: this base sees every edit beside its source; append the "
            "turn again with its source connected"
        )
    return source


def _require_cameras(turn: Turn) -> None:
    base = turn.base
    for name, path in (("source_camera", turn.source_path), ("target_camera", turn.target_path)):
        if path is not None and not base.has_cameras:
            raise ValueError(
                f"{name} got a path, but {base.model_name} has no camera weights; load a model "
                "with a Memory-V2V or ReCamMaster adapter, or disconnect the path"
            )
        if path is not None and not base.has_frame_times:
            _require_no_times(base, path, name)
    has_videos = turn.source is not None or bool(turn.memories) or turn.source_path is not None
    if turn.target_path is None and base.has_cameras and has_videos:
        raise ValueError(
            "target_camera is not connected, wanted the path of this turn; connect a Camera "
            "Trajectory"
        )


def _require_no_times(base: BaseInfo, path: CameraTrajectory, name: str) -> None:
    if path.times is not None:
        raise ValueError(
            f"{name} got a playback time, but {base.model_name} has no weights for one and shows "
            "the source as it plays; load SpaceTimePilot, or disconnect Playback Time"
        )


def _require_fit(entry: MemoryEntry, turn: Turn) -> None:
    if entry.model_name != turn.base.model_name:
        raise ValueError(
            f"memory {entry.entry_id[:8]} was made by {entry.model_name!r}, wanted "
            f"{turn.base.model_name!r}; latents of one model mean nothing to another, so start a "
            "new cache for this model"
        )
    # Without a source, the first memory decides the size.
    like = turn.source
    if like is not None and entry.latent_shape != (like.shape[0], *like.shape[2:]):
        raise ValueError(
            f"memory {entry.entry_id[:8]} has latents of {entry.latent_shape} (channels, height, "
            f"width), wanted {(like.shape[0], *like.shape[2:])} as the source; use one size "
            "throughout a session, or start a new cache"
        )

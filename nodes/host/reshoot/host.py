"""ComfyUI as the program around a re-shoot."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from ....memv2v_core.bases.base_info import BaseInfo
from ....memv2v_core.reshoot.host import ReshotTurn
from ....memv2v_core.reshoot.settings import TurnMemory
from ....memv2v_core.resuming.recipe import content_hash
from ....memv2v_core.sampling.reuse import describe_reuse
from ....memv2v_core.sampling.turn import Turn
from ....memv2v_core.shapes import num_latent_frames
from ..clips.decoding import decode_latent
from ..live.run import LiveRun
from ..patch.attention_kernel import describe_attention
from ..sampling.comfy_run import ComfyRun
from ..sampling.fingerprints import models_parts, vae_parts
from ..sampling.turns import source_latent
from .clip import ShotClip
from .videos import TurnVideoSettings, write_turn


def require_cameras(info: BaseInfo) -> None:
    """Raise ValueError for a model that takes no camera paths."""
    if not info.has_cameras:
        raise ValueError(
            f"model got {info.model_name}, which takes no camera paths, wanted a model with camera "
            "weights; choose 'built-in: novel_view', 'built-in: novel_view_depth' or ReCamMaster "
            "in Load Memory-V2V Model, or connect a memory adapter with cameras. Edit Long Video "
            "edits by words"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class ReshootHost(ComfyRun):
    """The `Host` behind Re-shoot Video.

    has_source_camera: whether the clip's camera is connected.
    videos: the file of every finished turn, in the order of the paths.
    compared: numbers of the turns that were sampled once more, after all others.
    """

    shot: ShotClip
    memory: TurnMemory
    writing: TurnVideoSettings
    live: LiveRun
    has_source_camera: bool = False
    videos: list[Path] = field(default_factory=list)
    compared: list[int] = field(default_factory=list)

    def settings_hash(self) -> str:
        """Hash of everything but cameras that decides all turns in the same way."""
        return content_hash(
            models_parts(self.model, self.low_noise_model),
            vae_parts(self.vae),
            self.read_prompts,
            tuple(vars(self.sampler).values()),
            self.memory.parts(self.shot.info),
            self.shot.digest,
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """How turns are sampled, how the clip is fitted, and what is written, in words."""
        lines = (
            *describe_attention(self.model, self.fast_attention),
            *describe_reuse(self.reuse_reports),
            self.shot.summary,
            self.writing.describe(self.shot),
        )
        if not self.has_source_camera:
            lines += ("the clip's camera is not connected and counts as static",)
        return (*lines, *self.shot.clip.notes)

    def source(self) -> torch.Tensor:
        """The latent (C, T, H, W) of the clip.

        Raises: ValueError for a VAE that does not make video latents of this model.
        """
        return self._source

    @cached_property
    def _source(self) -> torch.Tensor:
        info, frames = self.shot.info, self.shot.frames
        latent = source_latent({"samples": self.vae.encode(frames)}, info)
        # Another VAE of the same channels would have passed until here.
        wanted = num_latent_frames(len(frames), info.ratios.temporal), *self.shot.latent_shape[1:]
        if tuple(latent.shape[1:]) != wanted:
            raise ValueError(
                f"vae made a latent of {tuple(latent.shape[1:])} (frames, height, width) of the "
                f"clip, wanted {wanted} as for {info.model_name}; connect that model's VAE"
            )
        return latent

    def started(self, number: int, sees: Sequence[int]) -> None:
        """Show that this turn begins."""
        self.live.started(number, sees)

    def compares(self, number: int) -> None:
        """Show that this turn is sampled once more, without its memories."""
        self.compared.append(number)
        self.live.compares(number)

    def sample(self, turn: Turn, seed: int, shows_progress: bool) -> torch.Tensor:
        """The finished latent (C, T, H, W) of a turn."""
        num_reports = len(self.reuse_reports)
        latent = self.sampled(turn, seed, shows_progress, self.live.callback)
        if self.compared:
            # The report tells how the turns themselves were made.
            del self.reuse_reports[num_reports:]
        return latent

    def finished(self, reshot: ReshotTurn) -> None:
        """Decode the turn, write its video, and show it."""
        frames = decode_latent(self.vae, reshot.entry.latent)
        self.videos.append(write_turn(self.shot, frames, self.writing))
        plan, times = self.shot.plan, self.shot.clip.times
        self.live.finished(
            reshot.number,
            reshot.outcome,
            frames=frames[: len(plan.chosen)],
            frame_rate=times.picked(plan.chosen).rate,
        )

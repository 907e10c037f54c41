"""ComfyUI as the program around a run that resumes: the parts that all such runs share."""

from dataclasses import dataclass, field, replace

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE

from ....memv2v_core.cache.memory_cache import MemoryCache
from ....memv2v_core.cache.storage import SavedSession
from ....memv2v_core.long_edit.settings import SamplerSettings
from ....memv2v_core.sampling.entries import Thumbnail
from ....memv2v_core.sampling.reuse import ReuseReport
from ....memv2v_core.sampling.turn import Turn
from ..sessions.saving import require_room, saved_or_kept
from .sampler import ComfySampler, Progress
from .thumbnail import thumbnail


@dataclass(frozen=True, eq=False)
class ComfyRun:
    """The `RunHost` of a node.

    negative: the positive prompt stands here where none is connected and none is read.
    low_noise_model: the second of two experts.
    reuse_reports: of what was sampled.
    fast_attention: as in `with_memory`; it changes rounding alone, so no result depends on it.
    """

    model: ModelPatcher
    vae: VAE
    positive: list | None
    negative: list | None
    sampler: SamplerSettings
    low_noise_model: ModelPatcher | None = None
    fast_attention: bool = True
    reuse_reports: list[ReuseReport] = field(default_factory=list)

    def interrupted(self) -> None:
        """Raise ComfyUI's own exception where the user stopped the run."""
        comfy.model_management.throw_exception_if_processing_interrupted()

    def thumbnail(self, latent: torch.Tensor) -> Thumbnail | None:
        """Small pictures of a latent in the colours of the sampler's previews."""
        return thumbnail(self.model, latent)

    def require_room(self, cache: MemoryCache, turn: Turn) -> None:
        """Raise ValueError where the finished turn could not be saved."""
        require_room(cache, turn)

    def save(self, cache: MemoryCache) -> SavedSession:
        """Write the cache to its session's folder; what cannot be written is kept beside."""
        return saved_or_kept(cache)

    def sampled(
        self, turn: Turn, seed: int, shows_progress: bool, callback: Progress | None
    ) -> torch.Tensor:
        """The finished latent (C, T, H, W) of a turn."""
        sampler = ComfySampler(
            self.model,
            self.positive,
            self.negative,
            replace(self.sampler, seed=seed),
            callback,
            self.low_noise_model,
            tell=self.reuse_reports.append,
            fast_attention=self.fast_attention,
        )
        return sampler(turn, shows_progress)

    @property
    def read_prompts(self) -> tuple[list | None, list | None]:
        """Both prompts, as far as they decide a result.

        At cfg 1 ComfyUI skips the negative prompt, unless a patch forbids this. A prompt that is
        not read must not count.
        """
        experts = [model for model in (self.model, self.low_noise_model) if model is not None]
        keeps_cfg1 = any(
            model.model_options.get("disable_cfg1_optimization", False) for model in experts
        )
        reads_negative = self.sampler.cfg != 1 or keeps_cfg1
        return self.positive, self.negative if reads_negative else self.positive

"""One turn: from a plan and cameras to what the DiT is given, and outside ComfyUI to the finished
entry.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..bases.base_info import BaseInfo
from ..cache.entry import MemoryEntry
from ..cameras.trajectory import CameraTrajectory
from ..model.adapter import MemoryAdapter
from ..model.backbone import Backbone
from ..model.camera_encoder import FrameCameras
from ..model.memory_inputs import ConditioningStream, MemoryInputs
from ..model.memory_model import memory_forward, tokenize_clean
from ..shapes import latent_frame_indices
from ..tokens.budget import TokenPlan
from ..tokens.positions import temporal_indices
from ..tokens.tokenizers import BASE_KERNEL
from ..vocabulary import CameraConditioning
from .flow_match import sample_euler, shifted_sigmas

Normalise = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Shot:
    """The source video of an editing session and the path asked for this turn.

    source_latent: (C, T, H, W) in the VAE's unnormalised space, or None. Paths have one camera a
    (padded) pixel frame.
    """

    source_latent: torch.Tensor | None
    source_path: CameraTrajectory | None
    target_path: CameraTrajectory | None


def memory_inputs(
    shot: Shot, plan: TokenPlan | None, num_latent: int, base: BaseInfo, normalise: Normalise
) -> MemoryInputs:
    """What the DiT is given beside the noisy target of `num_latent` latent frames.

    normalise: from the VAE's latent space to the DiT's. Cameras are relative to the source's first
    frame. A base that takes its source on the channel axis gets no source tokens, and each memory
    with the source it was made from.

    Raises: ValueError when a path is shorter than its video, memories have no camera path to be
    relative to, or a memory lacks the source that the base takes with it.
    """
    reference = shot.source_path or shot.target_path
    has_cameras = shot.target_path is not None

    def cameras(path: CameraTrajectory | None, count: int) -> FrameCameras | None:
        if not has_cameras:
            return None
        if path is None:
            raise ValueError(
                "source_camera got nothing, wanted a camera path; connect one or use a static path"
            )
        chosen = path.frames(latent_frame_indices(count, base.ratios.temporal))
        return FrameCameras.from_trajectory(chosen, reference)

    streams = []
    if shot.source_latent is not None and base.has_source_tokens:
        count = shot.source_latent.shape[1]
        indices = temporal_indices("source", num_latent, count)
        latent = normalise(shot.source_latent.unsqueeze(0))
        streams.append(
            ConditioningStream(
                "source", BASE_KERNEL, latent, indices, cameras(shot.source_path, count)
            )
        )
    if plan is not None:
        for ranked, kernel in zip(plan.retrieval.ranked, plan.kernels, strict=True):
            entry = ranked.entry
            count = entry.latent.shape[1]
            role = "previous" if ranked.is_previous else "memory"
            indices = temporal_indices(
                role, num_latent, count, plan.memory_range, base.memory_order
            )
            latent = normalise(entry.latent.unsqueeze(0))
            if not base.has_source_tokens:
                latent = torch.cat((latent, normalise(_source_of(entry).unsqueeze(0))), dim=1)
            streams.append(
                ConditioningStream("memory", kernel, latent, indices, cameras(entry.camera, count))
            )
    return MemoryInputs(
        streams=tuple(streams),
        target_cameras=cameras(shot.target_path, num_latent),
        camera_conditioning=_camera_conditioning(plan, base),
        merging=plan.merging if plan is not None else None,
        clean_timestep=base.clean_timestep,
    )


def _camera_conditioning(plan: TokenPlan | None, base: BaseInfo) -> CameraConditioning:
    if plan is None or plan.camera_conditioning == "as_trained":
        return base.camera_conditioning
    return plan.camera_conditioning


def _source_of(entry: MemoryEntry) -> torch.Tensor:
    if entry.source_latent is None or entry.source_latent.shape != entry.latent.shape:
        got = (
            "nothing"
            if entry.source_latent is None
            else f"a latent of {tuple(entry.source_latent.shape)}"
        )
        raise ValueError(
            f"the source of memory {entry.entry_id[:8]} got {got}, wanted one of "
            f"{tuple(entry.latent.shape)}: this base sees every edit beside its source; append the "
            "turn again with its source connected"
        )
    return entry.source_latent


@dataclass(frozen=True)
class SamplerConfig:
    """Euler steps and flow shift."""

    num_steps: int = 12
    shift: float = 3.0


@torch.no_grad()
def sample_latent(
    backbone: Backbone,
    adapter: MemoryAdapter,
    inputs: MemoryInputs,
    context: torch.Tensor,
    noise: torch.Tensor,
    config: SamplerConfig,
) -> torch.Tensor:
    """The finished latent (B, C, T, H, W), in the DiT's space, sampled from `noise` of that
    shape."""
    clean = tokenize_clean(backbone, adapter, inputs, noise.shape)

    def velocity(x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        return memory_forward(backbone, adapter, x, timestep, context, inputs, clean)

    return sample_euler(
        velocity, noise, shifted_sigmas(config.num_steps, config.shift).to(noise.device)
    )


def finished_entry(
    latent: torch.Tensor,
    path: CameraTrajectory,
    *,
    model_name: str,
    mode: str,
    num_frames: int,
    turn: int,
    seed: int,
    **details: object,
) -> MemoryEntry:
    """The cache entry of a finished turn; `latent` (C, T, H, W) in the VAE's unnormalised space.

    details: further fields of `MemoryEntry`, such as prompt, parent_id, source_latent and
    thumbnail.
    """
    return MemoryEntry(
        latent=latent,
        camera=path,
        model_name=model_name,
        mode=mode,
        num_frames=num_frames,
        turn=turn,
        seed=seed,
        created_s=time.time(),
        **details,
    )

"""The arms of the held-out comparison: which turn is made with which memories.

B rows are scenes; all rows of a batch share a token layout. Arms that are compared share one noise,
and no turn ever uses the noise of an earlier one: that alone would make turns agree.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ...builtin.bundle import Bundle
from ...cameras.trajectory import CameraTrajectory
from ...model.camera_encoder import FrameCameras
from ...model.memory_inputs import ConditioningStream, MemoryInputs
from ...sampling.turn import SamplerConfig, sample_latent
from ...shapes import latent_frame_indices, num_latent_frames
from ...tokens.budget import BudgetConfig, kernels_by_rank
from ...tokens.merging import MergeConfig
from ...tokens.positions import temporal_indices
from ...tokens.tokenizers import BASE_KERNEL
from ...training.data.novel_view import View
from ...vocabulary import Role
from .held_out import FIRST, OPPOSITE, SECOND, SWEEP, HeldOutScene, held_out_generator

# Share of the frames merged before each of the two merging blocks. One half, the default, leaves a
# quarter of them whole in the end; 0.3 leaves half (0.7 squared).
MERGE_SHARE, HALF_IN_ALL_SHARE = 0.5, 0.3
TOP_KERNEL, RANK_4_KERNEL = (
    kernels_by_rank(4, BudgetConfig())[0],
    kernels_by_rank(4, BudgetConfig())[3],
)


@dataclass(frozen=True, eq=False)
class Memory:
    """One memory of every row: latents (B, C, T, H, W) in the DiT's space, the path of each, the
    kernel of all.
    """

    latent: torch.Tensor
    paths: tuple[CameraTrajectory, ...]
    kernel: int = TOP_KERNEL


@dataclass(frozen=True, eq=False)
class Batch:
    """Scenes sampled together, with their sources encoded."""

    bundle: Bundle
    scenes: tuple[HeldOutScene, ...]
    source_latent: torch.Tensor

    @classmethod
    def of(cls, bundle: Bundle, scenes: Sequence[HeldOutScene]) -> "Batch":
        return cls(bundle, tuple(scenes), encode(bundle, [scene.source for scene in scenes]))

    def inputs(
        self,
        paths: Sequence[CameraTrajectory],
        memories: Sequence[Memory],
        merging: MergeConfig | None = None,
    ) -> MemoryInputs:
        """What the model is given beside the noisy turn along `paths`, one a scene."""
        source_paths = [scene.source.path for scene in self.scenes]
        streams = [self._stream("source", BASE_KERNEL, self.source_latent, source_paths)]
        streams += [
            self._stream("memory", memory.kernel, memory.latent, memory.paths)
            for memory in memories
        ]
        return MemoryInputs(
            streams=tuple(streams),
            target_cameras=self._cameras(paths),
            merging=merging,
            clean_timestep=self.bundle.adapter.config.clean_timestep,
        )

    def noise(self, purpose: int) -> torch.Tensor:
        """Noise (B, C, T, H, W) for one turn, drawn for each scene by itself and always on the
        CPU."""
        shape = self.source_latent.shape[1:]
        rows = [
            torch.randn(shape, generator=held_out_generator(scene.index, purpose))
            for scene in self.scenes
        ]
        return torch.stack(rows).to(self.source_latent)

    def memory(
        self,
        latent: torch.Tensor,
        view_of: Callable[[HeldOutScene], View],
        kernel: int = TOP_KERNEL,
    ) -> Memory:
        """Latents (B, C, T, H, W) as a memory filmed along the path that `view_of` picks from each
        scene.
        """
        return Memory(latent, tuple(view_of(scene).path for scene in self.scenes), kernel)

    def sample(
        self,
        view_of: Callable[[HeldOutScene], View],
        noise: torch.Tensor,
        memories: Sequence[Memory] = (),
        merging: MergeConfig | None = None,
    ) -> torch.Tensor:
        """Finished latents (B, C, T, H, W) of the turn whose path `view_of` picks from each
        scene."""
        bundle, info = self.bundle, self.bundle.info
        inputs = self.inputs([view_of(scene).path for scene in self.scenes], memories, merging)
        context = bundle.empty_context(len(self.scenes)).to(noise.device)
        config = SamplerConfig(info.num_steps, info.shift)
        return sample_latent(bundle.backbone, bundle.adapter, inputs, context, noise, config)

    def _stream(
        self, role: Role, kernel: int, latent: torch.Tensor, paths: Sequence[CameraTrajectory]
    ) -> ConditioningStream:
        num_latent = latent.shape[2]
        indices = temporal_indices(role, num_latent, num_latent)
        return ConditioningStream(role, kernel, latent, indices, self._cameras(paths))

    def _cameras(self, paths: Sequence[CameraTrajectory]) -> FrameCameras:
        rows = []
        for path, scene in zip(paths, self.scenes, strict=True):
            temporal = self.bundle.codec.ratios.temporal
            count = num_latent_frames(path.num_frames, temporal)
            chosen = path.frames(latent_frame_indices(count, temporal))
            rows.append(FrameCameras.from_trajectory(chosen, scene.source.path))
        cameras = FrameCameras(
            torch.cat([row.c2w for row in rows]), torch.cat([row.intrinsics for row in rows])
        )
        return cameras.to(self.source_latent.device)


@dataclass(frozen=True, eq=False)
class Arms:
    """Latents (B, C, T, H, W) of the main arms.

    first: turn 1, made without memory. second_*: turn 2 with no memory, with `first` as memory,
    with the true view along its path, and with another scene's.
    """

    first: torch.Tensor
    second_none: torch.Tensor
    second_memory: torch.Tensor
    second_truth: torch.Tensor
    second_foreign: torch.Tensor


@dataclass(frozen=True, eq=False)
class DetailArms:
    """Latents (B, C, T, H, W) of the other arms.

    second_*: turn 2 with `first` at the fourth rank's kernel, or with frames merged or discarded
    (`second_merge_half`: so that half of them are merged in the end). opposite: made without memory
    like `first`. sweep_*: turn 3 with no memory, either of the two and both.
    """

    second_rank_4: torch.Tensor
    second_merge: torch.Tensor
    second_merge_half: torch.Tensor
    second_discard: torch.Tensor
    opposite: torch.Tensor
    sweep_none: torch.Tensor
    sweep_first: torch.Tensor
    sweep_opposite: torch.Tensor
    sweep_both: torch.Tensor


def sample_arms(batch: Batch) -> Arms:
    """The main arms of one batch."""
    first = batch.sample(lambda scene: scene.first, batch.noise(FIRST))
    noise = batch.noise(SECOND)

    def second(*memories: torch.Tensor) -> torch.Tensor:
        given = [batch.memory(latent, lambda scene: scene.first) for latent in memories]
        return batch.sample(lambda scene: scene.second, noise, given)

    return Arms(
        first=first,
        second_none=second(),
        second_memory=second(first),
        second_truth=second(encode(batch.bundle, [scene.first for scene in batch.scenes])),
        second_foreign=second(encode(batch.bundle, [scene.foreign for scene in batch.scenes])),
    )


def sample_detail_arms(batch: Batch, arms: Arms) -> DetailArms:
    """The other arms of the same batch."""
    opposite = batch.sample(lambda scene: scene.opposite, batch.noise(OPPOSITE))
    second_noise, sweep_noise = batch.noise(SECOND), batch.noise(SWEEP)

    def second(
        memory: Memory, unresponsive: str | None = None, share: float = MERGE_SHARE
    ) -> torch.Tensor:
        merging = MergeConfig(share=share, unresponsive=unresponsive) if unresponsive else None
        return batch.sample(lambda scene: scene.second, second_noise, (memory,), merging)

    def sweep(*memories: Memory) -> torch.Tensor:
        return batch.sample(lambda scene: scene.sweep, sweep_noise, memories)

    first_memory, opposite_memory = sweep_memories(batch, arms.first, opposite)
    return DetailArms(
        second_rank_4=second(batch.memory(arms.first, lambda scene: scene.first, RANK_4_KERNEL)),
        second_merge=second(first_memory, "merge"),
        second_merge_half=second(first_memory, "merge", HALF_IN_ALL_SHARE),
        second_discard=second(first_memory, "discard"),
        opposite=opposite,
        sweep_none=sweep(),
        sweep_first=sweep(first_memory),
        sweep_opposite=sweep(opposite_memory),
        sweep_both=sweep(first_memory, opposite_memory),
    )


def sweep_memories(
    batch: Batch, first: torch.Tensor, opposite: torch.Tensor
) -> tuple[Memory, Memory]:
    """Both memories of turn 3, from their latents."""
    return batch.memory(first, lambda scene: scene.first), batch.memory(
        opposite, lambda scene: scene.opposite
    )


@torch.no_grad()
def encode(bundle: Bundle, views: Sequence[View]) -> torch.Tensor:
    """Latents (B, C, T, H, W) of one video a row."""
    frames = torch.stack([view.frames for view in views]).to(next(bundle.codec.parameters()).device)
    return bundle.codec.encode(frames.transpose(1, 2) * 2 - 1)


@torch.no_grad()
def decode(bundle: Bundle, latent: torch.Tensor) -> torch.Tensor:
    """Videos (B, F, 3, H, W) in [0, 1], on the CPU."""
    return ((bundle.codec.decode(latent) + 1) / 2).clamp(0, 1).transpose(1, 2).cpu()

"""The parameters that memory adds to a base DiT.

They form one module, stored in one file beside the base's checkpoint.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from ..tokens.merging import REDUCTION_SIDE, pad_grid
from ..tokens.tokenizers import BASE_KERNEL, COARSE_KERNELS, coarse_weight_from_base, pad_to_kernel
from ..vocabulary import Attention, CameraConditioning, CleanTimestep, MemoryOrder
from .camera_encoder import NUM_POSE_VALUES, NUM_RAY_FEATURES, FrameCameras
from .playback_time import (
    NUM_NORM_GROUPS,
    TemporalDownsampler,
    TimeOperations,
    embed_times,
    frame_time_embedding,
)


@dataclass(frozen=True)
class AdapterConfig:
    """Shape of a `MemoryAdapter`; stored in its file's metadata.

    dim, num_blocks, in_channels: the sizes of the base.
    has_rays: per-token rays beside poses (departs from the paper).
    has_tokenizers, has_merging: learned coarse tokenizers and merging convolutions; without them
    both are averages.
    clean_timestep: which timestep clean tokens got in training, "zero" or the "target"'s.
    camera_conditioning: which camera clean tokens got in training, see `MemoryInputs`.
    has_cameras: camera encoders and projectors; an adapter for text-guided editing has none.
    memory_order: temporal order of memories in training, see `temporal_indices`.
    has_keyframe: whether a keyframe leads a segment that sees no memory, see `sampling.keyframe`.
    It is meant for editors whose latent frame is one pixel frame and whose training used memories
    of few frames.
    attention, clean_reads_text: what clean tokens saw in training, see `MemoryInputs`.
    has_base_tokenizer: a learned 1x2x2 tokenizer for clean tokens. The target keeps the base's own
    patch embedding (our choice), so that the base's weights may have any precision.
    memories_carry_source: for a base with its source on the channel axis: whether each memory lies
    beside its own source, like the target. Without it a memory is the edited latent alone, as in
    the paper, and every tokenizer takes half of the base's channels.
    num_latent_frames: latent frames T of the target in training, where the file says it.
    has_frame_times: an encoder of playback time beside the camera encoder, see `playback_time`.

    Raises: ValueError for memories without their source and no learned tokenizers, for clean
    tokens without text in two-way attention, and for times without cameras or of a wrong width.
    """

    dim: int
    num_blocks: int
    in_channels: int
    has_rays: bool = False
    has_tokenizers: bool = True
    has_merging: bool = True
    clean_timestep: CleanTimestep = "target"
    camera_conditioning: CameraConditioning = "per_video"
    has_cameras: bool = True
    memory_order: MemoryOrder = "forward"
    has_keyframe: bool = False
    attention: Attention = "two_way"
    clean_reads_text: bool = True
    has_base_tokenizer: bool = False
    memories_carry_source: bool = True
    num_latent_frames: int | None = None
    has_frame_times: bool = False

    def __post_init__(self) -> None:
        learned = self.has_tokenizers and self.has_base_tokenizer
        if not self.memories_carry_source and (not learned or self.in_channels % 2):
            raise ValueError(
                f"memories_carry_source got False with has_tokenizers {self.has_tokenizers}, "
                f"has_base_tokenizer {self.has_base_tokenizer} and {self.in_channels} input "
                "channels, wanted both tokenizers and an even number of channels: the base's own "
                "embedding reads an edit beside its source; learn both, or let memories carry "
                "their source"
            )
        if not self.clean_reads_text and self.attention == "two_way":
            raise ValueError(
                "clean_reads_text got False with attention 'two_way', wanted 'one_way': in two-way "
                "attention the target tells clean tokens the prompt; set attention to 'one_way'"
            )

        if self.has_frame_times and (not self.has_cameras or self.dim % NUM_NORM_GROUPS):
            raise ValueError(
                f"has_frame_times got True with has_cameras {self.has_cameras} and dim {self.dim}, "
                f"wanted cameras and a dim that {NUM_NORM_GROUPS} divides: times are encoded "
                "beside cameras and normed in groups; choose another dim, or leave times out"
            )

    @property
    def memory_channels(self) -> int:
        """Channels of a memory's latent: half of the base's where no source lies beside it."""
        return self.in_channels if self.memories_carry_source else self.in_channels // 2

    @property
    def kernels(self) -> tuple[int, ...]:
        """The kernels that have a learned tokenizer."""
        coarse = COARSE_KERNELS if self.has_tokenizers else ()
        return (BASE_KERNEL, *coarse) if self.has_base_tokenizer else coarse


class Operations(TimeOperations, Protocol):
    """The layers of torch.nn, or ComfyUI's layers with the same names."""

    @property
    def Conv2d(self) -> type[nn.Conv2d]: ...
    @property
    def Conv3d(self) -> type[nn.Conv3d]: ...


class AdapterBlock(nn.Module):
    """Camera encoder and projector of one block; the names are ReCamMaster's checkpoint keys.

    With playback times it encodes them too, under SpaceTimePilot's keys.

    Source: Eq. 16-17, arXiv:2601.16296v2.
    """

    def __init__(self, config: AdapterConfig, ops: Operations) -> None:
        super().__init__()
        self.cam_encoder = ops.Linear(NUM_POSE_VALUES, config.dim)
        self.projector = ops.Linear(config.dim, config.dim)
        self.ray_encoder = (
            ops.Linear(NUM_RAY_FEATURES, config.dim, bias=False) if config.has_rays else None
        )
        if config.has_frame_times:
            self.frame_time_embedding = frame_time_embedding(config.dim, ops)
            self.temporal_downsampler = TemporalDownsampler(config.dim, ops)
        self.has_frame_times = config.has_frame_times

    def embed_frames(self, cameras: FrameCameras, dtype: torch.dtype) -> torch.Tensor:
        """What every frame adds to its tokens before attention, (B, frames, D)."""
        embedding = self.cam_encoder(cameras.poses().to(dtype))
        if self.has_frame_times:
            assert cameras.times is not None, "beside this adapter every video has its times"
            embedding = embedding + embed_times(
                cameras.times, self.frame_time_embedding, self.temporal_downsampler, dtype
            )
        return embedding


class MemoryAdapter(nn.Module):
    """Camera encoder and projector of every block, tokenizers, merging convolutions.

    ops: has the layers of `Operations`: torch.nn, or ComfyUI's operations.
    """

    def __init__(self, config: AdapterConfig, ops: Operations = nn) -> None:
        super().__init__()
        self.config = config
        # Without cameras a block adds nothing, so none is made.
        num_camera_blocks = config.num_blocks if config.has_cameras else 0
        self.blocks = nn.ModuleList(AdapterBlock(config, ops) for _ in range(num_camera_blocks))
        self.tokenizers = nn.ModuleDict()
        for kernel in config.kernels:
            # Stride equals kernel: patches do not overlap, as in the base.
            shape = (1, kernel, kernel)
            self.tokenizers[str(kernel)] = ops.Conv3d(
                config.memory_channels, config.dim, shape, stride=shape
            )
        self.mergers = nn.ModuleList()
        if config.has_merging:
            # One convolution for each merging block of `merge_blocks`.
            for _ in range(2):
                self.mergers.append(
                    ops.Conv2d(config.dim, config.dim, REDUCTION_SIDE, stride=REDUCTION_SIDE)
                )

    def block(self, block_idx: int) -> AdapterBlock:
        """The camera layers of one block of the base.

        An adapter without cameras has none.
        """
        block = self.blocks[block_idx]
        assert isinstance(block, AdapterBlock)
        return block

    def tokenize(self, latent: torch.Tensor, kernel: int) -> torch.Tensor | None:
        """Tokens (B, D, T, rows, columns) of a clean `latent`.

        None when this adapter learned no tokenizer for this kernel.
        """
        if str(kernel) not in self.tokenizers:
            return None
        return self.tokenizers[str(kernel)](pad_to_kernel(latent, kernel))

    def merge(self, grid: torch.Tensor, merger_idx: int) -> torch.Tensor:
        """Merged tokens of grids (B, n, rows, columns, D).

        Source: Eq. 6, arXiv:2601.16296v2.
        """
        batch, num_frames = grid.shape[:2]
        # Frames become images (B * n, D, rows, columns) for the convolution, then grids again.
        images = self.mergers[merger_idx](pad_grid(grid.flatten(0, 1).movedim(-1, 1)))
        return images.movedim(1, -1).unflatten(0, (batch, num_frames))


@torch.no_grad()
def start_from_base(
    adapter: MemoryAdapter, patch_weight: torch.Tensor, patch_bias: torch.Tensor
) -> None:
    """Set a fresh adapter so that it leaves the base unchanged.

    Cameras become zero, projectors the identity, everything else an average.

    patch_weight: (D, C, 1, 2, 2) and patch_bias: (D,), the base's patch embedding.
    """
    for block in adapter.blocks:
        assert isinstance(block, AdapterBlock)
        # x + 0 from the encoder, then the identity: attention sees what it saw before.
        nn.init.zeros_(block.cam_encoder.weight)
        nn.init.zeros_(block.cam_encoder.bias)
        nn.init.eye_(block.projector.weight)
        nn.init.zeros_(block.projector.bias)
        if block.ray_encoder is not None:
            nn.init.zeros_(block.ray_encoder.weight)
    start_tokens_from_base(adapter, patch_weight, patch_bias)


@torch.no_grad()
def start_tokens_from_base(
    adapter: MemoryAdapter, patch_weight: torch.Tensor, patch_bias: torch.Tensor
) -> None:
    """Set tokenizers and merging convolutions to averages around the base's patch embedding.

    patch_weight: (D, C, 1, 2, 2) and patch_bias: (D,).
    """
    # A coarse tokenizer equals an average, then the base; the one of 1x2x2 is the base's.
    assert patch_weight.shape[-1] == BASE_KERNEL
    # The edited latent comes first on the channel axis. Memories without their source are read as
    # if the source were zero.
    patch_weight = patch_weight[:, : adapter.config.memory_channels]
    for kernel, tokenizer in adapter.tokenizers.items():
        assert isinstance(tokenizer, nn.Conv3d)
        assert tokenizer.bias is not None
        tokenizer.weight.copy_(coarse_weight_from_base(patch_weight, int(kernel)))
        tokenizer.bias.copy_(patch_bias)
    for merger in adapter.mergers:
        assert isinstance(merger, nn.Conv2d)
        assert merger.bias is not None
        nn.init.zeros_(merger.bias)
        # Each output channel averages its own input channel over the four tokens.
        average = torch.eye(adapter.config.dim) / REDUCTION_SIDE**2  # (D, D)
        merger.weight.copy_(average[:, :, None, None].expand_as(merger.weight))

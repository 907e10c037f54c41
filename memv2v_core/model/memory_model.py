"""One forward pass of a DiT with memory: target, source and memories in one sequence.

B rows, L tokens, Lc clean tokens, D width, T latent frames, n timesteps per row. The DiT belongs to
the host program: `Backbone` is our access to it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch.amp.autocast_mode import is_autocast_available

from ..shapes import token_grid
from ..tokens.layout import SequenceLayout, build_layout
from ..tokens.merging import (
    MergeConfig,
    MergePlan,
    frame_responsiveness,
    merge_average,
    merge_blocks,
    plan_merge,
    pool_groups,
    will_merge,
)
from ..tokens.positions import token_positions
from ..tokens.tokenizers import BASE_KERNEL, pool_for_base
from ..vocabulary import Role
from .adapter import MemoryAdapter
from .backbone import Backbone
from .block import Block, Modulation
from .block import TokenSequence as TokenSequence
from .camera_encoder import FrameCameras, ray_features
from .kept_streams import KeptRows
from .memory_inputs import ConditioningStream, MemoryInputs

Merge = Callable[[torch.Tensor], torch.Tensor]
# The order of clean videos in the sequence.
_ORDER: tuple[Role, ...] = ("source", "reference", "previous", "memory")


@dataclass(frozen=True, eq=False)
class CleanTokens:
    """Tokens of source and memories, made once per run: neither noise nor step changes them.

    tokens: (1 or B, Lc, D), or None without streams. positions: (L, 3) RoPE indices, target first,
    or (L, 4) where videos have numbers. cameras: of all frames, target first, or None.
    frame_of_token: (L,) number of each token's frame. rays: (1 or B, L, 42) or None.
    """

    tokens: torch.Tensor | None
    positions: torch.Tensor
    cameras: FrameCameras | None
    frame_of_token: torch.Tensor
    rays: torch.Tensor | None
    layout: SequenceLayout

    @cached_property
    def target_alone(self) -> "CleanTokens":
        """The same place for the target, without any clean token."""
        target, num = self.layout.groups[0], self.layout.num_target_tokens
        cameras = self.cameras
        return CleanTokens(
            tokens=None,
            positions=self.positions[:num],
            cameras=None if cameras is None else cameras.frames(range(target.num_frames)),
            frame_of_token=self.frame_of_token[:num],
            rays=None if self.rays is None else self.rays[:, :num],
            layout=SequenceLayout((target,)),
        )


def memory_forward(
    backbone: Backbone,
    adapter: MemoryAdapter | None,
    latent: torch.Tensor,
    timestep: torch.Tensor,
    context: torch.Tensor,
    inputs: MemoryInputs,
    clean: CleanTokens | None = None,
    kept: KeptRows | None = None,
    on_merge: Callable[[int, MergePlan], None] | None = None,
    probe: "Callable[[int, torch.Tensor, TokenSequence], None] | None" = None,
) -> torch.Tensor:
    """The DiT's output (B, C, T, H, W) for a noisy `latent` (B, Cin, T, H, W) that sees `inputs`.

    timestep: (B,) or (B, T) in [0, 1000]. context: the backbone's text input. clean: result of
    `tokenize_clean`, to make it once per run. kept: the keys and values of clean tokens are written
    into it; with `clean.target_alone` the target sees those that it holds. For measurements,
    on_merge gets every merge plan, and probe gets every block's attention input and the tokens.

    Source: Sec. 3.3-3.4 and App. D.1, arXiv:2601.16296v2.
    """
    height, width = latent.shape[-2:]
    # Step 1: the sequence: target tokens first, then the clean tokens.
    target = backbone.patchify(pool_for_base(latent, backbone.patch_kernel))  # (B, D, T, h, w)
    grid = (target.shape[2], target.shape[3], target.shape[4])
    clean = clean or tokenize_clean(backbone, adapter, inputs, latent.shape)
    sequence = _join(target.flatten(2).mT, clean)  # x: (B, L, D)
    cameras = None if clean.cameras is None else clean.cameras.to(target.device)
    # Step 2: time, text and positions. WanView relies on the target's time coming first.
    time, modulation = _embed_time(backbone, inputs, timestep, has_clean=clean.tokens is not None)
    text = backbone.embed_text(context)
    rope = backbone.rope(sequence.positions)
    merge_at = (
        merge_blocks(backbone.num_blocks) if will_merge(sequence.layout, inputs.merging) else ()
    )
    # Step 3: the blocks. Before two of them the sequence shrinks, and the rotations with it.
    for i in range(backbone.num_blocks):
        block = Block(backbone, adapter, i, modulation, cameras, sequence.layout, inputs, kept)
        if probe is not None:
            look = partial(_attention_input, block, sequence)
            probe(i, backbone.inside_block(i, look), sequence)
        if i in merge_at:
            assert inputs.merging is not None, "without it no block merges"
            plan = backbone.inside_block(
                i, partial(_plan, backbone, i, block, sequence, inputs.merging)
            )
            plan = plan if kept is None else kept.settled(i, plan)
            sequence = _merge(adapter, merge_at.index(i), sequence, plan)  # x: (B, fewer, D)
            rope = backbone.rope(sequence.positions)
            if on_merge is not None:
                on_merge(i, plan)
        x = backbone.around_block(
            i, sequence.x, modulation.target, text, rope, block.run(sequence, rope, text)
        )
        sequence = replace(sequence, x=x)
    # Step 4: only the target's tokens are read; the padding up to the kernel is cut off.
    out = backbone.head(sequence.x[:, : sequence.layout.num_target_tokens], time)
    return backbone.unpatchify(out, grid)[..., :height, :width]


def tokenize_clean(
    backbone: Backbone,
    adapter: MemoryAdapter | None,
    inputs: MemoryInputs,
    target_shape: torch.Size,
) -> CleanTokens:
    """Tokens, positions and cameras of all streams, for a target latent (B, C, T, H, W)."""
    _, _, num_frames, height, width = target_shape
    # Streams of one role and kernel stand side by side, so that they can share one group.
    streams = sorted(inputs.streams, key=lambda stream: (_ORDER.index(stream.role), stream.kernel))
    tokens, positions = [], []
    shapes: list[tuple[Role, int, int, int, int]] = []
    rows, columns = token_grid(height, width, BASE_KERNEL)
    indices = inputs.target_frame_indices or tuple(range(num_frames))
    # Step 1: the target's place. Its tokens are noisy and follow later, in `_join`.
    shapes.append(("target", BASE_KERNEL, num_frames, rows, columns))
    own_id = 0.0 if inputs.has_source_ids else None
    positions.append(token_positions(indices, rows, columns, BASE_KERNEL, own_id))
    # Step 2: tokens and positions of every stream.
    for stream in streams:
        grid = _tokenize(backbone, adapter, stream)  # (B, D, T, rows, columns)
        count, rows, columns = grid.shape[2:]
        positions.append(
            token_positions(stream.frame_indices, rows, columns, stream.kernel, stream.source_id)
        )
        # A video of the same role and kernel joins the group before it: the frames merge as one
        # pool. A reference of another size makes its own group.
        role, kernel, before, *size = shapes[-1]
        if (role, kernel, *size) == (stream.role, stream.kernel, rows, columns):
            count += before
            shapes.pop()
        shapes.append((stream.role, stream.kernel, count, rows, columns))
        tokens.append(grid.flatten(2).mT)  # (B, T*rows*columns, D)
    layout = build_layout(shapes)
    # Step 3: cameras, in fp32: half precision would turn the rays.
    device = tokens[0].device if tokens else None
    has_rays = adapter is not None and adapter.config.has_rays
    with _exact(device):
        cameras = _cameras(inputs, streams)
        rays = _rays(inputs, streams, height, width) if has_rays else None
    return CleanTokens(
        tokens=torch.cat(_same_rows(tokens), dim=1) if tokens else None,
        positions=torch.cat(positions).to(device),
        cameras=cameras,
        frame_of_token=_frame_of_token(layout).to(device),
        rays=rays,
        layout=layout,
    )


def _exact(device: torch.device | None) -> AbstractContextManager:
    """A context that keeps the geometry of cameras out of autocast."""
    if torch.compiler.is_compiling() or device is None or not is_autocast_available(device.type):
        return nullcontext()
    return (
        torch.autocast(device.type, enabled=False)
        if torch.is_autocast_enabled(device.type)
        else nullcontext()
    )


def _tokenize(
    backbone: Backbone, adapter: MemoryAdapter | None, stream: ConditioningStream
) -> torch.Tensor:
    learned = adapter.tokenize(stream.latent, stream.kernel) if adapter is not None else None
    return (
        backbone.patchify(pool_for_base(stream.latent, stream.kernel))
        if learned is None
        else learned
    )


def _cameras(inputs: MemoryInputs, streams: list[ConditioningStream]) -> FrameCameras | None:
    if inputs.target_cameras is None:
        return None
    # In the order of the layout: the target, then the streams.
    told = [inputs.target_cameras] + [_cameras_told(inputs, stream) for stream in streams]
    return FrameCameras.concatenated(told)


def _rays(
    inputs: MemoryInputs, streams: list[ConditioningStream], height: int, width: int
) -> torch.Tensor | None:
    if inputs.target_cameras is None:
        return None
    videos = [(inputs.target_cameras, BASE_KERNEL)] + [
        (_cameras_told(inputs, stream), stream.kernel) for stream in streams
    ]
    rays = [
        ray_features(cameras, *token_grid(height, width, k), k, height, width)
        for cameras, k in videos
    ]
    return torch.cat(_same_rows(rays), dim=1)  # (B, L, 42)


def _cameras_told(inputs: MemoryInputs, stream: ConditioningStream) -> FrameCameras:
    told = inputs.cameras_told(stream)
    assert told is not None, "beside a target with cameras every video has them"
    return told


def _same_rows(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    # A video without a batch of its own is shared by all rows.
    rows = max(tensor.shape[0] for tensor in tensors)
    return [tensor.expand(rows, *tensor.shape[1:]) for tensor in tensors]


def _frame_of_token(layout: SequenceLayout) -> torch.Tensor:
    counts, first = [], 0
    for group in layout.groups:
        # Frames are numbered through the whole sequence, as `cameras` lists them.
        frames = torch.arange(first, first + group.num_frames)
        counts.append(frames.repeat_interleave(group.tokens_per_frame))
        first += group.num_frames
    return torch.cat(counts)  # (L,)


def _join(target: torch.Tensor, clean: CleanTokens) -> TokenSequence:
    x = target
    if clean.tokens is not None:
        x = torch.cat((target, clean.tokens.to(target).expand(target.shape[0], -1, -1)), dim=1)
    device = target.device
    rays = clean.rays.to(device) if clean.rays is not None else None
    return TokenSequence(
        x,
        clean.positions[None].to(device),
        clean.frame_of_token[None, :, None].to(device),
        rays,
        clean.layout,
    )


def _embed_time(
    backbone: Backbone, inputs: MemoryInputs, timestep: torch.Tensor, has_clean: bool
) -> tuple[torch.Tensor, Modulation]:
    time, target = backbone.embed_time(timestep)  # (B, n, D) and (B, n, 6, D)
    # One timestep for all tokens needs no second modulation.
    if not has_clean or (inputs.clean_timestep == "target" and target.shape[1] == 1):
        return time, Modulation(target, None)
    # The sampler's timestep is the largest one: a noise mask only lowers the timestep of a frame.
    clean_time = timestep.reshape(len(timestep), -1).amax(1)
    _, clean = backbone.embed_time(
        clean_time if inputs.clean_timestep == "target" else torch.zeros_like(clean_time)
    )
    return time, Modulation(target, clean)


def score_frames(
    backbone: Backbone, i: int, h: torch.Tensor, sequence: TokenSequence, config: MergeConfig
) -> torch.Tensor:
    """Responsiveness (B, frames) of every frame that may be merged before block `i`.

    h: (B, L, D), the attention input of that block. Source: Eq. 4-5, arXiv:2601.16296v2.
    """
    query, key = _query_and_key(backbone, i, h, sequence, config.rotated_keys)
    first = sequence.layout.num_target_tokens
    return frame_responsiveness(query, key, pool_groups(sequence.layout, config), first)


def _attention_input(block: Block, sequence: TokenSequence) -> torch.Tensor:
    return block.attention_input(sequence)


def _plan(
    backbone: Backbone, i: int, block: Block, sequence: TokenSequence, config: MergeConfig
) -> MergePlan:
    # A choice of frames has no gradient. No `no_grad` says so: under it some versions of torch
    # keep autocast's copies of weights without their gradient, for the block itself too.
    h = block.attention_input(sequence)
    return plan_merge(sequence.layout, config, score_frames(backbone, i, h, sequence, config))


def _query_and_key(
    backbone: Backbone, i: int, h: torch.Tensor, sequence: TokenSequence, rotated: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    # Queries of the target, keys of the clean tokens: nothing else is compared.
    first = sequence.layout.num_target_tokens
    # Both (B, tokens, heads, d).
    query, key = backbone.query(i, h[:, :first]), backbone.key(i, h[:, first:])
    if rotated:
        query = backbone.rotate(query, backbone.rope(sequence.positions[:, :first]))
        key = backbone.rotate(key, backbone.rope(sequence.positions[:, first:]))
    return query, key


def _merge(
    adapter: MemoryAdapter | None, merger_idx: int, sequence: TokenSequence, plan: MergePlan
) -> TokenSequence:
    rows = sequence.x.shape[0]
    # Without a learned convolution, tokens are averaged (training-free mode).
    merge_tokens: Merge = merge_average
    if adapter is not None and len(adapter.mergers) > 0:
        merge_tokens = partial(adapter.merge, merger_idx=merger_idx)

    # Values shared by all rows are expanded: each row may merge other frames.
    def carry(values: torch.Tensor, merge: Merge) -> torch.Tensor:
        return plan.apply(values.expand(rows, -1, -1), merge)

    # Everything a token carries follows the same plan. All four tokens of a 2 x 2 patch share one
    # frame, so one of the four frame numbers is enough.
    return TokenSequence(
        x=plan.apply(sequence.x, merge_tokens),
        positions=carry(sequence.positions, merge_average),
        frame_of_token=carry(sequence.frame_of_token, lambda grid: grid[:, :, ::2, ::2]),
        rays=None if sequence.rays is None else carry(sequence.rays, merge_average),
        layout=plan.layout,
    )

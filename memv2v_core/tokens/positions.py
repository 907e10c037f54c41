"""RoPE indices of target, source and memory tokens.

Source: Eq. 11-14 and App. D.1, arXiv:2601.16296v2.
"""

from collections.abc import Sequence

import torch

from ..vocabulary import MemoryOrder, MemoryRange, Role


def temporal_indices(
    role: Role,
    num_target_frames: int,
    num_frames: int,
    memory_range: MemoryRange = "own",
    memory_order: MemoryOrder = "forward",
) -> tuple[int, ...]:
    """Temporal index of every latent frame of a video. T is `num_target_frames`.

    - target: 0..T-1.
    - source: T..2T-1.
    - previous, the segment before the target in a long video: T..2T-1, where other tasks have the
    source.
    - memory: 2T..3T-1. All memories share this range, so their number may grow without indices that
    training never saw.

    memory_range "source": memories share T..2T-1 with the source, for bases that never saw indices
    beyond 2T (our choice, training-free mode).
    memory_order "reversed": frame f of n gets index T+(n-1-f) in a previous segment and 2T+(n-1-f)
    in a memory, for weights trained on memories that came after the target; the ranges stay (Fig.
    16c).

    Source: Eq. 11-13, App. D.2 and Fig. 16, arXiv:2601.16296v2.
    """
    # Ranges in units of T.
    starts: dict[Role, int] = {
        "target": 0,
        "source": 1,
        "reference": 1,
        "previous": 1,
        "memory": 2 if memory_range == "own" else 1,
    }
    offset = starts[role] * num_target_frames
    indices = range(offset, offset + num_frames)
    is_reversed = memory_order == "reversed" and role in ("previous", "memory")
    return tuple(reversed(indices) if is_reversed else indices)


def source_ids(num_streams: int, max_source_id: int) -> tuple[float, ...]:
    """The numbers of clean videos in their order, for a base that tells them apart so.

    They are 1, 2, 3, ... The target has 0. More than `max_source_id` videos share the range that
    training saw, evenly: its first and last number stay.

    Source: interpolate_src_id and max_trained_src_id of ByteDance's Bernini.
    """
    if num_streams <= max_source_id:
        return tuple(float(i + 1) for i in range(num_streams))
    return tuple(torch.linspace(1, max_source_id, num_streams, dtype=torch.float64).tolist())


def token_positions(
    frame_indices: Sequence[int],
    rows: int,
    columns: int,
    kernel: int,
    source_id: float | None = None,
) -> torch.Tensor:
    """RoPE indices (t, y, x) of every token of one video, (L, 3) float32.

    source_id: the number of the video, where the base tells videos apart so; it becomes a fourth
    column, (L, 4).

    The unit is one 1x2x2 token of the base. A k x k token sits at the centre of the base tokens
    that it covers: i * k/2 + (k/2 - 1)/2.
    Source: Eq. 14, arXiv:2601.16296v2. Our choice: the paper does not place coarse tokens.
    """
    scale = kernel / 2
    offset = (scale - 1) / 2
    t = torch.tensor(frame_indices, dtype=torch.float32)  # (T,)
    y = torch.arange(rows, dtype=torch.float32) * scale + offset
    x = torch.arange(columns, dtype=torch.float32) * scale + offset
    positions = torch.stack(torch.meshgrid(t, y, x, indexing="ij"), dim=-1).reshape(-1, 3)
    if source_id is None:
        return positions
    return torch.cat((positions, positions.new_full((len(positions), 1), source_id)), dim=1)

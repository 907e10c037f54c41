"""Which tokens of the sequence belong to which video and frame.

Slices are recorded, so no code assumes an order.
"""

from dataclasses import dataclass

from ..vocabulary import Role


@dataclass(frozen=True)
class FrameGroup:
    """Consecutive tokens of frames that share a role, a kernel and a token grid.

    start: offset of the first token in the sequence. num_frames x rows x columns tokens follow,
    frame by frame, row by row.
    is_merged: True after the merging convolution has run on the frames of this group.
    """

    role: Role
    kernel: int
    start: int
    num_frames: int
    rows: int
    columns: int
    is_merged: bool = False

    @property
    def tokens_per_frame(self) -> int:
        return self.rows * self.columns

    @property
    def num_tokens(self) -> int:
        return self.num_frames * self.tokens_per_frame

    @property
    def tokens(self) -> slice:
        return slice(self.start, self.start + self.num_tokens)


@dataclass(frozen=True)
class SequenceLayout:
    """The groups of one sequence; the target is always the first group."""

    groups: tuple[FrameGroup, ...]

    @property
    def num_target_tokens(self) -> int:
        return self.groups[0].num_tokens

    @property
    def conditioning(self) -> tuple[FrameGroup, ...]:
        return self.groups[1:]

    @property
    def num_tokens(self) -> int:
        return sum(group.num_tokens for group in self.groups)


def build_layout(shapes: list[tuple[Role, int, int, int, int]]) -> SequenceLayout:
    """Layout of videos given as (role, kernel, num_frames, rows, columns).

    They come in sequence order, target first.
    """
    # Groups follow each other without gaps.
    groups, start = [], 0
    for role, kernel, num_frames, rows, columns in shapes:
        group = FrameGroup(role, kernel, start, num_frames, rows, columns)
        groups.append(group)
        start += group.num_tokens
    # Written with len(): torch.compile cannot trace an assertion of the list itself.
    assert len(groups) > 0
    assert groups[0].role == "target"
    return SequenceLayout(tuple(groups))

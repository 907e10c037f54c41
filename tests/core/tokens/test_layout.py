import pytest

from memv2v_core.tokens.layout import FrameGroup, build_layout

SHAPES = [
    ("target", 2, 3, 4, 5),
    ("source", 2, 2, 4, 5),
    ("memory", 4, 6, 2, 3),
    ("memory", 8, 1, 1, 2),
]


def test_slices_tile_the_sequence_in_order():
    layout = build_layout(SHAPES)
    assert [(group.tokens.start, group.tokens.stop) for group in layout.groups] == [
        (0, 60),
        (60, 100),
        (100, 136),
        (136, 138),
    ]
    assert layout.num_tokens == 138
    assert layout.num_target_tokens == 60


def test_conditioning_is_everything_but_the_target():
    layout = build_layout(SHAPES)
    assert [(group.role, group.kernel) for group in layout.conditioning] == [
        ("source", 2),
        ("memory", 4),
        ("memory", 8),
    ]
    assert not any(group.is_merged for group in layout.groups)


def test_a_group_counts_its_tokens():
    group = FrameGroup("memory", 4, start=7, num_frames=3, rows=2, columns=5)
    assert (group.tokens_per_frame, group.num_tokens, group.tokens) == (10, 30, slice(7, 37))


def test_the_target_comes_first():
    with pytest.raises(AssertionError):
        build_layout(SHAPES[1:])

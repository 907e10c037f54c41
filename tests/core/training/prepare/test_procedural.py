"""Drawn scenes and edits."""

from dataclasses import replace

import pytest
import torch

from memv2v_core.evaluation.held_out_seeds import HELD_OUT_SEED
from memv2v_core.synthetic import demo_clips, panoramas
from memv2v_core.synthetic.panoramas import SceneConfig
from memv2v_core.synthetic.worlds import WorldConfig
from memv2v_core.training.prepare.config import MAX_SEEDS, ProceduralOptions
from memv2v_core.training.prepare.readers.procedural import (
    FIRST_SEED,
    MAX_ITEMS,
    ProceduralReader,
)
from memv2v_core.training.prepare.readers.raw import ClipSize, RawVideo

OPTIONS = ProceduralOptions(
    num_items=3,
    num_views=3,
    scenes=SceneConfig(num_shapes=3, panorama_width=64),
    worlds=WorldConfig(canvas_height=32),
)
EDITS = replace(OPTIONS, task="text_edit", extended_frames=13)


def _videos(options: ProceduralOptions, index: int, seed: int = 0) -> tuple[RawVideo, ...]:
    reader = ProceduralReader(options, ClipSize(5, 32, 32), seed)
    return list(reader.items())[index].videos()


def test_views_are_the_same_in_any_order_and_differ_by_item_and_seed() -> None:
    forward = [video.frames(0) for video in _videos(OPTIONS, 1)]
    assert forward[0].shape == (5, 3, 32, 32)
    backward = [video.frames(0) for video in reversed(_videos(OPTIONS, 1))][::-1]
    for one, other in zip(forward, backward, strict=True):
        assert torch.equal(one, other)
    for other in (_videos(OPTIONS, 2), _videos(OPTIONS, 1, seed=1)):
        assert not torch.equal(other[0].frames(0), forward[0])
    cameras = [video.cameras(1.0) for video in _videos(OPTIONS, 1) if video.cameras is not None]
    assert len(cameras) == 3
    # The source hardly moves, the views turn away.
    turned = [path.c2w[-1, 0, 0].item() for path in cameras]
    assert turned[0] > 0.995
    assert not torch.equal(cameras[1].c2w, cameras[2].c2w)


def test_an_edit_shows_its_instruction() -> None:
    source, edited, extended = _videos(EDITS, 0)
    assert source.caption == edited.caption == extended.caption != ""
    before, after = source.frames(0), edited.frames(0)
    changed = (before - after).abs().amax((0, 1)) > 0.1
    assert 0 < changed.float().mean() < 0.5
    assert extended.count_segments is not None
    assert (extended.first, extended.count_segments()) == (5, 2)
    # The extension goes on where the edit ends.
    assert (extended.frames(5)[0] - after[-1]).abs().mean() < 0.05
    assert not torch.equal(extended.frames(5), extended.frames(10))


def test_segments_of_an_edit_follow_each_other() -> None:
    source, edited, extended = _videos(replace(EDITS, num_segments=3), 0)
    assert source.count_segments is not None
    assert edited.count_segments is not None
    assert (source.count_segments(), edited.count_segments(), extended.first) == (3, 3, 15)
    one = _videos(EDITS, 0)[2]
    # What was the extension of one segment is the second one.
    assert torch.equal(edited.frames(5), one.frames(5))
    assert not torch.equal(source.frames(5), edited.frames(5))


def test_seeds_are_those_of_no_other_part() -> None:
    last = FIRST_SEED + MAX_SEEDS * MAX_ITEMS - 1
    assert last < min(panoramas.DEMO_SEED_OFFSET, demo_clips.DEMO_SEED_OFFSET, HELD_OUT_SEED)
    # Training starts at seed * 1_000_003 + 1 and takes one more a step.
    assert FIRST_SEED > 2000 * 1_000_003


@pytest.mark.parametrize(
    ("options", "clip", "message"),
    [
        (OPTIONS, ClipSize(5, 32, 48), "drawn clips are square"),
        (replace(OPTIONS, num_items=0), ClipSize(5, 32, 32), "num_items got 0"),
        (replace(OPTIONS, num_views=1), ClipSize(5, 32, 32), "num_views got 1"),
        (replace(EDITS, extended_frames=-1), ClipSize(5, 32, 32), "extended_frames got less"),
    ],
)
def test_options_that_do_not_fit_are_errors(
    options: ProceduralOptions, clip: ClipSize, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ProceduralReader(options, clip, 0)

"""What decides a segment counts in its recipe by its meaning."""

from dataclasses import replace

import pytest

from memv2v_core.bases.base_info import BaseInfo
from memv2v_core.long_edit.settings import MemorySettings
from memv2v_core.retrieval.descriptors import LIGHT
from memv2v_core.shapes import VaeRatios


@pytest.fixture
def base() -> BaseInfo:
    """A trained editor, measured to bear a refresh in every third call."""
    return BaseInfo(
        model_name="editor",
        mode="trained",
        ratios=VaeRatios(1, 8, 16),
        text_width=None,
        clean_timestep="zero",
        has_cameras=False,
        refresh_every=3,
    )


def test_reuse_counts_by_its_meaning_and_its_default_as_before_it_existed(base: BaseInfo) -> None:
    usual = MemorySettings().parts(base)
    assert usual == (4, LIGHT, True, True, 0.0, "merge", "own")
    # The measured number by name makes nothing again.
    assert MemorySettings(refresh_every=3).parts(base) == usual
    assert MemorySettings(refresh_every=1).parts(base) == (*usual, "reuse", 1, "full")
    assert MemorySettings(refresh_every=4).parts(base) == (*usual, "reuse", 4, "full")
    assert MemorySettings(kept_precision="fp8").parts(base) == (*usual, "reuse", 3, "fp8")
    # Where nothing is kept, its precision means nothing.
    unmeasured = replace(base, refresh_every=1)
    assert MemorySettings(kept_precision="fp8").parts(unmeasured) == usual


def test_tokens_that_never_change_are_the_same_for_every_number_but_one(base: BaseInfo) -> None:
    one_way = replace(base, attention="one_way", refresh_every=1)
    usual = MemorySettings().parts(one_way)
    assert MemorySettings(refresh_every=7).parts(one_way) == usual
    assert MemorySettings(refresh_every=1).parts(one_way) != usual

"""The shipped weights on held-out scenes: the claims that four scenes are enough for."""

import pytest

from memv2v_core.builtin.bundle import load_bundle
from memv2v_core.evaluation.novel_view.run import evaluate

NUM_SCENES, NUM_DETAIL_SCENES = 4, 2


@pytest.mark.first
@pytest.mark.slow
def test_memory_makes_turns_agree_on_scenes_never_trained_on() -> None:
    evaluation = evaluate(load_bundle("novel_view"), NUM_SCENES, NUM_DETAIL_SCENES)
    claims = {claim.name: claim for claim in evaluation.claims}
    assert claims["... with over without"].estimate.value < 0.6
    assert claims["... without minus with"].passed
    assert claims["true view as memory: gain to truth"].estimate.low > 3.0
    assert claims["another scene as memory: gain to truth"].passed
    assert claims["another scene as memory: cost where source sees"].passed
    assert claims["source region: PSNR, memory minus none"].passed
    assert claims["source region: PSNR of the codec's round trip"].passed

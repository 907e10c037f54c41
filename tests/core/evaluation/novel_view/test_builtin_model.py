"""The shipped weights on held-out scenes: the claims that four scenes are enough for."""

import pytest

from memv2v_core.builtin.bundle import load_bundle
from memv2v_core.evaluation.claims import Measured
from memv2v_core.evaluation.novel_view.claims import sharpness_claims, source_claims
from memv2v_core.evaluation.novel_view.run import columns, measure_scene

NUM_SCENES = 4


@pytest.mark.first
@pytest.mark.slow
def test_memory_makes_turns_agree_on_scenes_never_trained_on() -> None:
    bundle = load_bundle("novel_view")
    scenes = [measure_scene(bundle, index, has_details=False) for index in range(NUM_SCENES)]
    measured = Measured(columns([scene.measures for scene in scenes]))
    assert measured.ratio("unseen_mae_memory", "unseen_mae_none").value < 0.6
    assert measured.difference("unseen_mae_none", "unseen_mae_memory").low > 0
    claims = (*sharpness_claims(measured), *source_claims(measured))
    by_name = {claim.name: claim for claim in claims}
    assert by_name["true view as memory: gain to truth"].estimate.low > 3.0
    assert by_name["another scene as memory: gain to truth"].passed
    assert by_name["another scene as memory: cost where source sees"].passed
    assert by_name["source region: PSNR, memory minus none"].passed
    assert by_name["source region: PSNR of the codec's round trip"].passed

import json

import pytest
import torch

from memv2v_core.evaluation.claims import Claim
from memv2v_core.evaluation.novel_view.run import evaluate, evaluation_record
from memv2v_core.evaluation.report import claim_record, json_number, machine, table
from memv2v_core.evaluation.statistics import Estimate


def test_table_has_one_line_a_claim_with_its_verdict() -> None:
    claims = [
        Claim("ratio", "<= 0.5", "", Estimate(0.4, 0.35, 0.45, 64), True),
        Claim("quality", ">= 24 dB", "dB", Estimate(23.0, 22.0, 24.0, 64), False),
        Claim("gap", "reported", "dB", Estimate(3.0, 2.0, 4.0, 32), None),
    ]
    # the layout itself, seen and found readable
    assert table(claims).splitlines() == [
        "claim    bar       value      95 % interval     scenes",
        "------------------------------------------------------",
        "ratio    <= 0.5    0.4000     0.3500 .. 0.4500  64      pass",
        "quality  >= 24 dB  23.00 dB   22.00 .. 24.00    64      FAIL",
        "gap      reported  3.0000 dB  2.0000 .. 4.0000  32",
    ]


def test_record_holds_what_the_table_shows() -> None:
    record = claim_record(
        Claim("quality", ">= 24 dB", "dB", Estimate(23.0, 22.0, float("inf"), 64), False)
    )
    assert record == {
        "claim": "quality",
        "bar": ">= 24 dB",
        "unit": "dB",
        "value": 23.0,
        "interval": [22.0, None],
        "num_scenes": 64,
        "passed": False,
    }


def test_numbers_without_a_json_word_become_none() -> None:
    assert json_number(float("nan")) is None
    assert json_number(1 / 3) == 0.333333


def test_machine_names_processor_and_torch() -> None:
    described = machine(torch.device("cpu"))
    assert described["torch"] == torch.__version__
    assert described["accelerator"] is None


@pytest.mark.slow
def test_an_evaluation_runs_end_to_end_and_repeats_itself(bundle) -> None:
    evaluation = evaluate(bundle, num_scenes=3, num_detail_scenes=2)
    record = evaluation_record(
        evaluation, torch.device("cpu"), "python -m memv2v_core.evaluation", (bundle.info,)
    )
    read = json.loads(json.dumps(record, allow_nan=False))
    assert read["num_scenes"] == len(read["scenes"]) == 3
    assert {claim["num_scenes"] for claim in read["claims"]} == {2, 3}
    assert all(claim["value"] is not None for claim in read["claims"])
    assert "unseen_mae_merge" in read["scenes"][1]
    assert "unseen_mae_merge" not in read["scenes"][2]
    again = evaluate(bundle, num_scenes=2, num_detail_scenes=2)
    assert again.scenes[0]["unseen_mae_memory"] == pytest.approx(
        evaluation.scenes[0]["unseen_mae_memory"], abs=1e-4
    )


def test_more_detail_scenes_than_scenes_are_refused(bundle) -> None:
    with pytest.raises(ValueError, match="detail scenes got 4, wanted 2 to 3"):
        evaluate(bundle, num_scenes=3, num_detail_scenes=4)

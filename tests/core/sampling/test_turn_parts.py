"""What decides a turn's result, as a session compares it."""

from dataclasses import replace

from memv2v_core.retrieval.selection import Retrieval
from memv2v_core.sampling.turn_parts import plan_parts
from memv2v_core.tokens.budget import plan_tokens


def test_the_usual_strength_is_not_named_so_that_older_sessions_stay_valid() -> None:
    plan = replace(plan_tokens(Retrieval(None, ())), kernels=(4,))
    usual = plan_parts(plan)
    assert usual is not None
    stronger = plan_parts(replace(plan, strength=1.5))
    assert stronger == (*usual, 1.5)
    # The number of parts of version before this setting.
    assert len(usual) == 7

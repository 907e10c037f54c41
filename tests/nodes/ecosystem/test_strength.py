"""A strength of memory, through ComfyUI's own samplers on small random weights."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from instruments.wan_turns import TinyWan

from memv2v_core.tokens.budget import plan_tokens


def result(wan: TinyWan, model: Any, strength: float | None, **settings: Any) -> torch.Tensor:
    """One step, so that the sampler is linear in what the model says; None: without memories."""
    plan = wan.plan(model)
    plan = None if strength is None else replace(plan, strength=strength)
    turn = wan.turn(model, plan=plan)
    return wan.sample(turn, turn.model, **{"steps": 1, **settings})


def test_strength_0_keeps_how_the_plan_conditions_videos(tiny_wan: TinyWan, wan_model: Any) -> None:
    """Only the memories go, not the choice of cameras."""
    plan = replace(tiny_wan.plan(wan_model), camera_conditioning="target")
    results = []
    for given in (plan.without_memories(), replace(plan, strength=0.0)):
        turn = tiny_wan.turn(wan_model, plan=given)
        results.append(tiny_wan.sample(turn, turn.model, steps=1))
    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"cfg": 2.0}], ids=["alone", "guided"])
def test_a_strength_goes_from_no_memory_to_memory_and_beyond(
    tiny_wan: TinyWan, wan_model: Any, settings: dict[str, Any]
) -> None:
    none = result(tiny_wan, wan_model, None, **settings)
    one = result(tiny_wan, wan_model, 1.0, **settings)
    assert (one - none).abs().max() > 1e-3
    for strength in (0.0, 0.5, 1.5):
        blended = result(tiny_wan, wan_model, strength, **settings)
        wanted = torch.lerp(none, one, strength)
        torch.testing.assert_close(blended, wanted, atol=1e-4, rtol=1e-4)


def test_several_steps_differ_from_both_ends(tiny_wan: TinyWan, wan_model: Any) -> None:
    none, one, half = (
        result(tiny_wan, wan_model, strength, steps=4) for strength in (None, 1.0, 0.5)
    )
    assert min((half - none).abs().max(), (half - one).abs().max()) > 1e-3


def test_the_plan_says_what_it_costs_and_refuses_what_is_no_strength(
    tiny_wan: TinyWan, wan_model: Any
) -> None:
    plan = tiny_wan.plan(wan_model)
    assert "strength" not in plan.describe()
    assert "strength 0.5 (one more call" in replace(plan, strength=0.5).describe()
    for wrong in (-0.5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="strength got"):
            plan_tokens(plan.retrieval, strength=wrong)
    # Without memories there is nothing to blend.
    assert not replace(plan, kernels=(), strength=0.5).is_blended

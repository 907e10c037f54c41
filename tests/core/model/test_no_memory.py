"""Without memories a base is itself: diffusers' Wan with the source behind the target."""

from collections.abc import Callable
from dataclasses import replace

import torch
from diffusers import WanTransformer3DModel

from memv2v_core.bases.base_info import BaseInfo
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_model import memory_forward
from memv2v_core.retrieval.selection import Retrieval
from memv2v_core.sampling.turn import Turn
from memv2v_core.shapes import VaeRatios
from memv2v_core.tokens.budget import plan_tokens

BASE = BaseInfo("tiny", "training-free", VaeRatios(1, 8, 16), None, "target", has_cameras=False)
TIMESTEP = torch.tensor([437.5])


def test_a_turn_without_memories_is_the_base_whatever_its_plan_says(
    dit: WanTransformer3DModel, make_noisy: Callable, make_context: Callable
) -> None:
    noisy, context = make_noisy(1), make_context(1)
    source = torch.randn(noisy.shape[1:], generator=torch.Generator().manual_seed(4))
    turn = Turn(BASE, source)
    answers = []
    for plan in (None, plan_tokens(Retrieval(None, ()), unresponsive="merge")):
        inputs = replace(turn, plan=plan).inputs(lambda latent: latent)
        assert inputs.merging is None
        view = DiffusersView(dit)
        answers.append(memory_forward(view, None, noisy, TIMESTEP, context, inputs))
    assert torch.equal(*answers)

    # Diffusers rotates with cosines and sines, this pack with complex numbers: equal to rounding.
    behind = torch.cat((noisy, source[None]), dim=2)
    own = dit(behind, TIMESTEP, context).sample[:, :, : noisy.shape[2]]
    torch.testing.assert_close(answers[0], own, atol=1e-5, rtol=0)
    assert (own - dit(noisy, TIMESTEP, context).sample).abs().max() > 1e-2

"""refresh_every and kept_precision on the nodes: what they do, cost and report."""

from typing import Any

import pytest
import torch
from instruments.long_video import ALL

from memv2v_core.tokens.reuse import ReuseConfig

STEPS = {"steps": 4, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple"}


@pytest.fixture
def tokenize(comfy_api: Any, tiny_model: Any, examples: Any):
    """Plan and cost of a memory, for the built-in model with random weights, which nobody has
    measured."""
    from memory_v2v.nodes.tokens import DynamicTokenize

    def run(**changes: Any) -> tuple[Any, str]:
        given = {
            "top_kernel": "4",
            "num_top": 3,
            "rest_kernel": "8",
            "unresponsive": "keep",
            "share": 0.0,
            "pool": "conditioning",
            "memory_range": "own",
            "camera_conditioning": "as_trained",
            "model": tiny_model,
            "source": {"samples": examples.latent(0)},
            **changes,
        }
        retrieval = examples.plan().retrieval
        return comfy_api.run_node(DynamicTokenize, retrieval=retrieval, **given).args

    return run


def test_the_cost_says_what_more_rare_refreshes_would_save(tokenize: Any) -> None:
    plan, cost = tokenize()
    assert plan.reuse == ReuseConfig()
    assert "computed in every step (nobody has measured this model); refresh_every 2 would" in cost
    _, chosen = tokenize(refresh_every=1)
    assert "computed in every step (refresh_every is 1)" in chosen


def test_the_cost_of_reuse_counts_what_is_kept(tokenize: Any) -> None:
    plan, cost = tokenize(refresh_every=4)
    assert plan.reuse == ReuseConfig(4)
    assert "source and memories are computed in every 4. call: 0." in cost
    full = float(cost.rpartition(" MiB kept")[0].rpartition(" ")[2])
    _, small = tokenize(refresh_every=4, kept_precision="fp8")
    assert float(small.rpartition(" MiB kept")[0].rpartition(" ")[2]) <= full / 2


def test_a_negative_number_is_refused(tokenize: Any) -> None:
    with pytest.raises(ValueError, match="refresh_every got -2, wanted 0 for automatic, 1 for"):
        tokenize(refresh_every=-2)


def test_the_sampler_says_what_it_reused_and_equals_apply_memory(
    comfy_api: Any, tiny_model: Any, tokenize: Any, examples: Any, ksampler: Any
) -> None:
    from memory_v2v.nodes.sampling import ApplyMemory, MemoryV2VSampler

    plan, _ = tokenize(refresh_every=2)
    given = {
        "model": tiny_model,
        "source": {"samples": examples.latent(0)},
        "target_camera": examples.path("pan_left"),
        "plan": plan,
    }
    output = comfy_api.run_node(MemoryV2VSampler, seed=5, **STEPS, **given)
    text = output.ui.as_dict()["text"][0]
    assert "clean videos refreshed in 2 of 4 calls of the model" in text
    assert "their keys had changed by (timestep 0 to 1000): " in text
    patched, positive, negative, latent = comfy_api.run_node(ApplyMemory, **given).result
    native = ksampler(patched, positive, negative, latent, seed=5, steps=4)
    assert torch.equal(output.result[0]["samples"], native)


def test_a_long_edit_reports_its_reuse_and_makes_again_what_it_changes(run: Any) -> None:
    first = run()
    assert "clean videos" not in first.report
    # Two steps: one refreshes and one reuses.
    second = run(refresh_every=2)
    assert second.sampled == ALL
    assert "clean videos refreshed in " in second.report
    assert not torch.equal(first.latents[1], second.latents[1])
    assert run(refresh_every=2).sampled == []
    # One call after the other is what an unmeasured model does anyway.
    assert run(refresh_every=1).latents[1].equal(first.latents[1])

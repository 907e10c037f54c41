"""Without memories a base is itself: a native Wan with the source's tokens behind the target's."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.retrieval.selection import Retrieval
from memv2v_core.tokens.budget import plan_tokens
from memv2v_core.vocabulary import UnresponsiveChoice

NOTHING = Retrieval(None, ())
BARE = {"source_camera": None, "target_camera": None, "adapter": None}


def with_source_behind(model: Any, source: torch.Tensor) -> Any:
    """`model` whose own, native forward sees the source as further frames behind the target.

    This is what ReCamMaster does, written without any of our code.
    """
    from comfy.patcher_extension import WrappersMP

    clean = model.model.process_latent_in(source)

    def forward(executor: Callable, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        behind = clean.to(x).expand(x.shape[0], -1, -1, -1, -1)
        return executor(torch.cat((x, behind), dim=2), *args, **kwargs)[:, :, : x.shape[2]]

    clone = model.clone()
    clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", forward)
    return clone


@pytest.mark.parametrize("unresponsive", ["automatic", "merge", "discard", "keep"])
def test_an_empty_retrieval_is_the_native_base_bit_for_bit(
    tiny_wan, wan_model, unresponsive: UnresponsiveChoice
) -> None:
    turn = tiny_wan.turn(wan_model, plan=plan_tokens(NOTHING, unresponsive=unresponsive), **BARE)
    native = with_source_behind(wan_model, turn.inputs["source"]["samples"])
    wanted = tiny_wan.sample(turn, native)
    assert wanted.abs().max() > 0.1
    assert torch.equal(tiny_wan.sample(turn), wanted)


def test_with_guidance_it_is_the_base_to_a_rounding(tiny_wan, wan_model) -> None:
    """Both prompts run as one batch. The source is embedded once for both, and the CPU rounds a
    convolution of two rows differently.
    """
    turn = tiny_wan.turn(wan_model, plan=plan_tokens(NOTHING), **BARE)
    native = with_source_behind(wan_model, turn.inputs["source"]["samples"])
    sampled, wanted = (tiny_wan.sample(turn, model, cfg=2.0) for model in (None, native))
    torch.testing.assert_close(sampled, wanted, atol=2e-5, rtol=0)


def test_k_0_in_a_full_cache_is_the_same(comfy_api, tiny_wan, wan_model, examples) -> None:
    from memory_v2v.nodes.retrieval import RecentRetrieve
    from memory_v2v.nodes.tokens import DynamicTokenize

    cache = MemoryCache().append(examples.entry(1)).append(examples.entry(2))
    (retrieval,) = comfy_api.run_node(RecentRetrieve, cache=cache, k=0).result
    inputs = DynamicTokenize.define_schema().inputs
    widgets = {given.id: given.default for given in inputs if hasattr(given, "default")}
    plan, text = comfy_api.run_node(DynamicTokenize, retrieval=retrieval, **widgets).result
    assert text.startswith("no memory; nothing merged")
    turn, first = (tiny_wan.turn(wan_model, plan=given, **BARE) for given in (plan, None))
    assert torch.equal(tiny_wan.sample(turn), tiny_wan.sample(first))


def test_published_models_keep_all_frames_and_trained_ones_merge(tiny_wan, wan_model) -> None:
    """The same automatic plan, on the base alone and with an adapter of trained memory."""
    from memory_v2v.nodes.host.models.attachment import base_info, with_adapter

    retrieval = tiny_wan.plan(wan_model).retrieval
    plan = plan_tokens(retrieval)
    assert plan.merging_for(base_info(wan_model).mode) is None
    assert plan.merging_for(base_info(with_adapter(wan_model, tiny_wan.adapter)).mode) is not None
    turn = tiny_wan.turn(wan_model, plan=plan)
    kept = tiny_wan.turn(wan_model, plan=plan_tokens(retrieval, unresponsive="keep"))
    merged = tiny_wan.turn(wan_model, plan=plan_tokens(retrieval, unresponsive="merge"))
    assert torch.equal(tiny_wan.sample(turn), tiny_wan.sample(merged))
    assert not torch.equal(tiny_wan.sample(turn), tiny_wan.sample(kept))

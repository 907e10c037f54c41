"""Runs that ask for an attention kernel: who wins, what stays bit-equal, and the switch."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from instruments.attention_kernels import on_cpu

TOKENS = 64


def with_kernel(model, choice):
    """A patched MODEL whose runs choose this."""
    from comfy.patcher_extension import WrappersMP

    from memory_v2v.nodes.host.models.attachment import KEY

    (wrapper,) = model.get_wrappers(WrappersMP.OUTER_SAMPLE, KEY)
    return replace(wrapper.__self__, kernel=lambda _model: choice).attach(model)


def sampled(tiny_wan, turn, model=None):
    return tiny_wan.sample(turn, model, cfg=2.0)


def test_a_run_asks_for_its_kernel_in_all_self_attention(
    kernels, tiny_wan, wan_model, pytorch_attention
) -> None:
    turn = tiny_wan.turn(wan_model)
    own = sampled(tiny_wan, turn)
    lengths = []

    class Watched(kernels.FastAttention):
        def _attend(self, query: torch.Tensor, *given: Any) -> torch.Tensor:
            lengths.append(query.shape[1])
            return super()._attend(query, *given)

    chosen = kernels.AttentionChoice(on_cpu(kernels, kind=Watched), "asked")
    asked = sampled(tiny_wan, turn, with_kernel(turn.model, chosen))
    # Two steps, three blocks; both prompts may go as one batch. Attention to a prompt is shorter.
    assert len(lengths) in (6, 12)
    assert min(lengths) > TOKENS
    assert (asked - own).abs().max() < 1e-4
    assert not torch.equal(asked, own)


def test_the_default_changes_nothing_on_a_cpu(
    kernels, tiny_wan, wan_model, pytorch_attention
) -> None:
    turn = tiny_wan.turn(wan_model)
    off = tiny_wan.turn(wan_model, fast_attention=False)
    assert torch.equal(sampled(tiny_wan, turn), sampled(tiny_wan, off))
    seen: list[Any] = []

    def look(attend: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        seen.append(kwargs["transformer_options"].get(kernels.OVERRIDE))
        return attend(*args, **kwargs)

    sampled(tiny_wan, turn, tiny_wan.with_attention(turn.model, look))
    assert set(seen) == {look}


def test_another_node_s_override_wins(kernels, tiny_wan, wan_model, pytorch_attention) -> None:
    turn = tiny_wan.turn(wan_model)

    def halved(attend: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        return attend(*args, **kwargs) / 2

    theirs = sampled(tiny_wan, turn, tiny_wan.with_attention(turn.model, halved))
    asking = with_kernel(turn.model, kernels.AttentionChoice(on_cpu(kernels), "asked"))
    assert torch.equal(sampled(tiny_wan, turn, tiny_wan.with_attention(asking, halved)), theirs)
    assert (theirs - sampled(tiny_wan, turn)).abs().max() > 1e-2


def test_an_attention_that_comfyui_was_started_with_stays(kernels, tiny_wan, wan_model) -> None:
    # These tests start ComfyUI without torch's attention.
    turn = tiny_wan.turn(wan_model)
    asking = with_kernel(turn.model, kernels.AttentionChoice(on_cpu(kernels), "asked"))
    assert torch.equal(sampled(tiny_wan, turn, asking), sampled(tiny_wan, turn))


def test_an_attention_that_a_node_put_into_the_dit_s_module_stays(
    kernels, pytorch_attention, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.ldm.wan.model

    options: dict[str, Any] = {}
    monkeypatch.setattr(comfy.ldm.wan.model, "optimized_attention", lambda *_given: None)
    kernels.ask_for(on_cpu(kernels), options)
    assert options == {}


def test_kept_tokens_serve_calls_under_the_kernel(
    kernels, tiny_wan, wan_model, pytorch_attention
) -> None:
    plan = replace(tiny_wan.plan(wan_model), reuse=reuse_every(4))
    turn = tiny_wan.turn(wan_model, plan=plan)
    own = tiny_wan.sample(turn, steps=4)
    chosen = kernels.AttentionChoice(on_cpu(kernels), "asked")
    asked = tiny_wan.sample(turn, with_kernel(turn.model, chosen), steps=4)
    every = tiny_wan.sample(tiny_wan.turn(wan_model), steps=4)
    assert (asked - own).abs().max() < 1e-4
    # Had the kernel's object been another one in each call, nothing would have been reused.
    assert (own - every).abs().max() > 1e-3
    assert (asked - every).abs().max() > 1e-3


def reuse_every(num_calls: int):
    from memv2v_core.tokens.reuse import ReuseConfig

    return ReuseConfig(refresh_every=num_calls)


@pytest.fixture
def asked(kernels, monkeypatch: pytest.MonkeyPatch):
    """Models that were asked for their kernel."""
    from memory_v2v.nodes.host.sampling import turns

    models: list[Any] = []

    def choose(model: Any):
        models.append(model)
        return kernels.AttentionChoice(None, "attention: a kernel")

    for module in (kernels, turns):
        monkeypatch.setattr(module, "fastest_attention", choose)
    return models


def test_the_sampler_says_what_it_picked_and_the_widget_switches_it_off(
    comfy_api, tiny_model, examples, asked
) -> None:
    from memory_v2v.nodes.sampling import MemoryV2VSampler

    settings = {"steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "seed": 1}
    settings |= {
        "source": {"samples": examples.latent(0)},
        "target_camera": examples.path("pan_left"),
    }
    on = comfy_api.run_node(MemoryV2VSampler, model=tiny_model, **settings)
    assert asked
    assert "attention: a kernel" in on.ui.as_dict()["text"][0].split("\n")
    asked.clear()
    off = comfy_api.run_node(MemoryV2VSampler, model=tiny_model, fast_attention=False, **settings)
    assert not asked
    assert "attention: a kernel" not in off.ui.as_dict()["text"][0]
    assert torch.equal(on.result[0]["samples"], off.result[0]["samples"])


def test_apply_memory_says_it_in_the_log_and_the_widget_switches_it_off(
    tiny_wan, wan_model, asked, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        tiny_wan.sample(tiny_wan.turn(wan_model), steps=1)
    assert "Memory-V2V: attention: a kernel" in caplog.text
    assert len(asked) == 1
    tiny_wan.sample(tiny_wan.turn(wan_model, fast_attention=False), steps=1)
    assert len(asked) == 1


def test_edit_long_video_says_it_and_the_widget_switches_it_off(run, asked) -> None:
    on = run(session="on")
    assert "attention: a kernel" in on.report.split("\n")
    count = len(asked)
    assert count > 1
    # Rounding is no setting that decides a segment: nothing is made again.
    off = run(session="on", fast_attention=False)
    assert "attention: a kernel" not in off.report
    assert off.sampled == []
    run(session="off", fast_attention=False)
    assert len(asked) == count


def test_a_compiled_model_runs_the_kernel_inside_its_graphs(
    kernels, tiny_wan, wan_model, pytorch_attention
) -> None:
    turn = tiny_wan.turn(wan_model)
    asking = with_kernel(turn.model, kernels.AttentionChoice(on_cpu(kernels), "asked"))
    node = tiny_wan.extra("nodes_torch_compile", "TorchCompileModel")
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = tiny_wan.run(node, model=asking, backend="eager")
    result = tiny_wan.sample(turn, compiled, steps=1)
    assert (result - tiny_wan.sample(turn, steps=1)).abs().max() < 1e-4
    # As without the kernel: what ComfyUI does before, the clean tokens, and the forward.
    counters = torch._dynamo.utils.counters
    assert counters["stats"]["unique_graphs"] == 3
    assert all("MemoryRun.forward" in reason for reason in counters["graph_break"])

"""The choice of an attention kernel: when it is made, what it leaves alone, and that it is exact.

No test needs a GPU: torch has two exact kernels on a CPU too, and a clock is passed in.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend
from torch.nn.functional import scaled_dot_product_attention

HEADS, HEAD_DIM, TOKENS = 2, 128, 64


def clock(*seconds: float) -> Callable[[Callable[[], torch.Tensor]], float]:
    """A clock that shows these times, one for each call that is timed."""
    times = iter(seconds)
    return lambda _run: next(times)


@pytest.fixture
def kernels(comfy_api):
    """The module."""
    from memory_v2v.nodes.host.patch import attention_kernel

    return attention_kernel


@pytest.fixture
def pytorch_attention(comfy_api, monkeypatch: pytest.MonkeyPatch):
    """ComfyUI's attention as it is on a GPU, or with --use-pytorch-cross-attention."""
    import comfy.ldm.modules.attention
    import comfy.ldm.wan.model

    attention = comfy.ldm.modules.attention.attention_pytorch
    for module in (comfy.ldm.modules.attention, comfy.ldm.wan.model):
        monkeypatch.setattr(module, "optimized_attention", attention)
    return attention


@pytest.fixture
def probe(kernels):
    """A small attention in bf16, and the times of ComfyUI's own kernel, then of each candidate."""

    def of(*seconds: float, own: Any = scaled_dot_product_attention):
        cpu = torch.device("cpu")
        return kernels.Probe.of(cpu, torch.bfloat16, HEAD_DIM, own, clock(*seconds), 200)

    return of


def candidates(kernels, *backends: SDPBackend, margin: float = 1.05):
    return [kernels.Candidate(backend, margin) for backend in backends]


def on_cpu(kernels, backend: SDPBackend = SDPBackend.MATH, kind: type | None = None, **changes):
    """An override for the CPU in fp32, and short sequences."""
    settings = {"device": torch.device("cpu"), "dtype": torch.float32, "head_dim": HEAD_DIM}
    # The CPU takes any kernel of the list, whatever the order.
    settings |= {"min_tokens": TOKENS, "rest": (), **changes}
    return (kind or kernels.FastAttention)(backend, **settings)


def with_kernel(model, choice):
    """A patched MODEL whose runs choose this."""
    from comfy.patcher_extension import WrappersMP

    from memory_v2v.nodes.host.models.attachment import KEY

    (wrapper,) = model.get_wrappers(WrappersMP.OUTER_SAMPLE, KEY)
    return replace(wrapper.__self__, kernel=lambda _model: choice).attach(model)


def tensors(seed: int = 0, dtype: torch.dtype = torch.float32, num: int = TOKENS):
    generator = torch.Generator().manual_seed(seed)
    shape = (1, num, HEADS * HEAD_DIM)
    return [torch.randn(shape, generator=generator).to(dtype) for _ in range(3)]


# The choice.


def test_cudnn_is_a_candidate_from_the_capability_that_it_needs(kernels) -> None:
    assert kernels.candidates_for((7, 5)) == ()
    (ada,), (hopper,) = kernels.candidates_for((8, 9)), kernels.candidates_for((9, 0))
    assert ada.kernel == hopper.kernel == SDPBackend.CUDNN_ATTENTION
    assert ada.margin > hopper.margin > 1


def test_a_faster_exact_kernel_is_chosen_and_its_speed_is_told(kernels, probe) -> None:
    choice = kernels.choose(probe(3.0, 2.0), candidates(kernels, SDPBackend.MATH))
    assert choice.override.kernel == SDPBackend.MATH
    assert choice.override.dtype == torch.bfloat16
    assert choice.override.head_dim == HEAD_DIM
    assert "plain matrix products, measured 1.50 times as fast" in choice.text


def test_the_fastest_of_several_kernels_is_chosen(kernels, probe) -> None:
    both = candidates(kernels, SDPBackend.FLASH_ATTENTION, SDPBackend.MATH)
    assert kernels.choose(probe(3.0, 2.0, 1.0), both).override.kernel == SDPBackend.MATH
    first = kernels.choose(probe(3.0, 1.0, 2.0), both).override.kernel
    assert first == SDPBackend.FLASH_ATTENTION


def test_a_kernel_within_the_margin_is_not_worth_it(kernels, probe) -> None:
    choice = kernels.choose(probe(1.04, 1.0), candidates(kernels, SDPBackend.MATH))
    assert choice.override is None
    assert choice.text == (
        "attention: ComfyUI's own order; plain matrix products was 1.04 times as fast"
    )


def test_a_kernel_that_this_device_lacks_is_left_out(kernels, probe) -> None:
    listed = candidates(kernels, SDPBackend.CUDNN_ATTENTION, SDPBackend.MATH)
    # No time is taken of a kernel that did not run.
    choice = kernels.choose(probe(2.0, 1.0), listed)
    assert choice.override.kernel == SDPBackend.MATH
    alone = kernels.choose(probe(2.0), listed[:1])
    assert alone.override is None
    assert "cuDNN's kernel does not run here" in alone.text


@pytest.mark.parametrize("fault", ["one token", "eight bits", "not a number"])
def test_a_fast_kernel_with_other_numbers_is_refused(kernels, probe, fault: str) -> None:
    def own(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """ComfyUI's result, from which the exact candidate then differs by the fault."""
        if fault == "eight bits":
            value = value.to(torch.float8_e4m3fn).to(value.dtype)
        result = scaled_dot_product_attention(query, key, value).clone()
        if fault == "one token":
            result[0, 1, -1] *= 1.1
        if fault == "not a number":
            result[0, 0, 0, 0] = float("nan")
        return result

    choice = kernels.choose(probe(9.0, 1.0, own=own), candidates(kernels, SDPBackend.MATH))
    assert choice.override is None
    assert "gave other numbers" in choice.text


def test_a_cpu_is_never_timed(kernels, wan_model, pytorch_attention) -> None:
    choice = kernels.fastest_attention(wan_model)
    assert choice.override is None
    assert choice.describe() == ()


@pytest.mark.gpu
def test_the_kernels_of_a_gpu_are_timed_and_the_chosen_one_is_exact(kernels) -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    listed = kernels.candidates_for(torch.cuda.get_device_capability(device))
    own = scaled_dot_product_attention
    made = kernels.Probe.of(device, torch.bfloat16, HEAD_DIM, own, kernels.cuda_seconds)
    choice = kernels.choose(made, listed)
    assert (choice.override is None) == ("ComfyUI's own order" in choice.text)
    if choice.override is not None:
        query, key, value = (each.to(device, torch.bfloat16) for each in tensors(num=2000))
        pytorch = pytest.importorskip("comfy.ldm.modules.attention").attention_pytorch
        expected = pytorch(query, key, value, HEADS)
        result = choice.override(pytorch.__wrapped__, query, key, value, HEADS)
        assert (result - expected).abs().max() < 0.05 * expected.abs().max()


# One attention.


def test_the_override_gives_the_result_of_comfyui_s_function(kernels, pytorch_attention) -> None:
    query, key, value = tensors()
    own = pytorch_attention(query, key, value, HEADS)
    given = {"transformer_options": {kernels.OVERRIDE: on_cpu(kernels)}}
    asked = pytorch_attention(query, key, value, HEADS, **given)
    assert (asked - own).abs().max() < 1e-5
    # Another kernel did compute it.
    assert not torch.equal(asked, own)


@pytest.mark.parametrize(
    "change",
    [
        "mask",
        "skip_reshape",
        "skip_output_reshape",
        "scale",
        "dtype",
        "short",
        "head width",
        "gradient",
        "function",
        "device",
    ],
)
def test_what_was_not_timed_stays_with_comfyui(kernels, pytorch_attention, change: str) -> None:
    import comfy.ldm.modules.attention

    override = on_cpu(kernels)
    dtype = torch.bfloat16 if change == "dtype" else torch.float32
    given: Any = tensors(dtype=dtype, num=TOKENS - 1 if change == "short" else TOKENS)
    function, heads, options = pytorch_attention, HEADS, {}
    if change == "mask":
        options["mask"] = torch.zeros(1, TOKENS, TOKENS)
    if change == "scale":
        options["scale"] = 0.5
    if change == "skip_output_reshape":
        options[change] = True
    if change == "skip_reshape":
        options[change] = True
        given = [each.unflatten(-1, (HEADS, -1)).transpose(1, 2) for each in given]
    if change == "head width":
        heads = 2 * HEADS
    if change == "gradient":
        given[0].requires_grad_()
    if change == "function":
        function = comfy.ldm.modules.attention.attention_sub_quad
    if change == "device":
        override = on_cpu(kernels, device=torch.device("meta"))
    own = function(*given, heads, **options)
    asked = function(*given, heads, **options, transformer_options={kernels.OVERRIDE: override})
    assert torch.equal(asked, own)


def test_a_kernel_that_fails_is_given_up_and_told(kernels, pytorch_attention) -> None:
    calls = []

    class Failing(kernels.FastAttention):
        def _attend(self, *_given: Any) -> torch.Tensor:
            calls.append(1)
            raise RuntimeError("no execution plan")

    override = on_cpu(kernels, kind=Failing)
    query, key, value = tensors()
    own = pytorch_attention(query, key, value, HEADS)
    for _ in range(2):
        given = {"transformer_options": {kernels.OVERRIDE: override}}
        assert torch.equal(pytorch_attention(query, key, value, HEADS, **given), own)
    assert len(calls) == 1
    told = kernels.AttentionChoice(override, "cuDNN").describe()
    assert told == ("cuDNN", "it failed, so ComfyUI's own took over: no execution plan")


# A run.


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


# The switch and the text.


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

"""The choice of an attention kernel: when it is made, what it leaves alone, and that it is exact.

No test needs a GPU: torch has two exact kernels on a CPU too, and a clock is passed in.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from instruments.attention_kernels import on_cpu
from torch.nn.attention import SDPBackend
from torch.nn.functional import scaled_dot_product_attention

HEADS, HEAD_DIM, TOKENS = 2, 128, 64


def clock(*seconds: float) -> Callable[[Callable[[], torch.Tensor]], float]:
    """A clock that shows these times, one for each call that is timed."""
    times = iter(seconds)
    return lambda _run: next(times)


@pytest.fixture
def probe(kernels):
    """A small attention in bf16, and the times of ComfyUI's own kernel, then of each candidate."""

    def of(*seconds: float, own: Any = scaled_dot_product_attention):
        cpu = torch.device("cpu")
        return kernels.Probe.of(cpu, torch.bfloat16, HEAD_DIM, own, clock(*seconds), 200)

    return of


def candidates(kernels, *backends: SDPBackend, margin: float = 1.05):
    return [kernels.Candidate(backend, margin) for backend in backends]


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

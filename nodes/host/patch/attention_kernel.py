"""The fastest exact attention kernel of a GPU, by ComfyUI's own `optimized_attention_override`.

ComfyUI asks torch for FlashAttention first. cuDNN's kernel gives the same numbers, up to rounding.
Which one is faster on this GPU is measured once.

L tokens, D width of all heads, d of one head.
"""

import inspect
import logging
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import comfy.ldm.modules.attention
import comfy.ldm.wan.model
import comfy.model_management
import comfy.ops
import torch
from comfy.model_patcher import ModelPatcher
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

log = logging.getLogger(__name__)

OVERRIDE = "optimized_attention_override"
# Of the timed attention. As ragged at the end as Wan's 32,760 tokens: their last 256 lack 8.
_PROBE_HEADS, _PROBE_TOKENS = 16, 4088
# Shorter sequences, as those of a prompt, stay with ComfyUI: other kernels win there.
_MIN_TOKENS = 1024
# How many times as fast a kernel must be to be taken: where measurements expect it, and elsewhere.
_EXPECTED_MARGIN, _MARGIN = 1.05, 1.15
# Largest relative difference of one token's result, in units of its precision: four times the
# difference between two exact kernels of a CPU in bf16 and fp16, 0.5. Kernels in 8 bits give more.
_MAX_ROUNDINGS = 2
_NUM_TIMES, _NUM_CALLS = 3, 2
# ComfyUI's own order, without cuDNN's.
_REST = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)
_TITLES = {
    "CUDNN_ATTENTION": "cuDNN's kernel",
    "EFFICIENT_ATTENTION": "the memory-efficient kernel",
    "FLASH_ATTENTION": "FlashAttention",
    "MATH": "plain matrix products",
}
# Arguments of ComfyUI's attention that change nothing here where they are not true.
_HANDLED = {"mask", "skip_reshape", "skip_output_reshape"}
# Arguments that never change the result of torch's attention.
_WITHOUT_EFFECT = {
    "_inside_attn_wrapper",
    "attn_precision",
    "low_precision_attention",
    "transformer_options",
}

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
Clock = Callable[[Callable[[], torch.Tensor]], float]


def _title(kernel: SDPBackend) -> str:
    return _TITLES.get(kernel.name, kernel.name)


def attend_by(
    kernels: Sequence[SDPBackend], query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> torch.Tensor:
    """Attention (B, heads, L, d) by the first of `kernels` that can.

    Raises: RuntimeError where none of them can.
    """
    with sdpa_kernel(list(kernels), set_priority=True):
        return scaled_dot_product_attention(query, key, value)


@dataclass(frozen=True, eq=False)
class FastAttention:
    """One kernel before all others, as an `optimized_attention_override`.

    It acts on attention like the timed one: of this device, dtype and head width. Everything else
    stays with ComfyUI. One object serves all runs, so kept tokens that belong to it stay valid.

    rest: the kernels for a shape that `kernel` does not take. failures: what it raised, if it did.
    """

    kernel: SDPBackend
    device: torch.device
    dtype: torch.dtype
    head_dim: int
    min_tokens: int = _MIN_TOKENS
    rest: tuple[SDPBackend, ...] = _REST
    failures: list[str] = field(default_factory=list)

    def __call__(
        self,
        func: Callable[..., torch.Tensor],
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        heads: int,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Attention (B, L, D) in place of ComfyUI's function `func`, or by that function."""
        if not args and _is_plain(func, kwargs) and self._fits(q, k, v, heads):
            try:
                return self._attend(q, k, v, heads)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                # The library behind a kernel may refuse a shape that torch thought it takes.
                self.failures.append(str(error))
                log.warning(
                    "Memory-V2V: %s failed, so ComfyUI's own attention goes on: %s",
                    _title(self.kernel),
                    error,
                )
        return func(q, k, v, heads, *args, **kwargs)

    def _attend(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int
    ) -> torch.Tensor:
        # (B, L, D) to (B, heads, L, d), and back.
        query, key, value = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in (q, k, v))
        return attend_by((self.kernel, *self.rest), query, key, value).transpose(1, 2).flatten(2)

    def _fits(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int) -> bool:
        tensors = (q, k, v)
        return (
            not self.failures
            and all(each.ndim == 3 and each.dtype == self.dtype for each in tensors)
            and all(each.shape[-1] == heads * self.head_dim for each in tensors)
            and q.device == self.device
            and min(q.shape[1], k.shape[1]) >= self.min_tokens
            # Only forwards were measured.
            and not (torch.is_grad_enabled() and any(each.requires_grad for each in tensors))
        )


def _is_plain(func: Callable[..., torch.Tensor], kwargs: dict[str, Any]) -> bool:
    """Whether torch's attention is asked for, in its usual layout and without a mask."""
    pytorch = inspect.unwrap(comfy.ldm.modules.attention.attention_pytorch)
    is_usual = all(kwargs.get(name) in (None, False) for name in _HANDLED - {"mask"})
    return (
        func is pytorch
        and is_usual
        and kwargs.get("mask") is None
        and not set(kwargs) - _HANDLED - _WITHOUT_EFFECT
    )


@dataclass(frozen=True)
class Candidate:
    """A kernel that may beat ComfyUI's first choice.

    margin: how many times as fast it must be to be taken.
    """

    kernel: SDPBackend
    margin: float


def candidates_for(capability: tuple[int, int]) -> tuple[Candidate, ...]:
    """The kernels worth timing on an NVIDIA GPU of this compute capability.

    cuDNN's attention needs 8.0. From 9.0 on it is expected to win: torch's FlashAttention was
    written for 8.x.
    """
    if capability < (8, 0):
        return ()
    margin = _EXPECTED_MARGIN if capability >= (9, 0) else _MARGIN
    return (Candidate(SDPBackend.CUDNN_ATTENTION, margin),)


@dataclass(frozen=True, eq=False)
class AttentionChoice:
    """What was chosen: an override, or None for ComfyUI's own order, and why.

    text: "" where nothing was compared.
    """

    override: FastAttention | None = None
    text: str = ""

    def describe(self) -> tuple[str, ...]:
        """The choice in words, and the kernel's failures; nothing where nothing was compared."""
        if not self.text:
            return ()
        failures = () if self.override is None else self.override.failures
        return (self.text, *(f"it failed, so ComfyUI's own took over: {each}" for each in failures))


@dataclass(frozen=True, eq=False)
class Probe:
    """One small self-attention (1, heads, L, d), and a clock.

    own: ComfyUI's attention. seconds: of a call.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    own: Attend
    seconds: Clock

    @classmethod
    def of(
        cls,
        device: torch.device,
        dtype: torch.dtype,
        head_dim: int,
        own: Attend,
        seconds: Clock,
        num_tokens: int = _PROBE_TOKENS,
    ) -> "Probe":
        """Random values in the layout that ComfyUI's attention has inside."""
        generator = torch.Generator(device).manual_seed(0)
        shape = (1, num_tokens, _PROBE_HEADS, head_dim)
        query, key, value = (
            torch.randn(shape, generator=generator, device=device).to(dtype).transpose(1, 2)
            for _ in range(3)
        )
        return cls(query, key, value, own, seconds)

    def run(self, attend: Attend) -> torch.Tensor:
        """The result of one attention."""
        return attend(self.query, self.key, self.value)

    def time(self, attend: Attend) -> float:
        """Seconds of one attention."""
        return self.seconds(partial(self.run, attend))


def choose(probe: Probe, candidates: Sequence[Candidate]) -> AttentionChoice:
    """The fastest of the candidates that gives ComfyUI's result up to rounding, if any is faster.

    A candidate that this GPU lacks, or whose result differs, is left out, and the text says so.
    """
    right, own = probe.run(probe.own), probe.time(probe.own)
    best: tuple[float, SDPBackend] | None = None
    notes = []
    for candidate in candidates:
        attend, title = partial(attend_by, (candidate.kernel,)), _title(candidate.kernel)
        try:
            roundings = _roundings_between(probe.run(attend), right)
            speedup = own / probe.time(attend)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            notes.append(f"{title} does not run here")
            continue
        if not roundings <= _MAX_ROUNDINGS:
            notes.append(f"{title} gave other numbers ({roundings:.1f} roundings away)")
        elif speedup < candidate.margin:
            notes.append(f"{title} was {speedup:.2f} times as fast")
        elif best is None or speedup > best[0]:
            best = (speedup, candidate.kernel)
    if best is None:
        return AttentionChoice(None, f"attention: ComfyUI's own order; {', '.join(notes)}")
    speedup, kernel = best
    override = FastAttention(kernel, right.device, right.dtype, right.shape[-1])
    text = (
        f"attention over {_MIN_TOKENS} tokens and more: {_title(kernel)}, measured "
        f"{speedup:.2f} times as fast as ComfyUI's own order on this GPU"
    )
    return AttentionChoice(override, text)


def _roundings_between(result: torch.Tensor, right: torch.Tensor) -> float:
    """Relative difference of the worst token, in units of the dtype's precision."""
    difference = torch.linalg.vector_norm((result - right).float(), dim=-1)
    size = torch.linalg.vector_norm(right.float(), dim=-1)
    return float((difference / size).max()) / torch.finfo(right.dtype).eps


def cuda_seconds(run: Callable[[], torch.Tensor]) -> float:
    """Median seconds of a call on the current GPU, after one that warms up."""
    run()
    times = []
    for _ in range(_NUM_TIMES):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        # The second launch hides behind the first kernel.
        for _ in range(_NUM_CALLS):
            run()
        ended.record()
        ended.synchronize()
        times.append(began.elapsed_time(ended) / 1e3 / _NUM_CALLS)
    return statistics.median(times)


def fastest_attention(model: ModelPatcher) -> AttentionChoice:
    """The choice for runs of a native Wan MODEL.

    ComfyUI's own order stays on everything but an NVIDIA GPU in half precision, where ComfyUI was
    started with another attention or as deterministic, and where another node set an override.
    """
    device, dtype = model.load_device, model.model.get_dtype_inference()
    if (
        device.type != "cuda"
        or dtype not in (torch.bfloat16, torch.float16)
        or not comfy.model_management.is_nvidia()
        or not _asks_pytorch()
        or torch.are_deterministic_algorithms_enabled()
        or "set_priority" not in inspect.signature(sdpa_kernel).parameters
    ):
        return AttentionChoice()
    if OVERRIDE in model.model_options.get("transformer_options", {}):
        return AttentionChoice(None, "attention: the kernel that another node has set")
    dit = model.model.diffusion_model
    try:
        return _measured(device, dtype, dit.dim // dit.num_heads)
    except torch.OutOfMemoryError:
        # The next run tries again.
        return AttentionChoice(None, "attention: ComfyUI's own order; no memory to time others")


def describe_attention(model: ModelPatcher, is_asked: bool) -> tuple[str, ...]:
    """The choice for runs of a MODEL in words; nothing where none was asked or compared."""
    return fastest_attention(model).describe() if is_asked else ()


@cache
def _measured(device: torch.device, dtype: torch.dtype, head_dim: int) -> AttentionChoice:
    candidates = candidates_for(torch.cuda.get_device_capability(device))
    if not candidates:
        return AttentionChoice()
    # Query, key, value, their fp32 originals and some results.
    num_bytes = 12 * _PROBE_HEADS * _PROBE_TOKENS * head_dim * 4
    comfy.model_management.free_memory(num_bytes, device)
    with torch.cuda.device(device), torch.inference_mode():
        own = comfy.ops.scaled_dot_product_attention
        return choose(Probe.of(device, dtype, head_dim, own, cuda_seconds), candidates)


def _asks_pytorch() -> bool:
    """Whether ComfyUI's attention is torch's: not sage, flash-attn or xformers.

    Some nodes replace the function in the module of the DiT alone.
    """
    pytorch = comfy.ldm.modules.attention.attention_pytorch
    return (
        comfy.ldm.modules.attention.optimized_attention is pytorch
        and comfy.ldm.wan.model.optimized_attention is pytorch
    )


def ask_for(override: FastAttention | None, options: dict[str, Any]) -> None:
    """Put an override into the transformer_options of one call, unless another node has set one."""
    if override is not None and _asks_pytorch():
        options.setdefault(OVERRIDE, override)

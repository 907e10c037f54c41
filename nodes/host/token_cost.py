"""The cost of a token plan in words, before anything runs."""

import torch
from comfy.model_patcher import ModelPatcher

from ...memv2v_core.bases.base_info import BaseInfo
from ...memv2v_core.tokens.budget import TokenPlan
from ...memv2v_core.tokens.cost import Cost, DitShape, plan_costs
from ...memv2v_core.tokens.reuse import ReuseConfig, kept_value_bytes
from ...memv2v_core.tokens.tokenizers import BASE_KERNEL
from .models.attachment import base_info, dit_shape


def cost_text(plan: TokenPlan, model: ModelPatcher | None, source: dict | None) -> str:
    """The plan in words, with the tokens and the cost of one step.

    Only numbers that follow from the connected source and model are given.

    Raises: ValueError for a source that is no video.
    """
    info = None if model is None else base_info(model)
    lines = [plan.describe(None if info is None else info.mode)]
    if info is not None and info.has_source_ids and set(plan.kernels) - {BASE_KERNEL}:
        lines.append(
            f"{info.model_name} was trained to read clean videos at 1x2x2 alone: coarser tokens "
            "are cheaper, and a guess; set top_kernel and rest_kernel to 2 for its own"
        )
    entries = plan.retrieval.entries
    if source is None and not entries:
        return "\n".join([*lines, "connect source to see how many tokens run"])
    # All latents of a session have one size, so a memory can stand for the source.
    size = entries[0].content.latent_size if source is None else _first_video(source).shape
    _, num_frames, height, width = size
    # Only merging makes tokens depend on the number of blocks, and it lies at thirds of any depth.
    shape = DitShape(1, 1, 3) if model is None else dit_shape(model)
    cost, plain = plan_costs(
        plan,
        (num_frames, height, width),
        shape,
        mode="trained" if info is None else info.mode,
        has_source=source is not None and (info is None or info.has_source_tokens),
        bytes_per_value=2 if model is None else model.model_dtype().itemsize,
    )
    lines.append(
        f"{cost.tokens_in} tokens enter, {cost.tokens_out} leave the last block ({plain.tokens_in} "
        "without memory)"
    )
    if model is None:
        return "\n".join([*lines, "connect model to see TFLOP and memory"])
    # A strength of memory takes one more call a step.
    beside = plain.flops if plan.is_blended else 0
    flops = cost.flops + beside
    lines += [
        f"{flops / 1e12:.4g} TFLOP a step, {flops / plain.flops:.2f} times a step without memory",
        f"about {cost.activation_bytes / 2**20:.0f} MiB of activations beside the weights",
    ]
    if info is not None and cost.kept_bytes:
        itemsize = model.model_dtype().itemsize
        lines += _reuse_lines(plan.reuse, info, cost, plain, itemsize, beside)
    return "\n".join(lines)


def _reuse_lines(
    reuse: ReuseConfig, info: BaseInfo, cost: Cost, plain: Cost, itemsize: int, beside: int
) -> list[str]:
    """What refreshing clean tokens more rarely saves, and the memory that it takes.

    itemsize: bytes of a value in full precision. beside: FLOPs of another call in each step.
    """
    every = reuse.calls_between(info.refresh_every, info.has_constant_clean_tokens)
    share = kept_value_bytes(reuse.precision, itemsize) / itemsize
    kept = share * cost.kept_bytes / 2**20

    def times(calls: int | None) -> str:
        return f"{(cost.mean_flops(calls) + beside) / plain.flops:.2f}"

    if every == 1:
        reason = "refresh_every is 1" if reuse.refresh_every else "nobody has measured this model"
        return [
            f"source and memories are computed in every step ({reason}); refresh_every 2 would "
            f"take {times(2)}, 4 {times(4)} times a step without memory on average, and keep "
            f"{kept:.0f} MiB a prompt"
        ]
    how = "once a run, which is exact here" if every is None else f"in every {every}. call"
    return [
        f"source and memories are computed {how}: {times(every)} times a step without memory on "
        f"average, and {kept:.0f} MiB kept a prompt"
    ]


def _first_video(source: dict) -> torch.Tensor:
    samples = source["samples"]
    if samples.ndim != 5:
        raise ValueError(
            f"source got a latent of shape {tuple(samples.shape)}, wanted (1, channels, frames, "
            "height, width); encode the whole clip with the VAE of the model that will run"
        )
    return samples[0]

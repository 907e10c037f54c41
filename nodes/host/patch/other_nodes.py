"""Other nodes' code inside the DiT: what works beside memory is measured, the rest is refused.

B rows, L tokens, D width.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch

from ....memv2v_core.model.replaced_parts import (
    TOKEN_WISE,
    ReplacedPart,
    replaced_by,
    replaced_parts,
)
from ....memv2v_core.model.wan_view import WanView

_DIT = "diffusion_model."
# How much clean tokens may change a token of the target, as a share of its size: what rounding
# does, and some times what the model's own code does here, as fp8 that is scaled by all tokens.
_MIN_SHARE, _ROUNDINGS, _TIMES_OWN = 1e-4, 2, 4
# Why a part cannot be another node's beside memory.
_REASONS = {
    "self_attn": "it takes all tokens for frames of the target, but source and memories stand "
    "beside them",
    "rope_embedder": "it counts the frames of the target alone, but source and memories stand "
    "behind them in time",
}
_ONLY_NATIVE = "memory runs the model's layers by itself and never calls it, so it would do nothing"
_MIXES = "the target's tokens come out otherwise beside those of source and memories"
# What to do, by the name of the code: nodes whose names are known.
_REMEDIES = {
    "WanAttentionPatch": "remove 'WanVideo Enhance A Video (native)'",
    "wan_sageattn_forward": "remove 'WanVideo Memory Efficient Sage Attention Patch'; 'Patch Sage "
    "Attention KJ' gives the same attention and works beside memory",
    "EmbedND_RifleX": "remove 'Apply RifleXRoPE WanVideo'",
    "teacache": "remove TeaCache; EasyCache of ComfyUI works beside memory",
}


def require_known_patches(patches: Mapping[str, Any]) -> None:
    """Raise ValueError for object patches of a MODEL that cannot work beside memory.

    It is asked before the model is loaded. patches: by place in the MODEL.
    """
    of_dit = {key.removeprefix(_DIT): code for key, code in patches.items() if key.startswith(_DIT)}
    _refuse(part for part in replaced_by(of_dit) if part.part not in TOKEN_WISE)


def require_known_parts(
    view: WanView, context: torch.Tensor, num_tokens: int, num_target: int
) -> None:
    """Raise ValueError for other nodes' code in the DiT that gives other results beside memory.

    Code that treats every token by itself is measured, on as many tokens as the run has: the
    target's must come out the same with and without the clean tokens behind them.

    context: the prompt (B, Lt, width). num_tokens: of the whole sequence.
    """
    parts = replaced_parts(view.model)
    _refuse(part for part in parts if part.part not in TOKEN_WISE)
    if not parts:
        return
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(1, num_tokens, view.model.dim, generator=generator).to(view.noisy)
    text = view.embed_text(context[:1])
    for part in parts:
        idx = int(part.place.split(".")[1])
        view.options["block_index"] = idx
        module = getattr(view.model.blocks[idx], part.part)
        arguments: dict[str, Any] = {}
        if part.part == "cross_attn":
            arguments = {
                "context": text,
                "context_img_len": None,
                "transformer_options": view.options,
            }
        _require_token_wise(part, module, arguments, tokens, num_target)


def _require_token_wise(
    part: ReplacedPart,
    module: torch.nn.Module,
    arguments: dict[str, Any],
    tokens: torch.Tensor,
    num_target: int,
) -> None:
    own = partial(type(module).forward, module)
    try:
        change = _change_beside(partial(module, **arguments), tokens, num_target)
    except (RuntimeError, ValueError, AssertionError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise ValueError(_refusal(part, f"{_MIXES} ({_first_line(error)})")) from error
    limit = max(_MIN_SHARE, _ROUNDINGS * torch.finfo(tokens.dtype).eps)
    if change > limit:
        limit += _TIMES_OWN * _change_beside(partial(own, **arguments), tokens, num_target)
    if not change <= limit:
        raise ValueError(_refusal(part, f"{_MIXES}, by {change:.1%}"))


def _change_beside(
    run: Callable[[torch.Tensor], torch.Tensor], tokens: torch.Tensor, num_target: int
) -> float:
    """How much the tokens behind the target change a token of the target, as a share."""
    alone = run(tokens[:, :num_target])
    beside = run(tokens)[:, :num_target]
    size = torch.linalg.vector_norm(alone.float(), dim=-1).mean()
    return float(torch.linalg.vector_norm((beside - alone).float(), dim=-1).max() / size)


def _refuse(parts: Iterable[ReplacedPart]) -> None:
    for part in parts:
        raise ValueError(_refusal(part, _REASONS.get(part.part, _ONLY_NATIVE)))


def _refusal(part: ReplacedPart, reason: str) -> str:
    known = (text for name, text in _REMEDIES.items() if name.lower() in part.describe().lower())
    remedy = next(known, "remove the node that puts it there")
    return (
        f"the model got {part.describe()} in place of its own {part.place}, wanted the model's own "
        f"beside memory: {reason}; {remedy}, or leave Apply Memory out"
    )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]

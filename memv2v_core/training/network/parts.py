"""Which weights are trained: the parts of a recipe, by the names of weights."""

from typing import get_args

from torch import nn

from ..config.trained import Part, PartName, TrainedConfig
from .module import TrainedModel

# Beginnings of names in `TrainedModel`; * stands for a block's number.
_PLACES: tuple[tuple[str, PartName], ...] = (
    ("blocks.*.cameras.cam_encoder.", "cameras"),
    ("blocks.*.cameras.ray_encoder.", "cameras"),
    ("blocks.*.cameras.projector.", "projector"),
    ("blocks.*.base.attn1.", "self_attention"),
    ("adapter.tokenizers.", "tokenizers"),
    ("adapter.mergers.", "mergers"),
    ("text.", "text"),
    ("locator.", "locator"),
    ("dit.", "base"),
    ("blocks.*.base.", "base"),
)
LORA_LAYERS = r"blocks\.\d+\.attn1\.(to_q|to_k|to_v|to_out\.0)"


def part_of(name: str) -> PartName:
    """The part that a weight of `TrainedModel` belongs to."""
    words = name.split(".")
    if words[0] == "blocks":
        words[1] = "*"
    plain = ".".join(words)
    return next(part for beginning, part in _PLACES if plain.startswith(beginning))


def parts_of(config: TrainedConfig) -> dict[PartName, Part]:
    """The parts that a recipe trains."""
    found = {name: getattr(config, name) for name in get_args(PartName)}
    return {name: part for name, part in found.items() if part is not None}


def freeze_others(model: TrainedModel, config: TrainedConfig) -> dict[str, nn.Parameter]:
    """Freeze everything that the recipe does not train; the trained weights by name, in fp32.

    A model whose prompt is one token gives its cross-attention's queries and keys no gradient, so
    they are frozen too.

    Raises: ValueError for a part that this model does not have.
    """
    parts = parts_of(config)
    has_lora = config.lora_rank is not None
    trained: dict[str, nn.Parameter] = {}
    for name, parameter in model.named_parameters():
        part = part_of(name)
        is_trained = part in parts and not (part == "self_attention" and has_lora)
        is_trained = is_trained or (part in parts and ".lora_" in name)
        parameter.requires_grad_(is_trained and not _is_silent(name, model))
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
            trained[name] = parameter
    for part in parts:
        if not any(part_of(name) == part for name in trained):
            raise ValueError(
                f"trained got the part {part}, which this model does not have; leave it out"
            )
    return trained


def add_lora(dit: nn.Module, config: TrainedConfig) -> None:
    """Put low-rank changes beside the self-attention of every block, where the recipe wants them.

    They start at zero, so the model stays the same.
    """
    attention = config.self_attention
    if attention is None or attention.lora_rank is None:
        return
    # peft is slow to import, and few recipes need it.
    from peft import LoraConfig, inject_adapter_in_model

    lora = LoraConfig(
        r=attention.lora_rank,
        lora_alpha=attention.lora_alpha,  # type: ignore[arg-type]  # peft takes any number
        target_modules=LORA_LAYERS,
        init_lora_weights=True,
    )
    inject_adapter_in_model(lora, dit)


def num_parameters(weights: dict[str, nn.Parameter]) -> dict[PartName, int]:
    """How many numbers of each part are trained."""
    counts: dict[PartName, int] = {}
    for name, parameter in weights.items():
        counts[part_of(name)] = counts.get(part_of(name), 0) + parameter.numel()
    return counts


def _is_silent(name: str, model: TrainedModel) -> bool:
    # A softmax over one token is 1: its queries and keys change nothing. diffusers' norm2 is Wan's
    # norm3, before those queries.
    reads_one_token = model.text is None and model.base_info.text_width is not None
    silent = ("attn2.to_q.", "attn2.to_k.", "attn2.norm_q.", "attn2.norm_k.", ".base.norm2.")
    return reads_one_token and any(part in name for part in silent)

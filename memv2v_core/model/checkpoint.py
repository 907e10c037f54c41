"""Files of weights: adapters, and Wan DiTs in native and diffusers names.

Everything is safetensors; nothing here unpickles.
"""

import dataclasses
import json
import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .adapter import AdapterConfig, MemoryAdapter

ADAPTER_FORMAT = "memory-v2v-adapter-1"

# (native name, diffusers name), Wan2.1 and Wan2.2 text-to-video
_NAMES = (
    ("patch_embedding.", "patch_embedding."),
    ("text_embedding.0.", "condition_embedder.text_embedder.linear_1."),
    ("text_embedding.2.", "condition_embedder.text_embedder.linear_2."),
    ("time_embedding.0.", "condition_embedder.time_embedder.linear_1."),
    ("time_embedding.2.", "condition_embedder.time_embedder.linear_2."),
    ("time_projection.1.", "condition_embedder.time_proj."),
    ("head.modulation", "scale_shift_table"),
    ("head.head.", "proj_out."),
)
_BLOCK_NAMES = (
    ("self_attn.q.", "attn1.to_q."),
    ("self_attn.k.", "attn1.to_k."),
    ("self_attn.v.", "attn1.to_v."),
    ("self_attn.o.", "attn1.to_out.0."),
    ("self_attn.norm_q.", "attn1.norm_q."),
    ("self_attn.norm_k.", "attn1.norm_k."),
    ("cross_attn.q.", "attn2.to_q."),
    ("cross_attn.k.", "attn2.to_k."),
    ("cross_attn.v.", "attn2.to_v."),
    ("cross_attn.o.", "attn2.to_out.0."),
    ("cross_attn.norm_q.", "attn2.norm_q."),
    ("cross_attn.norm_k.", "attn2.norm_k."),
    ("norm3.", "norm2."),
    ("ffn.0.", "ffn.net.0.proj."),
    ("ffn.2.", "ffn.net.2."),
    ("modulation", "scale_shift_table"),
)


def to_native_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A Wan DiT's weights under ComfyUI's (Wan's own) names, from diffusers' names.

    Raises: ValueError for a key that is not of a Wan text-to-video DiT.
    """
    return {_renamed(name, 1, 0, "diffusers'"): tensor for name, tensor in state.items()}


def to_diffusers_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The inverse of `to_native_names`."""
    return {_renamed(name, 0, 1, "native"): tensor for name, tensor in state.items()}


def save_adapter(adapter: MemoryAdapter, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write an adapter and its configuration as one safetensors file."""
    metadata = {"format": ADAPTER_FORMAT, "config": json.dumps(dataclasses.asdict(adapter.config))}
    state = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in adapter.state_dict().items()}
    save_file(state, str(path), metadata=metadata)


def read_adapter(path: Path) -> tuple[AdapterConfig, dict[str, torch.Tensor]]:
    """Configuration and weights of an adapter file.

    Raises: ValueError naming the file, what was found and what was wanted.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, FileNotFoundError) as error:
        raise ValueError(
            f"adapter {path.name} in {path.parent} could not be read ({error}); download or convert it again"
        ) from error
    if metadata.get("format") != ADAPTER_FORMAT:
        found = metadata.get("format") or f"{len(state)} tensors, the first named {next(iter(state), 'nothing')!r}"
        raise ValueError(
            f"adapter {path.name} in {path.parent} got {found}, wanted format {ADAPTER_FORMAT}; "
            "choose a Memory-V2V adapter file"
        )
    values = json.loads(metadata["config"])
    known = {field.name for field in dataclasses.fields(AdapterConfig)}
    if unknown := sorted(set(values) - known):
        raise ValueError(
            f"adapter {path.name} in {path.parent} got the setting {unknown[0]!r}, wanted only {sorted(known)}; "
            "it was made by a newer version of this pack, so update the pack"
        )
    return AdapterConfig(**values), state


def require_fit(config: AdapterConfig, dim: int, num_blocks: int, in_channels: int) -> None:
    """Raise ValueError unless an adapter of `config` fits a base of that width, depth and input."""
    for name, got, wanted in (
        ("dim", config.dim, dim),
        ("num_blocks", config.num_blocks, num_blocks),
        ("in_channels", config.in_channels, in_channels),
    ):
        if got != wanted:
            raise ValueError(
                f"the adapter's {name} got {got}, wanted {wanted} of this base model; choose the adapter made for it"
            )


def _renamed(name: str, source: int, target: int, wanted: str) -> str:
    """`name` with the prefix in column `source` of the tables replaced by the one in column `target`."""
    block = re.match(r"(blocks\.\d+\.)(.*)", name)
    lead, rest, table = (block[1], block[2], _BLOCK_NAMES) if block else ("", name, _NAMES)
    for names in table:
        if rest.startswith(names[source]):
            return lead + names[target] + rest[len(names[source]) :]
    raise ValueError(f"weights got the key {name!r}, wanted {wanted} names of a Wan text-to-video DiT")

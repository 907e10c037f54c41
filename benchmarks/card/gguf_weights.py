"""Random Q8_0 weights for the layers of the pack ComfyUI-GGUF, where it and `gguf` are present."""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

_NAME = "comfyui_gguf_layers"
# A block of Q8_0: a scale in fp16, then this many numbers of 8 bits.
_BLOCK, _SCALE_BYTES = 32, 2


def find_pack(comfyui: Path) -> Path | None:
    """The folder of city96/ComfyUI-GGUF: COMFYUI_GGUF_PATH, or in custom_nodes.

    None where it or the package `gguf` is missing.
    """
    named = os.environ.get("COMFYUI_GGUF_PATH")
    folders = (
        [Path(named)] if named else sorted((comfyui / "custom_nodes").glob("*[Gg][Gg][Uu][Ff]*"))
    )
    found = [folder for folder in folders if (folder / "ops.py").is_file()]
    return found[0] if found and importlib.util.find_spec("gguf") is not None else None


def use_pack(folder: Path) -> None:
    """Load the layers of the pack alone: its nodes need a running ComfyUI."""
    package = ModuleType(_NAME)
    package.__path__ = [str(folder)]
    sys.modules[_NAME] = package
    importlib.import_module(f"{_NAME}.ops")


def operations() -> Any:
    """The pack's layers for a WanModel."""
    return sys.modules[f"{_NAME}.ops"].GGMLOps()


@torch.no_grad()
def fill(module: nn.Module, generator: torch.Generator) -> None:
    """Random blocks as the weights of every linear layer, on the generator's device."""
    import gguf

    kind = gguf.GGMLQuantizationType.Q8_0
    tensor = sys.modules[f"{_NAME}.ops"].GGMLTensor
    device = generator.device
    for layer in module.modules():
        if not isinstance(layer, nn.Linear):
            continue
        rows, columns = layer.out_features, layer.in_features
        num_blocks = rows * columns // _BLOCK
        numbers = torch.randint(
            -127, 128, (num_blocks, _BLOCK), generator=generator, device=device, dtype=torch.int8
        )
        # Uniform numbers with the spread of the other networks' weights.
        scale = torch.full(
            (num_blocks, 1), (3 / columns) ** 0.5 / 127, device=device, dtype=torch.float16
        )
        blocks = torch.cat((scale.view(torch.uint8), numbers.view(torch.uint8)), dim=1)
        packed = blocks.reshape(rows, -1)
        weight = tensor(packed, tensor_type=kind, tensor_shape=torch.Size((rows, columns)))
        layer.weight = nn.Parameter(weight, requires_grad=False)
        bias = torch.zeros(rows, device=device, dtype=torch.float16)
        layer.bias = nn.Parameter(bias, requires_grad=False)

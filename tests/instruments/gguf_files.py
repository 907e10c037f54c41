"""GGUF files of small Wans, and the pack that reads them."""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch


def write_gguf(path: Path) -> dict[str, torch.Tensor]:
    """The weights that a Q8_0 file of `wan_weights` at `path` holds, in fp32."""
    import gguf

    from instruments.tiny_wan import wan_weights

    kind, held = gguf.GGMLQuantizationType, {}
    writer = gguf.GGUFWriter(str(path), "wan")
    for name, values in wan_weights().items():
        data = values.numpy()
        if (
            name == "patch_embedding.weight"
        ):  # GGUF knows no five axes: the shape is stored beside the values
            writer.add_array(f"comfy.gguf.orig_shape.{name}", list(data.shape))
            data = data.reshape(len(data), -1)
        if data.ndim == 2 and name.endswith("weight") and "patch" not in name:
            packed = gguf.quants.quantize(data, kind.Q8_0)
            writer.add_tensor(name, packed, raw_dtype=kind.Q8_0)
            data = gguf.quants.dequantize(packed, kind.Q8_0)
        else:
            writer.add_tensor(name, data)
        held[name] = torch.from_numpy(data).view_as(values).clone()
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


def gguf_pack() -> Any:
    """The modules of city96/ComfyUI-GGUF where COMFYUI_GGUF_PATH names a copy."""
    named = os.environ.get("COMFYUI_GGUF_PATH")
    if not named:
        pytest.skip("COMFYUI_GGUF_PATH is not set; it names a copy of city96/ComfyUI-GGUF")
    pytest.importorskip("gguf")
    if "comfyui_gguf" not in sys.modules:
        init = Path(named) / "__init__.py"
        spec = importlib.util.spec_from_file_location(
            "comfyui_gguf", init, submodule_search_locations=[named]
        )
        sys.modules["comfyui_gguf"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["comfyui_gguf"])
    return importlib.import_module("comfyui_gguf.nodes")

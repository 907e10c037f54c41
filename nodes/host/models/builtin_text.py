"""The built-in models' text encoder behind ComfyUI's native CLIP socket."""

from typing import Any

import comfy.sd
import comfy.supported_models_base
import comfy.text_encoders.wan
import torch
from comfy.model_patcher import ModelPatcher
from comfy.text_encoders.spiece_tokenizer import SPieceTokenizer

from ....memv2v_core.builtin import bundle
from ....memv2v_core.builtin.text_encoder import TextConfig

# ComfyUI's name for Wan's text encoder of any size.
_NAME = "umt5xxl"


def builtin_clip(name: str, disable_dynamic: bool = False) -> comfy.sd.CLIP | None:
    """The CLIP of the built-in model `name` in fp32; None for a model that reads no prompt.

    Raises: ValueError naming a file that is missing, broken or of another kind.
    """
    config = bundle.read_info(name).text
    if config is None:
        return None
    vocabulary, weights = bundle.read_text_weights(name)
    clip = comfy.sd.CLIP(
        comfy.supported_models_base.ClipTarget(
            comfy.text_encoders.wan.WanT5Tokenizer, comfy.text_encoders.wan.te()
        ),
        parameters=sum(values.numel() for values in weights.values()),
        state_dict=[dict(weights)],
        tokenizer_data={"spiece_model": vocabulary, f"{_NAME}_min_length": config.num_tokens},
        model_options={"dtype": torch.float32, f"{_NAME}_model_config": _sizes(config, vocabulary)},
        disable_dynamic=disable_dynamic,
    )
    bundle.require_weights(
        bundle.text_path(name), weights, getattr(clip.cond_stage_model, _NAME).transformer
    )
    # ComfyUI loads the encoder again through this function.
    clip.patcher.cached_patcher_init = (_builtin_patcher, (name,))
    return clip


def _builtin_patcher(name: str, disable_dynamic: bool = False) -> ModelPatcher:
    clip = builtin_clip(name, disable_dynamic)
    assert clip is not None, "only a model that reads prompts has this patcher"
    return clip.patcher


def _sizes(config: TextConfig, vocabulary: bytes) -> dict[str, Any]:
    """The values that differ from ComfyUI's own UMT5 configuration."""
    return {
        "d_model": config.dim,
        "d_kv": config.head_dim,
        "d_ff": config.ffn_dim,
        "num_layers": config.num_layers,
        "num_heads": config.num_heads,
        "vocab_size": len(SPieceTokenizer(vocabulary).get_vocab()),
    }

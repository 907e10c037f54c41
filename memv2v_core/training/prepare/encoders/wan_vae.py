"""Wan's VAEs: a folder of diffusers, or the one file that ComfyUI uses."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ....shapes import VaeRatios
from ....weights.reading.boundary import Fault, reading
from ....weights.weight_files import SAFETENSORS_SUFFIXES, read_header, read_weights
from .model_files import read_config, require_part, require_whole

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan

_WANTED = "a VAE of Wan2.1 or Wan2.2"
_REMEDY = "take wan_2.1_vae.safetensors or wan2.2_vae.safetensors"
# Tensors that only one of the two has, by the names of the files for ComfyUI.
_OF_WAN21, _OF_WAN22 = (
    "decoder.upsamples.0.residual.2.weight",
    "decoder.upsamples.0.upsamples.0.residual.2.weight",
)
# Latents of Wan2.2's VAE, which diffusers reads from its folder.
# Source: Wan-AI/Wan2.2-TI2V-5B-Diffusers, vae/config.json.
_WAN22_MEAN = (
    *(-0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557),
    *(-0.1382, 0.0542, 0.2813, 0.0891, 0.1570, -0.0098, 0.0375, -0.1825),
    *(-0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502),
    *(-0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230),
    *(-0.0313, -0.1649, 0.0117, 0.0723, -0.2839, -0.2083, -0.0520, 0.3748),
    *(0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667),
)
_WAN22_STD = (
    *(0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013),
    *(0.8158, 1.0344, 0.5894, 1.0901, 0.6885, 0.6165, 0.8454, 0.4978),
    *(0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659),
    *(0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093),
    *(0.5709, 0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458, 1.6887),
    *(0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744),
)
# Names of Wan2.2's file in the names of diffusers, in this order.
_WAN22_NAMES = (
    (re.compile(r"^conv1\."), "quant_conv."),
    (re.compile(r"^conv2\."), "post_quant_conv."),
    (re.compile(r"\.conv1\."), ".conv_in."),
    (re.compile(r"\.head\.0\."), ".norm_out."),
    (re.compile(r"\.head\.2\."), ".conv_out."),
    (re.compile(r"\.middle\.0\."), ".mid_block.resnets.0."),
    (re.compile(r"\.middle\.1\."), ".mid_block.attentions.0."),
    (re.compile(r"\.middle\.2\."), ".mid_block.resnets.1."),
    (re.compile(r"\.downsamples\.(\d)\.downsamples\.\d\.(?=resample|time)"), r".down_blocks.\1.@"),
    (re.compile(r"\.upsamples\.(\d)\.upsamples\.\d\.(?=resample|time)"), r".up_blocks.\1.@"),
    (re.compile(r"\.down_blocks\.(\d)\.@"), r".down_blocks.\1.downsampler."),
    (re.compile(r"\.up_blocks\.(\d)\.@"), r".up_blocks.\1.upsampler."),
    (re.compile(r"\.downsamples\.(\d)\.downsamples\.(\d)\."), r".down_blocks.\1.resnets.\2."),
    (re.compile(r"\.upsamples\.(\d)\.upsamples\.(\d)\."), r".up_blocks.\1.resnets.\2."),
    (re.compile(r"\.residual\.0\."), ".norm1."),
    (re.compile(r"\.residual\.2\."), ".conv1."),
    (re.compile(r"\.residual\.3\."), ".norm2."),
    (re.compile(r"\.residual\.6\."), ".conv2."),
    (re.compile(r"\.shortcut\."), ".conv_shortcut."),
)


def read_vae_config(path: Path) -> dict[str, Any]:
    """The arguments of diffusers' AutoencoderKLWan, from a folder or from the shapes of a file.

    Raises: ValueError for anything else, naming where the files are published.
    """
    if path.suffix in SAFETENSORS_SUFFIXES:
        with reading(path, _WANTED, _REMEDY):
            return _config_of_shapes(read_header(path).shapes)
    require_part(path, "vae", ("config.json", "*.safetensors"))
    config = read_config(path / "config.json")
    if config.get("_class_name") != "AutoencoderKLWan":
        raise ValueError(
            f"{path} holds {config.get('_class_name')!r}, wanted {_WANTED}; take another folder"
        )
    return config


def vae_ratios(config: Mapping[str, Any]) -> VaeRatios:
    """Sizes of the latents; what the configuration leaves out is as in Wan2.1."""
    return VaeRatios(
        temporal=config.get("scale_factor_temporal", 4),
        spatial=config.get("scale_factor_spatial", 8),
        channels=config.get("z_dim", 16),
    )


def load_vae(path: Path, dtype: torch.dtype) -> "AutoencoderKLWan":
    """The VAE with its weights, ready to encode.

    Raises: ValueError for files that are broken or lack tensors.
    """
    # diffusers is slow to import, and the built-in models need none of it.
    from diffusers import AutoencoderKLWan

    config = read_vae_config(path)
    if path.suffix in SAFETENSORS_SUFFIXES:
        vae = AutoencoderKLWan(**config)
        with reading(path, _WANTED, _REMEDY):
            vae.load_state_dict(to_diffusers_names(read_weights(path)))
        # fp32 is its own type; diffusers warns of any change.
        vae = vae if dtype is torch.float32 else vae.to(dtype)
    else:
        # A fault of the weights is meant: the description was read above.
        with reading(min(path.glob("*.safetensors")), _WANTED):
            vae, found = AutoencoderKLWan.from_pretrained(
                str(path),
                torch_dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
        require_whole(path, found["missing_keys"])
    return vae.eval().requires_grad_(False)


def to_diffusers_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of ComfyUI's file under the names of diffusers."""
    from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

    if _OF_WAN22 not in weights:
        return convert_wan_vae_to_diffusers(dict(weights))
    # Our choice: diffusers converts the file of Wan2.1 alone.
    renamed = {}
    for name, tensor in weights.items():
        for pattern, words in _WAN22_NAMES:
            name = pattern.sub(words, name)
        renamed[name] = tensor
    return renamed


def _config_of_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """The sizes of a VAE in one file; the rest is what its version has."""
    if (_OF_WAN21 in shapes) == (_OF_WAN22 in shapes):
        raise Fault("is no VAE of Wan")
    channels = shapes["conv2.weight"][0]
    config: dict[str, Any] = {
        "base_dim": shapes["encoder.conv1.weight"][0],
        "decoder_base_dim": shapes["decoder.head.0.gamma"][0],
        "z_dim": channels,
    }
    if _OF_WAN21 in shapes:
        if channels != 16:
            raise Fault(f"has latents of {channels} channels, and Wan2.1 has 16")
        return config
    if channels != len(_WAN22_MEAN):
        raise Fault(f"has latents of {channels} channels, and Wan2.2 has {len(_WAN22_MEAN)}")
    return config | {
        "latents_mean": list(_WAN22_MEAN),
        "latents_std": list(_WAN22_STD),
        "is_residual": True,
        "in_channels": 12,
        "out_channels": 12,
        "patch_size": 2,
        "scale_factor_spatial": 16,
    }

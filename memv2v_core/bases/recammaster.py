"""ReCamMaster: a whole Wan2.1 DiT with a camera encoder and a projector in every block.

Its training changes cam_encoder, projector and self_attn of every block, and freezes the rest. The
camera weights alone, on another Wan2.1 DiT, are therefore not ReCamMaster: its self-attention (q,
k, v, o and their norms) is missing.
Source: train_recammaster.py and inference_recammaster.py, KwaiVGI/ReCamMaster.
"""

from ..model.adapter import AdapterConfig
from .published import (
    DitSizes,
    OwnAdapter,
    PublishedBase,
    Shapes,
    camera_weights,
    num_own_blocks,
    own_width,
    require_blocks,
)

_FILE = "step20000.ckpt of KwaiVGI/ReCamMaster-Wan2.1"
_CHANNELS = 16
_MODULES = (".cam_encoder.", ".projector.")


def is_camera_weight(name: str) -> bool:
    """Whether a tensor of this name belongs to the cameras, not to the DiT."""
    return name.startswith("blocks.") and any(module in name for module in _MODULES)


def camera_config(shapes: Shapes, prefix: str, sizes: DitSizes | None) -> AdapterConfig:
    """The adapter that the camera weights of a file make.

    prefix: precedes every key. sizes: of the DiT in the same file; None for a file with cameras
    alone.

    Raises: ValueError naming a camera weight that is missing or has another size.
    """
    num_blocks, dim = num_own_blocks(shapes, prefix, sizes), own_width(shapes, prefix)
    require_blocks(shapes, prefix, num_blocks, camera_weights(dim), "ReCamMaster", _FILE)
    return AdapterConfig(
        dim=dim,
        num_blocks=num_blocks,
        in_channels=sizes.in_channels if sizes else _CHANNELS,
        has_tokenizers=False,
        has_merging=False,
        clean_timestep="target",
        camera_conditioning="target",
    )


# The shift stands in its pipeline, FlowMatchScheduler(shift=5, ...).
RECAMMASTER = PublishedBase(
    "recammaster",
    "ReCamMaster (Wan2.1 {size})",
    _CHANNELS,
    _CHANNELS,
    shift=5.0,
    own=OwnAdapter(frozenset({"cam_encoder"}), _FILE, is_camera_weight, camera_config),
)

"""SpaceTimePilot: a Wan2.1 DiT that takes a camera and a playback time of every frame.

Each block has ReCamMaster's camera encoder and projector, and beside them an encoder of time: which
moment of the source every pixel frame shows. Target and source have each their own cameras and
times. Target and source follow each other on the temporal axis, as in ReCamMaster. The checkpoint
is the state dict of the whole DiT.
Source: spacetimepilot/model/spacetimepilot.py, ZheningHuang/spacetimepilot.
"""

from ..model.adapter import AdapterConfig
from ..model.playback_time import time_weights
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

_FILE = "SpacetimePilot_1.3B_v1.ckpt of zhening/SpaceTimePilot"
_CHANNELS = 16
_MODULES = (".cam_encoder.", ".projector.", ".frame_time_embedding.", ".temporal_downsampler.")


def is_own_weight(name: str) -> bool:
    """Whether a tensor of this name belongs to cameras or times, not to the DiT."""
    return name.startswith("blocks.") and any(module in name for module in _MODULES)


def own_config(shapes: Shapes, prefix: str, sizes: DitSizes | None) -> AdapterConfig:
    """The adapter that the weights of cameras and times of a file make; see `OwnAdapter`.

    Raises: ValueError naming a weight that is missing or has another size.
    """
    num_blocks, dim = num_own_blocks(shapes, prefix, sizes), own_width(shapes, prefix)
    wanted = camera_weights(dim) | time_weights(dim)
    require_blocks(shapes, prefix, num_blocks, wanted, "SpaceTimePilot", _FILE)
    return AdapterConfig(
        dim=dim,
        num_blocks=num_blocks,
        in_channels=sizes.in_channels if sizes else _CHANNELS,
        has_tokenizers=False,
        has_merging=False,
        clean_timestep="target",
        camera_conditioning="per_video",
        has_frame_times=True,
    )


# sigma_shift of its pipeline.
SPACETIMEPILOT = PublishedBase(
    "spacetimepilot",
    "SpaceTimePilot (Wan2.1 {size})",
    _CHANNELS,
    _CHANNELS,
    shift=5.0,
    own=OwnAdapter(
        frozenset({"cam_encoder", "frame_time_embedding"}),
        _FILE,
        is_own_weight,
        own_config,
        has_frame_times=True,
    ),
)

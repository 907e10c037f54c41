"""SpaceTimePilot: a Wan2.1 DiT that takes a camera and a playback time of every frame.

Each block has ReCamMaster's camera encoder and projector, and beside them an encoder of time: which
moment of the source every pixel frame shows. Target and source have each their own cameras and
times. Target and source follow each other on the temporal axis, as in ReCamMaster. The checkpoint
is the state dict of the whole DiT.
Source: spacetimepilot/model/spacetimepilot.py, ZheningHuang/spacetimepilot.
"""

from ..model.playback_time import time_weights
from .published import OwnAdapter, PublishedBase, camera_weights

# sigma_shift of its pipeline.
SPACETIMEPILOT = PublishedBase(
    "spacetimepilot",
    "SpaceTimePilot (Wan2.1 {size})",
    16,
    16,
    shift=5.0,
    own=OwnAdapter(
        "SpaceTimePilot",
        "SpacetimePilot_1.3B_v1.ckpt of zhening/SpaceTimePilot",
        frozenset({"cam_encoder", "frame_time_embedding"}),
        lambda dim: camera_weights(dim) | time_weights(dim),
        "per_video",
        has_frame_times=True,
    ),
)

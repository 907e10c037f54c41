"""ReCamMaster: a whole Wan2.1 DiT with a camera encoder and a projector in every block.

Its training changes cam_encoder, projector and self_attn of every block, and freezes the rest. The
camera weights alone, on another Wan2.1 DiT, are therefore not ReCamMaster: its self-attention (q,
k, v, o and their norms) is missing.
Source: train_recammaster.py and inference_recammaster.py, KwaiVGI/ReCamMaster.
"""

from .published import OwnAdapter, PublishedBase, camera_weights

# The shift stands in its pipeline, FlowMatchScheduler(shift=5, ...). Every video gets the target's
# camera (Eq. 16).
RECAMMASTER = PublishedBase(
    "recammaster",
    "ReCamMaster (Wan2.1 {size})",
    16,
    16,
    shift=5.0,
    own=OwnAdapter(
        "ReCamMaster",
        "step20000.ckpt of KwaiVGI/ReCamMaster-Wan2.1",
        frozenset({"cam_encoder"}),
        camera_weights,
        "target",
    ),
)

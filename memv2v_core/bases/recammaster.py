"""ReCamMaster: a whole Wan2.1 DiT with a camera encoder and a projector in every block.

Its training changes cam_encoder, projector and self_attn of every block, and freezes the rest. The
camera weights alone, on another Wan2.1 DiT, are therefore not ReCamMaster: its self-attention (q,
k, v, o and their norms) is missing.
Source: train_recammaster.py and inference_recammaster.py, KwaiVGI/ReCamMaster.
"""

from ..model.adapter import AdapterConfig
from ..model.camera_encoder import NUM_POSE_VALUES
from .published import DitSizes, OwnAdapter, PublishedBase, Shapes

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
    num_blocks = 0
    while f"{prefix}blocks.{num_blocks}.cam_encoder.weight" in shapes:
        num_blocks += 1
    first = shapes[f"{prefix}blocks.0.cam_encoder.weight"]
    # A tensor without axes or numbers has no width; it is refused below like any other size.
    dim = first[0] if first and first[0] > 0 else 1
    # A DiT says how many blocks must have cameras: then a missing last block is noticed.
    if sizes is not None:
        num_blocks = sizes.num_blocks
    wanted = {
        "cam_encoder.weight": (dim, NUM_POSE_VALUES),
        "cam_encoder.bias": (dim,),
        "projector.weight": (dim, dim),
        "projector.bias": (dim,),
    }
    for i in range(num_blocks):
        for name, shape in wanted.items():
            found = shapes.get(f"{prefix}blocks.{i}.{name}")
            if found != shape:
                state = f"has the size {found}" if found else "is missing"
                raise ValueError(
                    f"ReCamMaster's blocks.{i}.{name} {state}, wanted {shape}; "
                    f"download {_FILE} again"
                )
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

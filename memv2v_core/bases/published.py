"""A published base in numbers and names.

Each base has its own page, a file in this room: everything that the pack knows of it. To add one,
write its page and name it in `registry.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..model.adapter import AdapterConfig
from ..model.camera_encoder import NUM_POSE_VALUES
from ..shapes import VaeRatios
from ..vocabulary import (
    Attention,
    CameraConditioning,
    CleanTimestep,
    SourcePlacement,
    StreamIdentity,
)
from .base_info import BaseInfo

# The shape of every tensor in a file, by its key.
Shapes = Mapping[str, tuple[int, ...]]

# Wan2.1's VAE, also of Wan2.2-A14B, and the VAE of Wan2.2-5B.
WAN21_RATIOS, WAN22_RATIOS = VaeRatios(4, 8, 16), VaeRatios(4, 16, 48)
# Rows and columns of the pixels that the published bases were made for.
_PIXELS = (480, 832)


@dataclass(frozen=True)
class DitSizes:
    """Sizes of a Wan DiT, read from its weights."""

    dim: int
    num_blocks: int
    in_channels: int
    out_channels: int


@dataclass(frozen=True)
class OwnAdapter:
    """Weights in a base's file beside its DiT, which become its adapter.

    owner, file: the base and the checkpoint that has them, for messages.
    marks: layers of the first block that tell a file with them.
    weights: the shape of every one of them in a block, by its name there, from the width.
    in_channels: of the DiT, where a file holds none.
    camera_conditioning: how its camera weights were trained.
    has_frame_times: whether it reads a playback time of every frame.
    """

    owner: str
    file: str
    marks: frozenset[str]
    weights: Callable[[int], Shapes]
    camera_conditioning: CameraConditioning
    in_channels: int = 16
    has_frame_times: bool = False

    def owns(self, name: str) -> bool:
        """Whether the weight of this name, without a prefix, is one of them."""
        layers = {weight.partition(".")[0] for weight in self.weights(1)}
        return name.startswith("blocks.") and any(f".{layer}." in name for layer in layers)

    def config(self, shapes: Shapes, prefix: str, sizes: DitSizes | None) -> AdapterConfig:
        """The adapter that the weights of a file make.

        prefix: precedes every key. sizes: of the DiT in the same file; None for a file without one.

        Raises: ValueError naming a weight that is missing or has another size.
        """
        num_blocks, dim = _num_own_blocks(shapes, prefix, sizes), _own_width(shapes, prefix)
        for i in range(num_blocks):
            for name, shape in self.weights(dim).items():
                found = shapes.get(f"{prefix}blocks.{i}.{name}")
                if found != shape:
                    state = f"has the size {found}" if found else "is missing"
                    raise ValueError(
                        f"{self.owner}'s blocks.{i}.{name} {state}, wanted {shape}; download "
                        f"{self.file} again"
                    )
        return AdapterConfig(
            dim=dim,
            num_blocks=num_blocks,
            in_channels=sizes.in_channels if sizes else self.in_channels,
            has_tokenizers=False,
            has_merging=False,
            clean_timestep="target",
            camera_conditioning=self.camera_conditioning,
            has_frame_times=self.has_frame_times,
        )


@dataclass(frozen=True)
class PublishedBase:
    """A base that others have published.

    kind: its short name in the code.
    titles: its name in words for each published size, such as "1.3B"; `title` serves other sizes.
    title: with the place {size}.
    in_channels, out_channels: of its DiT. With `own` they tell its files from the files of other
    Wans.
    shift: flow shift of its sampler.
    ratios: of its VAE.
    source_placement: where it takes the source video.
    stream_identity, max_source_id, clean_timestep, attention: see `BaseInfo`.
    own: weights beside the DiT's; None where it has none.
    word: a word in the name of its files, for a base whose files look like another base's; "" where
    its weights tell it.
    expert_boundary: the noise level sigma below which the second of its two DiTs takes over; None
    for a base of one DiT.
    """

    kind: str
    title: str
    in_channels: int
    out_channels: int
    shift: float
    ratios: VaeRatios = WAN21_RATIOS
    titles: tuple[tuple[str, str], ...] = ()
    source_placement: SourcePlacement = "sequence"
    stream_identity: StreamIdentity = "temporal_ranges"
    max_source_id: int | None = None
    clean_timestep: CleanTimestep = "target"
    attention: Attention = "two_way"
    own: OwnAdapter | None = None
    word: str = ""
    expert_boundary: float | None = None

    def title_of(self, size: str) -> str:
        """The base in words.

        size: for example "1.3B".
        """
        return dict(self.titles).get(size, self.title.format(size=size))

    @property
    def marks(self) -> frozenset[str]:
        """Layers of the first block that other Wans do not have."""
        return self.own.marks if self.own is not None else frozenset()

    @property
    def has_frame_times(self) -> bool:
        """Whether its own adapter reads a playback time of every frame."""
        return self.own is not None and self.own.has_frame_times

    def fits(self, sizes: DitSizes, marks: frozenset[str] = frozenset()) -> bool:
        """Whether a DiT of these sizes, with these marks in its first block, is this base."""
        # Channels alone do not tell ReCamMaster from its Wan; its camera weights do.
        channels = self.in_channels, self.out_channels
        return channels == (sizes.in_channels, sizes.out_channels) and self.marks == marks

    def info(self, model_name: str, ratios: VaeRatios | None = None) -> BaseInfo:
        """The base as memory sees it, before an adapter is attached.

        model_name: in caches. ratios: of the VAE at hand; None is the published one.
        """
        ratios = ratios or self.ratios
        return BaseInfo(
            model_name=model_name,
            mode="training-free",
            ratios=ratios,
            text_width=None,
            clean_timestep=self.clean_timestep,
            has_cameras=False,
            source_placement=self.source_placement,
            stream_identity=self.stream_identity,
            max_source_id=self.max_source_id,
            attention=self.attention,
            latent_size=(_PIXELS[0] // ratios.spatial, _PIXELS[1] // ratios.spatial),
            expert_boundary=self.expert_boundary,
        )


def camera_weights(dim: int) -> dict[str, tuple[int, ...]]:
    """The shape of every weight of a camera encoder and its projector, by its name in a block."""
    return {
        "cam_encoder.weight": (dim, NUM_POSE_VALUES),
        "cam_encoder.bias": (dim,),
        "projector.weight": (dim, dim),
        "projector.bias": (dim,),
    }


def _num_own_blocks(shapes: Shapes, prefix: str, sizes: DitSizes | None) -> int:
    # A DiT says how many blocks must have cameras: then a missing last block is noticed.
    if sizes is not None:
        return sizes.num_blocks
    num_blocks = 0
    while f"{prefix}blocks.{num_blocks}.cam_encoder.weight" in shapes:
        num_blocks += 1
    return num_blocks


def _own_width(shapes: Shapes, prefix: str) -> int:
    first = shapes.get(f"{prefix}blocks.0.cam_encoder.weight", ())
    # A tensor without axes or numbers has no width; it is refused like any other size.
    return first[0] if first and first[0] > 0 else 1

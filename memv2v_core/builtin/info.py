"""Descriptions of the small models that ship with the pack."""

from dataclasses import dataclass, replace

from ..bases.base_info import BaseInfo, adapted
from ..cameras.extent import Reach
from ..model.adapter import AdapterConfig
from ..shapes import VaeRatios
from ..vocabulary import StreamIdentity, Task, TurnMode
from .codec import SIDE
from .text_encoder import TextConfig

# Their names in loaders and caches start so.
BUILTIN_PREFIX = "built-in: "


@dataclass(frozen=True)
class DitConfig:
    """Sizes of a small Wan-style DiT.

    channels: of its latents. used_channels: how many of them, from the first, carry the video; None
    means all.
    has_source_channels: whether it takes the source on the channel axis, beside the target.
    stream_identity, max_source_id: how it tells clean videos apart, see `BaseInfo`.
    """

    dim: int = 256
    num_heads: int = 4
    num_layers: int = 6
    ffn_dim: int = 768
    text_dim: int = 64
    freq_dim: int = 64
    channels: int = 16
    has_source_channels: bool = False
    used_channels: int | None = None
    stream_identity: StreamIdentity = "temporal_ranges"
    max_source_id: int | None = None

    @property
    def num_used(self) -> int:
        return self.channels if self.used_channels is None else self.used_channels

    @property
    def in_channels(self) -> int:
        return self.channels * (2 if self.has_source_channels else 1)


@dataclass(frozen=True)
class BuiltinInfo:
    """The task and the sizes that a built-in model was trained for.

    Stored beside its weights as JSON.

    name: as shown to users. size: pixels per side. num_frames: frames of a clip.
    shift, num_steps: of its sampler.
    fov_deg: horizontal angle of its lens, where it takes cameras.
    text: its text encoder, where it reads text.
    refresh_every: see `BaseInfo`, with its own adapter or none.
    reach: how far the cameras of its training moved, where it takes cameras; None where nobody has
    recorded it.
    """

    name: str
    size: int
    num_frames: int
    shift: float
    num_steps: int
    dit: DitConfig
    task: Task = "novel_view"
    fov_deg: float | None = None
    text: TextConfig | None = None
    refresh_every: int = 1
    reach: Reach | None = None

    @property
    def mode(self) -> TurnMode:
        """How it knows memory, with its own adapter.

        A model that reads references was trained on true edits alone, not on memories.
        """
        return "training-free" if self.dit.stream_identity == "source_id" else "trained"


def wrong_sizes(info: BuiltinInfo) -> str:
    """What in the description fits no built-in model, in words; "" where everything fits."""
    dit = info.dit
    head_dim = dit.dim // dit.num_heads
    for is_wrong, words in (
        # Positions turn pairs of values.
        (
            dit.dim % dit.num_heads or head_dim % 2,
            f"{dit.num_heads} heads for a width of {dit.dim}",
        ),
        (dit.freq_dim % 2, f"{dit.freq_dim} frequencies, an odd number"),
        (dit.num_used > dit.channels, f"{dit.num_used} used channels of {dit.channels}"),
        (info.refresh_every < 1, f"a refresh in every {info.refresh_every} calls"),
        (info.size % SIDE, f"a size of {info.size} pixels, which {SIDE} does not divide"),
        (info.fov_deg is not None and info.fov_deg >= 180, f"a lens of {info.fov_deg} degrees"),
        (
            info.text is not None and info.text.dim != dit.text_dim,
            f"a text encoder of another width than {dit.text_dim}",
        ),
        (
            (info.task == "text_edit") != (info.text is not None),
            f"the task {info.task} and {'a' if info.text else 'no'} text encoder",
        ),
    ):
        if is_wrong:
            return words
    return ""


def builtin_base(key: str, info: BuiltinInfo, ratios: VaeRatios) -> BaseInfo:
    """The built-in model `key` as memory sees it, before an adapter is attached.

    ratios: the ratios of its codec.
    """
    side = info.size // ratios.spatial
    return BaseInfo(
        model_name=BUILTIN_PREFIX + key,
        mode="training-free",
        ratios=ratios,
        text_width=info.dit.text_dim if info.text is None else None,
        clean_timestep="target",
        has_cameras=False,
        source_placement="channels" if info.dit.has_source_channels else "sequence",
        stream_identity=info.dit.stream_identity,
        max_source_id=info.dit.max_source_id,
        latent_size=(side, side),
        num_frames=info.num_frames,
        fov_deg=info.fov_deg,
    )


def with_own_adapter(base: BaseInfo, config: AdapterConfig, info: BuiltinInfo) -> BaseInfo:
    """The description of a built-in model with the adapter that ships with it."""
    own = adapted(base, config, info.mode)
    return replace(own, refresh_every=info.refresh_every, reach=info.reach)

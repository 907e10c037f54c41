"""A published base in numbers and names.

Each base has its own file in this room.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ..vocabulary import SourcePlacement

# The shape of every tensor in a file, by its key.
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class DitSizes:
    """Sizes of a Wan DiT, read from its weights."""

    dim: int
    num_blocks: int
    in_channels: int
    out_channels: int


@dataclass(frozen=True)
class PublishedBase:
    """A base that others have published.

    kind: its short name in the code.
    name: the name of a model that was made from a Wan; "" for Wan itself.
    family, task: of the Wan.
    in_channels, out_channels: of its DiT. With has_camera_weights they tell its files from the
    files of other Wans.
    shift: flow shift of its sampler.
    source_placement: where it takes the source video.
    """

    kind: str
    name: str
    family: str
    task: str
    in_channels: int
    out_channels: int
    shift: float
    source_placement: SourcePlacement = "sequence"
    has_camera_weights: bool = False

    def title(self, size: str) -> str:
        """The base in words.

        size: for example "1.3B".
        """
        # A finetune is named after itself, with its Wan in brackets.
        if self.name:
            return f"{self.name} ({self.family} {size})"
        # Wan2.1's 14B and both halves of Wan2.2's A14B have the same keys and shapes.
        return "Wan T2V 14B" if size == "14B" else f"{self.family} {self.task} {size}"

    def fits(self, sizes: DitSizes, has_camera_weights: bool) -> bool:
        """Whether a DiT of these sizes, with or without camera weights, is this base."""
        # Channels alone do not tell ReCamMaster from its Wan; its camera weights do.
        channels = self.in_channels, self.out_channels
        is_alike = channels == (sizes.in_channels, sizes.out_channels)
        return is_alike and self.has_camera_weights == has_camera_weights

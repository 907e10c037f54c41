"""Which base a recipe trains, and its sizes, from its file's header or from this list."""

from dataclasses import dataclass, replace

from ...bases.lucyedit import LUCYEDIT
from ...bases.published import PublishedBase
from ...bases.recammaster import RECAMMASTER
from ...bases.registry import PUBLISHED
from ...bases.wan import WAN21, WAN22_5B
from ...weights.checkpoint import native_weights
from ...weights.wan_shapes import WanSizes, measured_sizes
from ...weights.weight_files import read_header
from ..config.model import BaseConfig, BaseSize
from ..network.bases import published_file

_1_3B = WanSizes(
    dim=1536,
    num_blocks=30,
    in_channels=16,
    out_values=64,
    ffn_dim=8960,
    text_dim=4096,
    freq_dim=256,
)
_14B = replace(_1_3B, dim=5120, num_blocks=40, ffn_dim=13824)
_5B = replace(_1_3B, dim=3072, ffn_dim=14336, in_channels=48, out_values=192)
SIZES: dict[BaseSize, tuple[PublishedBase, WanSizes]] = {
    "wan2.1-1.3b": (WAN21, _1_3B),
    "wan2.1-14b": (WAN21, _14B),
    "recammaster": (RECAMMASTER, _1_3B),
    "wan2.2-5b": (WAN22_5B, _5B),
    "lucyedit": (LUCYEDIT, replace(_5B, in_channels=96)),
}


@dataclass(frozen=True)
class PlannedBase:
    """A published base. origin: where its sizes come from, in words."""

    published: PublishedBase
    sizes: WanSizes
    origin: str


def planned_base(config: BaseConfig) -> PlannedBase:
    """The base at `config.path`, from its header, or the base named `config.size`.

    Raises: ValueError for a file that is broken or no base, and for neither file nor size.
    """
    assert config.path is not None, "BaseConfig has checked it"
    if config.path.exists():
        file, path = published_file(config.path)
        assert file.sizes is not None, "a base has sizes"
        shapes = native_weights(read_header(path).shapes, file)
        sizes = measured_sizes(shapes, file.sizes.num_blocks)
        return PlannedBase(PUBLISHED[file.kind], sizes, f"sizes of {config.path}")
    if config.size is None:
        raise ValueError(
            f"base.path got {config.path}, which is not there, and base.size nothing; name the "
            f"base's size, one of {', '.join(SIZES)}"
        )
    published, sizes = SIZES[config.size]
    return PlannedBase(published, sizes, f"known sizes, for {config.path} is not there")

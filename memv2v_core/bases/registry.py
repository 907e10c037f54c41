"""The published bases that this pack works on."""

from .lucyedit import LUCYEDIT
from .published import DitSizes, PublishedBase
from .recammaster import RECAMMASTER
from .wan import WAN21, WAN22_5B

PUBLISHED = {base.kind: base for base in (WAN21, RECAMMASTER, WAN22_5B, LUCYEDIT)}


def base_of(sizes: DitSizes, has_camera_weights: bool) -> PublishedBase | None:
    """The base whose DiT has these sizes; None for any other Wan."""
    fitting = (base for base in PUBLISHED.values() if base.fits(sizes, has_camera_weights))
    return next(fitting, None)

"""The published bases that this pack works on."""

from .bernini import BERNINI
from .lucyedit import LUCYEDIT
from .published import DitSizes, PublishedBase
from .recammaster import RECAMMASTER
from .spacetimepilot import SPACETIMEPILOT
from .wan import WAN21, WAN22_5B

PUBLISHED = {
    base.kind: base for base in (WAN21, BERNINI, RECAMMASTER, SPACETIMEPILOT, WAN22_5B, LUCYEDIT)
}

# Every layer that tells a base.
ALL_MARKS = frozenset().union(*(base.marks for base in PUBLISHED.values()))


def base_of(
    sizes: DitSizes, marks: frozenset[str] = frozenset(), name: str = ""
) -> PublishedBase | None:
    """The base whose DiT has these sizes and marks; None for any other Wan.

    name: of the file. It decides between bases whose weights look alike.
    """
    fitting = [base for base in PUBLISHED.values() if base.fits(sizes, marks)]
    named = [base for base in fitting if base.word and base.word in name.lower()]
    plain = [base for base in fitting if not base.word]
    return next(iter([*named, *plain]), None)


def look_alikes(base: PublishedBase) -> tuple[PublishedBase, ...]:
    """Bases whose files look like this one's, without it."""
    return tuple(
        other
        for other in PUBLISHED.values()
        if other is not base
        and other.marks == base.marks
        and (other.in_channels, other.out_channels) == (base.in_channels, base.out_channels)
    )

"""A 3-D scene of solids: what stands where, and how it looks.

The world is OpenCV's: +X right, +Y down, +Z forward, lengths in pose units. The source's first
camera stands at the origin and looks along +Z.

F frames, P solids, S surfaces: the P solids, then the six walls (left, right, ceiling, floor, back,
front), then the sky.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch

SolidKind = Literal["ellipsoid", "box", "cone", "card"]
Pattern = Literal["plain", "stripes", "checks", "spots"]
SOLID_KINDS: tuple[SolidKind, ...] = ("ellipsoid", "box", "cone", "card")
PATTERNS: tuple[Pattern, ...] = ("plain", "stripes", "checks", "spots")
# Pictures that a card may be cut out as.
OUTLINES = ("ball", "box", "ring", "cross", "cone")
NUM_WALLS, FLOOR = 6, 3
Colour = tuple[float, float, float]
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Paint:
    """The look of a surface: two colours in 0..1 and the pattern that they make.

    frequency: of the pattern, in radians per pose unit.
    """

    colour: Colour
    other: Colour = (1.0, 1.0, 1.0)
    pattern: Pattern = "plain"
    frequency: float = 6.0


@dataclass(frozen=True)
class Solid:
    """One solid of a thing.

    centre: relative to the thing's foot.
    size: half of its extent along x, y, z. A cone has its lower radius, half of its height and its
    upper radius; a card has half of its width, half of its height, and 0.
    outline: of a card.
    """

    kind: SolidKind
    centre: Vector
    size: Vector
    paint: Paint
    outline: str = "box"

    @property
    def reach(self) -> float:
        """Radius of a ball around its centre that holds it."""
        x, y, z = self.size
        if self.kind == "ellipsoid":
            return max(self.size)
        return math.hypot(max(x, z), y) if self.kind == "cone" else math.hypot(x, y, z)


@dataclass(frozen=True)
class Motion:
    """How a thing leaves its place: `swing` pose units times sin(2 pi frame / period + phase)."""

    swing: Vector = (0.0, 0.0, 0.0)
    period: float = 20.0
    phase: float = 0.0


@dataclass(frozen=True)
class Thing:
    """Solids that stand and move together.

    name: in words. foot: its place. yaw: its turn about the vertical, in radians.
    radius: of the ground that it covers.
    """

    name: str
    solids: tuple[Solid, ...]
    foot: Vector
    yaw: float = 0.0
    radius: float = 0.5
    motion: Motion = Motion()


@dataclass(frozen=True, eq=False)
class SolidScene:
    """A scene as tensors, for casting rays.

    kind, outline: (P,) places in SOLID_KINDS, in rising order, and in OUTLINES.
    centre, size, swing: (P, 3). yaw, reach, period, phase: (P,).
    shadow: (P,), the radius of its shadow on the floor, 0 for none.
    colour, other: (S, 3). pattern: (S,) places in PATTERNS. frequency: (S,).
    walls: (6,), x of the left and right, y of the ceiling and floor, z of the back and front wall;
    outdoors all but the floor are infinitely far.
    light: (3,) the unit direction towards the light.
    sky: (5, 3), outdoors: the colours of horizon, zenith and hills, the form of hills and clouds,
    the colour of clouds.
    names: of its things.
    """

    kind: torch.Tensor
    outline: torch.Tensor
    centre: torch.Tensor
    size: torch.Tensor
    swing: torch.Tensor
    yaw: torch.Tensor
    reach: torch.Tensor
    period: torch.Tensor
    phase: torch.Tensor
    shadow: torch.Tensor
    colour: torch.Tensor
    other: torch.Tensor
    pattern: torch.Tensor
    frequency: torch.Tensor
    walls: torch.Tensor
    light: torch.Tensor
    sky: torch.Tensor
    names: tuple[str, ...] = ()

    @property
    def num_solids(self) -> int:
        return len(self.kind)

    @property
    def sky_id(self) -> int:
        """The surface that a ray meets which meets nothing."""
        return self.num_solids + NUM_WALLS

    def to(
        self, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> "SolidScene":
        """The same scene on a device, its lengths in another precision."""
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, torch.Tensor):
                moved[field.name] = value.to(device, dtype if value.is_floating_point() else None)
        return replace(self, **moved)

    def centres(self, moments: torch.Tensor) -> torch.Tensor:
        """Where the solids are at these frames (F,): (F, P, 3)."""
        angle = 2 * math.pi * moments.to(self.centre)[:, None] / self.period + self.phase
        return self.centre + self.swing * angle.sin().unsqueeze(-1)


def build_scene(
    things: tuple[Thing, ...],
    walls: tuple[Paint, ...],
    extents: tuple[float, ...],
    light: Vector,
    sky: torch.Tensor,
) -> SolidScene:
    """The tensors of a scene.

    walls: six paints. extents: where the six walls are, see `SolidScene.walls`.
    """
    # Solids of one kind stand together, so that rays meet them together.
    pairs = sorted(
        ((thing, solid) for thing in things for solid in thing.solids),
        key=lambda pair: SOLID_KINDS.index(pair[1].kind),
    )
    paints = [*(solid.paint for _, solid in pairs), *walls, Paint((0.0, 0.0, 0.0))]
    column = torch.tensor
    return SolidScene(
        kind=column([SOLID_KINDS.index(solid.kind) for _, solid in pairs]),
        outline=column([OUTLINES.index(solid.outline) for _, solid in pairs]),
        centre=column([_place(thing, solid) for thing, solid in pairs]),
        size=column([solid.size for _, solid in pairs]),
        swing=column([thing.motion.swing for thing, _ in pairs]),
        yaw=column([thing.yaw for thing, _ in pairs]),
        reach=column([solid.reach for _, solid in pairs]),
        period=column([thing.motion.period for thing, _ in pairs]),
        phase=column([thing.motion.phase for thing, _ in pairs]),
        # A thing has one shadow, by its first solid.
        shadow=column(
            [thing.radius if solid is thing.solids[0] else 0.0 for thing, solid in pairs]
        ),
        colour=column([paint.colour for paint in paints]),
        other=column([paint.other for paint in paints]),
        pattern=column([PATTERNS.index(paint.pattern) for paint in paints]),
        frequency=column([paint.frequency for paint in paints]),
        walls=column(extents),
        light=torch.nn.functional.normalize(column(light), dim=0),
        sky=sky,
        names=tuple(thing.name for thing in things),
    )


def _place(thing: Thing, solid: Solid) -> Vector:
    """A solid's centre in the world: turned about the thing's foot."""
    x, y, z = solid.centre
    cos, sin = math.cos(thing.yaw), math.sin(thing.yaw)
    foot = thing.foot
    return foot[0] + cos * x + sin * z, foot[1] + y, foot[2] + cos * z - sin * x

"""Random scenes of solids: open ground or a room, things at many depths, some of them moving.

Things stand all around in front of the camera, so that what a new camera path discovers cannot be
guessed from the source.
"""

import math
from dataclasses import dataclass

import torch

from ..outlines import random_colour
from .scene import PATTERNS, Colour, Motion, Paint, Pattern, SolidScene, Thing, build_scene
from .things import INDOORS, MOVING, OUTDOORS, Draws, make_thing, number, one_of

# Scenes for users: neither training nor evaluation draws from these seeds. torch reads only the
# lowest 32 bits of a seed.
DEMO_SEED_OFFSET = 0xD400_0000
INFINITE = float("inf")
# The walls of the smallest room are 3.6 to each side: things must begin before them.
MAX_NEAREST_IN_ROOMS = 3.5


@dataclass(frozen=True)
class SolidsConfig:
    """Ranges that scenes are drawn from, in pose units and degrees.

    room_share: share of scenes that are rooms. min_things, max_things: standing ones.
    min_moving, max_moving: things that move. A crowded scene leaves out what finds no place.
    nearest, farthest: distance of things from the source's first camera. half_angle_deg: they stand
    within so far to either side of +Z.

    Raises: ValueError for ranges that hold nothing, for numbers that are out of range or not
    finite, and for no thing at all.
    """

    room_share: float = 0.4
    min_things: int = 7
    max_things: int = 10
    min_moving: int = 1
    max_moving: int = 2
    nearest: float = 2.2
    farthest: float = 7.0
    half_angle_deg: float = 105.0

    def __post_init__(self) -> None:
        if not 0 <= self.room_share <= 1:
            raise ValueError(f"room_share got {self.room_share}, wanted a share from 0 to 1")
        for low, high, least in (
            ("min_things", "max_things", 1),
            ("min_moving", "max_moving", 0),
            ("nearest", "farthest", 0),
        ):
            first, last = getattr(self, low), getattr(self, high)
            if not least <= first <= last:
                raise ValueError(
                    f"{low} got {first} with {high} {last}, wanted {least} <= {low} <= {high}; "
                    "change one of them"
                )
        self._require_places()

    def _require_places(self) -> None:
        if not math.isfinite(self.farthest):
            raise ValueError(
                f"farthest got {self.farthest}, wanted a finite number of pose units; 7 is usual"
            )
        if self.room_share > 0 and self.nearest > MAX_NEAREST_IN_ROOMS:
            raise ValueError(
                f"nearest got {self.nearest} with room_share {self.room_share}, wanted at most "
                f"{MAX_NEAREST_IN_ROOMS} where scenes may be rooms, whose walls are as near; lower "
                "it, or set room_share to 0"
            )
        if not 0 < self.half_angle_deg <= 180:
            raise ValueError(
                f"half_angle_deg got {self.half_angle_deg}, wanted an angle above 0, at most 180; "
                "105 is usual"
            )


def make_solid_scene(
    config: SolidsConfig, draws: Draws, device: torch.device | None = None
) -> SolidScene:
    """A random scene; the same generator state gives the same scene."""
    is_room = number(0, 1, draws) < config.room_share
    floor = number(0.95, 1.35, draws)
    extents, walls = _room(floor, draws) if is_room else _open_ground(floor, draws)
    light = (number(-0.7, 0.7, draws), -1.0, number(-0.9, 0.1, draws))
    things = _things(config, is_room, floor, extents, draws)
    return build_scene(things, walls, extents, light, _sky(draws)).to(device)


def demo_solid_scene(index: int, config: SolidsConfig | None = None) -> SolidScene:
    """A scene that neither training nor evaluation ever draws."""
    draws = torch.Generator().manual_seed(DEMO_SEED_OFFSET + index)
    return make_solid_scene(config or SolidsConfig(), draws)


def _things(
    config: SolidsConfig, is_room: bool, floor: float, extents: tuple[float, ...], draws: Draws
) -> tuple[Thing, ...]:
    names = INDOORS if is_room else OUTDOORS
    count = config.min_things + int(
        torch.randint(config.max_things - config.min_things + 1, (), generator=draws)
    )
    moving = config.min_moving + int(
        torch.randint(config.max_moving - config.min_moving + 1, (), generator=draws)
    )
    things: list[Thing] = []
    for i in range(count + moving):
        is_moving = i >= count
        name = one_of(MOVING if is_moving else names, draws)
        solids, radius = make_thing(name, draws)
        place = _free_place(config, extents, things, radius, i, count + moving, draws)
        if place is None:
            continue
        yaw = math.atan2(*place) + number(-0.6, 0.6, draws)
        motion = _motion(name, draws) if is_moving else Motion()
        foot = place[0], floor - _lift(motion), place[1]
        things.append(Thing(name, solids, foot, yaw, radius, motion))
    return tuple(things)


def _free_place(
    config: SolidsConfig,
    extents: tuple[float, ...],
    things: list[Thing],
    radius: float,
    index: int,
    count: int,
    draws: Draws,
) -> tuple[float, float] | None:
    """A place (x, z) on the ground that no thing covers; None where none is found."""
    # Each thing has its own share of the directions, so that no side stays empty.
    lanes = [(index * 0.618 + number(0, 1, draws) / count) % 1.0 for _ in range(12)]
    for lane in lanes:
        azimuth = math.radians(config.half_angle_deg) * (2 * lane - 1)
        far = config.nearest + (config.farthest - config.nearest) * number(0, 1, draws) ** 1.5
        x, z = (far + radius) * math.sin(azimuth), (far + radius) * math.cos(azimuth)
        is_inside = (
            extents[0] + radius < x < extents[1] - radius
            and extents[4] + radius < z < extents[5] - radius
        )
        is_free = all(
            math.hypot(x - other.foot[0], z - other.foot[2]) > radius + other.radius + 0.15
            for other in things
        )
        if is_inside and is_free:
            return x, z
    return None


def _motion(name: str, draws: Draws) -> Motion:
    period, phase = number(12, 28, draws), number(0, 2 * math.pi, draws)
    far = number(0.4, 0.9, draws)
    if name == "ball":
        return Motion((0.0, 0.45, 0.0), number(10, 18, draws), phase)
    if name in ("balloon", "kite"):
        return Motion((0.4 * far, 0.4 * far, 0.0), period, phase)
    angle = number(0, 2 * math.pi, draws)
    return Motion((far * math.cos(angle), 0.0, far * math.sin(angle)), period, phase)


def _lift(motion: Motion) -> float:
    """How high a thing must stand, so that its motion does not take it under the floor."""
    return abs(motion.swing[1])


def _room(floor: float, draws: Draws) -> tuple[tuple[float, ...], tuple[Paint, ...]]:
    half = number(3.6, 5.5, draws)
    extents = (
        -half,
        half,
        floor - number(2.6, 3.4, draws),
        floor,
        -number(2.5, 4.0, draws),
        number(4.5, 7.5, draws),
    )
    base = _pale(draws)
    pattern = one_of(PATTERNS, draws)
    frequency = number(2.0, 4.0, draws)
    walls = []
    for wall in range(6):
        if wall == 2:
            walls.append(Paint((0.93, 0.93, 0.9)))
        elif wall == 3:
            walls.append(_ground_paint(draws))
        else:
            # Each wall has its own shade, so that a person can tell where the camera looks.
            colour = _mixed(base, random_colour(draws), 0.3)
            other = _mixed(colour, random_colour(draws), 0.3)
            walls.append(Paint(colour, other, pattern, frequency))
    return extents, tuple(walls)


def _open_ground(floor: float, draws: Draws) -> tuple[tuple[float, ...], tuple[Paint, ...]]:
    extents = (-INFINITE, INFINITE, -INFINITE, floor, -INFINITE, INFINITE)
    hidden = Paint((0.0, 0.0, 0.0))
    return extents, (hidden, hidden, hidden, _ground_paint(draws), hidden, hidden)


def _ground_paint(draws: Draws) -> Paint:
    colour = one_of(
        (
            (0.35, 0.55, 0.22),
            (0.78, 0.68, 0.45),
            (0.55, 0.55, 0.58),
            (0.5, 0.34, 0.22),
            (0.85, 0.85, 0.88),
        ),
        draws,
    )
    patterns: tuple[Pattern, ...] = ("stripes", "checks", "checks", "spots")
    pattern = one_of(patterns, draws)
    red, green, blue = (part * number(0.6, 0.85, draws) for part in colour)
    return Paint(colour, (red, green, blue), pattern, number(1.6, 3.2, draws))


def _pale(draws: Draws) -> Colour:
    return _mixed(random_colour(draws), (0.9, 0.88, 0.82), 0.7)


def _mixed(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (a + share * (b - a) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _sky(draws: Draws) -> torch.Tensor:
    """Colours of horizon, zenith and hills, the form of hills and clouds, colour of clouds."""
    zenith = one_of(
        ((0.25, 0.5, 0.9), (0.15, 0.3, 0.7), (0.85, 0.5, 0.35), (0.5, 0.6, 0.7), (0.2, 0.15, 0.4)),
        draws,
    )
    horizon = _mixed(zenith, (0.95, 0.93, 0.9), number(0.5, 0.8, draws))
    hills = _mixed((0.2, 0.35, 0.25), random_colour(draws), 0.35)
    form = tuple(number(0, 1, draws) for _ in range(3))
    clouds = _mixed(horizon, (1.0, 1.0, 1.0), 0.7)
    return torch.tensor([horizon, zenith, hills, form, clouds])

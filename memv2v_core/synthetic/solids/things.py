"""Things that a person knows at a glance, built of solids.

A thing is about one pose unit high and stands on its foot; up is -Y. Random numbers come from a
generator, so the same state gives the same thing.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from ..outlines import random_colour
from .scene import OUTLINES, PATTERNS, Colour, Paint, Solid, Vector

Draws = torch.Generator
Item = TypeVar("Item")
# The solids of a thing, and the radius of the ground that it covers.
Model = tuple[tuple[Solid, ...], float]
WOOD, DARK, LEAD = (0.42, 0.27, 0.15), (0.12, 0.12, 0.14), (0.55, 0.57, 0.6)
# Things for outdoors and for rooms.
OUTDOORS = (
    "tree",
    "fir",
    "house",
    "ball",
    "crate",
    "snowman",
    "lamp",
    "mushroom",
    "sign",
    "column",
)
INDOORS = ("ball", "crate", "lamp", "table", "sofa", "plant", "column", "vase", "sign", "books")
# Things that move when they are drawn as the moving ones.
MOVING = ("car", "balloon", "ball", "kite")


def number(low: float, high: float, draws: Draws) -> float:
    """A number drawn evenly from a range."""
    return low + (high - low) * torch.rand((), generator=draws).item()


def one_of(options: Sequence[Item], draws: Draws) -> Item:
    """One of some options."""
    return options[int(torch.randint(len(options), (), generator=draws))]


def make_thing(name: str, draws: Draws) -> Model:
    """The solids of a thing, and the radius of the ground that it covers."""
    return _MAKERS[name](draws)


def patterned(colour: Colour, draws: Draws, low: float = 6.0, high: float = 11.0) -> Paint:
    """A colour with a second one beside it in a random pattern."""
    pattern = one_of(PATTERNS, draws)
    other = random_colour(draws)
    return Paint(colour, other, pattern, number(low, high, draws))


def _ellipsoid(centre: Vector, size: Vector, paint: Paint) -> Solid:
    return Solid("ellipsoid", centre, size, paint)


def _box(centre: Vector, size: Vector, paint: Paint) -> Solid:
    return Solid("box", centre, size, paint)


def _cone(centre: Vector, lower: float, half: float, upper: float, paint: Paint) -> Solid:
    return Solid("cone", centre, (lower, half, upper), paint)


def _tree(draws: Draws) -> Model:
    leaves = one_of(
        ((0.13, 0.5, 0.16), (0.35, 0.6, 0.12), (0.85, 0.45, 0.1), (0.9, 0.5, 0.65)), draws
    )
    wide, high = number(0.42, 0.6, draws), number(0.45, 0.7, draws)
    red, green, blue = (0.75 * part for part in leaves)
    crown = Paint(leaves, (red, green, blue), "spots", number(7, 11, draws))
    return (
        _cone((0, -0.4, 0), 0.14, 0.4, 0.1, Paint(WOOD)),
        _ellipsoid((0, -0.7 - high, 0), (wide, high, wide), crown),
    ), 0.5


def _fir(draws: Draws) -> Model:
    green = Paint((0.06, number(0.28, 0.45, draws), number(0.15, 0.3, draws)))
    return (
        _cone((0, -0.15, 0), 0.12, 0.15, 0.12, Paint(WOOD)),
        _cone((0, -0.7, 0), 0.55, 0.42, 0.12, green),
        _cone((0, -1.3, 0), 0.4, 0.42, 0.0, green),
    ), 0.55


def _house(draws: Draws) -> Model:
    wall, roof = Paint(random_colour(draws)), Paint(random_colour(draws))
    wide = number(0.5, 0.7, draws)
    door = Paint(one_of(((0.35, 0.2, 0.1), DARK, (0.95, 0.95, 0.9)), draws))
    window = Paint((0.95, 0.85, 0.4))
    return (
        _box((0, -0.45, 0), (wide, 0.45, 0.5), wall),
        _cone((0, -1.15, 0), wide * 1.35, 0.26, 0.05, roof),
        _box((0.0, -0.27, -0.5), (0.14, 0.27, 0.03), door),
        _box((-0.62 * wide, -0.55, -0.5), (0.12, 0.12, 0.03), window),
        _box((0.62 * wide, -0.55, -0.5), (0.12, 0.12, 0.03), window),
    ), 0.8


def _ball(draws: Draws) -> Model:
    radius = number(0.35, 0.5, draws)
    paint = patterned(random_colour(draws), draws)
    return (_ellipsoid((0, -radius, 0), (radius,) * 3, paint),), radius


def _crate(draws: Draws) -> Model:
    size = number(0.32, 0.5, draws)
    paint = patterned(random_colour(draws), draws)
    boxes = [_box((0, -size, 0), (size,) * 3, paint)]
    if number(0, 1, draws) < 0.4:
        upper = 0.6 * size
        boxes.append(
            _box((0, -2 * size - upper, 0), (upper,) * 3, patterned(random_colour(draws), draws))
        )
    return tuple(boxes), size * 1.3


def _snowman(draws: Draws) -> Model:
    snow, hat = Paint((0.95, 0.96, 1.0)), Paint(random_colour(draws))
    return (
        _ellipsoid((0, -0.4, 0), (0.44, 0.4, 0.44), snow),
        _ellipsoid((0, -1.0, 0), (0.31, 0.3, 0.31), snow),
        _cone((0, -1.35, 0), 0.34, 0.05, 0.34, hat),
        _cone((0, -1.55, 0), 0.22, 0.17, 0.2, hat),
        _ellipsoid((0, -1.0, -0.3), (0.07, 0.07, 0.16), Paint((0.95, 0.45, 0.05))),
    ), 0.45


def _lamp(draws: Draws) -> Model:
    shade = Paint(random_colour(draws))
    return (
        _cone((0, -0.75, 0), 0.07, 0.75, 0.05, Paint(DARK)),
        _cone((0, -0.05, 0), 0.25, 0.05, 0.25, Paint(DARK)),
        _cone((0, -1.6, 0), 0.36, 0.22, 0.16, shade),
    ), 0.3


def _mushroom(draws: Draws) -> Model:
    cap = Paint(random_colour(draws), (0.97, 0.97, 0.92), "spots", number(8, 12, draws))
    return (
        _cone((0, -0.35, 0), 0.2, 0.35, 0.16, Paint((0.93, 0.9, 0.8))),
        _ellipsoid((0, -0.8, 0), (0.52, 0.3, 0.52), cap),
    ), 0.45


def _sign(draws: Draws) -> Model:
    picture = Paint(random_colour(draws), random_colour(draws), "stripes", number(6, 10, draws))
    size = number(0.4, 0.5, draws)
    return (
        _cone((0, -0.5, 0.03), 0.05, 0.5, 0.05, Paint(LEAD)),
        Solid("card", (0, -1.0 - size * 0.8, 0), (size, size, 0), picture, one_of(OUTLINES, draws)),
    ), 0.3


def _column(draws: Draws) -> Model:
    stone = Paint(random_colour(draws), (0.95, 0.95, 0.93), "stripes", number(6, 10, draws))
    return (
        _cone((0, -0.9, 0), 0.26, 0.75, 0.22, stone),
        _box((0, -0.08, 0), (0.36, 0.08, 0.36), Paint((0.9, 0.9, 0.88))),
        _box((0, -1.73, 0), (0.36, 0.08, 0.36), Paint((0.9, 0.9, 0.88))),
    ), 0.4


def _table(draws: Draws) -> Model:
    top = Paint(random_colour(draws))
    return (
        _cone((0, -0.35, 0), 0.1, 0.35, 0.1, Paint(WOOD)),
        _cone((0, -0.75, 0), 0.6, 0.05, 0.6, top),
        _ellipsoid((0.1, -0.98, 0), (0.18,) * 3, Paint(random_colour(draws))),
    ), 0.55


def _sofa(draws: Draws) -> Model:
    cloth = patterned(random_colour(draws), draws)
    return (
        _box((0, -0.22, 0), (0.8, 0.22, 0.35), cloth),
        _box((0, -0.6, 0.3), (0.8, 0.35, 0.12), cloth),
        _box((-0.78, -0.35, 0), (0.12, 0.35, 0.38), cloth),
        _box((0.78, -0.35, 0), (0.12, 0.35, 0.38), cloth),
    ), 0.8


def _plant(draws: Draws) -> Model:
    pot = Paint(random_colour(draws), random_colour(draws), "stripes", 12.0)
    leaves = Paint((0.15, number(0.4, 0.6, draws), 0.15), (0.5, 0.75, 0.2), "spots", 9.0)
    return (
        _cone((0, -0.25, 0), 0.2, 0.25, 0.3, pot),
        _ellipsoid((0, -0.95, 0), (0.42, 0.5, 0.42), leaves),
    ), 0.4


def _vase(draws: Draws) -> Model:
    paint = patterned(random_colour(draws), draws)
    return (
        _box((0, -0.3, 0), (0.3, 0.3, 0.3), Paint((0.92, 0.9, 0.85))),
        _ellipsoid((0, -0.9, 0), (0.28, 0.32, 0.28), paint),
        _cone((0, -1.25, 0), 0.1, 0.14, 0.18, paint),
    ), 0.4


def _books(draws: Draws) -> Model:
    """A shelf with a few coloured blocks."""
    wood = Paint(WOOD)
    boxes = [
        _box((0, -0.05, 0), (0.6, 0.05, 0.22), wood),
        _box((0, -0.75, 0), (0.6, 0.05, 0.22), wood),
        _box((-0.6, -0.65, 0), (0.05, 0.65, 0.22), wood),
        _box((0.6, -0.65, 0), (0.05, 0.65, 0.22), wood),
    ]
    for i, left in enumerate((-0.33, 0.0, 0.33)):
        high = number(0.18, 0.28, draws)
        foot = -0.1 if i != 1 else -0.8
        boxes.append(_box((left, foot - high, 0), (0.15, high, 0.15), Paint(random_colour(draws))))
    return tuple(boxes), 0.6


def _car(draws: Draws) -> Model:
    body, glass, tyre = Paint(random_colour(draws)), Paint((0.6, 0.8, 0.9)), Paint(DARK)
    wheels = [
        _ellipsoid((x, -0.17, z), (0.17, 0.17, 0.1), tyre)
        for x in (-0.42, 0.42)
        for z in (-0.34, 0.34)
    ]
    return (
        _box((0, -0.38, 0), (0.75, 0.2, 0.34), body),
        _box((-0.05, -0.7, 0), (0.4, 0.16, 0.3), glass),
        *wheels,
    ), 0.75


def _balloon(draws: Draws) -> Model:
    skin = Paint(random_colour(draws), random_colour(draws), "stripes", number(6, 9, draws))
    return (
        _ellipsoid((0, -1.6, 0), (0.48, 0.58, 0.48), skin),
        _box((0, -0.8, 0), (0.15, 0.12, 0.15), Paint(WOOD)),
    ), 0.35


def _kite(draws: Draws) -> Model:
    picture = Paint(random_colour(draws), random_colour(draws), "checks", number(6, 9, draws))
    return (Solid("card", (0, -1.6, 0), (0.5, 0.5, 0), picture, one_of(OUTLINES, draws)),), 0.3


_MAKERS: dict[str, Callable[[Draws], Model]] = {
    "tree": _tree,
    "fir": _fir,
    "house": _house,
    "ball": _ball,
    "crate": _crate,
    "snowman": _snowman,
    "lamp": _lamp,
    "mushroom": _mushroom,
    "sign": _sign,
    "column": _column,
    "table": _table,
    "sofa": _sofa,
    "plant": _plant,
    "vase": _vase,
    "books": _books,
    "car": _car,
    "balloon": _balloon,
    "kite": _kite,
}

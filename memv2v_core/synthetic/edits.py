"""Instructions for rendered clips, and one true answer to each."""

from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch

from .outlines import COLOURS, HATS, KINDS, random_colour
from .worlds import World

EditKind = Literal["recolour", "hat", "reshape"]
AMBIGUOUS = {
    "recolour": ("give the {} a new colour", "change the colour of the {}", "recolour the {}"),
    "hat": ("put a hat on the {}", "add a hat to the {}", "give the {} a hat"),
    "reshape": (
        "turn the {} into something else",
        "replace the {}",
        "swap the {} for another thing",
    ),
}
# The kinds that the shipped editor learnt; "reshape" needs a longer training.
TRAINED_KINDS: tuple[EditKind, ...] = ("recolour", "hat")
NAMED = ("make the {} {}", "paint the {} {}", "colour the {} {}")
NAMED_HATS = ("put a {1} {2} on the {0}", "give the {0} a {1} {2}")


@dataclass(frozen=True)
class Edit:
    """One answer to an instruction.

    shape: the hat or the new object; "" for a new colour.
    is_ambiguous: whether the instruction leaves open what the answer looks like.
    """

    instruction: str
    object_idx: int
    kind: EditKind
    colour: tuple[float, float, float]
    shape: str = ""
    is_ambiguous: bool = True


def draw_edit(
    world: World,
    generator: torch.Generator,
    kind: EditKind | None = None,
    object_idx: int | None = None,
    named_share: float = 0.0,
    kinds: tuple[EditKind, ...] = TRAINED_KINDS,
) -> Edit:
    """A random edit of a world.

    kind, object_idx: fixed where given; else one of `kinds`, and any object.
    named_share: share of new colours and hats that the instruction names. Such an instruction has
    one right answer.
    """

    def choose(options: tuple) -> int:
        return int(torch.randint(len(options), (), generator=generator))

    # Step 1: kind and object. Both are always drawn, so that fixing one changes no later draw.
    drawn_kind, drawn_idx = kinds[choose(kinds)], choose(world.objects)
    kind, object_idx = kind or drawn_kind, drawn_idx if object_idx is None else object_idx
    item = world.objects[object_idx]
    # Step 2: a colour. A new colour must be clearly another one.
    colour = random_colour(generator)
    while (
        kind == "recolour"
        and sum(abs(a - b) for a, b in zip(colour, item.colour, strict=True)) < 0.6
    ):
        colour = random_colour(generator)
    # Step 3: some new colours are named in the instruction.
    if kind == "recolour" and torch.rand((), generator=generator).item() < named_share:
        others = tuple(name for name in COLOURS if name != item.colour_name)
        name = others[choose(others)]
        text = NAMED[choose(NAMED)].format(item.name, name)
        return Edit(text, object_idx, kind, COLOURS[name], is_ambiguous=False)
    # Step 4: an open instruction, and a shape that answers it.
    others = tuple(other for other in KINDS if other != item.kind)
    shapes = {"recolour": ("",), "hat": HATS, "reshape": others}[kind]
    text = AMBIGUOUS[kind][choose(AMBIGUOUS[kind])].format(item.name)
    shape = shapes[choose(shapes)]
    # Step 5: some hats are named too. Nothing is drawn where no hat may be named, so the clips of
    # evaluation and demos stay the same.
    if (
        kind == "hat"
        and named_share > 0
        and torch.rand((), generator=generator).item() < named_share
    ):
        name = tuple(COLOURS)[choose(tuple(COLOURS))]
        text = NAMED_HATS[choose(NAMED_HATS)].format(item.name, name, shape)
        return Edit(text, object_idx, kind, COLOURS[name], shape, is_ambiguous=False)
    return Edit(text, object_idx, kind, colour, shape)


def all_instructions(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Every instruction that can be drawn for objects of these kinds."""
    objects = [f"{colour} {kind}" for colour in COLOURS for kind in kinds]
    open_ones = [
        text.format(name) for texts in AMBIGUOUS.values() for text in texts for name in objects
    ]
    named = [text.format(name, colour) for text in NAMED for name in objects for colour in COLOURS]
    hats = [
        text.format(name, *hat)
        for text in NAMED_HATS
        for name in objects
        for hat in product(COLOURS, HATS)
    ]
    return (*open_ones, *named, *hats)

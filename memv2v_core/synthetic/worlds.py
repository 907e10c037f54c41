"""Procedural clips with instructions: named objects that move before a panning background.

An instruction such as "put a hat on the red box" has many right answers: which hat is right, only
the earlier segments say. A world is one shot. It has no end: any frame can be rendered. Lengths are
in frame widths, x to the right, y down.
"""

import math
from dataclasses import dataclass, field

import torch

from .outlines import COLOURS, KINDS, shape_distance


@dataclass(frozen=True)
class WorldConfig:
    """Ranges that worlds are drawn from."""

    min_objects: int = 2
    max_objects: int = 2
    min_radius: float = 0.16
    max_radius: float = 0.22
    pan: float = 0.35
    texture: float = 0.07
    num_clutter: int = 9
    canvas_height: int = 160


@dataclass(frozen=True)
class Wave:
    """offset + amplitude * sin(2 pi frame / period + phase)."""

    offset: float
    amplitude: float
    period: float
    phase: float

    def __call__(self, frame: float) -> float:
        return self.offset + self.amplitude * math.sin(
            2 * math.pi * frame / self.period + self.phase
        )


@dataclass(frozen=True)
class WorldObject:
    """A named object and its motion.

    kind: its shape. colour_name, colour: the colour's name, and its value in 0..1.
    x, y: the path of its centre. turn: its angle in radians.
    away: (first, last) frames that it spends outside the frame; it leaves and returns in the few
    frames around them.
    """

    kind: str
    colour_name: str
    colour: tuple[float, float, float]
    radius: float
    x: Wave
    y: Wave
    turn: Wave
    away: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """Its name in an instruction, such as "red box"."""
        return f"{self.colour_name} {self.kind}"

    def centre(self, frame: int) -> tuple[float, float]:
        """Its centre (x, y) at a frame."""
        x, y = self.x(frame), self.y(frame)
        if self.away is not None:
            first, last = self.away
            # A share that rises over 3 frames, and moves the object out on the nearer side.
            outside = min(1.0, max(0.0, min(frame - first + 3, last + 3 - frame) / 3))
            x += outside * math.copysign(1.6, self.x.offset - 0.5)
        return x, y

    def is_visible(self, frame: int) -> bool:
        """Whether at least about half of it is inside the frame."""
        return all(0.0 <= value <= 1.0 for value in self.centre(frame))


@dataclass(frozen=True, eq=False)
class World:
    """One shot.

    canvas: the background (3, h, w). pan_x, pan_y: its pan, in canvas heights. objects: from back
    to front.
    """

    canvas: torch.Tensor
    pan_x: Wave
    pan_y: Wave
    objects: tuple[WorldObject, ...] = field(default=())


def make_world(
    config: WorldConfig,
    generator: torch.Generator,
    like: WorldObject | None = None,
    away: tuple[int, int] | None = None,
    canvas: torch.Tensor | None = None,
) -> World:
    """A random world; the same generator state gives the same world.

    No two objects share a kind or a colour name.

    like: the first object gets its name; None draws one.
    away: frames that the first object spends outside.
    canvas: the background; None draws a new one.
    """
    count = config.min_objects + int(
        torch.randint(config.max_objects - config.min_objects + 1, (), generator=generator)
    )
    kinds = _shuffled(KINDS, None if like is None else like.kind, generator)
    colours = _shuffled(tuple(COLOURS), None if like is None else like.colour_name, generator)
    # Each object moves in its own vertical lane, so that objects overlap little.
    lanes = torch.randperm(count, generator=generator).tolist()
    objects = tuple(
        _object(
            config,
            kinds[i],
            colours[i],
            (lanes[i] + 0.5) / count,
            away if i == 0 else None,
            generator,
        )
        for i in range(count)
    )
    pan = [
        _wave(0.0, config.pan, 70.0, 160.0, generator),
        _wave(0.0, 0.35 * config.pan, 60.0, 150.0, generator),
    ]
    return World(
        make_canvas(config, generator) if canvas is None else canvas, pan[0], pan[1], objects
    )


def _shuffled(names: tuple[str, ...], first: str | None, generator: torch.Generator) -> list[str]:
    order = [names[i] for i in torch.randperm(len(names), generator=generator).tolist()]
    return order if first is None else [first, *(name for name in order if name != first)]


def _object(
    config: WorldConfig,
    kind: str,
    colour_name: str,
    lane: float,
    away: tuple[int, int] | None,
    generator: torch.Generator,
) -> WorldObject:
    # A colour name covers many shades.
    shade = (0.12 * torch.rand(3, generator=generator) - 0.06).tolist()
    colour = tuple(
        min(1.0, max(0.0, a + b)) for a, b in zip(COLOURS[colour_name], shade, strict=True)
    )
    spread = torch.rand(3, generator=generator).tolist()
    radius = config.min_radius + (config.max_radius - config.min_radius) * spread[0]
    return WorldObject(
        kind,
        colour_name,
        colour,
        radius,
        _wave(0.12 + 0.76 * lane + 0.06 * (spread[1] - 0.5), 0.09, 24.0, 60.0, generator),
        _wave(0.56 + 0.2 * spread[2], 0.1, 20.0, 50.0, generator),
        _wave(0.0, 0.35, 25.0, 60.0, generator),
        away,
    )


def _wave(
    offset: float, amplitude: float, shortest: float, longest: float, generator: torch.Generator
) -> Wave:
    a, b, c = torch.rand(3, generator=generator).tolist()
    return Wave(
        offset, amplitude * (0.4 + 0.6 * a), shortest + (longest - shortest) * b, 2 * math.pi * c
    )


def make_canvas(config: WorldConfig, generator: torch.Generator) -> torch.Tensor:
    """A background (3, h, 2 h) in 0..1: a gradient, texture and dull shapes."""
    height = config.canvas_height
    width = 2 * height
    top, bottom = (0.2 + 0.6 * torch.rand(2, 3, 1, 1, generator=generator)).unbind(0)
    y = torch.linspace(0, 1, height).view(1, -1, 1)
    canvas = torch.lerp(top, bottom, y).expand(3, height, width)
    canvas = canvas + config.texture * torch.rand((), generator=generator) * _texture(
        height, width, generator
    )
    for _ in range(config.num_clutter):
        canvas = _clutter(canvas, generator)
    return canvas.clamp(0, 1)


def _texture(height: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """Noise (3, height, width) of variance 1 whose amplitude falls with frequency.

    Photographs have such spectra.
    """
    noise = torch.fft.rfft2(torch.randn(3, height, width, generator=generator))
    frequency = torch.hypot(
        torch.fft.fftfreq(height)[:, None] * height, torch.fft.rfftfreq(width)[None] * width
    )
    # + 3 keeps the lowest frequencies from hiding all others.
    noise = torch.fft.irfft2(noise / (3 + frequency) ** 1.4, s=(height, width))
    return noise / noise.std()


def _clutter(canvas: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """`canvas` with one flat, dull shape on it."""
    height, width = canvas.shape[1:]
    draw = torch.rand(6, generator=generator).tolist()
    size = (0.05 + 0.16 * draw[0]) * height
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    u, v = (x - draw[1] * width) / size, (y - draw[2] * height) / (size * (0.5 + draw[3]))
    alpha = (0.5 - shape_distance(("ball", "box")[int(2 * draw[4])], u, v) * size / 1.5).clamp(0, 1)
    grey = 0.15 + 0.7 * draw[5]
    tint = (grey + 0.16 * (torch.rand(3, 1, 1, generator=generator) - 0.5)).expand_as(canvas)
    return torch.lerp(canvas, tint, 0.8 * alpha.expand_as(canvas))

"""Procedural clips with instructions: named objects that move before a panning background, and their true edits.

An instruction such as "put a hat on the red box" has many right answers: which hat, only the earlier segments tell. A
world is one shot; it has no end, any frame can be asked for. Lengths are in frame widths, x to the right, y down.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from .edits import COLOURS, Edit, hat_distance, shape_distance

KINDS = ("ball", "box", "ring", "cross", "cone")
_FRAME_HEIGHT = 0.55  # of a frame, in heights of the canvas


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
        return self.offset + self.amplitude * math.sin(2 * math.pi * frame / self.period + self.phase)


@dataclass(frozen=True)
class WorldObject:
    """A named object: `kind`, the name of its colour and the colour itself in 0..1, radius, and where its centre is.

    away: (first, last) frames that it spends outside the frame; it leaves and returns in the few frames around them.
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
        """What an instruction calls it, such as "red box"."""
        return f"{self.colour_name} {self.kind}"

    def centre(self, frame: int) -> tuple[float, float]:
        """Its centre (x, y) at a frame."""
        x, y = self.x(frame), self.y(frame)
        if self.away is not None:
            first, last = self.away
            outside = min(1.0, max(0.0, min(frame - first + 3, last + 3 - frame) / 3))
            x += outside * math.copysign(1.6, self.x.offset - 0.5)
        return x, y

    def is_visible(self, frame: int) -> bool:
        """Whether at least about half of it is inside the frame."""
        return all(0.0 <= value <= 1.0 for value in self.centre(frame))


@dataclass(frozen=True, eq=False)
class World:
    """One shot: a background canvas (3, h, w), its pan in canvas heights, and objects from back to front."""

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
    """A random world; the same generator state gives the same world. No two objects share a kind or a colour's name.

    like: whose name the first object has, random if None. away: frames that the first object spends outside. canvas: a
    new one if None.
    """
    count = config.min_objects + int(
        torch.randint(config.max_objects - config.min_objects + 1, (), generator=generator)
    )
    kinds = _shuffled(KINDS, None if like is None else like.kind, generator)
    colours = _shuffled(tuple(COLOURS), None if like is None else like.colour_name, generator)
    lanes = torch.randperm(count, generator=generator).tolist()
    objects = tuple(
        _object(config, kinds[i], colours[i], (lanes[i] + 0.5) / count, away if i == 0 else None, generator)
        for i in range(count)
    )
    pan = [_wave(0.0, config.pan, 70.0, 160.0, generator), _wave(0.0, 0.35 * config.pan, 60.0, 150.0, generator)]
    return World(make_canvas(config, generator) if canvas is None else canvas, pan[0], pan[1], objects)


def render(world: World, frames: Sequence[int], size: int, edit: Edit | None = None) -> torch.Tensor:
    """The video (F, 3, size, size) in 0..1 at these frames: the source or, with an edit, its true result."""
    x, y = _places(size)
    video = _background(world, frames, x, y)
    for i, item in enumerate(world.objects):
        video = _draw(video, item, frames, x, y, edit if edit is not None and edit.object_idx == i else None)
    return video.clamp_(0, 1)


def visible_part(world: World, frames: Sequence[int], size: int, object_idx: int) -> torch.Tensor:
    """Which pixels (F, size, size) show this object, and no other before it."""
    x, y = _places(size)
    shown = torch.zeros(len(frames), size, size, dtype=torch.bool)
    for i, item in enumerate(world.objects):
        inside = _outline(item, item.kind, frames, *_around(item, frames, x, y)) < 0
        shown = inside if i == object_idx else shown & ~inside  # later ones stand in front
    return shown


def _places(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    axis = (torch.arange(size) + 0.5) / size
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return x, y


def _background(world: World, frames: Sequence[int], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The canvas behind the objects, (F, 3, H, W), at frame coordinates x, y (H, W)."""
    height, width = world.canvas.shape[1:]
    pan = torch.tensor([[world.pan_x(frame), world.pan_y(frame)] for frame in frames])
    grid = 2 * (torch.stack((x, y), dim=-1) - 0.5 + pan[:, None, None])
    grid = _FRAME_HEIGHT * grid * torch.tensor([height / width, 1.0])
    canvas = world.canvas.expand(len(frames), -1, -1, -1)
    return F.grid_sample(canvas, grid, padding_mode="reflection", align_corners=False)


def _draw(
    video: torch.Tensor, item: WorldObject, frames: Sequence[int], x: torch.Tensor, y: torch.Tensor, edit: Edit | None
) -> torch.Tensor:
    u, v = _around(item, frames, x, y)
    softness = 1.5 / (x.shape[-1] * item.radius)  # about a pixel and a half
    kind, colour = item.kind, item.colour
    if edit is not None and edit.kind == "reshape":
        kind, colour = edit.shape, edit.colour
    elif edit is not None and edit.kind == "recolour":
        colour = edit.colour
    light = (0.88 - 0.14 * (u + v)).clamp_(0.6, 1.12)  # from the upper left
    video = _paint(video, _outline(item, kind, frames, u, v), softness, colour, light)
    if edit is not None and edit.kind == "hat":
        video = _paint(video, hat_distance(edit.shape, u, v + 0.85), softness, edit.colour, light)
    return video


def _around(
    item: WorldObject, frames: Sequence[int], x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Places relative to the object, upright, in radii."""
    centres = torch.tensor([item.centre(frame) for frame in frames])
    return (x - centres[:, 0, None, None]) / item.radius, (y - centres[:, 1, None, None]) / item.radius


def _outline(item: WorldObject, kind: str, frames: Sequence[int], u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Distance to the outline of the object as it is turned in these frames, with the shape of a `kind`."""
    angle = torch.tensor([item.turn(frame) for frame in frames])[:, None, None]
    cos, sin = angle.cos(), angle.sin()
    return shape_distance(kind, cos * u + sin * v, cos * v - sin * u)


def _paint(
    video: torch.Tensor,
    distance: torch.Tensor,
    softness: float,
    colour: tuple[float, float, float],
    light: torch.Tensor,
) -> torch.Tensor:
    """`video` (F, 3, H, W) with a shape of this outline (F, H, W) over it."""
    alpha = (0.5 - distance / softness).clamp_(0, 1).unsqueeze(1)
    return torch.lerp(video, torch.tensor(colour).view(3, 1, 1) * light.unsqueeze(1), alpha)


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
    shade = (0.12 * torch.rand(3, generator=generator) - 0.06).tolist()
    colour = tuple(min(1.0, max(0.0, a + b)) for a, b in zip(COLOURS[colour_name], shade, strict=True))
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


def _wave(offset: float, amplitude: float, shortest: float, longest: float, generator: torch.Generator) -> Wave:
    a, b, c = torch.rand(3, generator=generator).tolist()
    return Wave(offset, amplitude * (0.4 + 0.6 * a), shortest + (longest - shortest) * b, 2 * math.pi * c)


def random_colour(generator: torch.Generator) -> tuple[float, float, float]:
    """A clear colour: any hue, high saturation and value, sometimes nearly white or black."""
    hue, saturation, value, plain = torch.rand(4, generator=generator).tolist()
    saturation, value = 0.65 + 0.35 * saturation, 0.55 + 0.4 * value
    if plain < 0.12:
        saturation, value = 0.05, 0.12 if plain < 0.06 else 0.95
    channels = [value * (1 - saturation * _hue_part(hue, n)) for n in (5, 3, 1)]
    return channels[0], channels[1], channels[2]


def _hue_part(hue: float, n: int) -> float:
    k = (n + 6 * hue) % 6
    return max(0.0, min(k, 4 - k, 1.0))


def make_canvas(config: WorldConfig, generator: torch.Generator) -> torch.Tensor:
    """A background (3, h, 2 h) in 0..1: a gradient, texture and dull shapes."""
    height = config.canvas_height
    width = 2 * height
    top, bottom = (0.2 + 0.6 * torch.rand(2, 3, 1, 1, generator=generator)).unbind(0)
    y = torch.linspace(0, 1, height).view(1, -1, 1)
    canvas = torch.lerp(top, bottom, y).expand(3, height, width)
    canvas = canvas + config.texture * torch.rand((), generator=generator) * _texture(height, width, generator)
    for _ in range(config.num_clutter):
        canvas = _clutter(canvas, generator)
    return canvas.clamp(0, 1)


def _texture(height: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """Noise (3, height, width) of variance 1 whose amplitude falls with frequency, as in photographs."""
    noise = torch.fft.rfft2(torch.randn(3, height, width, generator=generator))
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None] * height, torch.fft.rfftfreq(width)[None] * width)
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

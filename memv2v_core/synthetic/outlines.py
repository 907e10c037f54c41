"""Outlines and colours of the objects and hats in rendered clips.

Distances to outlines are in radii of the object, negative inside.
"""

import torch

KINDS = ("ball", "box", "ring", "cross", "cone")
HATS = ("top hat", "pointed hat", "wide hat")
COLOURS = {
    "red": (0.85, 0.1, 0.1),
    "green": (0.1, 0.65, 0.2),
    "blue": (0.12, 0.25, 0.85),
    "yellow": (0.92, 0.85, 0.12),
    "purple": (0.55, 0.15, 0.75),
    "orange": (0.95, 0.5, 0.08),
    "white": (0.95, 0.95, 0.95),
    "black": (0.08, 0.08, 0.08),
}


def shape_distance(kind: str, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Distance to the outline of an object of radius 1 around the origin."""
    if kind == "ball":
        return torch.hypot(u, v) - 0.95
    if kind == "box":
        return torch.maximum(u.abs(), v.abs()) - 0.82
    if kind == "ring":
        return (torch.hypot(u, v) - 0.72).abs() - 0.26
    if kind == "cross":
        # A cross is the union of two bars: the smaller distance counts.
        bars = (
            torch.maximum(u.abs() - 0.95, v.abs() - 0.34),
            torch.maximum(u.abs() - 0.34, v.abs() - 0.95),
        )
        return torch.minimum(*bars)
    assert kind == "cone"
    return torch.maximum(0.87 * u.abs() - 0.5 * v - 0.42, v - 0.75)


def hat_distance(kind: str, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Distance to the outline of a hat that sits at v = 0; v falls upwards.

    No two hats share half their area.
    """
    if kind == "top hat":
        crown, brim = _bar(u, v, 0.72, -1.35, 0.1), _bar(u, v, 0.95, -0.12, 0.1)
        return torch.minimum(brim, crown)
    if kind == "pointed hat":
        return torch.maximum(0.94 * u.abs() - 0.35 * (v + 1.5), v - 0.1)
    assert kind == "wide hat"
    return torch.minimum(
        _bar(u, v, 1.35, -0.3, 0.1), torch.maximum(torch.hypot(u, v + 0.2) - 0.55, v)
    )


def _bar(
    u: torch.Tensor, v: torch.Tensor, half_width: float, top: float, bottom: float
) -> torch.Tensor:
    return torch.maximum(u.abs() - half_width, (v - (top + bottom) / 2).abs() - (bottom - top) / 2)


def random_colour(generator: torch.Generator) -> tuple[float, float, float]:
    """A clear colour: any hue, high saturation and value.

    Sometimes it is nearly white or black.
    """
    hue, saturation, value, plain = torch.rand(4, generator=generator).tolist()
    saturation, value = 0.65 + 0.35 * saturation, 0.55 + 0.4 * value
    # One in eight is nearly white or black.
    if plain < 0.12:
        saturation, value = 0.05, 0.12 if plain < 0.06 else 0.95
    channels = [value * (1 - saturation * _hue_part(hue, n)) for n in (5, 3, 1)]
    return channels[0], channels[1], channels[2]


def _hue_part(hue: float, n: int) -> float:
    # The usual formula from hue, saturation and value to red, green and blue.
    k = (n + 6 * hue) % 6
    return max(0.0, min(k, 4 - k, 1.0))

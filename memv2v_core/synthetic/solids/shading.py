"""The colours of what rays meet: patterns, light, shadows on the floor, haze and sky.

F frames, N rays a frame, P solids.
"""

import torch

from .casting import Hits
from .scene import FLOOR, PATTERNS, SolidScene

# Light that reaches every side of a thing, and how much falls straight.
AMBIENT, DIRECT = 0.55, 0.5
SHADOW = 0.45
# Haze hides nearly everything at this distance in pose units, and two thirds at half of it.
HAZE = 40.0


def shade(
    scene: SolidScene,
    moments: torch.Tensor,
    directions: torch.Tensor,
    hits: Hits,
    pixel_rad: float,
) -> torch.Tensor:
    """Colours (F, N, 3) in [0, 1].

    directions: (F, N, 3). pixel_rad: the angle that a pixel spans: patterns finer than a pixel fade
    into their mean.
    """
    is_sky = hits.surface == scene.sky_id
    distance = torch.where(is_sky, 0.0, hits.distance)
    # Step 1: the surface's own colour.
    mix = _pattern(scene, hits, distance * pixel_rad).unsqueeze(-1)
    flat = hits.surface.flatten()
    own, other = (
        part.index_select(0, flat).view_as(hits.place) for part in (scene.colour, scene.other)
    )
    colour = torch.lerp(own, other, mix)
    # Step 2: light from one side, softened: the dark side still shows its colour.
    facing = 0.5 + 0.5 * (hits.normal @ scene.light)
    brightness = AMBIENT + DIRECT * facing
    is_floor = hits.surface == scene.num_solids + FLOOR
    brightness = brightness * _shadows(scene, moments, hits, is_floor)
    colour = colour * brightness.unsqueeze(-1)
    # Step 3: haze outdoors, then the sky.
    sky = sky_colour(scene, directions)
    if not bool(torch.isfinite(scene.walls).all()):
        haze = 1 - torch.exp(-(2 * distance / HAZE).square())
        colour = torch.lerp(colour, scene.sky[0].expand_as(colour), haze.unsqueeze(-1))
    return torch.where(is_sky.unsqueeze(-1), sky, colour).clamp(0, 1)


def _pattern(scene: SolidScene, hits: Hits, footprint: torch.Tensor) -> torch.Tensor:
    """How much of the second colour each place shows, (F, N) in [0, 1]."""
    surface = hits.surface
    frequency = scene.frequency[surface]
    phase = hits.place * frequency.unsqueeze(-1)
    # Edges of a pattern are as soft as a pixel; finer patterns fade away.
    sharpness = (1.5 / (footprint * frequency + 1e-3)).clamp(0.1, 8.0)
    waves = phase.sin()
    # Floors and ceilings have no height: their patterns lie along X and Z.
    flat = hits.normal[..., 1].abs() > 0.7
    across = torch.where(flat, waves[..., 2], waves[..., 1])
    side = torch.where(hits.normal[..., 0].abs() > 0.7, waves[..., 2], waves[..., 0])
    checks = side * across
    stripes = torch.where(flat, waves[..., 0], waves[..., 1])
    spots = (side.square() * across.square() - 0.45) * 2
    pattern = scene.pattern[surface]
    value = torch.where(pattern == PATTERNS.index("checks"), checks, stripes)
    value = torch.where(pattern == PATTERNS.index("spots"), spots, value)
    mix = 0.5 + 0.5 * (value * sharpness).tanh()
    return torch.where(pattern == 0, 0.0, mix)


def _shadows(
    scene: SolidScene, moments: torch.Tensor, hits: Hits, is_floor: torch.Tensor
) -> torch.Tensor:
    """How much light reaches the floor under things, (F, N) in [0, 1]; 1 elsewhere."""
    casts = (scene.shadow > 0).nonzero().flatten()
    if len(casts) == 0:
        return torch.ones_like(hits.distance)
    feet = scene.centres(moments)[:, casts][..., (0, 2)]  # (F, casts, 2)
    at = hits.place[..., (0, 2)]
    apart = at.square().sum(-1, keepdim=True) + feet.square().sum(-1)[:, None] - 2 * at @ feet.mT
    # Darkest under the thing, none from 1.4 of its radius on.
    dark = (1 - 0.5 * apart / scene.shadow[casts].square()).clamp(0, 1).square()
    return torch.where(is_floor, (1 - SHADOW * dark).prod(-1), 1.0)


def sky_colour(scene: SolidScene, directions: torch.Tensor) -> torch.Tensor:
    """The colours (F, N, 3) of directions that meet nothing: sky, clouds, and hills."""
    horizon, zenith, hills, form, clouds = scene.sky.unbind(0)
    azimuth = torch.atan2(directions[..., 0], directions[..., 2])
    height = (-directions[..., 1]).clamp(-1, 1)
    colour = torch.lerp(horizon, zenith, (height * 1.6).clamp(0, 1).sqrt().unsqueeze(-1))
    # Clouds: two waves over the sky that rarely meet.
    cloud = (azimuth * 3 + form[0] * 7).sin() * (height * 9 + azimuth * 2 + form[1] * 7).sin()
    cloud = ((cloud - 0.35) * 4).clamp(0, 1) * (height * 4 - 0.6).clamp(0, 1) * 0.7
    colour = torch.lerp(colour, clouds, cloud.unsqueeze(-1))
    ridge = 0.07 + 0.05 * ((azimuth * 5 + form[2] * 7).sin() + (azimuth * 2 + form[0] * 9).sin())
    is_hill = ((ridge - height) * 120).clamp(0, 1)
    return torch.lerp(colour, hills, is_hill.unsqueeze(-1))

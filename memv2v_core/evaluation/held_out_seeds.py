"""Generators that training never draws from.

Training seeds its generator with `seed * 1_000_003 + step + 1`. Held-out generators start at
HELD_OUT_SEED, which no run with a seed below 3,700 reaches; larger numbers would not help, since
torch's CPU generator reads the lowest 32 bits alone. Number i draws the same whatever the number of
scenes.
"""

import torch

HELD_OUT_SEED = 0xE000_0000
MAX_SCENES = 2**20


def held_out_generator(index: int, purpose: int) -> torch.Generator:
    """The generator of scene or clip `index` for one of its purposes, which the suites number."""
    assert 0 <= index < MAX_SCENES
    return torch.Generator().manual_seed(HELD_OUT_SEED + purpose * MAX_SCENES + index)

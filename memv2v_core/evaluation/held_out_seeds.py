"""Generators that training never draws from.

Training seeds its generator with `seed * 1_000_003 + step + 1`. Held-out generators start at
HELD_OUT_SEED, which no run with a seed below 3,700 reaches. Larger numbers would not help: torch's
CPU generator reads only the lowest 32 bits. Generator i draws the same for every number of scenes.
"""

import torch

HELD_OUT_SEED = 0xE000_0000
# Purposes are this far apart, so no two share a seed.
MAX_SCENES = 2**20


def held_out_generator(index: int, purpose: int) -> torch.Generator:
    """The generator of scene or clip `index` for one of its purposes.

    The suites number their purposes.
    """
    assert 0 <= index < MAX_SCENES
    return torch.Generator().manual_seed(HELD_OUT_SEED + purpose * MAX_SCENES + index)

"""Generators by what they are for, so that a row is the same on every machine and after a resume.

Nothing else is random in a run: no draw depends on an earlier one.
"""

import hashlib

import torch

# torch's CPU generator reads only the lowest 32 bits of a seed. Demonstrations begin here, and
# held-out scenes lie above: training never draws from either.
_RESERVED_FROM = 0xD000_0000


def seeded(seed: int, *purpose: str | int) -> torch.Generator:
    """The generator of one purpose, such as `("row", step, row number)`, in the run of `seed`."""
    digest = hashlib.blake2b(repr((seed, *purpose)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") % _RESERVED_FROM)

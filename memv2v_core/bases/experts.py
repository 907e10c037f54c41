"""Two experts: a base of two DiTs, the first for high noise, the second for low noise.

Both see the same inputs, so they are one base for memory: a cache holds the results of the pair.
Source: Wan2.2's text2video.py, where timesteps from the boundary on go to the high-noise model.
"""

import re
from collections.abc import Sequence
from dataclasses import fields

from .base_info import BaseInfo

# The words by which files of a pair differ, with the separators before them.
_EXPERT = re.compile(r"[-_. ]*(?<![a-z])(?:high|low)[-_. ]?noise(?![a-z])", re.IGNORECASE)
_SEPARATORS = "-_. "


def pair_name(name: str) -> str:
    """A file's name without the words that say which expert it is, the same for both of a pair.

    name: of the file, without its ending. "hats_high_noise" and "hats_low_noise" become "hats"; a
    name of such words alone becomes "experts".
    """
    shared, count = _EXPERT.subn("", name)
    return (shared.strip(_SEPARATORS) or "experts") if count else name


def require_pair(high: BaseInfo, low: BaseInfo) -> float:
    """The noise level sigma below which the second of two experts takes over.

    Only their names may differ.

    Raises: ValueError for a base of one DiT, and for two models that read their inputs in other
    ways, naming every difference.
    """
    if high.expert_boundary is None:
        raise ValueError(
            f"low_noise_model is connected, but {high.model_name} is one DiT for all noise, wanted "
            "a base of two experts (Wan2.2-A14B, Bernini-R 14B); disconnect low_noise_model"
        )
    names = [field.name for field in fields(BaseInfo) if field.name != "model_name"]
    differing = [
        f"{name} {getattr(low, name)!r}, wanted {getattr(high, name)!r}"
        for name in names
        if getattr(low, name) != getattr(high, name)
    ]
    if differing:
        raise ValueError(
            f"low_noise_model ({low.model_name}) got {'; '.join(differing)} as model "
            f"({high.model_name}); connect the two experts of one base, both with their adapters "
            "or both without"
        )
    return high.expert_boundary


def num_high_noise_steps(sigmas: Sequence[float], boundary: float) -> int:
    """How many of the steps between these noise levels belong to the first expert.

    sigmas: falling, one more than steps.
    """
    return sum(sigma >= boundary for sigma in sigmas[:-1])

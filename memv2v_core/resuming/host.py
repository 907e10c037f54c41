"""What every run that resumes needs from the program around it.

C channels, T latent frames, H rows, W columns.
"""

from typing import Protocol

import torch

from ..cache.memory_cache import MemoryCache
from ..cache.storage import SavedSession
from ..sampling.entries import Thumbnail
from ..sampling.turn import Turn


class RunHost(Protocol):
    """The program around a run: ComfyUI behind the nodes, a test, an evaluation."""

    def interrupted(self) -> None:
        """Raise the program's own exception if the user asked it to stop."""
        ...

    def thumbnail(self, latent: torch.Tensor) -> Thumbnail | None:
        """Small pictures of a latent (C, T, H, W); None where there are none."""
        ...

    def require_room(self, cache: MemoryCache, turn: Turn) -> None:
        """Raise ValueError where `cache` could not take or save the finished turn.

        The run asks before anything is sampled.
        """
        ...

    def save(self, cache: MemoryCache) -> SavedSession:
        """Write the cache to disk, where it has a session.

        A save that fails raises nothing: its notices say so, and the cache keeps its entries in
        memory until a later save.
        """
        ...

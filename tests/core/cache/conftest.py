from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import save_session
from memv2v_core.cameras.trajectory import CameraTrajectory, default_intrinsics


def _make_entry(
    number: int = 1, channels: int = 4, size: tuple[int, int] = (6, 8), **fields: object
) -> MemoryEntry:
    generator = torch.Generator().manual_seed(int(fields.get("seed", number)))
    num_frames = 5
    c2w = torch.eye(4, dtype=torch.float64).repeat(num_frames, 1, 1)
    c2w[:, 0, 3] = torch.rand(num_frames, generator=generator, dtype=torch.float64)
    defaults = {
        "latent": torch.randn(channels, 2, *size, generator=generator),
        "camera": CameraTrajectory(c2w, default_intrinsics(num_frames)),
        "model_name": "small",
        "num_frames": num_frames,
        "turn": number,
        "created_s": 1000.0 + number,
        "prompt": f"turn {number}",
        "seed": number,
    }
    return MemoryEntry.of(**{**defaults, **fields})


@pytest.fixture
def make_entry() -> Callable[..., MemoryEntry]:
    """A function that makes a small entry, the same for the same seed (its number where none is
    given).
    """
    return _make_entry


@pytest.fixture
def saved(make_entry: Callable[..., MemoryEntry], tmp_path: Path) -> tuple[Path, MemoryCache]:
    """A session of three turns on disk."""
    cache = MemoryCache()
    for turn in (1, 2, 3):
        cache = cache.append(make_entry(turn))
    assert save_session(cache, tmp_path / "room").notices == ()
    return tmp_path / "room", cache

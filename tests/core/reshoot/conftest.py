"""A host of a re-shoot that answers at once, and a finished run of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
import torch

from memv2v_core.bases.base_info import BaseInfo
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import SavedSession
from memv2v_core.cameras.trajectory import lens_intrinsics
from memv2v_core.cameras.written import parse_paths
from memv2v_core.reshoot.host import ReshotTurn
from memv2v_core.reshoot.loop import FinishedReshoot, reshoot_clip
from memv2v_core.reshoot.settings import CameraMove, Reshoot
from memv2v_core.sampling.entries import Thumbnail, require_fit
from memv2v_core.sampling.turn import Turn
from memv2v_core.shapes import VaeRatios

NUM_FRAMES, CHANNELS, SIDE = 3, 4, 2
LENS = lens_intrinsics(60, 1.0)
THREE = "pan_left 30; pan_left 20; sweep 30"
BASE = BaseInfo(
    "quick", "trained", VaeRatios(1, 8, CHANNELS), None, "zero", has_cameras=True, num_frames=3
)


class Stopped(Exception):
    """What a user's stop raises."""


@dataclass(eq=False)
class QuickHost:
    """A turn is the noise of its seed plus what it saw.

    stop_at: the turn whose sampling the user stops. events: what happened, in order.
    """

    stop_at: int | None = None
    sampled: list[int] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    saved: MemoryCache = field(default_factory=MemoryCache)
    num_encoded: int = 0
    now: int = 0

    def interrupted(self) -> None:
        pass

    def source(self) -> torch.Tensor:
        self.num_encoded += 1
        return torch.zeros(CHANNELS, NUM_FRAMES, SIDE, SIDE)

    def started(self, number: int, sees: Sequence[int]) -> None:
        self.now = number
        self.events.append(f"{number} sees {list(sees)}")

    def compares(self, number: int) -> None:
        self.now = number
        self.events.append(f"{number} without memory")

    def sample(self, turn: Turn, seed: int, shows_progress: bool) -> torch.Tensor:
        assert shows_progress
        if self.now == self.stop_at:
            raise Stopped
        self.sampled.append(seed)
        noise = torch.randn(turn.latent_shape, generator=torch.Generator().manual_seed(seed))
        return noise + sum(entry.latent.mean() for entry in turn.memories)

    def finished(self, reshot: ReshotTurn) -> None:
        self.events.append(f"{reshot.number} {reshot.outcome}")

    def thumbnail(self, latent: torch.Tensor) -> Thumbnail | None:
        return None

    def require_room(self, cache: MemoryCache, turn: Turn) -> None:
        require_fit(cache, turn)

    def save(self, cache: MemoryCache) -> SavedSession:
        self.saved = cache
        self.events.append(f"saved {len(cache)}")
        return SavedSession(cache)


def moves_of(text: str) -> tuple[CameraMove, ...]:
    return tuple(CameraMove(path.name, path.path(NUM_FRAMES, LENS)) for path in parse_paths(text))


def reshoot_of(text: str = THREE, **changes: object) -> Reshoot:
    return replace(Reshoot(BASE, moves_of(text), seed=5, settings_hash="settings"), **changes)


def outcomes(finished: FinishedReshoot) -> list[str]:
    return [turn.outcome for turn in finished.turns]


def ids(finished: FinishedReshoot) -> list[str]:
    return [turn.entry.entry_id for turn in finished.turns]


@pytest.fixture
def host() -> QuickHost:
    return QuickHost()


@pytest.fixture
def first(host: QuickHost) -> FinishedReshoot:
    return reshoot_clip(reshoot_of(), MemoryCache(), host)

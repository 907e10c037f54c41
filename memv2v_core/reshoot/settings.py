"""What a user asks of a re-shoot: the camera paths, and what each turn sees of earlier turns."""

from dataclasses import dataclass, field

from ..bases.base_info import BaseInfo
from ..cache.memory_cache import MemoryCache
from ..cameras.trajectory import CameraTrajectory
from ..resuming.settings import RedoSettings, TokenSettings
from ..retrieval.selection import retrieve_by_fov
from ..retrieval.video_fov import VideoFovConfig
from ..tokens.budget import TokenPlan, plan_tokens


@dataclass(frozen=True)
class TurnMemory(TokenSettings):
    """Which memories a turn sees, and how.

    k: how many. radius: of VideoFOV's sphere in pose units, about the distance of what is filmed;
    it matters where cameras move.
    """

    k: int = 3
    radius: float = 1.0

    def parts(self, base: BaseInfo) -> tuple[object, ...]:
        """Everything that decides what the model sees of earlier turns, as plain values."""
        return self.k, self.radius, *self.token_parts(base)

    def plan(self, cache: MemoryCache, path: CameraTrajectory) -> TokenPlan:
        """The memories for a turn along `path`, with kernels and merging.

        The nodes VideoFOV Retrieve and Dynamic Tokenize make the same plan.

        Raises: ValueError for numbers out of range, and for a path that sees nothing.
        """
        config = VideoFovConfig(radius=self.radius)
        return plan_tokens(
            retrieve_by_fov(cache, path, self.k, config),
            memory_frames=self.memory_frames,
            unresponsive=self.unresponsive,
            memory_range=self.memory_range,
            reuse=self.reuse,
        )


@dataclass(frozen=True, eq=False)
class CameraMove:
    """A camera path of the list: its name, and one camera per (padded) pixel frame of the clip."""

    name: str
    path: CameraTrajectory


@dataclass(frozen=True, eq=False)
class Reshoot:
    """Everything that a user asks of a re-shoot.

    moves: the turn along the first one is turn 1.
    source_path: the clip's own camera; None counts as static.
    seed: of the whole list; each turn derives its own seed from it.
    settings_hash: of everything else that decides all turns in the same way: clip, model, prompts
    and settings.
    prompt: the prompt in words, where it is known; stored with entries.
    also_without_memory: whether each turn that sees memories is made without them too, from the
    same noise, to compare. No turn sees that one.
    """

    base: BaseInfo
    moves: tuple[CameraMove, ...]
    seed: int
    source_path: CameraTrajectory | None = None
    memory: TurnMemory = field(default_factory=TurnMemory)
    redo: RedoSettings = field(default_factory=RedoSettings)
    settings_hash: str = ""
    prompt: str = ""
    also_without_memory: bool = False

"""The examples of a run, and what a step draws of them."""

from dataclasses import dataclass, field
from pathlib import Path

from ...cameras.extent import Reach
from ...synthetic.edits import TRAINED_KINDS, EditKind
from ...synthetic.panoramas import SceneConfig
from ...synthetic.solids.making import SolidsConfig
from ...synthetic.solids.paths import SolidPathsConfig
from ...synthetic.worlds import WorldConfig
from ...tokens.merging import MAX_SHARE, MIN_SHARE


@dataclass(frozen=True)
class MemoryDraws:
    """What a step draws of memory; the same for all rows and processes.

    counts: shares of steps with 0, 1, 2 ... memories.
    kernels: shares of 1x2x2, 1x4x4 and 1x8x8.
    single_kernel_share: share of steps whose memories all have one kernel; the others mix them.
    merge_probability: share of steps that merge. merge_shares: range of the share of frames merged.
    drop_source: share of steps with memories that have no source (p of App. D.1).
    noise: sigma of the noise on memories (Eq. 15). has_fixed_noise: whether every memory gets this
    sigma, or one drawn between 0 and it.
    noise_beside_source: whether memories get noise only where a source is present.

    Source: Sec. 4.1 and App. D.1, arXiv:2601.16296v2. Our choice: sigma and p, which the paper does
    not give.
    """

    counts: tuple[float, ...] = (0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    kernels: tuple[float, float, float] = (1.0, 1.0, 1.0)
    single_kernel_share: float = 0.5
    merge_probability: float = 0.5
    merge_shares: tuple[float, float] = (MIN_SHARE, MAX_SHARE)
    drop_source: float = 0.1
    noise: float = 0.1
    has_fixed_noise: bool = True
    noise_beside_source: bool = True

    def __post_init__(self) -> None:
        for name, shares in (("counts", self.counts), ("kernels", self.kernels)):
            if not shares or min(shares) < 0 or sum(shares) <= 0:
                raise ValueError(
                    f"{name} got {list(shares)}, wanted shares of 0 and more, not all 0"
                )
        for name in ("single_kernel_share", "merge_probability", "drop_source"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} got {getattr(self, name)}, wanted a share from 0 to 1")


@dataclass(frozen=True)
class ScenesConfig:
    """Procedural scenes for new camera paths.

    size: pixels per side. num_frames: frames of a whole video.
    target_frames, source_frames, memory_frames: how many frames of each video a step draws, each
    with its true temporal index. Frames of one video look alike, so more scenes with fewer frames
    teach more.
    num_scenes, first_scenes: size of the pool of scenes, when full and at the start.
    irrelevant_share: share of memories that show another scene.
    solid_share: share of rows with scenes of solids, which have depth and things that move; the
    others show panoramas around one camera centre. solids, solid_paths: of these rows.
    """

    size: int = 128
    num_frames: int = 9
    target_frames: int = 4
    source_frames: int = 3
    memory_frames: int = 3
    num_scenes: int = 2000
    first_scenes: int = 160
    irrelevant_share: float = 0.15
    memory: MemoryDraws = MemoryDraws(
        counts=(0.25, 0.5, 0.25),
        kernels=(0.1, 0.6, 0.3),
        drop_source=0.05,
        noise=0.3,
        has_fixed_noise=False,
        noise_beside_source=False,
    )
    scenes: SceneConfig = field(default_factory=SceneConfig)
    solid_share: float = 0.0
    solids: SolidsConfig = SolidsConfig()
    solid_paths: SolidPathsConfig = SolidPathsConfig()

    def __post_init__(self) -> None:
        if not 0 <= self.solid_share <= 1:
            raise ValueError(f"solid_share got {self.solid_share}, wanted a share from 0 to 1")

    @property
    def reach(self) -> Reach:
        """How far cameras move and turn. Those of panoramas only turn."""
        scenes, solids = self.scenes, self.solid_paths.reach
        turns = (scenes.max_pan_deg, scenes.max_tilt_deg, scenes.max_roll_deg)
        if not self.solid_share:
            return Reach(0.0, 0.0, 0.0, *turns)
        if self.solid_share == 1:
            return solids
        # Both kinds of scene were seen.
        both = (solids.pan_deg, solids.tilt_deg, solids.roll_deg)
        farthest = (max(one, other or 0.0) for one, other in zip(turns, both, strict=True))
        return Reach(solids.sideways, solids.vertical, solids.forward, *farthest)


@dataclass(frozen=True)
class WorldsConfig:
    """Rendered clips for text-guided editing: segments before and after an edit.

    kinds: of edits.
    previous_share: share of steps with memory whose first memory is the segment before the target.
    irrelevant_share: share of memories from another shot, with the same instruction and another
    answer.
    fault_share: share of memories of hats with a faint hat that is mixed with another, as a model
    may have drawn it.
    own_share: share of steps with memory in which the model draws the memories itself.
    named_share: share of new colours and hats that the instruction names.
    empty_share: share of rows with the empty prompt, which asks for no change.
    away_share: share of clips whose edited object leaves and returns.
    edit_weight: weight of the error where the edit changes a latent or one next to it; elsewhere 1.
    """

    size: int = 96
    num_frames: int = 9
    target_frames: int = 4
    memory_frames: int = 3
    num_canvases: int = 600
    first_canvases: int = 100
    num_segments: int = 12
    kinds: tuple[EditKind, ...] = TRAINED_KINDS
    previous_share: float = 0.8
    irrelevant_share: float = 0.15
    fault_share: float = 0.0
    own_share: float = 0.0
    named_share: float = 0.25
    empty_share: float = 0.03
    away_share: float = 0.3
    edit_weight: float = 4.0
    memory: MemoryDraws = MemoryDraws(
        counts=(0.25, 0.3, 0.25, 0.1, 0.1),
        kernels=(0.0, 0.6, 0.4),
        drop_source=0.0,
        noise=0.3,
        has_fixed_noise=False,
        noise_beside_source=False,
    )
    worlds: WorldConfig = field(default_factory=WorldConfig)


@dataclass(frozen=True)
class PreparedConfig:
    """A folder that `prepare` has written.

    folder: its path. num_frames: latent frames of a target; None takes whole videos.
    previous_share: for edits, share of steps with memory whose first memory is the segment next to
    the target, at 1x2x2 and temporal indices T..2T-1 (App. D.2).
    empty_share: share of rows with the empty prompt, so that guidance can be used.
    """

    folder: Path
    num_frames: int | None = None
    previous_share: float = 0.5
    empty_share: float = 0.1
    memory: MemoryDraws = MemoryDraws()

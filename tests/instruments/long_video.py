"""EditLongVideo on tiny clips: what it is given, and what a run of it gave."""

from dataclasses import dataclass, field
from typing import Any

import torch

from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.session_names import session_folder
from memv2v_core.cache.storage import load_session

LENGTH, SIDE, STEPS = 5, 32, 2
NUM_FRAMES = 3 * LENGTH + 2  # four segments, the last one moved back
ALL = [0, 1, 2, 3]


def scene(seed: int, num_frames: int) -> torch.Tensor:
    """Frames (F, SIDE, SIDE, 3) of smooth noise that drifts."""
    noise = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(seed))
    wide = torch.nn.functional.interpolate(noise[None], (SIDE, SIDE + num_frames), mode="bilinear")[
        0
    ]
    return torch.stack([wide[:, :, i : i + SIDE] for i in range(num_frames)]).movedim(1, -1)


def defaults(node: type) -> dict[str, Any]:
    """Every widget of a node at its default, as the frontend sends them."""
    found = {}
    for given in node.define_schema().inputs:
        default = getattr(given, "default", None)
        options = getattr(given, "options", None)
        if default is not None or options:
            found[given.id] = options[0] if default is None else default
    return found


@dataclass(frozen=True, eq=False)
class Result:
    """What one run of the node gave, and the segments (from 0) that it sampled.

    latents: of all segments in order, read at once: a later run may replace them on the disk.
    """

    video: Any
    cache: MemoryCache
    report: str
    sampled: list[int]

    latents: tuple[torch.Tensor, ...] = field(init=False)

    def __post_init__(self) -> None:
        entries = sorted(self.cache.entries, key=lambda entry: entry.segment.idx)
        object.__setattr__(self, "latents", tuple(entry.latent for entry in entries))

    @property
    def frames(self) -> torch.Tensor:
        return self.video.get_components().images

    @property
    def ids(self) -> list[str]:
        entries = sorted(self.cache.entries, key=lambda entry: entry.segment.idx)
        return [entry.entry_id for entry in entries]

    def seen(self) -> list[list[int]]:
        """Segments that each segment saw, as numbers from 0, best first; nothing for what was
        replaced since.
        """
        entries = sorted(self.cache.entries, key=lambda entry: entry.segment.idx)
        return [
            [self.ids.index(held) for held in entry.memory_ids if held in self.ids]
            for entry in entries
        ]

    def outcomes(self) -> list[str]:
        lines = [line for line in self.report.splitlines() if line.startswith("segment ")]
        return [line.split(": ")[2].split()[0].strip(",:") for line in lines]


def on_disk(name: str = "long") -> MemoryCache:
    from memory_v2v.nodes.host.sessions.folders import sessions_root

    loaded = load_session(session_folder(sessions_root(), name))
    assert loaded.skipped == ()
    assert loaded.notices == ()
    return loaded.cache

"""Two methods that made two turns of four clips: videos of one grey value each, known exactly."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from memv2v_core.clips.clip_files import write_clip
from memv2v_core.evaluation.metrics.metric import Batch, Column
from memv2v_core.evaluation.suites.loading import load_suite
from memv2v_core.evaluation.suites.suite import Suite

CLIPS, TURNS = ("a", "b", "c", "d"), (1, 2)
SHAPE = (5, 3, 16, 24)


class Brightness:
    """The mean of a video, and its frames: numbers that a test knows."""

    identity = "brightness"
    columns = (Column("brightness"), Column("frames", "count", is_better_high=False))
    subject = "video"
    needs = frozenset()

    def __call__(self, batch: Batch) -> torch.Tensor:
        means = batch.videos.double().flatten(1).mean(1)
        return torch.stack([means, torch.full_like(means, batch.videos.shape[1])], 1)


class Difference:
    """How much brighter the second turn is."""

    identity = "difference"
    columns = (Column("difference"),)
    subject = "pair"
    needs = frozenset()

    def __call__(self, batch: Batch) -> torch.Tensor:
        return (batch.others - batch.videos).double().flatten(1).mean(1, keepdim=True)


@dataclass
class Place:
    """A folder with a suite's file and the videos of its methods."""

    folder: Path

    def video(self, name: str, grey: float, shape: tuple[int, ...] = SHAPE, rate: int = 8) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_clip(path, torch.full(shape, grey), rate, crf=0)
        return path

    def suite(self, text: str) -> Suite:
        path = self.folder / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return load_suite(path)


SUITE = """
methods: [{name: plain, folder: plain}, {name: ours, folder: ours}]
metrics: [psnr]
turns: [1, 2]
"""


def grey(method: str, clip: str, turn: int) -> float:
    """Of 255: whole steps, so that a file keeps them."""
    base = {"plain": 51, "ours": 102}[method]
    return (base + 10 * CLIPS.index(clip) + 5 * turn) / 255


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    for method in ("plain", "ours"):
        for clip in CLIPS:
            for turn in TURNS:
                made.video(f"{method}/{clip}_turn{turn}.mp4", grey(method, clip, turn))
    return made


@pytest.fixture
def makers() -> dict[str, Callable]:
    return {"brightness": Brightness, "difference": Difference}

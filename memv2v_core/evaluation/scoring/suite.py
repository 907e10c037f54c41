"""A suite: which videos of which methods are scored, and by which metrics."""

import re
import string
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ...cameras.trajectory import CameraTrajectory, lens_intrinsics
from ...cameras.written import parse_paths
from ...strict_yaml import load_yaml
from ...vocabulary import UnresponsiveChoice

MetricName = Literal["psnr", "lpips", "dino_f", "clip_f", "geometry", "pose", "pose_global"]
_SHIPPED = Path(__file__).parents[1] / "suites"
_FIELDS = {"clip", "turn", "seed"}
# A name that every disk takes: it begins and ends with a letter, a digit or a bracket.
_PLAIN = re.compile(r"[\w(]([\w.() +-]*[\w)+])?")


# What a turn sees beside the source. "previous": nothing, but its source is the turn before.
Arm = Literal["none", "previous", "memory"]


@dataclass(frozen=True)
class MadeConfig:
    """How a built-in model makes the turns of a method, of the suite's scenes.

    arm: "none" is the model turn by turn (k = 0, equal to the base); "previous" edits the turn
    before, as an autoregressive use of the base does; "memory" retrieves earlier turns.
    k: most memories a turn. unresponsive, share: as in Dynamic Tokenize. num_top, top_kernel,
    rest_kernel: kernels by rank. steps: the model's if not given. builtin: the model.
    """

    arm: Arm = "memory"
    k: int = 3
    unresponsive: UnresponsiveChoice = "keep"
    share: float = 0.0
    num_top: int = 3
    top_kernel: int = 4
    rest_kernel: int = 8
    steps: int | None = None
    builtin: str = "novel_view"


@dataclass(frozen=True)
class MethodConfig:
    """Videos of one method: made by anything, in a folder, or made by a built-in model.

    name: in tables. folder: of its videos; a relative one is meant from the suite's file.
    file: how a video is named in it, with {clip}, {turn} and {seed}. made: instead of a folder.
    """

    name: str
    folder: Path = Path()
    file: str = ""
    made: MadeConfig | None = None


@dataclass(frozen=True)
class FitConfig:
    """The shape to which every video is brought; without it videos are scored as they are.

    num_frames: the first ones are kept. height, width: pixels, resized with antialiasing.
    """

    num_frames: int
    height: int
    width: int

    def __post_init__(self) -> None:
        for name in ("num_frames", "height", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} got {getattr(self, name)}, wanted at least 1; raise it")


@dataclass(frozen=True)
class CameraConfig:
    """The paths that were asked for, in the words of Re-shoot Video: one a turn.

    source: of the source clips. fov_deg: horizontal field of view of all.
    """

    turns: tuple[str, ...]
    source: str = "static"
    fov_deg: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.fov_deg < 180:
            raise ValueError(
                f"fov_deg got {self.fov_deg:g}, wanted more than 0 and less than 180 degrees"
            )


@dataclass(frozen=True)
class Suite:
    """What is scored.

    clips: names; those of the first method's folder if empty. turns: from 1. seeds: each video was
    made with each of them. file: how videos are named, with {clip}, {turn} and, for several seeds,
    {seed}. truths: a folder of videos as they should be, named in the same way.
    num_scenes: held-out scenes that stand in place of clips for methods that are made here.
    shows_turns: whether tables have a column for each turn or pair, beside the mean.
    """

    methods: tuple[MethodConfig, ...]
    metrics: tuple[MetricName, ...]
    name: str = ""
    clips: tuple[str, ...] = ()
    num_scenes: int = 0
    turns: tuple[int, ...] = (1, 2, 3)
    seeds: tuple[int, ...] = (0,)
    file: str = "{clip}_turn{turn}.mp4"
    truths: Path | None = None
    fit: FitConfig | None = None
    cameras: CameraConfig | None = None
    shows_turns: bool = False
    root: Path = field(default=Path())

    def __post_init__(self) -> None:
        if not self.methods or not self.metrics or not self.turns or not self.seeds:
            raise ValueError("got no methods, metrics, turns or seeds; name at least one of each")
        listed: dict[str, list[str]] = {
            "methods": [method.name for method in self.methods],
            "metrics": list(self.metrics),
            "clips": list(self.clips),
            "turns": [str(turn) for turn in self.turns],
            "seeds": [str(seed) for seed in self.seeds],
        }
        for title, given in listed.items():
            # Some disks take "ours" and "Ours" for one name.
            plain = [each.casefold() for each in given]
            if twice := sorted({each for each in given if plain.count(each.casefold()) > 1}):
                raise ValueError(f"{title} got {twice[0]} twice, wanted each once; leave one out")
        for method in self.methods:
            if not _PLAIN.fullmatch(method.name):
                raise ValueError(
                    f"methods got the name {method.name!r}, wanted letters, digits, spaces and "
                    "._()+- with none of ' .-' at its ends; it names a file"
                )
            self._check_pattern(method.file or self.file)
        if self.cameras and len(self.cameras.turns) != len(self.turns):
            raise ValueError(
                f"cameras got {len(self.cameras.turns)} paths for {len(self.turns)} turns, wanted "
                "one a turn"
            )

        self._check_scenes()

    def _check_scenes(self) -> None:
        is_made = [method.made is not None for method in self.methods]
        if any(is_made) != bool(self.num_scenes) or any(is_made) != all(is_made):
            raise ValueError(
                f"got num_scenes {self.num_scenes} and {sum(is_made)} of {len(is_made)} methods "
                "with 'made', wanted scenes and all methods made, or clips and no method made; "
                "score foreign folders in a suite of their own"
            )
        if self.num_scenes and (self.cameras is None or self.clips or self.truths):
            raise ValueError(
                "num_scenes wants cameras, and neither clips nor truths: scenes are filmed along "
                "the cameras, and their true views are known; correct the suite"
            )

    def _check_pattern(self, pattern: str) -> None:
        try:
            parts = list(string.Formatter().parse(pattern))
            named = {name for _, name, _, _ in parts if name is not None}
            if any(style and "{" in style for _, _, style, _ in parts):
                raise ValueError("a field holds another field")
        except ValueError as error:
            raise ValueError(f"file got {pattern!r}, which is no pattern: {error}") from error
        needed = {"clip"} | ({"turn"} if len(self.turns) > 1 else set())
        needed |= {"seed"} if len(self.seeds) > 1 else set()
        if not needed <= named <= _FIELDS:
            raise ValueError(
                f"file got {pattern!r}, wanted {{{'}, {'.join(sorted(needed))}}} in it and no "
                "other field but clip, turn and seed; correct it"
            )

    def video(self, method: MethodConfig, clip: str, turn: int, seed: int) -> Path:
        """Where this video of a method should be."""
        name = (method.file or self.file).format(clip=clip, turn=turn, seed=seed)
        return self.root / method.folder / name

    def truth(self, clip: str, turn: int, seed: int) -> Path | None:
        """Where the true video should be; None without truths."""
        if self.truths is None:
            return None
        return self.root / self.truths / self.file.format(clip=clip, turn=turn, seed=seed)

    def camera(self, turn: int | None, num_frames: int, aspect: float) -> CameraTrajectory | None:
        """The path of a turn, or of the source for None; None without cameras.

        aspect: width over height of the pictures.

        Raises: ValueError for words that are no path.
        """
        if self.cameras is None:
            return None
        words = self.cameras.source if turn is None else self.cameras.turns[self.turns.index(turn)]
        parsed = parse_paths(words)
        if len(parsed) != 1:
            raise ValueError(f"cameras got {words!r}, wanted one path; write one line a turn")
        return parsed[0].path(num_frames, lens_intrinsics(self.cameras.fov_deg, aspect))


def shipped_suites() -> dict[str, Path]:
    """The suites that come with the pack, by name."""
    return {path.stem: path for path in sorted(_SHIPPED.glob("*.yaml"))}


def load_suite(path: Path) -> Suite:
    """The suite in a YAML file; relative folders are meant from it, and it is named after it.

    Raises: ValueError naming the file and the place of what is wrong.
    """
    suite = load_yaml(Suite, path)
    name = suite.name or path.stem
    if not _PLAIN.fullmatch(name):
        raise ValueError(
            f"{path.name}: name got {name!r}, wanted letters, digits, spaces and ._()+-; it names "
            "the folder of results"
        )
    return replace(suite, name=name, root=path.resolve().parent)

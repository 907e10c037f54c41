"""A suite: which videos of which methods are scored, and by which metrics."""

import hashlib
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path, PurePath
from typing import Literal

from ...cameras.formats.clip_fitting import fit_to_clip
from ...cameras.formats.detection import load_cameras
from ...cameras.formats.reading.results import ImportSettings
from ...cameras.trajectory import CameraTrajectory, lens_intrinsics
from ...cameras.written import parse_paths
from ..long_video.clips import FAMILIES, Family
from .methods import CameraConfig, FitConfig, MethodConfig

MetricName = Literal[
    "psnr",
    "lpips",
    "dino_f",
    "clip_f",
    "met3r",
    "vbench",
    "geometry",
    "segment_looks",
    "pose",
    "pose_global",
    "pose_da3",
    "seconds",
]
# In `shows_turns`: every turn or pair.
SHOWS_ALL = "all"
# A path that stands in a file: its name, and which path of several.
FILE_WORDS = re.compile(r"file\s+(?P<path>\S+)(\s+(?P<camera>\S+))?")
_FIELDS = {"clip", "turn", "seed"}
# A name that every disk takes: it begins and ends with a letter, a digit or a bracket.
PLAIN_NAME = re.compile(r"[\w(]([\w.() +-]*[\w)+])?")


@dataclass(frozen=True)
class Suite:
    """What is scored.

    clips: names; those of the first method's folder if empty. turns: from 1. seeds: each video was
    made with each of them. file: how videos are named, with {clip}, {turn} and, for several seeds,
    {seed}. truths: a folder of videos as they should be, named in the same way.
    num_scenes: held-out scenes that stand in place of clips for methods that are made here.
    families, clips_a_family: held-out long clips that stand in place of clips for methods that are
    edited here.
    sources: a folder of clips that a ComfyUI edits, where methods have a workflow.
    shows_turns: turns or pairs, as "1" or "1-2", that have a column of their own beside the mean;
    "all" for each.
    """

    methods: tuple[MethodConfig, ...]
    metrics: tuple[MetricName, ...]
    name: str = ""
    clips: tuple[str, ...] = ()
    num_scenes: int = 0
    families: tuple[Family, ...] = ()
    clips_a_family: int = 0
    sources: Path | None = None
    turns: tuple[int, ...] = (1, 2, 3)
    seeds: tuple[int, ...] = (0,)
    file: str = "{clip}_turn{turn}.mp4"
    truths: Path | None = None
    fit: FitConfig | None = None
    cameras: CameraConfig | None = None
    shows_turns: tuple[str, ...] = ()
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
        if self.num_scenes < 0 or min(self.turns) < 1:
            raise ValueError(
                f"got num_scenes {self.num_scenes} and turns {list(self.turns)}, wanted "
                "scenes from 0 and turns from 1; correct them"
            )
        for title, given in listed.items():
            # Some disks take "ours" and "Ours" for one name.
            plain = [each.casefold() for each in given]
            if twice := sorted({each for each in given if plain.count(each.casefold()) > 1}):
                raise ValueError(f"{title} got {twice[0]} twice, wanted each once; leave one out")
        for method in self.methods:
            if not PLAIN_NAME.fullmatch(method.name):
                raise ValueError(
                    f"methods got the name {method.name!r}, wanted letters, digits, spaces and "
                    "._()+- with none of ' .-' at its ends; it names a file"
                )
            self._check_pattern(method.file or self.file)
            pattern = PurePath(method.file or self.file)
            if self.is_made_here and (pattern.is_absolute() or ".." in pattern.parts):
                raise ValueError(
                    f"file got {str(pattern)!r}, wanted a place inside the method's folder: what "
                    "is made here lies there; leave out '..' and what stands before it"
                )
        if self.cameras and len(self.cameras.turns) != len(self.turns):
            raise ValueError(
                f"cameras got {len(self.cameras.turns)} paths for {len(self.turns)} turns, wanted "
                "one a turn"
            )
        for title, wanted, has in (
            ("made", "num_scenes", bool(self.num_scenes)),
            ("edited", "families", bool(self.families)),
            ("workflow", "sources", self.sources is not None),
        ):
            self._check_made_here(title, wanted, has)
        self._check_scenes()
        self._check_shown()

    @property
    def is_made_here(self) -> bool:
        """Whether a model makes the videos, of held-out scenes or clips or of sources."""
        return bool(self.num_scenes or self.families or self.sources)

    def _check_made_here(self, title: str, wanted: str, has: bool) -> None:
        is_made = [getattr(method, title) is not None for method in self.methods]
        if any(is_made) != has:
            raise ValueError(
                f"got {'' if has else 'no '}{wanted} and {sum(is_made)} of {len(is_made)} methods "
                f"with {title!r}, wanted both or neither; {'add' if has else 'name'} "
                f"{f'a method with {title!r}' if has else wanted}, or leave the other out"
            )

    def _check_scenes(self) -> None:
        if sum(map(bool, (self.num_scenes, self.families, self.sources))) > 1:
            raise ValueError(
                "got two of num_scenes, families and sources, wanted one; score the others in "
                "suites of their own"
            )
        if (self.num_scenes or self.families) and (self.clips or self.truths):
            raise ValueError(
                "scenes and families want neither clips nor truths: they stand in place of clips, "
                "and their true views are known; correct the suite"
            )
        if self.num_scenes and self.cameras is None:
            raise ValueError(
                "num_scenes wants cameras: scenes are filmed along them; add cameras to the suite"
            )
        if self.families and (self.clips_a_family < 1 or self.turns != (1,) or self.cameras):
            raise ValueError(
                f"families got clips_a_family {self.clips_a_family} and turns {list(self.turns)}, "
                "wanted at least 1 clip, turns [1] and no cameras: a long clip is edited once; "
                "correct the suite"
            )
        if twice := [each for each in self.families if self.families.count(each) > 1]:
            raise ValueError(f"families got {twice[0]} twice, wanted each of {FAMILIES} once")

    def _check_shown(self) -> None:
        known = {str(turn) for turn in self.turns} | {SHOWS_ALL}
        known |= {f"{first}-{second}" for first, second in combinations(self.turns, 2)}
        for shown in self.shows_turns:
            if shown not in known:
                raise ValueError(
                    f"shows_turns got {shown!r}, wanted {SHOWS_ALL!r}, a turn or a pair such as "
                    f"{self.turns[0]}-{self.turns[-1]}; correct it"
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

    def files(self, method: MethodConfig, clip: str, seed: int) -> Iterator[Path]:
        """Every file that is needed: the turns, then their truths."""
        for turn in self.turns:
            yield self.video(method, clip, turn, seed)
        for turn in self.turns:
            truth = self.truth(clip, turn, seed)
            if truth is not None:
                yield truth

    def camera(self, turn: int | None, num_frames: int, aspect: float) -> CameraTrajectory | None:
        """The path of a turn, or of the source for None; None without cameras.

        aspect: width over height of the pictures.

        Raises: ValueError for words that are no path.
        """
        if self.cameras is None:
            return None
        words = self.cameras.source if turn is None else self.cameras.turns[self.turns.index(turn)]
        lens = lens_intrinsics(self.cameras.fov_deg, aspect)
        if file := FILE_WORDS.fullmatch(words):
            settings = ImportSettings(file["camera"] or "", aspect, lens)
            imported = load_cameras(self.root / file["path"], settings)
            return fit_to_clip(imported, num_frames=num_frames, aspect=aspect).trajectory
        parsed = parse_paths(words)
        if len(parsed) != 1:
            raise ValueError(f"cameras got {words!r}, wanted one path; write one line a turn")
        return parsed[0].path(num_frames, lens)

    @property
    def camera_facts(self) -> str:
        """Everything that decides the paths, with the content of their files.

        Raises: ValueError for a file that is not there.
        """
        if self.cameras is None:
            return ""
        facts = [str(self.cameras)]
        for words in (self.cameras.source, *self.cameras.turns):
            if file := FILE_WORDS.fullmatch(words):
                path = self.root / file["path"]
                if not path.is_file():
                    raise ValueError(f"cameras got {path}, which is not there; correct its name")
                facts.append(hashlib.sha256(path.read_bytes()).hexdigest())
        return " ".join(facts)

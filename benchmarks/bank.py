"""A memory of thousands of turns: retrieval by camera and by source, and adding a turn.

    PYTHON benchmarks/bank.py [--quick] [--threads 2]

The literal reading of Alg. 1 is timed on a few paths of every kind and scaled to the bank, beside
this project's scores of the same paths in the same run; both must agree. Every other row is timed
in full. Times are the best of a few runs, since other programs only add to them.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.attack.targets.sessions import make_entry
from benchmarks.banks.paths import KINDS, mixed_paths, paths_of, query_path
from benchmarks.endurance.tables import report
from benchmarks.video_fov import literal_scores
from memv2v_core.cache import entry_file, manifest_file
from memv2v_core.cache.entry import MemoryEntry, Segment
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import load_session, save_session
from memv2v_core.cameras.trajectory import CameraTrajectory
from memv2v_core.retrieval.segments import retrieve_by_similarity
from memv2v_core.retrieval.selection import retrieve_by_fov
from memv2v_core.retrieval.video_fov import video_fov_scores

DINO, WIDTH, K = "dinov2-base", 768, 3
# Frames of a segment; the cameras of segments play no part in their retrieval.
SEGMENT_FRAMES = 77


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    small: int = 1000
    large: int = 10_000
    per_kind: int = 32
    literal_per_kind: int = 2
    repeats: int = 5
    turns: int = 25


QUICK = Sizes(small=24, large=48, per_kind=2, literal_per_kind=1, repeats=2, turns=3)


class Rows:
    """The table, filled row by row."""

    def __init__(self, repeats: int) -> None:
        self.repeats = repeats
        self.rows: list[list[str]] = []

    def timed(self, name: str, call: Callable[[], object], wanted: str = "") -> float:
        """Seconds of the best run, with a row that says so."""
        best = min(_seconds(call) for _ in range(self.repeats))
        self.add(name, best, wanted)
        return best

    def add(self, name: str, seconds: float, wanted: str = "") -> None:
        shown = f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.2f} ms"
        self.rows.append([name, shown, wanted])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a few paths: does it run at all")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    sizes = QUICK if options.quick else Sizes()
    rows, before = Rows(sizes.repeats), torch.get_num_threads()
    try:
        torch.set_num_threads(options.threads)
        failures = _literal(rows, sizes, options.threads)
        _by_kind(rows, sizes)
        _by_camera(rows, sizes)
        _by_source(rows, sizes)
        ratio = _adding(rows, sizes)
    finally:
        torch.set_num_threads(before)
    title = (
        f"A bank of {sizes.small:,} and {sizes.large:,} turns, {options.threads} threads; adding "
        f"to {sizes.small:,} / to 10 = {ratio:.2f}"
    )
    return report(title, ["what", "time", "wanted"], rows.rows, failures)


def _seconds(call: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    call()
    return time.perf_counter() - began_s


def _literal(rows: Rows, sizes: Sizes, num_threads: int) -> list[str]:
    """The literal reading beside ours, on one thread, since it has no use for more."""
    torch.set_num_threads(1)
    query = query_path()
    sample = [path for kind in KINDS for path in paths_of(kind, sizes.literal_per_kind)]
    literal, ours = list[float](), list[float]()
    # Ours alternates with it, so that a busy machine slows down both.
    began_s = time.perf_counter()
    expected = literal_scores(query, sample)
    # One more set is that of the query itself.
    per_path = (time.perf_counter() - began_s) / (len(sample) + 1)
    literal.append(per_path)
    paths = sample * max(1, sizes.per_kind // sizes.literal_per_kind)
    scores = [score.score for score in video_fov_scores(query, paths)]
    for _ in range(rows.repeats):
        ours.append(_seconds(lambda: video_fov_scores(query, paths)) / len(paths))
    torch.set_num_threads(num_threads)
    thousand = f"{sizes.small:,} mixed paths, one thread"
    rows.add(f"literal Alg. 1, {thousand} (scaled from {len(sample)})", sizes.small * per_path)
    rows.add(
        f"VideoFOV, {thousand} (scaled from {len(paths)}): "
        f"{per_path / statistics.median(ours):.0f} times faster",
        sizes.small * statistics.median(ours),
    )
    wrong = [idx for idx, score in enumerate(expected) if abs(score - scores[idx]) > 1e-12]
    return [f"path {idx} of the sample: {expected[idx]} is {scores[idx]} here" for idx in wrong]


def _by_kind(rows: Rows, sizes: Sizes) -> None:
    query = query_path()
    for kind in KINDS:
        paths = paths_of(kind, sizes.per_kind)
        score = partial(video_fov_scores, query, paths)
        best = min(_seconds(score) for _ in range(rows.repeats))
        rows.add(f"VideoFOV, one path: {kind}", best / len(paths))


def _by_camera(rows: Rows, sizes: Sizes) -> None:
    query = query_path()
    paths = mixed_paths(sizes.large)
    few = paths[: sizes.small]
    rows.timed(f"VideoFOV, {len(few):,} mixed paths", lambda: video_fov_scores(query, few), "1 s")
    once = Rows(1)
    once.timed(
        f"VideoFOV, {len(paths):,} mixed paths", lambda: video_fov_scores(query, paths), "10 s"
    )
    cache = MemoryCache("m", tuple(_turn(idx, path) for idx, path in enumerate(paths)))
    small = MemoryCache("m", cache.entries[: sizes.small])
    once.timed(
        f"retrieve_by_fov, {len(small):,} turns in memory, the first time",
        lambda: retrieve_by_fov(small, query, K),
    )
    once.timed(
        f"retrieve_by_fov, {len(small):,} turns in memory, again",
        lambda: retrieve_by_fov(small, query, K),
        "1 s",
    )
    once.timed(
        f"retrieve_by_fov, {len(cache):,} turns in memory",
        lambda: retrieve_by_fov(cache, query, K),
        "10 s",
    )
    with _session(small) as folder:
        once.timed(f"open a session of {len(small):,} turns", lambda: load_session(folder))
        opened = load_session(folder).cache
        once.timed(
            f"retrieve_by_fov, {len(small):,} turns on disk, cameras not read yet",
            lambda: retrieve_by_fov(opened, query, K),
        )
    rows.rows += once.rows


def _by_source(rows: Rows, sizes: Sizes) -> None:
    generator = torch.Generator().manual_seed(1)
    path = query_path()
    entries = tuple(
        _turn(
            idx,
            path,
            source_descriptor=torch.randn(WIDTH, generator=generator),
            descriptor_name=DINO,
            segment=Segment(idx, idx * SEGMENT_FRAMES, SEGMENT_FRAMES, idx // 100),
        )
        for idx in range(sizes.large)
    )
    query = torch.randn(WIDTH, generator=generator)

    def retrieve(cache: MemoryCache) -> None:
        count = len(cache)
        segment = Segment(count, count * SEGMENT_FRAMES, SEGMENT_FRAMES, count // 100)
        retrieve_by_similarity(cache, query, DINO, segment, K)

    cache = MemoryCache("m", entries)
    rows.timed(f"DINO, {len(cache):,} segments in memory", lambda: retrieve(cache), "50 ms")
    small = MemoryCache("m", entries[: sizes.small])
    with _session(small) as folder:
        opened = load_session(folder).cache
        rows.add(
            f"DINO, {len(small):,} segments on disk, not read yet",
            _seconds(lambda: retrieve(opened)),
        )


def _adding(rows: Rows, sizes: Sizes) -> float:
    """Rows for a turn that is added and saved, in a small and a large session by turns."""
    counts = (10, sizes.small)
    with tempfile.TemporaryDirectory(prefix="memory-v2v-bank-") as root:
        folders = {count: Path(root) / str(count) for count in counts}
        caches = {}
        for count, folder in folders.items():
            cache = MemoryCache(session=folder.name)
            for number in range(1, count + 1):
                cache = cache.append(make_entry(number))
            caches[count] = save_session(cache, folder).cache
        appends: dict[int, list[float]] = {count: [] for count in counts}
        saves: dict[int, list[float]] = {count: [] for count in counts}
        for number in range(sizes.turns):
            for count, folder in folders.items():
                entry = make_entry(count + 1 + number)
                began_s = time.perf_counter()
                grown = caches[count].append(entry)
                middle_s = time.perf_counter()
                caches[count] = save_session(grown, folder).cache
                appends[count].append(middle_s - began_s)
                saves[count].append(time.perf_counter() - middle_s)
    for count in counts:
        rows.add(f"add a small turn to {count:,}, in memory", statistics.median(appends[count]))
        rows.add(f"save it in a session of {count:,}", statistics.median(saves[count]))
    small, large = (
        statistics.median(map(sum, zip(appends[count], saves[count], strict=True)))
        for count in counts
    )
    return large / small


def _turn(idx: int, path: CameraTrajectory, **facts: Any) -> MemoryEntry:
    latent = torch.full((4, 1, 2, 2), float(idx))
    return MemoryEntry.of(latent, path, "m", path.num_frames, idx + 1, float(idx), **facts)


class _session:
    """`with _session(cache) as folder:` a session on disk that this process does not know."""

    def __init__(self, cache: MemoryCache) -> None:
        self.cache = cache

    def __enter__(self) -> Path:
        self.root = tempfile.TemporaryDirectory(prefix="memory-v2v-bank-")
        folder = Path(self.root.name) / "bank"
        save_session(self.cache, folder)
        entry_file._known.clear()
        manifest_file._KNOWN.clear()
        return folder

    def __exit__(self, *_: object) -> None:
        self.root.cleanup()


if __name__ == "__main__":
    sys.exit(main())

"""How long clips of procedural scenes take: solids with and without smooth edges, and panoramas.

    python benchmarks/rendering.py [--size 128] [--frames 9] [--threads 2] [--device cuda]

Each clip has a scene and a camera path of its own, as in training. All rows film in turn, so what
else the machine does slows all of them. A clip's time is the best of a few runs, since other
programs only add to it; a row shows the mean over its clips and the slowest of them.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.endurance.tables import report
from memv2v_core.synthetic.panoramas import SceneConfig, film_scene, make_scene, random_edit_path
from memv2v_core.synthetic.solids.filming import film_solids
from memv2v_core.synthetic.solids.making import SolidsConfig, make_solid_scene
from memv2v_core.synthetic.solids.paths import (
    SolidPathsConfig,
    random_lens_deg,
    random_solid_path,
)

# A CPU of two cores must film a clip of solids faster than this.
BAR_MS = 200
HEAD = ("row", "ms a clip", "slowest, ms", "clips a minute")


def clips_of(seed: int, options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """By the row's name, what a clip of one seed takes."""
    device = torch.device(options.device)
    draws = torch.Generator().manual_seed(seed)
    scene = make_solid_scene(SolidsConfig(), draws, device)
    config = SolidPathsConfig()
    path = random_solid_path(config, options.frames, random_lens_deg(config, draws), draws)
    film = partial(film_solids, scene, path, options.size, options.size)
    flat = SceneConfig()
    panorama = make_scene(flat, draws, device)
    turning = random_edit_path(flat, options.frames, draws)

    def new_draws() -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    return {
        "solids, smooth edges": film,
        "solids, one ray a pixel": partial(film, has_smooth_edges=False),
        "panorama": partial(film_scene, panorama, turning, options.size),
        "a new scene of solids": lambda: make_solid_scene(SolidsConfig(), new_draws(), device),
        "a new panorama": lambda: make_scene(flat, new_draws(), device),
    }


def time_ms(run: Callable[[], object], device: torch.device) -> float:
    """Milliseconds of one run, until the device has finished."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    began_s = time.perf_counter()
    run()
    wait()
    return 1000 * (time.perf_counter() - began_s)


def measured(options: argparse.Namespace) -> dict[str, list[float]]:
    """Milliseconds of every clip, by row."""
    device, times = torch.device(options.device), {}
    for seed in range(options.clips):
        clips = clips_of(seed, options)
        if seed == 0:
            # The first run of each pays for what torch sets up.
            for run in clips.values():
                run()
        best = {name: float("inf") for name in clips}
        for _ in range(options.repeats):
            for name, run in clips.items():
                best[name] = min(best[name], time_ms(run, device))
        for name, ms in best.items():
            times.setdefault(name, []).append(ms)
    return times


def rows_of(times: dict[str, list[float]]) -> list[Sequence[object]]:
    """One row of the table for each name."""
    rows: list[Sequence[object]] = []
    for name, clips in times.items():
        mean = sum(clips) / len(clips)
        rows.append((name, f"{mean:.1f}", f"{max(clips):.1f}", f"{60_000 / mean:.0f}"))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=128, help="pixels per side")
    parser.add_argument("--frames", type=int, default=9, help="frames of a clip")
    parser.add_argument("--clips", type=int, default=12, help="clips of each row")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each clip")
    parser.add_argument("--threads", type=int, default=2, help="threads on a CPU")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda for a GPU")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    where = f"{options.threads} threads"
    if torch.device(options.device).type == "cuda":
        where = torch.cuda.get_device_name(options.device)
    times = measured(options)
    title = (
        f"{options.clips} clips of {options.frames} frames at {options.size}x{options.size}, "
        f"{where}; two cores must film a clip of solids within {BAR_MS} ms"
    )
    return report(title, HEAD, rows_of(times), [])


if __name__ == "__main__":
    sys.exit(main())

"""How well segments of one shot are told from those of others, and cuts from what looks like one.

    python benchmarks/shots.py --worlds 60 [--video CLIP.mp4 ...]

Rendered clips (synthetic/worlds.py) from seeds that nothing else draws; every video file counts as
one shot of its own. A hard cut counts as found at its very frame; a flash, one to three white
frames, counts as a false cut wherever one is found in its clip.
"""

import argparse
import itertools
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from memv2v_core.clips.shots import detect_shots
from memv2v_core.evaluation.long_video.demo import read_clip
from memv2v_core.retrieval.descriptors import LIGHT, default_min_similarity, light_descriptor
from memv2v_core.synthetic.rendering import render_world
from memv2v_core.synthetic.worlds import World, WorldConfig, make_world

SEED_OFFSET = 0xC000_0000
SIZE, SEGMENT_FRAMES = 96, 9
CUT, LENGTH = 27, 54


def worlds_of(seed: int) -> tuple[World, World]:
    """Two worlds whose first objects share a name."""
    generator = torch.Generator().manual_seed(SEED_OFFSET + seed)
    first = make_world(WorldConfig(), generator)
    return first, make_world(WorldConfig(), generator, like=first.objects[0])


def segments_of(video: torch.Tensor) -> list[torch.Tensor]:
    """Descriptors of its whole segments."""
    return [
        light_descriptor(piece)
        for piece in video.split(SEGMENT_FRAMES)
        if len(piece) == SEGMENT_FRAMES
    ]


def similarities(shots: Sequence[list[torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines of all pairs of segments in one shot, and of all pairs from different shots."""
    same = [float(a @ b) for shot in shots for a, b in itertools.combinations(shot, 2)]
    other = [
        float(a @ b) for one, two in itertools.combinations(shots, 2) for a in one for b in two
    ]
    return torch.tensor(same), torch.tensor(other)


def flashes(video: torch.Tensor) -> Iterator[torch.Tensor]:
    """The video with one, two and three white frames in its middle."""
    for length in (1, 2, 3):
        lit = video.clone()
        lit[CUT : CUT + length] = 1.0
        yield lit


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=60, help="pairs of rendered shots")
    parser.add_argument(
        "--video", type=Path, nargs="*", default=[], help="real clips of one shot each"
    )
    arguments = parser.parse_args()
    shots, found, false, flashed = [], 0, 0, 0
    for seed in range(arguments.worlds):
        first, second = (render_world(world, range(LENGTH), SIZE) for world in worlds_of(seed))
        shots += [segments_of(first), segments_of(second)]
        found += (CUT, LENGTH) in detect_shots(torch.cat((first[:CUT], second[CUT:])))
        cuts = [len(detect_shots(lit)) > 1 for lit in flashes(first)]
        false, flashed = false + sum(cuts), flashed + len(cuts)
    videos = [read_clip(str(path)) for path in arguments.video]
    shots += [segments_of(video) for video in videos]
    plain = sum(len(detect_shots(video)) > 1 for video in videos)
    same, other = similarities(shots)
    bar = default_min_similarity(LIGHT)
    print(
        f"{len(shots)} shots ({len(videos)} of them files), {platform.machine()}, {os.cpu_count()} "
        "cores"
    )
    print(
        f"above {bar}: {100 * (same > bar).double().mean():.1f} % of {len(same)} pairs of segments "
        "in one shot"
    )
    print(
        f"above {bar}: {100 * (other > bar).double().mean():.2f} % of {len(other)} pairs from "
        "different shots"
    )
    print(f"hard cuts found: {found} of {arguments.worlds}")
    print(f"cuts seen in flashes: {false} of {flashed}; in whole files: {plain}")


if __name__ == "__main__":
    main()

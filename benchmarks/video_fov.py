"""VideoFOV: this project's retrieval against a point-by-point reading of Alg. 1, the same answer
asserted.
"""

import platform
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory
from memv2v_core.retrieval.video_fov import VideoFovConfig, sphere_points, video_fov_scores

NUM_FRAMES, NUM_REPEATS = 81, 3


def literal_set(
    path: CameraTrajectory, reference: CameraTrajectory, points: torch.Tensor
) -> torch.Tensor:
    """Alg. 1 without a shortcut: every point in every frame, vectorised over the points alone."""
    relative = path.relative_to(reference)
    seen = torch.zeros(len(points), dtype=torch.bool)
    for c2w, lens in zip(relative.c2w, relative.intrinsics, strict=True):
        camera = (points - c2w[:3, 3]) @ c2w[:3, :3]
        image = camera @ lens.T
        xy = image[:, :2] / image[:, 2:]
        seen |= (camera[:, 2] > 0) & ((xy >= 0) & (xy < 1)).all(1)
    return seen


def literal_scores(query: CameraTrajectory, candidates: list[CameraTrajectory]) -> list[float]:
    points = sphere_points(VideoFovConfig())
    target = literal_set(query, query, points)
    scores = []
    for path in candidates:
        other = literal_set(path, query, points)
        both = (target & other).sum().item()
        scores.append(0.5 * both / (target | other).sum().item() + 0.5 * both / target.sum().item())
    return scores


def main() -> None:
    torch.set_num_threads(1)
    motions = (
        "pan_left",
        "pan_right",
        "tilt_up",
        "orbit_left",
        "orbit_right",
        "roll_left",
        "tilt_down",
        "sweep",
    )
    paths = [make_preset(PresetConfig(motion=motion, num_frames=NUM_FRAMES)) for motion in motions]
    query, candidates = paths[0], paths
    ratios = []
    for _ in range(NUM_REPEATS):
        began = time.perf_counter()
        ours = [score.score for score in video_fov_scores(query, candidates)]
        middle = time.perf_counter()
        literal = literal_scores(query, candidates)
        ended = time.perf_counter()
        assert max(abs(a - b) for a, b in zip(ours, literal, strict=True)) < 1e-9
        ratios.append((ended - middle) / (middle - began))
    print(f"{len(candidates)} candidates of {NUM_FRAMES} frames, {platform.machine()}, one thread")
    print(
        f"literal Alg. 1 / ours: {sorted(ratios)[len(ratios) // 2]:.1f}x slower (median of "
        f"{NUM_REPEATS})"
    )


if __name__ == "__main__":
    main()

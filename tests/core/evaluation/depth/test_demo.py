"""What the demo of scenes with depth measures and draws."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from memv2v_core.evaluation.depth.demo import (
    SOURCE,
    film_demo,
    measure,
    turn_differences,
    written_path,
)
from memv2v_core.evaluation.metrics.consistency import masked_mae
from memv2v_core.synthetic.solids.visibility import ever_seen, warp_by_depth

ROOT = Path(__file__).resolve().parents[4]
NUM_FRAMES, SIZE = 3, 32


def widgets(motion: str, amplitude: float, second: str, how_far: float) -> dict[str, Any]:
    return {
        "motion": motion,
        "amplitude": amplitude,
        "num_frames": NUM_FRAMES,
        "easing": "linear",
        "speed": 1.0,
        "returns": False,
        "fov_deg": 60.0,
        "aspect": 1.0,
        "second_motion": second,
        "second_amplitude": how_far,
    }


@pytest.fixture
def spec(tmp_path: Path) -> dict[str, Any]:
    """A source, and two arms whose pictures are the truth, but for turn C of the second: grey."""
    given: dict[str, Any] = {
        "scene": {"number": 3, "size": SIZE, "num_frames": NUM_FRAMES, "drift_deg": 3.0},
        "paths": {
            "A": widgets("pan_right", 50.0, "dolly_in", 0.3),
            "B": widgets("pan_left", 50.0, "none", 10.0),
            "C": widgets("pan_right", 45.0, "orbit_left", 5.0),
        },
    }
    _, films = film_demo(given)
    files = {}
    for name, film in films.items():
        files[name] = [str(tmp_path / f"{name}_{idx}.png") for idx in range(NUM_FRAMES)]
        for file, frame in zip(files[name], film.frames, strict=True):
            _save(frame, file)
    _save(torch.full((3, SIZE, SIZE), 0.5), str(tmp_path / "grey.png"))
    turns = {turn: files[turn] for turn in "ABC"}
    forgetful = {**turns, "C": [str(tmp_path / "grey.png")] * NUM_FRAMES}
    arms = {"with_memory": turns, "without_memory": forgetful}
    return {**given, "source": files[SOURCE], "arms": arms}


def _save(frame: torch.Tensor, file: str) -> None:
    Image.fromarray((frame * 255).round().byte().movedim(0, -1).numpy()).save(file)


def test_true_turns_agree_and_a_grey_one_does_not(spec: dict[str, Any], tmp_path: Path) -> None:
    sheet, loop = tmp_path / "sheet.png", tmp_path / "loop.webp"
    found = measure(spec, sheet, loop)
    # B looks away from all that C shows.
    assert set(found["with_memory"]) == {"mae", "A-C"}
    assert found["with_memory"]["mae"] < 0.02
    assert found["without_memory"]["mae"] > 0.1
    with Image.open(sheet) as picture:
        # A row for the source and three for either arm and for the truth.
        assert picture.height == 10 * (SIZE + 27) + 6
    with Image.open(loop) as picture:
        assert picture.n_frames == NUM_FRAMES
        assert picture.size == (6 + 4 * (192 + 6), 3 * (192 + 27) + 6)


def test_the_difference_is_that_of_the_suite(spec: dict[str, Any]) -> None:
    scene, films = film_demo(spec)
    draws = torch.Generator().manual_seed(0)
    shape = (NUM_FRAMES, 3, SIZE, SIZE)
    turns = {turn: torch.rand(shape, generator=draws) for turn in "ABC"}
    found = turn_differences(scene, films, {"arm": turns})["arm"]
    unseen = ~ever_seen(scene, films["C"], films[SOURCE])
    warped, known = warp_by_depth(scene, turns["A"], films["A"], films["C"])
    region = known & unseen
    wanted = masked_mae(warped, turns["C"], region)
    assert region.any()
    assert found == {"mae": wanted, "A-C": wanted}


def test_a_clip_is_drawn_and_not_measured(spec: dict[str, Any], tmp_path: Path) -> None:
    sheet, loop = tmp_path / "sheet.png", tmp_path / "loop.webp"
    given = {**spec, "scene": None, "paths": {}}
    done = subprocess.run(
        [sys.executable, "-m", "memv2v_core.evaluation.depth.demo", str(sheet), str(loop)],
        input=json.dumps(given),
        text=True,
        check=True,
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert json.loads(done.stdout) == {}
    with Image.open(sheet) as picture:
        assert picture.height == 7 * (SIZE + 27) + 6
    with Image.open(loop) as picture:
        assert picture.height == 2 * (192 + 27) + 6


def test_a_path_follows_its_widgets() -> None:
    path = written_path({**widgets("dolly_in", 0.5, "pan_right", 90.0), "fov_deg": 90.0})
    assert path.num_frames == NUM_FRAMES
    assert path.c2w[-1, :3, 3].tolist() == pytest.approx([0.0, 0.0, 0.5])
    assert path.c2w[-1, :3, 2].tolist() == pytest.approx([1.0, 0.0, 0.0])
    assert float(path.intrinsics[0, 0, 0]) == pytest.approx(0.5)

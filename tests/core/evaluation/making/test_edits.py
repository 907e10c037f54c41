"""Suites of long clips that a built-in editor edits."""

import json
from pathlib import Path

import pytest
import torch

from memv2v_core.clips.clip_files import read_frames
from memv2v_core.evaluation.__main__ import main
from memv2v_core.evaluation.making.edits import known_clip, scene_of
from memv2v_core.evaluation.making.recipes import VIDEOS
from memv2v_core.evaluation.metrics.metric import Batch
from memv2v_core.evaluation.metrics.segment_agreement import SegmentAgreement
from memv2v_core.evaluation.suites.loading import load_suite

EDITED = """
methods:
  - {name: alone, edited: {arm: independent, steps: 3}}
  - {name: with memory, edited: {steps: 3}}
metrics: [segment_looks, seconds]
families: [one_shot]
clips_a_family: 1
turns: [1]
file: "{clip}.mp4"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.slow
def test_each_arm_edits_the_clip_once_and_memory_agrees_best(tmp_path: Path) -> None:
    path, out = write(tmp_path, EDITED), tmp_path / "out"
    words = ["score", str(path), "--folder", str(out)]
    assert main(words) == 0
    videos = {file.parent.name.rsplit(" ", 1)[0]: file for file in (out / VIDEOS).rglob("*.mp4")}
    assert set(videos) == {"alone", "with memory"}
    times = {file: file.stat().st_mtime_ns for file in videos.values()}
    rows = json.loads((out / "table.json").read_text(encoding="utf-8"))
    table = {(row["method"], row["column"]): row["mean"] for row in rows}
    assert table["with memory", "colour difference"] < table["alone", "colour difference"]
    # One world: nothing can leak, and there is no number.
    assert table["alone", "leak"] is None
    assert all(table[name, "time"] > 0 for name in videos)
    # The file is the video that the scene is as long and as large as.
    scene = scene_of(load_suite(path), "one_shot_000")
    assert read_frames(videos["alone"]).frames.shape == scene.scene.source.shape
    assert main(words) == 0
    assert {file: file.stat().st_mtime_ns for file in videos.values()} == times


def test_a_right_answer_agrees_with_itself_and_another_answer_does_not(tmp_path: Path) -> None:
    """The truths of a clip of two worlds through the metric: what a perfect edit gets."""
    clip = known_clip("text_edit", "two_shot_000")
    suite = load_suite(write(tmp_path, EDITED.replace("one_shot", "two_shot")))
    scene = scene_of(suite, "two_shot_000")
    assert scene.segments[-1][1] == clip.num_frames
    metric = SegmentAgreement()
    videos = torch.stack([clip.truth, clip.answers, clip.scene.source])
    rows = metric(Batch(videos, scenes=[scene] * 3))
    colour, _, _, edited, background = rows.unbind(1)
    assert colour[0] < 0.05 < colour[1]
    assert edited.tolist() == [100, 100, 0]
    assert background[0] > 60
    # The source alone differs in nothing but the objects of its two worlds.
    assert rows[2, 4] == pytest.approx(120)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("turns: [1]", "turns: [1]\nseeds: [1]"), "wanted [0]: a long clip"),
        (("turns: [1]", "turns: [1, 2]"), "a long clip is edited once"),
        (("arm: independent, steps: 3", "builtin: novel_view"), "another task"),
        (("{steps: 3}", "{arm: fifo, builtin: reference_edit}"), "whose source takes tokens"),
        (("{steps: 3}", "{arm: fifo, steps: 3}"), "steps got 3 for the arm fifo"),
        (("families: [one_shot]\n", ""), "got no families and 2 of 2"),
        (("[segment_looks, seconds]", "[geometry]"), "needs cameras"),
        (("[segment_looks, seconds]", "[psnr]"), "needs truths"),
        (("[one_shot]", "[one_shot, one_shot]"), "one_shot twice"),
    ],
)
def test_a_suite_that_cannot_be_edited_is_refused(
    tmp_path: Path, capsys, change: tuple[str, str], named: str
) -> None:
    text = EDITED.replace(*change)
    if "[geometry]" in text or "turns: [1, 2]" in text:
        text = text.replace('"{clip}.mp4"', '"{clip}_{turn}.mp4"')
    path = write(tmp_path, text)
    assert main(["score", str(path), "--folder", str(tmp_path / "x")]) == 1
    assert named in capsys.readouterr().err
    assert not (tmp_path / "x" / VIDEOS).exists()

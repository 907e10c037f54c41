"""Scores of turns: what can be measured is measured, the rest is named, and a line says it all."""

import json
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from instruments.metric_weights import save_alexnet, save_clip, save_dino

from memv2v_core.cache.entry import Segment
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix, static_trajectory
from memv2v_core.evaluation.metrics.consistency import turn_disagreement
from memv2v_core.evaluation.metrics.feature_consistency import ClipF, DinoF
from memv2v_core.evaluation.metrics.lpips import Lpips
from memv2v_core.evaluation.metrics.metric import Batch
from memv2v_core.evaluation.turn_scoring.measuring import ScoredVideo, score_turns
from memv2v_core.evaluation.turn_scoring.report import NETWORKS
from memv2v_core.synthetic.panoramas import SceneConfig, make_scene, render_panorama

pytest.importorskip("transformers")
LENS = intrinsics_matrix(0.8660254, 0.8660254)  # 60 degrees wide
NUM_FRAMES, SIDE = 4, 48
SOURCE = static_trajectory(NUM_FRAMES, LENS)
KINDS = {"DINO-F": DinoF, "CLIP-F": ClipF, "LPIPS": Lpips}


@pytest.fixture(scope="module")
def loaders(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The networks of one video, small and random."""
    folder = tmp_path_factory.mktemp("weights")
    save_dino(folder)
    save_clip(folder)
    return {name: partial(KINDS[name], folder) for name in ("DINO-F", "CLIP-F")}


@pytest.fixture(scope="module")
def lpips(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """LPIPS with a random trunk."""
    pytest.importorskip("lpips", reason="needs the package lpips, which the pack does not require")
    folder = tmp_path_factory.mktemp("weights")
    save_alexnet(folder)
    return {"LPIPS": partial(Lpips, folder)}


def path(motion: str, amplitude: float, num_frames: int = NUM_FRAMES) -> CameraTrajectory:
    return make_preset(PresetConfig(motion, amplitude, num_frames), LENS)


def turn(number: int, camera: CameraTrajectory, seed: int = 1, side: int = SIDE) -> ScoredVideo:
    config = SceneConfig(num_shapes=16, panorama_width=256)
    scene = make_scene(config, torch.Generator().manual_seed(seed))
    return ScoredVideo(f"turn {number}", render_panorama(scene, camera, side, side), camera)


def disturbed(video: ScoredVideo, sigma: float) -> ScoredVideo:
    """The video with other noise on each frame."""
    noise = torch.randn(video.frames.shape, generator=torch.Generator().manual_seed(3))
    return ScoredVideo(video.name, (video.frames + sigma * noise).clamp(0, 1), video.camera)


def flickering(video: ScoredVideo) -> ScoredVideo:
    """The video with every second frame in negative."""
    frames = video.frames.clone()
    frames[1::2] = 1 - frames[1::2]
    return ScoredVideo(video.name, frames, video.camera)


def session() -> list[ScoredVideo]:
    """Turn 1 looks right, turn 2 left and flickers, turn 3 right again."""
    return [
        turn(1, path("pan_right", 40)),
        flickering(turn(2, path("pan_left", 40))),
        turn(3, path("pan_right", 32)),
    ]


def test_the_verdict_names_the_agreeing_pair_and_the_turn_that_flickers(loaders: dict) -> None:
    scores = score_turns(session(), loaders, source_camera=SOURCE)
    agrees, flickers = scores.verdict.split("; ")
    assert agrees.startswith("turns 1 and 3 agree: 0.0")
    assert flickers.startswith("turn 2 flickers or moves most (DINO-F ")
    assert scores.text.startswith(f"{scores.verdict}.\n")
    assert "where both look and the source never looked." in scores.text
    assert any("turns 1 and 2 look at the same place only where" in x for x in scores.not_measured)


def test_numbers_are_those_of_the_metrics_by_hand(loaders: dict) -> None:
    videos = session()
    scores = score_turns(videos, loaders, source_camera=SOURCE)
    for name, load in loaders.items():
        for video in videos:
            near, every = load()(Batch(video.frames[None]))[0].tolist()
            assert scores.turns[video.name][f"{name} neighbours"] == pytest.approx(near, abs=1e-9)
            assert scores.turns[video.name][f"{name} all pairs"] == pytest.approx(every, abs=1e-9)
    first, _, third = videos
    wanted = turn_disagreement(first.frames, first.camera, third.frames, third.camera, SOURCE)
    row = scores.pairs["turns 1 and 3"]
    assert (row["difference"], row["PSNR dB"]) == (wanted.mae, wanted.psnr)
    assert row["share of picture"] == wanted.num_pixels / (NUM_FRAMES * SIDE * SIDE)
    assert scores.mae == wanted.mae


def test_missing_weights_are_named_and_stop_nothing_else(loaders: dict, tmp_path: Path) -> None:
    with_gap = {**loaders, "DINO-F": partial(DinoF, tmp_path)}
    scores = score_turns(session(), with_gap)
    (missing,) = [reason for reason in scores.not_measured if reason.startswith("DINO-F")]
    assert "facebook/dinov2-base (346 MB)" in missing
    assert str(tmp_path) in missing
    assert missing in scores.text
    assert "turn 2 flickers or moves most (CLIP-F" in scores.verdict
    assert set(scores.turns["turn 1"]) == {"CLIP-F neighbours", "CLIP-F all pairs"}


def test_nothing_to_measure_is_one_error_with_every_remedy(tmp_path: Path) -> None:
    missing = {name: partial(KINDS[name], tmp_path) for name in NETWORKS}
    far = turn(1, path("pan_right", 40)), turn(2, path("dolly_in", 0.5))
    with pytest.raises(ValueError, match=r"nothing of turn 1, turn 2 could be measured") as caught:
        score_turns(far, missing)
    for word in ("facebook/dinov2-base", "openai/clip-vit-base-patch32", "alexnet", "0.5 pose"):
        assert word in str(caught.value)
    with pytest.raises(ValueError, match="a single video needs networks or a truth"):
        score_turns(far[:1], {})
    with pytest.raises(ValueError, match="there are 0 videos to score, wanted 1 or more"):
        score_turns([], missing)


def test_psnr_against_the_truth_and_the_closest_turn() -> None:
    camera = path("pan_right", 40)
    near, far = turn(1, camera), turn(2, camera)
    frames = near.frames * 0.5 + 0.2
    truth = ScoredVideo("truth", frames)
    near, far = ScoredVideo("turn 1", frames + 0.1), ScoredVideo("turn 2", frames + 0.2)
    scores = score_turns([near, far], {}, truth)
    # -10 log10 of 0.1 squared and of 0.2 squared.
    assert scores.turns["turn 1"]["PSNR dB"] == pytest.approx(20.0, abs=1e-3)
    assert scores.turns["turn 2"]["PSNR dB"] == pytest.approx(13.979400, abs=1e-3)
    assert scores.verdict.endswith("turn 1 is closest to the truth (PSNR 20.0 dB)")
    assert any("along the path of the truth" in note for note in scores.notes)
    assert math.isnan(scores.mae)
    equal = score_turns([truth], {}, truth)
    assert equal.verdict == "truth equals the truth"
    assert "| truth | equal |" in equal.text
    assert json.loads(equal.numbers)["turns"] == [{"name": "truth", "PSNR dB": None}]


def test_a_truth_with_a_camera_counts_for_turns_along_its_path_alone(lpips: dict) -> None:
    one, other = path("pan_right", 40), path("pan_left", 40)
    videos = [disturbed(turn(1, one), 0.1), turn(2, other)]
    clean = turn(1, one)
    truth = ScoredVideo("truth", clean.frames[:3], one.frames((0, 1, 2)))
    scores = score_turns(videos, lpips, truth)
    wanted = lpips["LPIPS"]()(Batch(videos[0].frames[None, :3], truths=truth.frames[None])).item()
    assert wanted > 1e-4
    assert scores.turns["turn 1"]["LPIPS"] == pytest.approx(wanted, abs=1e-9)
    assert scores.turns["turn 2"] == {}
    reason = "PSNR and LPIPS of turn 2: its camera does not follow truth_camera"
    assert reason in scores.not_measured
    assert "turn 1 has 4 frames, truth 3: the first 3 are compared" in scores.notes


def test_lpips_compares_each_turn_with_the_one_before(lpips: dict) -> None:
    camera = path("pan_right", 40)
    videos = [turn(1, camera), disturbed(turn(2, camera), 0.05), turn(3, camera, side=64)]
    scores = score_turns(videos, lpips)
    first, second = videos[0].frames[None], videos[1].frames[None]
    wanted = lpips["LPIPS"]()(Batch(second, truths=first)).item()
    assert scores.pairs["turns 1 and 2"]["LPIPS"] == pytest.approx(wanted, abs=1e-9)
    assert "turns 2 and 3" not in scores.pairs
    assert any(
        reason.startswith("LPIPS of turns 2 and 3: turn 2 has frames of 48x48, turn 3 of 64x64")
        for reason in scores.not_measured
    )
    assert scores.notes == ()
    moved = score_turns([videos[0], turn(2, path("pan_right", 30))], lpips)
    assert moved.notes[0].startswith("LPIPS compares pixel by pixel")
    unfilmed = [ScoredVideo(video.name, video.frames) for video in videos[:2]]
    assert score_turns(unfilmed, lpips).verdict == "no two videos could be compared where both look"


def test_many_pairs_are_counted_and_the_worst_is_named() -> None:
    camera = path("pan_right", 40)
    videos = [turn(number, camera) for number in (1, 2, 3)] + [turn(4, camera, seed=2)]
    scores = score_turns(videos, {})
    assert scores.verdict.startswith("3 of 6 measured pairs agree; most apart: turns ")
    assert " and 4 differ: " in scores.verdict
    assert scores.mae == pytest.approx(
        sum(row["difference"] for row in scores.pairs.values()) / 6, abs=1e-12
    )


def test_long_videos_are_compared_on_some_frames_and_it_is_said() -> None:
    videos = [turn(1, path("pan_right", 40)), turn(2, path("pan_right", 32))]
    scores = score_turns(videos, {}, source_camera=SOURCE, most_frames=2)
    some = [(video.frames[::2], video.camera.frames((0, 2))) for video in videos]
    wanted = turn_disagreement(*some[0], *some[1], SOURCE)
    assert scores.mae == wanted.mae
    assert scores.mae != score_turns(videos, {}, source_camera=SOURCE).mae
    assert "the difference is measured on every 2. frame" in scores.notes


def test_segments_of_a_long_video_share_one_line(loaders: dict) -> None:
    camera = path("pan_right", 40)
    videos = [
        ScoredVideo(f"turn {i + 1}", turn(1, camera).frames, camera, Segment(i, 4 * i, 4))
        for i in range(4)
    ]
    scores = score_turns(videos, loaders)
    assert scores.not_measured == (
        "the difference of 6 pairs: they show different parts of a long video",
    )
    assert "no video flickers more than the others (DINO-F" in scores.verdict


def test_videos_without_a_camera_are_scored_but_not_warped(loaders: dict) -> None:
    camera = path("pan_right", 40)
    videos = [turn(1, camera), ScoredVideo("video_1", turn(1, camera).frames)]
    scores = score_turns(videos, loaders)
    assert scores.pairs == {}
    assert scores.verdict.startswith("no video flickers more than the others (DINO-F")
    assert scores.not_measured[0].startswith("the difference of video_1 and others: nobody knows")
    assert set(json.loads(scores.numbers)["turns"][1]) > {"name", "DINO-F neighbours"}


def test_one_frame_and_broken_frames_have_no_number(loaders: dict) -> None:
    camera = path("pan_right", 40)
    whole, single = turn(1, camera), turn(2, camera)
    broken = ScoredVideo("turn 3", torch.full_like(whole.frames, torch.nan))
    videos = [whole, ScoredVideo("turn 2", single.frames[:1]), broken]
    scores = score_turns(videos, loaders)
    assert "DINO-F of turn 2: it is one frame, wanted two" in scores.not_measured
    assert scores.verdict.endswith("and no other video to compare with")
    assert json.loads(scores.numbers)["turns"][1]["DINO-F neighbours"] is None
    assert "| turn 3 | - | - | - | - |" in scores.text
    assert "nan" not in scores.text.lower()


def test_the_picture_holds_every_row(loaders: dict) -> None:
    two = score_turns(session()[:2], loaders).picture
    three = score_turns(session(), loaders).picture
    assert two.shape[-1] == three.shape[-1] == 3
    assert three.shape[0] > two.shape[0]
    assert 0 <= float(three.min()) < float(three.max()) <= 1


def test_a_user_can_stop_before_every_measurement(loaders: dict) -> None:
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_turns(session(), loaders, before_each=stop)
    assert calls == 5

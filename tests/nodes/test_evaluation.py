"""ConsistencyReport: turns that agree score 0, turns that do not score what they differ by."""

import json
from functools import lru_cache

import pytest
import torch

from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix, static_trajectory
from memv2v_core.synthetic.panoramas import Scene, SceneConfig, make_scene, render_panorama

LENS = intrinsics_matrix(0.8660254, 0.8660254)
NUM_FRAMES, SIDE = 3, 64
SOURCE = static_trajectory(NUM_FRAMES, LENS)


@pytest.fixture(scope="module")
def vae(comfy_api):
    from memory_v2v.nodes.loading import LoadMemoryV2VModel

    return comfy_api.run_node(LoadMemoryV2VModel, model_name="built-in: novel_view")[2]


@lru_cache
def scene(seed: int) -> Scene:
    return make_scene(
        SceneConfig(num_shapes=16, panorama_width=256), torch.Generator().manual_seed(seed)
    )


def path(motion: str, amplitude: float) -> CameraTrajectory:
    return make_preset(PresetConfig(motion, amplitude, NUM_FRAMES), LENS)


def images(seed: int, camera: CameraTrajectory) -> torch.Tensor:
    return render_panorama(scene(seed), camera, SIDE, SIDE).movedim(1, -1)


def turn(
    vae, seed: int, camera: CameraTrajectory, number: int, num_frames: int = NUM_FRAMES
) -> MemoryEntry:
    with torch.inference_mode():
        latent = vae.encode(images(seed, camera))[0].clone()
    return MemoryEntry.of(latent, camera, "m", num_frames, number, float(number))


def cache_of(*entries: MemoryEntry) -> MemoryCache:
    cache = MemoryCache()
    for entry in entries:
        cache = cache.append(entry)
    return cache


def run(comfy_api, vae, cache: MemoryCache, **inputs):
    from memory_v2v.nodes.evaluation import ConsistencyReport

    return comfy_api.run_node(
        ConsistencyReport, cache=cache, vae=vae, source_camera=SOURCE, **inputs
    )


def test_views_of_one_scene_agree_and_of_two_scenes_do_not(comfy_api, vae) -> None:
    a, b = path("pan_right", 40), path("pan_right", 32)
    same = run(comfy_api, vae, cache_of(turn(vae, 1, a, 1), turn(vae, 1, b, 2)))
    other = run(comfy_api, vae, cache_of(turn(vae, 1, a, 1), turn(vae, 2, b, 2)))
    assert same[1] < 0.5 * other[1]
    row = json.loads(same[0])["pairs"][0]
    assert row["pair"] == "turn 1 and turn 2"
    assert row["pixels"] > 100
    assert row["mae"] == pytest.approx(same[1], abs=1e-5)
    assert same[2].shape[0] == 1
    assert same[2].shape[-1] == 3
    assert same.ui.as_dict()["text"] == (same[0],)


def test_all_pairs_are_compared(comfy_api, vae) -> None:
    entries = [turn(vae, 1, path("pan_right", 30 + 5 * i), i + 1) for i in range(3)]
    report = json.loads(run(comfy_api, vae, cache_of(*entries))[0])
    assert [row["pair"] for row in report["pairs"]] == [
        "turn 1 and turn 2",
        "turn 1 and turn 3",
        "turn 2 and turn 3",
    ]
    assert (report["model"], report["mode"]) == ("m", "training-free")
    assert report["mae"] == pytest.approx(sum(row["mae"] for row in report["pairs"]) / 3, abs=2e-5)


def test_truth_is_compared_but_is_no_part_of_the_mean(comfy_api, vae) -> None:
    a = path("pan_right", 40)
    cache = cache_of(turn(vae, 1, a, 1), turn(vae, 1, path("pan_right", 35), 2))
    plain = run(comfy_api, vae, cache)
    compared = run(comfy_api, vae, cache, truth=images(1, a), truth_camera=a)
    rows = json.loads(compared[0])["truth"]
    assert [row["pair"] for row in rows] == ["truth and turn 1", "truth and turn 2"]
    assert rows[0]["psnr"] > 18
    assert compared[1] == plain[1]
    with pytest.raises(ValueError, match="truth_camera is not connected, but truth is"):
        run(comfy_api, vae, cache, truth=images(1, a))


def test_moving_cameras_are_left_out_by_name(comfy_api, vae) -> None:
    a, b, c = path("pan_right", 40), path("pan_right", 35), path("orbit_left", 30)
    entries = turn(vae, 1, a, 1), turn(vae, 1, b, 2), turn(vae, 1, c, 3)
    report = json.loads(run(comfy_api, vae, cache_of(*entries))[0])
    assert len(report["pairs"]) == 1
    assert [note.split(" were")[0] for note in report["notes"]] == [
        "turn 1 and turn 3",
        "turn 2 and turn 3",
    ]
    with pytest.raises(
        ValueError, match="0 of 1 pairs of turns can be compared; turn 1 and turn 2 were left out"
    ):
        run(comfy_api, vae, cache_of(turn(vae, 1, a, 1), turn(vae, 1, c, 2)))


def test_one_turn_has_nothing_to_compare(comfy_api, vae) -> None:
    from comfy_execution.graph_utils import ExecutionBlocker

    for cache in (MemoryCache(), cache_of(turn(vae, 1, path("pan_right", 40), 1))):
        report, mae, heat = run(comfy_api, vae, cache).args
        assert isinstance(mae, ExecutionBlocker)
        assert json.loads(report)["mae"] is None
        assert f"the cache holds {len(cache)} turns, wanted 2 or more" in report
        assert heat.shape[0] == 1


def test_turns_that_share_no_region_say_so(comfy_api, vae) -> None:
    from comfy_execution.graph_utils import ExecutionBlocker

    a, b = path("pan_right", 45), path("pan_left", 45)
    report, mae, _ = run(comfy_api, vae, cache_of(turn(vae, 1, a, 1), turn(vae, 1, b, 2))).args
    assert isinstance(mae, ExecutionBlocker)
    assert json.loads(report)["pairs"][0]["pixels"] == 0
    assert "turn 1 and turn 2 never look at the same place" in report


def test_padding_frames_are_not_compared(comfy_api, vae) -> None:
    a, b = path("pan_right", 40), path("pan_right", 35)
    report = json.loads(
        run(comfy_api, vae, cache_of(turn(vae, 1, a, 1), turn(vae, 1, b, 2, num_frames=2)))[0]
    )
    assert report["notes"] == ["turn 1 and turn 2 have 3 and 2 frames; the first 2 are compared"]

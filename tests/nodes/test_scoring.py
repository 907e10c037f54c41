"""ScoreTurns: the metrics with networks of ComfyUI's model folders, and what is missing by name."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from instruments.metric_weights import save_alexnet, save_clip, save_dino
from instruments.rendered_turns import (
    NUM_FRAMES,
    SOURCE,
    cache_of,
    images,
    path,
    right_left_right,
    turn,
)

from memv2v_core.cache.entry import Segment
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.evaluation.metrics.feature_consistency import ClipF, DinoF
from memv2v_core.evaluation.metrics.metric import Batch

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def vae(comfy_api) -> Any:
    from memory_v2v.nodes.loading import LoadMemoryV2VModel

    return comfy_api.run_node(LoadMemoryV2VModel, model_name="built-in: novel_view")[2]


@pytest.fixture
def no_weights(comfy_api) -> Iterator[Path]:
    """ComfyUI's models folder without networks of metrics, before and after the test."""
    models = Path(comfy_api.folder_paths.models_dir)
    assert models.is_relative_to(comfy_api.base_dir)
    places = [models / "dinov2/dinov2-base", models / "lpips/alexnet"]
    places.append(models / "clip_vision/clip-vit-base-patch32")
    for place in places:
        shutil.rmtree(place, ignore_errors=True)
    yield models
    for place in places:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def weights(no_weights: Path) -> Path:
    """ComfyUI's models folder with small random networks."""
    save_dino(no_weights / "dinov2")
    save_clip(no_weights / "clip_vision")
    return no_weights


@pytest.fixture
def score(comfy_api, vae) -> Callable[..., Any]:
    """The node's result; widgets stand at their defaults."""
    from memory_v2v.nodes.scoring import ScoreTurns

    widgets = {"networks": True, "newest": 8}
    return lambda **inputs: comfy_api.run_node(ScoreTurns, **(widgets | inputs))


@pytest.fixture(scope="module")
def session(vae) -> MemoryCache:
    """Turn 1 looks right, turn 2 left, turn 3 right again."""
    return right_left_right(vae)


def test_every_number_of_a_session(score, session: MemoryCache, vae, weights: Path) -> None:
    result = score(cache=session, vae=vae, source_camera=SOURCE)
    report, numbers, mae, table = result.args
    found = json.loads(numbers)
    assert report.startswith("turns 1 and 3 agree: 0.0")
    assert [row["name"] for row in found["turns"]] == ["turn 1", "turn 2", "turn 3"]
    with torch.inference_mode():
        frames = vae.decode(session.entries[1].latent[None])[0].movedim(-1, 1)
    for metric, folder in ((DinoF, "dinov2"), (ClipF, "clip_vision")):
        made = metric(weights / folder)
        wanted = dict(
            zip([c.name for c in made.columns], made(Batch(frames[None]))[0].tolist(), strict=True)
        )
        for column, value in wanted.items():
            assert found["turns"][1][column] == pytest.approx(value, abs=2e-5)
    (pair,) = [row for row in found["pairs"] if "difference" in row]
    assert mae == pytest.approx(pair["difference"], abs=1e-5)
    assert table.shape[0] == 1
    assert table.shape[-1] == 3
    assert result.ui.as_dict()["text"] == (report,)
    assert result.ui.as_dict()["images"]


def test_what_is_missing_is_named_with_its_folder(
    score, session: MemoryCache, vae, no_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memory_v2v.nodes.host.models import metric_networks

    monkeypatch.setattr(metric_networks, "_has_lpips", lambda: False)
    report, numbers, mae, _ = score(cache=session, vae=vae).args
    missing = "\n".join(json.loads(numbers)["not_measured"])
    assert "DINO-F: the network dinov2-base lacks config.json and model.safetensors in " in missing
    assert str(no_weights / "dinov2" / "dinov2-base") in missing
    assert str(no_weights / "clip_vision" / "clip-vit-base-patch32") in missing
    assert "openai/clip-vit-base-patch32 (605 MB)" in missing
    assert "LPIPS: the package lpips is not installed; run " in missing
    assert missing.splitlines()[0] in report
    assert 0 < mae < 0.3


def test_lpips_of_neighbours_and_of_a_truth(score, vae, weights: Path) -> None:
    pytest.importorskip("lpips", reason="needs the package lpips, which the pack does not require")
    save_alexnet(weights / "lpips")
    camera = path("pan_right", 40)
    session = cache_of(turn(vae, 1, camera), turn(vae, 2, camera, seed=2))
    pairs = json.loads(score(cache=session, vae=vae)[1])["pairs"]
    assert pairs[0]["LPIPS"] > 1e-3
    truth = images(camera)
    found = json.loads(score(cache=session, vae=vae, truth=truth, truth_camera=camera)[1])
    near, far = found["turns"]
    assert near["LPIPS"] < far["LPIPS"]
    assert near["PSNR dB"] > far["PSNR dB"] + 3
    assert "turn 1 is closest to the truth" in found["verdict"]


def test_weights_are_read_once_and_again_when_they_change(
    score, session: MemoryCache, vae, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memory_v2v.nodes.host.models import metric_networks
    from memory_v2v.nodes.scoring import ScoreTurns

    metric_networks._loaded.cache_clear()
    reads: list[Path] = []
    networks = dict(metric_networks._NETWORKS)
    make, part, folder = networks["DINO-F"]

    def counted(path: Path) -> Any:
        reads.append(path)
        return make(path)

    monkeypatch.setitem(metric_networks._NETWORKS, "DINO-F", (counted, part, folder))
    first = score(cache=session, vae=vae)[1]
    before = ScoreTurns.fingerprint_inputs(networks=True, newest=8)
    assert score(cache=session, vae=vae)[1] == first
    assert reads == [weights / "dinov2"]
    # Other numbers in a new file.
    import transformers

    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, mlp_ratio=2, image_size=224
    )
    transformers.Dinov2Model(config).save_pretrained(weights / "dinov2" / "dinov2-base")
    assert ScoreTurns.fingerprint_inputs(networks=True, newest=8) != before
    assert ScoreTurns.fingerprint_inputs(networks=False, newest=8) == ""
    assert score(cache=session, vae=vae)[1] != first
    assert len(reads) == 2


def test_networks_are_moved_by_comfyui(score, session: MemoryCache, vae, weights: Path) -> None:
    import comfy.model_management

    from memory_v2v.nodes.host.models import metric_networks

    score(cache=session, vae=vae)
    patcher = metric_networks.network_loaders()["DINO-F"]().patcher
    held = [each.model for each in comfy.model_management.current_loaded_models]
    assert any(model is patcher for model in held)
    comfy.model_management.unload_all_models()
    again = json.loads(score(cache=session, vae=vae)[1])
    assert "DINO-F neighbours" in again["turns"][0]
    assert all(not parameter.is_inference() for parameter in patcher.model.parameters())


def test_connected_videos_are_scored_without_a_session(score, weights: Path) -> None:
    videos = {"video_1": images(path("pan_right", 40)), "video_2": images(path("pan_left", 40))}
    from comfy_execution.graph_utils import ExecutionBlocker

    _, numbers, mae, _ = score(videos=videos).args
    found = json.loads(numbers)
    assert [row["name"] for row in found["turns"]] == ["video_1", "video_2"]
    assert isinstance(mae, ExecutionBlocker)
    assert any("nobody knows the camera" in reason for reason in found["not_measured"])


def test_the_newest_turns_are_scored_and_takes_are_told_apart(score, session, vae) -> None:
    found = json.loads(score(cache=session, vae=vae, newest=2, networks=False)[1])
    assert found["notes"] == ["of 3 turns the 2 newest are scored"]
    assert [row["name"] for row in found["pairs"]] == ["turns 2 and 3"]
    camera = path("pan_right", 40)
    one, other = turn(vae, 1, camera), turn(vae, 1, camera, seed=2)
    report = score(cache=cache_of(one, other), vae=vae, networks=False)[0]
    assert f"turns 1 ({one.entry_id[:8]}) and 1 ({other.entry_id[:8]}) differ" in report


def test_segments_are_not_laid_over_each_other(score, vae, weights: Path) -> None:
    camera = path("pan_right", 40)
    entries = [
        turn(vae, i + 1, camera, segment=Segment(i, i * NUM_FRAMES, NUM_FRAMES)) for i in range(2)
    ]
    found = json.loads(score(cache=cache_of(*entries), vae=vae)[1])
    assert any("different parts of a long video" in reason for reason in found["not_measured"])
    assert not any("difference" in row for row in found["pairs"])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "there are 0 videos to score, wanted 1 or more"),
        ({"truth_camera": SOURCE}, "truth is not connected, but truth_camera is"),
        (
            {"truth": torch.zeros(4, 8, 8, 3), "truth_camera": SOURCE},
            "truth_camera got 3 frames, wanted 4 as truth has",
        ),
    ],
)
def test_wrong_inputs_are_named(score, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(**inputs)


def test_a_session_needs_its_vae(score, session: MemoryCache, vae, monkeypatch) -> None:
    with pytest.raises(ValueError, match="vae is not connected, but cache holds 3 turns"):
        score(cache=session)
    monkeypatch.setattr(vae, "latent_channels", 48)
    with pytest.raises(ValueError, match="vae decodes latents of 48 channels, wanted 16"):
        score(cache=session, vae=vae)


def test_one_turn_without_networks_is_one_clear_error(score, vae) -> None:
    alone = cache_of(turn(vae, 1, path("pan_right", 40)))
    with pytest.raises(ValueError, match="nothing of turn 1 could be measured: a single video"):
        score(cache=alone, vae=vae, networks=False)

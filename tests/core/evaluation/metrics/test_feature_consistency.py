"""DINO-F and CLIP-F: the networks of transformers by hand, and orders that must hold."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from memv2v_core.evaluation.metrics.feature_consistency import (
    CLIP,
    DINO,
    FRAMES_AT_ONCE,
    ClipF,
    DinoF,
    neighbour_similarity,
    pair_similarity,
)
from memv2v_core.evaluation.metrics.metric import Batch

transformers = pytest.importorskip("transformers")
KINDS = {"dino": DinoF, "clip": ClipF}
# preprocessor_config.json of facebook/dinov2-base and of openai/clip-vit-base-patch32.
PROCESSORS: dict[str, dict[str, Any]] = {
    "dino": {
        "crop_size": {"height": 224, "width": 224},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_processor_type": "BitImageProcessor",
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 256},
    },
    "clip": {
        "crop_size": 224,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "size": 224,
    },
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small DINOv2 and a small CLIP with random weights."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    dino = transformers.Dinov2Config(**sizes, mlp_ratio=2, image_size=224)
    transformers.Dinov2Model(dino).save_pretrained(folder / DINO.name)
    clip = transformers.CLIPConfig(
        vision_config={**sizes, "intermediate_size": 64, "patch_size": 32, "projection_dim": 24},
        text_config={**sizes, "intermediate_size": 64, "vocab_size": 50, "projection_dim": 24},
        projection_dim=24,
    )
    transformers.CLIPModel(clip).save_pretrained(folder / CLIP.name)
    return folder


@pytest.fixture(scope="module", params=["dino", "clip"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def metric(kind: str, weights: Path) -> DinoF | ClipF:
    return KINDS[kind](weights)


def videos(seed: int, count: int, num_frames: int, size: tuple[int, int] = (60, 90)):
    """Pictures of bytes, as a video file holds them, each frame another one."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count * num_frames, 3, 6, 6, generator=generator)
    smooth = F.interpolate(coarse, size, mode="bicubic").clamp(0, 1)
    return ((smooth * 255).round() / 255).unflatten(0, (count, num_frames))


@torch.no_grad()
def features_by_hand(kind: str, weights: Path, video: torch.Tensor, folder: Path) -> torch.Tensor:
    """Features of a video's frames through transformers alone, with the published settings."""
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSORS[kind]))
    name = "BitImageProcessor" if kind == "dino" else "CLIPImageProcessor"
    processor = getattr(transformers, name).from_pretrained(folder)
    frames = [(frame * 255).round().to(torch.uint8) for frame in video]
    pixels = processor(frames, return_tensors="pt")["pixel_values"]
    assert pixels.shape == (len(video), 3, 224, 224)
    if kind == "dino":
        network = transformers.Dinov2Model.from_pretrained(weights / DINO.name)
        return network(pixels).last_hidden_state[:, 0]
    network = transformers.CLIPModel.from_pretrained(weights / CLIP.name)
    words = torch.tensor([[1, 2, 3]])
    return network(input_ids=words, pixel_values=pixels).image_embeds


@pytest.mark.parametrize("size", [(60, 90), (300, 260)])
def test_both_columns_are_those_of_transformers_by_hand(
    kind: str, metric: DinoF | ClipF, weights: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    made = videos(1, 2, 4, size)
    measured = metric(Batch(made))
    assert measured.shape == (2, 2)
    assert measured.dtype == torch.float64
    for row, video in zip(measured, made, strict=True):
        features = features_by_hand(kind, weights, video, tmp_path)
        cosine = F.cosine_similarity(features[:, None], features[None], dim=-1)
        pairs = [(i, j) for i in range(4) for j in range(i)]
        wanted = [
            sum(float(cosine[i, i + 1]) for i in range(3)) / 3,
            sum(float(cosine[pair]) for pair in pairs) / len(pairs),
        ]
        assert row.tolist() == pytest.approx(wanted, abs=1e-6)
        assert max(wanted) < 0.9999


def test_equal_frames_give_one(metric: DinoF | ClipF) -> None:
    video = videos(2, 1, 1).expand(1, FRAMES_AT_ONCE + 2, 3, 60, 90)
    assert metric(Batch(video))[0].tolist() == pytest.approx([1, 1], abs=1e-6)


def test_another_order_changes_neighbours_alone(metric: DinoF | ClipF) -> None:
    first, last = videos(3, 1, 2)[0]
    blend = torch.linspace(0, 1, 7).view(-1, 1, 1, 1)
    video = ((1 - blend) * first + blend * last)[None]
    ordered = metric(Batch(video))[0].tolist()
    shuffled = metric(Batch(video[:, [0, 4, 1, 5, 2, 6, 3]]))[0].tolist()
    assert shuffled[1] == pytest.approx(ordered[1], abs=1e-6)
    assert 1 - shuffled[0] > 2 * (1 - ordered[0])
    # A slow change: neighbours are nearer than the average pair.
    assert ordered[0] > ordered[1]


def test_two_videos_measure_as_each_alone(metric: DinoF | ClipF) -> None:
    made = videos(4, 2, 3)
    alone = torch.cat([metric(Batch(made[i : i + 1])) for i in range(2)])
    assert torch.equal(metric(Batch(made)), alone)


def test_a_long_video_passes_a_few_frames_at_a_time(metric: DinoF | ClipF) -> None:
    counts = []
    network = getattr(metric.network, "vision_model", metric.network)  # of CLIP
    hook = network.register_forward_pre_hook(
        lambda _module, _args, named: counts.append(len(named["pixel_values"])), with_kwargs=True
    )
    metric(Batch(videos(5, 1, FRAMES_AT_ONCE + 1)))
    hook.remove()
    assert counts == [FRAMES_AT_ONCE, 1]


def test_no_value_for_one_frame_or_for_what_is_no_number(metric: DinoF | ClipF) -> None:
    assert metric(Batch(videos(6, 1, 1))).isnan().all()
    made = videos(6, 2, 2)
    made[0, 1, 0, 3, 3] = math.nan
    measured = metric(Batch(made))
    assert measured[0].isnan().all()
    assert measured[1].isfinite().all()
    assert metric.needs == frozenset()


def test_similarities_of_known_directions() -> None:
    # Two frames along x, two along y: neighbours 1, 0, 1; pairs 1 twice and 0 four times.
    directions = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]], dtype=torch.float64)
    assert float(neighbour_similarity(directions)) == pytest.approx(2 / 3)
    assert float(pair_similarity(directions)) == pytest.approx(1 / 3)
    opposite = torch.tensor([[1.0, 0], [-1, 0]], dtype=torch.float64)
    assert float(pair_similarity(opposite)) == pytest.approx(-1)


@pytest.mark.parametrize(
    ("metric_type", "parts"),
    [
        (DinoF, ("dinov2-base", "facebook/dinov2-base", "346 MB")),
        (ClipF, ("clip-vit-base-patch32", "openai/clip-vit-base-patch32", "605 MB")),
    ],
)
def test_missing_weights_name_network_source_size_and_folder(
    metric_type: type[DinoF] | type[ClipF], parts: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="lacks config.json and model.safetensors") as caught:
        metric_type(tmp_path)
    for part in (*parts, str(tmp_path / parts[0])):
        assert part in str(caught.value)


def test_the_published_form_of_clips_weights_is_read(weights: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = tmp_path / CLIP.name
    folder.mkdir()
    (folder / "config.json").write_bytes((weights / CLIP.name / "config.json").read_bytes())
    torch.save(load_file(weights / CLIP.name / "model.safetensors"), folder / "pytorch_model.bin")
    batch = Batch(videos(7, 1, 3))
    assert torch.equal(ClipF(tmp_path)(batch), ClipF(weights)(batch))


@pytest.mark.parametrize("fault", ["a layer less", "another width"])
def test_weights_that_are_not_the_whole_network_are_refused(
    kind: str, fault: str, weights: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    part = {"dino": DINO, "clip": CLIP}[kind]
    whole = load_file(weights / part.name / "model.safetensors")
    changed = {
        "a layer less": {name: value for name, value in whole.items() if "layers.1." not in name},
        "another width": {
            name: value[:16].contiguous() if "norm" in name else value
            for name, value in whole.items()
        },
    }[fault]
    if kind == "dino" and fault == "a layer less":
        changed = {name: value for name, value in whole.items() if "layer.1." not in name}
    (tmp_path / part.name).mkdir()
    description = weights / part.name / "config.json"
    (tmp_path / part.name / "config.json").write_bytes(description.read_bytes())
    save_file(changed, tmp_path / part.name / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=rf"lacks \d+ of its tensors, .* from {part.source}"):
        KINDS[kind](tmp_path)


def test_another_model_and_a_broken_file_are_refused(weights: Path, tmp_path: Path) -> None:
    (weights / CLIP.name).rename(tmp_path / DINO.name)
    try:
        with pytest.raises(ValueError, match=r"describes a 'clip' model, wanted the description"):
            DinoF(tmp_path)
    finally:
        (tmp_path / DINO.name).rename(weights / CLIP.name)
    broken = tmp_path / CLIP.name
    broken.mkdir()
    (broken / "config.json").write_bytes((weights / CLIP.name / "config.json").read_bytes())
    (broken / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"model.safetensors in .* could not be read .*; download"):
        ClipF(tmp_path)
    (broken / "config.json").write_text("no JSON")
    with pytest.raises(ValueError, match=r"config.json in .* could not be read"):
        ClipF(tmp_path)

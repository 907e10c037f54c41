"""Descriptors of clips: the light one keeps shots apart, DINOv2's is what transformers makes of the
frames.
"""

import json
from pathlib import Path

import pytest
import torch

from memv2v_core.retrieval.descriptors import (
    LIGHT,
    DinoDescriptor,
    default_min_similarity,
    dino_pixels,
    light_descriptor,
    load_descriptor,
)
from memv2v_core.synthetic.rendering import render_world
from memv2v_core.synthetic.worlds import WorldConfig, make_world


def clip(seed: int, start: int, num_frames: int = 5, size: int = 64) -> torch.Tensor:
    world = make_world(WorldConfig(), torch.Generator().manual_seed(seed))
    return render_world(world, range(start, start + 2 * num_frames, 2), size)


def test_default_threshold_keeps_shots_apart():
    descriptors = {
        (seed, start): light_descriptor(clip(seed, start))
        for seed in range(6)
        for start in (0, 30, 90)
    }
    same, other = [], []
    for first, a in descriptors.items():
        for second, b in descriptors.items():
            if first < second:
                (same if first[0] == second[0] else other).append(float(a @ b))
    assert min(same) > default_min_similarity(LIGHT) > max(other)
    assert sorted(other)[len(other) // 2] < 0.5


def test_light_descriptor_is_of_length_one_at_any_size_and_count():
    for shape in ((1, 3, 17, 33), (9, 3, 96, 96), (2, 3, 200, 300)):
        descriptor = light_descriptor(torch.rand(shape, generator=torch.Generator().manual_seed(0)))
        assert descriptor.shape == (581,)
        assert descriptor.dtype == torch.float32
        assert float(descriptor.norm()) == pytest.approx(1.0, abs=1e-5)
    assert torch.isfinite(light_descriptor(torch.zeros(2, 3, 32, 32))).all()


def test_light_descriptor_hardly_depends_on_size_and_not_on_frame_order():
    frames = clip(1, 0, num_frames=11)
    assert torch.allclose(light_descriptor(frames), light_descriptor(frames.flip(0)), atol=1e-5)
    large = torch.nn.functional.interpolate(frames, (192, 160), mode="bilinear", antialias=True)
    assert float(light_descriptor(frames) @ light_descriptor(large)) > 0.97


def test_light_descriptor_tells_places_in_the_frame():
    left = torch.full((1, 3, 64, 64), 0.5)
    left[:, 0, :, :32] = 1.0
    right = left.flip(-1)
    assert float(light_descriptor(left) @ light_descriptor(right)) < 0.9


@pytest.fixture(scope="module")
def dino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny DINOv2 with random weights."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, mlp_ratio=2, image_size=224
    )
    folder = tmp_path_factory.mktemp("models") / "dinov2-base"
    transformers.Dinov2Model(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("size", [(96, 96), (300, 400), (513, 257)])
def test_dino_descriptor_is_what_transformers_makes_of_the_frames(dino_folder, size):
    from transformers import BitImageProcessor, Dinov2Model

    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(10, 3, 12, 12, generator=generator)
    frames = torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1)
    frames = (frames * 255).round() / 255
    # preprocessor_config.json of facebook/dinov2-base
    processor = BitImageProcessor(
        do_resize=True,
        size={"shortest_edge": 256},
        resample=3,
        do_center_crop=True,
        crop_size={"height": 224, "width": 224},
        do_rescale=True,
        rescale_factor=0.00392156862745098,
        do_normalize=True,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
        do_convert_rgb=True,
    )
    pictures = [
        (frame * 255).byte().permute(1, 2, 0).numpy() for frame in (frames + 1e-4).clamp(max=1)
    ]
    wanted_pixels = processor(pictures, return_tensors="pt")["pixel_values"]
    assert (
        float((dino_pixels(frames) - wanted_pixels).abs().max()) < 0.04
    )  # two steps of 8 bits, where the processor rounds
    with torch.no_grad():
        hidden = Dinov2Model.from_pretrained(dino_folder)(wanted_pixels).last_hidden_state
    descriptor = DinoDescriptor(dino_folder)(frames)
    assert descriptor.shape == (32,)
    assert descriptor.dtype == torch.float32
    assert not descriptor.requires_grad
    wanted = hidden[:, 0].mean(dim=0)
    assert float((descriptor - wanted).norm() / wanted.norm()) < 2e-3


def test_dino_descriptor_averages_all_frames(dino_folder):
    describe = DinoDescriptor(dino_folder)
    frames = clip(2, 0, num_frames=11)
    one_by_one = torch.stack([describe(frame[None]) for frame in frames]).mean(dim=0)
    torch.testing.assert_close(describe(frames), one_by_one, atol=1e-5, rtol=1e-4)


def test_published_widths_have_their_names(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2Config(
        hidden_size=384, num_hidden_layers=1, num_attention_heads=6, mlp_ratio=1
    )
    transformers.Dinov2Model(config).save_pretrained(tmp_path / "dinov2-small")
    loaded = load_descriptor("dinov2-small", [tmp_path / "none", tmp_path])
    assert loaded.name == "dinov2-small"
    assert loaded(torch.rand(1, 3, 32, 32)).shape == (384,)
    (tmp_path / "dinov2-small").rename(tmp_path / "dinov2-large")
    with pytest.raises(ValueError, match="dinov2-large holds dinov2-small, wanted dinov2-large"):
        load_descriptor("dinov2-large", [tmp_path])


def test_light_needs_nothing():
    loaded = load_descriptor(LIGHT, [])
    frames = clip(1, 0)
    assert loaded.name == LIGHT
    assert torch.equal(loaded(frames), light_descriptor(frames))


def test_missing_weights_are_named_with_file_source_and_folder(tmp_path):
    (tmp_path / "dinov2-base").mkdir()
    (tmp_path / "dinov2-base" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="dinov2-base") as caught:
        load_descriptor("dinov2-base", [tmp_path, tmp_path / "other"])
    told = str(caught.value)
    for part in (
        "model.safetensors",
        "config.json",
        "huggingface.co/facebook/dinov2-base",
        str(tmp_path),
        LIGHT,
    ):
        assert part in told


def test_broken_weights_are_named(tmp_path):
    pytest.importorskip("transformers")
    folder = tmp_path / "dinov2-base"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "vit"}')
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="holds a 'vit' model, wanted 'dinov2'"):
        load_descriptor("dinov2-base", [tmp_path])
    (folder / "config.json").write_text('{"model_type": "dinov2"}')
    with pytest.raises(ValueError, match="dinov2-base could not be read from"):
        load_descriptor("dinov2-base", [tmp_path])


@pytest.mark.parametrize("fault", ["foreign names", "a layer less", "another width"])
def test_weights_that_are_not_the_whole_model_are_refused(dino_folder, tmp_path, fault):
    from safetensors.torch import load_file, save_file

    weights = load_file(dino_folder / "model.safetensors")
    changed = {
        "foreign names": {f"blocks.{name}": value for name, value in weights.items()},
        "a layer less": {name: value for name, value in weights.items() if "layer.1" not in name},
        "another width": {
            name: value[:16] if value.ndim == 1 else value for name, value in weights.items()
        },
    }[fault]
    folder = tmp_path / "dinov2-base"
    folder.mkdir()
    (folder / "config.json").write_bytes((dino_folder / "config.json").read_bytes())
    save_file(
        {name: value.contiguous() for name, value in changed.items()}, folder / "model.safetensors"
    )
    with pytest.raises(
        ValueError,
        match=r"lacks \d+ weights of the DINOv2 .*put model.safetensors and config.json of",
    ):
        load_descriptor("dinov2-base", [tmp_path])


def test_a_config_of_nothing_known_has_a_remedy(tmp_path):
    pytest.importorskip("transformers")
    folder = tmp_path / "dinov2-base"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(
        ValueError, match="dinov2-base could not be read .*put model.safetensors and config.json of"
    ):
        load_descriptor("dinov2-base", [tmp_path])


def test_download_is_asked_for_by_the_published_name(monkeypatch, tmp_path):
    transformers = pytest.importorskip("transformers")
    asked = []

    def refuse(source: object, **options: object) -> None:
        asked.append((source, options["local_files_only"]))
        raise OSError("no network here")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", refuse)
    with pytest.raises(
        ValueError,
        match="dinov2-large could not be read from https://huggingface.co/facebook/dinov2-l",
    ):
        load_descriptor("dinov2-large", [tmp_path], may_download=True)
    assert asked == [("facebook/dinov2-large", False)]


def test_a_config_with_sizes_of_no_model_is_refused_before_a_model_is_made(dino_folder, tmp_path):
    folder = tmp_path / "dinov2-base"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes((dino_folder / "model.safetensors").read_bytes())
    config = json.loads((dino_folder / "config.json").read_text())
    for changes, words in (
        ({"hidden_size": 10**9}, "1000000000 for hidden_size in config.json, wanted 1 to 4096"),
        ({"num_hidden_layers": 10**6}, "for num_hidden_layers"),
        ({"patch_size": 0}, "0 for patch_size"),
        ({"image_size": True}, "image_size"),
        ({"hidden_act": []}, "hidden_act"),
    ):
        (folder / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(ValueError, match=f"dinov2-base could not be read .*{words}") as caught:
            load_descriptor("dinov2-base", [tmp_path])
        assert len(str(caught.value)) < 1200


def test_how_to_allow_a_download_is_told_with_source_and_size(tmp_path):
    with pytest.raises(
        ValueError, match=r"let the node download facebook/dinov2-large \(1.2 GB\) .*: do this$"
    ):
        load_descriptor("dinov2-large", [tmp_path], how_to_allow="do this")


def test_unknown_name_is_refused():
    with pytest.raises(
        ValueError, match="descriptor got 'clip', wanted one of built-in light, dinov2-base"
    ):
        load_descriptor("clip", [])

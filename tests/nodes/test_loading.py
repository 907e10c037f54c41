"""Built-in models as MODEL and VAE."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from memv2v_core.builtin import bundle
from memv2v_core.cache.entry import MODES


@pytest.fixture
def loader(comfy_api, tiny_weights: Path) -> type:
    from memory_v2v.nodes.loading import LoadMemoryV2VModel

    return LoadMemoryV2VModel


@pytest.fixture
def copied_weights(tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the weights that a test may break."""
    folder = tmp_path / "weights"
    shutil.copytree(tiny_weights, folder)
    monkeypatch.setattr(bundle, "WEIGHTS", folder)
    return folder


def test_built_in_models_are_listed(loader) -> None:
    model_name, adapter = loader.define_schema().inputs
    assert model_name.options[0] == "built-in: tiny"
    assert adapter.options[0] == adapter.default == "the model's own"


def test_loaded_model_carries_adapter_shift_and_what_is_known_of_it(comfy_api, loader) -> None:
    from memory_v2v.nodes.host.models.attachment import adapter_of, base_info

    model, clip, _ = comfy_api.run_node(loader, model_name="built-in: tiny").result
    assert clip is None
    assert model.get_model_object("model_sampling").shift == 3.0
    assert model.model.diffusion_model.dim == adapter_of(model).config.dim == 64
    assert {p.dtype for p in model.model.diffusion_model.parameters()} == {torch.float32}
    info = base_info(model)
    assert (info.model_name, info.text_width, info.clean_timestep) == ("built-in: tiny", 16, "zero")
    assert info.mode in MODES
    assert info.ratios.temporal == 1
    assert info.latent_size == (16, 16)


def test_two_loads_share_no_state(comfy_api, loader) -> None:
    first, second = (
        comfy_api.run_node(loader, model_name="built-in: tiny").result[0] for _ in range(2)
    )
    assert first.model is not second.model


def test_fingerprint_follows_the_files(loader, copied_weights: Path) -> None:
    before = loader.fingerprint_inputs(model_name="built-in: tiny")
    assert loader.fingerprint_inputs(model_name="built-in: tiny") == before
    path = bundle.adapter_path("tiny")
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    assert loader.fingerprint_inputs(model_name="built-in: tiny") != before


@pytest.mark.parametrize("part", ["dit", "vae", "adapter"])
def test_missing_file_is_named_with_its_folder(
    comfy_api, loader, copied_weights: Path, part: str
) -> None:
    (copied_weights / f"tiny_{part}.safetensors").unlink()
    with pytest.raises(ValueError, match=f"tiny_{part}.safetensors .*could not be read") as error:
        comfy_api.run_node(loader, model_name="built-in: tiny")
    assert str(copied_weights) in str(error.value)


@pytest.mark.parametrize("part", ["dit", "vae", "adapter"])
def test_broken_file_is_named(comfy_api, loader, copied_weights: Path, part: str) -> None:
    (copied_weights / f"tiny_{part}.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(ValueError, match=f"tiny_{part}.safetensors"):
        comfy_api.run_node(loader, model_name="built-in: tiny")


def test_channels_of_no_wan_are_named(comfy_api, copied_weights: Path) -> None:
    from memory_v2v.nodes.loading import load_builtin_model

    path = bundle.info_path("tiny")
    path.write_text(path.read_text().replace('"channels": 16', '"channels": 17'))
    with pytest.raises(ValueError, match="tiny.json in .* has 17 channels, wanted 16 or 48"):
        load_builtin_model("tiny")


def test_file_of_another_kind_is_refused_with_what_it_holds(
    comfy_api, loader, copied_weights: Path
) -> None:
    save_file({"some.weight": torch.zeros(2)}, str(bundle.dit_path("tiny")))
    with pytest.raises(
        ValueError, match=r"is 1 tensors, the first named 'some.weight', wanted a Wan DiT"
    ):
        comfy_api.run_node(loader, model_name="built-in: tiny")


@pytest.mark.parametrize(
    ("part", "name"), [("dit", "blocks.1.ffn.0.bias"), ("vae", "synthesis.bias")]
)
def test_missing_tensor_is_named(
    comfy_api, loader, copied_weights: Path, part: str, name: str
) -> None:
    path = copied_weights / f"tiny_{part}.safetensors"
    weights = load_file(str(path))
    del weights[name]
    metadata = {"config": '{"transformer": {"num_heads": 4, "text_dim": 16, "freq_dim": 32}}'}
    save_file(weights, str(path), metadata=metadata)
    with pytest.raises(ValueError, match=f"{path.name} in .* has no tensor '{name}'"):
        comfy_api.run_node(loader, model_name="built-in: tiny")


def test_adapter_file_of_the_user_is_listed_and_loaded(
    comfy_api, loader, copied_weights: Path
) -> None:
    from memory_v2v.nodes.host.models.attachment import adapter_of, base_info

    folder = comfy_api.base_dir / "models" / "memv2v"
    folder.mkdir(exist_ok=True)
    path = folder / "mine.safetensors"
    shutil.copy(bundle.adapter_path("tiny"), path)
    bundle.adapter_path("tiny").unlink()
    assert "mine.safetensors" in loader.define_schema().inputs[1].options
    model = comfy_api.run_node(
        loader, model_name="built-in: tiny", adapter="mine.safetensors"
    ).result[0]
    assert adapter_of(model).config.num_blocks == 3
    info = base_info(model)
    assert (info.model_name, info.mode, info.has_cameras) == (
        "built-in: tiny with mine",
        "trained",
        True,
    )
    assert (info.clean_timestep, info.text_width) == ("zero", 16)


def test_the_codec_is_read_once(comfy_api, loader, monkeypatch: pytest.MonkeyPatch) -> None:
    read, load_codec = [], bundle.load_codec
    monkeypatch.setattr(bundle, "load_codec", lambda name: read.append(name) or load_codec(name))
    comfy_api.run_node(loader, model_name="built-in: tiny")
    assert read == ["tiny"]


def test_a_second_copy_of_the_dit_is_the_same(comfy_api, loader) -> None:
    model = comfy_api.run_node(loader, model_name="built-in: tiny").result[0]
    load, arguments = (
        model.cached_patcher_init
    )  # what ComfyUI calls for torch.compile and for a second GPU
    again = load(*arguments, disable_dynamic=True)
    wanted = model.model.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in again.model.state_dict().items())
    assert type(again.model.latent_format) is type(model.model.latent_format)


def test_a_folder_without_adapters_says_what_belongs_there(comfy_api, monkeypatch) -> None:
    from memory_v2v.nodes import loading

    monkeypatch.setattr(loading, "weight_files", lambda folder: [])
    (given,) = loading.LoadMemoryAdapter.define_schema().inputs
    assert given.options == [loading.NO_ADAPTER]
    assert loading.LoadMemoryAdapter.fingerprint_inputs(loading.NO_ADAPTER) == ""
    told = loading.LoadMemoryAdapter.validate_inputs(loading.NO_ADAPTER)
    assert "wanted a file in models/memv2v; put a trained adapter" in told
    assert loading.LoadMemoryAdapter.validate_inputs(None) is True


def test_each_shipped_model_says_which_cameras_it_knows(
    comfy_api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memory_v2v.nodes.host.models.builtin import use_of

    monkeypatch.setattr(bundle, "WEIGHTS", Path(bundle.__file__).parent / "weights")
    uses = {name: use_of(name, bundle.read_info(name)) for name in bundle.builtin_names()}
    assert "turn on the spot" in uses["novel_view"]
    assert "choose built-in: novel_view_depth" in uses["novel_view"]
    assert "turn and move" in uses["novel_view_depth"]
    assert all("camera" not in uses[name] for name in ("text_edit", "reference_edit"))
    # A model of the user's own says what its task is.
    assert use_of("mine", bundle.read_info("novel_view")).startswith("shows a clip along a camera")

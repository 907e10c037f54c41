import re
from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from memv2v_core.weights.checkpoint import to_native_names
from memv2v_core.weights.convert import convert, main


def tiny(in_channels: int, out_channels: int) -> WanTransformer3DModel:
    torch.manual_seed(0)
    return WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=32,
        in_channels=in_channels,
        out_channels=out_channels,
        text_dim=32,
        freq_dim=32,
        ffn_dim=64,
        num_layers=2,
    )


@pytest.fixture(scope="module")
def lucy() -> dict[str, torch.Tensor]:
    """LucyEdit's weights, small, in diffusers' names."""
    return tiny(96, 48).state_dict()


@pytest.fixture(scope="module")
def recammaster() -> dict[str, torch.Tensor]:
    """ReCamMaster's checkpoint, small."""
    weights = to_native_names(tiny(16, 16).state_dict())
    for i in range(2):
        for name, inputs in (("cam_encoder", 12), ("projector", 64)):
            weights |= {
                f"blocks.{i}.{name}.weight": torch.randn(64, inputs),
                f"blocks.{i}.{name}.bias": torch.randn(64),
            }
    return weights


def save_shards(folder: Path, weights: dict[str, torch.Tensor], count: int = 3) -> None:
    folder.mkdir(parents=True)
    names = sorted(weights)
    for i in range(count):
        part = {name: weights[name].contiguous() for name in names[i::count]}
        save_file(
            part, str(folder / f"diffusion_pytorch_model-{i + 1:05d}-of-{count:05d}.safetensors")
        )


def test_recammasters_checkpoint_becomes_one_safetensors_file(
    recammaster: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(recammaster, tmp_path / "step20000.ckpt")
    file = convert(tmp_path / "step20000.ckpt", tmp_path / "out.safetensors")
    assert file.kind == "recammaster"
    found = load_file(str(tmp_path / "out.safetensors"))
    assert set(found) == set(recammaster)
    assert all(torch.equal(found[name], tensor) for name, tensor in recammaster.items())


@pytest.mark.parametrize("above", [False, True])
def test_a_diffusers_folder_of_shards_becomes_one_native_file(
    lucy: dict[str, torch.Tensor], tmp_path: Path, above: bool
) -> None:
    save_shards(tmp_path / "Lucy" / "transformer", lucy)
    source = tmp_path / "Lucy" if above else tmp_path / "Lucy" / "transformer"
    file = convert(source, tmp_path / "lucy.safetensors", torch.bfloat16)
    assert (file.kind, file.layout) == ("lucyedit", "diffusers")
    found = load_file(str(tmp_path / "lucy.safetensors"))
    wanted = to_native_names(lucy)
    assert set(found) == set(wanted)
    assert all(torch.equal(found[name], tensor.bfloat16()) for name, tensor in wanted.items())


def test_a_diffusers_file_is_converted_from_the_command_line(
    lucy: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    save_file(lucy, str(tmp_path / "lucy.safetensors"), metadata={"format": "pt"})
    main([str(tmp_path / "lucy.safetensors"), str(tmp_path / "out.safetensors"), "--dtype", "fp16"])
    with safe_open(str(tmp_path / "out.safetensors"), framework="pt") as file:
        assert file.get_tensor("head.head.weight").dtype == torch.float16
        assert file.metadata()["memory_v2v_source"] == "LucyEdit (Wan2.2 2 blocks of 64)"


def test_a_file_that_is_no_base_is_refused_and_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"decoder.conv1.weight": torch.zeros(1)}, str(tmp_path / "vae.safetensors"))
    with pytest.raises(SystemExit):
        main([str(tmp_path / "vae.safetensors"), str(tmp_path / "out.safetensors")])
    assert "vae.safetensors is a VAE, wanted a Wan DiT" in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


def test_a_source_that_is_not_whole_is_refused(
    recammaster: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    for name, message in (
        (
            "blocks.1.cross_attn.k.bias",
            "without 1 of its weights, the first 'blocks.1.cross_attn.k.bias'",
        ),
        ("blocks.1.projector.weight", "blocks.1.projector.weight is missing"),
    ):
        torch.save(
            {key: value for key, value in recammaster.items() if key != name}, tmp_path / "cut.ckpt"
        )
        with pytest.raises(ValueError, match=message):
            convert(tmp_path / "cut.ckpt", tmp_path / "out.safetensors")


def test_nothing_is_overwritten_and_only_safetensors_is_written(tmp_path: Path) -> None:
    target = tmp_path / "out.safetensors"
    target.write_bytes(b"mine")
    with pytest.raises(ValueError, match="which exists; delete it"):
        convert(tmp_path / "in.ckpt", target)
    with pytest.raises(
        ValueError, match="OUT got out.ckpt, wanted a name that ends in .safetensors"
    ):
        convert(tmp_path / "in.ckpt", tmp_path / "out.ckpt")


def test_a_folder_without_one_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=f"{re.escape(str(tmp_path))} got no file of weights, wanted one file"
    ):
        convert(tmp_path, tmp_path / "out.safetensors")

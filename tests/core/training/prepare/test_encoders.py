"""Encoders against the pipelines of diffusers, with small random weights of the true classes."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan, WanPipeline, WanVideoToVideoPipeline
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from memv2v_core.builtin.bundle import load_bundle
from memv2v_core.shapes import VaeRatios
from memv2v_core.training.prepare.config import EncoderConfig
from memv2v_core.training.prepare.encoders.built_in import BuiltinEncoder
from memv2v_core.training.prepare.encoders.protocol import Encoder, device_of
from memv2v_core.training.prepare.encoders.registry import encoder_of
from memv2v_core.training.prepare.encoders.wan_vae import load_vae, to_diffusers_names

pytestmark = pytest.mark.slow

PROMPTS = ["a  red &amp;amp; blue\nbox ", "", "the box " * 600]
WAN22 = {
    "is_residual": True,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_spatial": 16,
    "z_dim": 48,
    "latents_mean": [0.1 * i for i in range(48)],
    "latents_std": [1.0 + 0.1 * i for i in range(48)],
}
CPU = torch.device("cpu")


def _small_vae(**sizes: object) -> AutoencoderKLWan:
    torch.manual_seed(0)
    return AutoencoderKLWan(base_dim=8, **sizes).eval()


@pytest.fixture(scope="module")
def wan_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers folder of Wan2.1: vae/, text_encoder/ and tokenizer/."""
    folder = tmp_path_factory.mktemp("wan")
    _small_vae().save_pretrained(folder / "vae")
    words = ["<pad>", "</s>", "<unk>", "a", "red", "blue", "box", "the", "&"]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder / "tokenizer")
    torch.manual_seed(1)
    config = UMT5Config(vocab_size=9, d_model=24, d_kv=8, d_ff=16, num_layers=2, num_heads=3)
    UMT5EncoderModel(config).save_pretrained(folder / "text_encoder")
    return folder


def _encoder(folder: Path, **changes: object) -> Encoder:
    values = {"kind": "wan", "folder": folder, "text_precision": "fp32", "device": "cpu"}
    return encoder_of(EncoderConfig(**(values | changes)))


def _frames(num_frames: int = 9, side: int = 32) -> torch.Tensor:
    small = torch.rand(num_frames, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    return torch.nn.functional.interpolate(small, (side, side), mode="bilinear")


class _NoNoise:
    """Stands for a scheduler at the end of its steps."""

    def add_noise(
        self, latents: torch.Tensor, _noise: torch.Tensor, _step: torch.Tensor
    ) -> torch.Tensor:
        return latents


def _pipeline_latent(vae: AutoencoderKLWan, frames: torch.Tensor) -> torch.Tensor:
    """(C, T, H, W) as the video-to-video pipeline makes it before it adds noise."""
    pipeline = WanVideoToVideoPipeline(None, None, None, vae, _NoNoise())
    latents = pipeline.prepare_latents(
        frames.transpose(0, 1)[None] * 2 - 1,
        num_channels_latents=vae.config.z_dim,
        height=frames.shape[-2],
        width=frames.shape[-1],
        dtype=torch.float32,
        device=CPU,
        timestep=torch.tensor([0]),
    )
    return latents[0]


def test_latents_are_those_of_the_pipeline(wan_folder: Path) -> None:
    encoder = _encoder(wan_folder)
    assert encoder.ratios == VaeRatios(4, 8, 16)
    frames = _frames()
    with torch.no_grad():
        wanted = _pipeline_latent(_small_vae(), frames)
    torch.testing.assert_close(encoder.encode_video(frames), wanted, rtol=0, atol=1e-6)
    assert wanted.shape == (16, 3, 4, 4)


def test_latents_of_wan22_are_those_of_the_pipeline(tmp_path: Path) -> None:
    vae = _small_vae(**WAN22)
    vae.save_pretrained(tmp_path / "vae")
    encoder = _encoder(tmp_path, has_text=False)
    assert encoder.name == "Wan2.2 VAE, no text"
    assert encoder.ratios == VaeRatios(4, 16, 48)
    assert encoder.text_width is None
    with torch.no_grad():
        wanted = _pipeline_latent(vae, _frames())
    torch.testing.assert_close(encoder.encode_video(_frames()), wanted, rtol=0, atol=1e-6)


def test_decoding_undoes_the_normalisation(wan_folder: Path) -> None:
    encoder, vae = _encoder(wan_folder), _small_vae()
    latent = encoder.encode_video(_frames())
    mean = torch.tensor(vae.config.latents_mean).view(1, 16, 1, 1, 1)
    std = torch.tensor(vae.config.latents_std).view(1, 16, 1, 1, 1)
    with torch.no_grad():
        wanted = vae.decode(latent[None] * std + mean).sample[0].transpose(0, 1)
    decoded = encoder.decode_video(latent)
    torch.testing.assert_close(decoded, (wanted / 2 + 0.5).clamp(0, 1), rtol=0, atol=1e-5)
    assert decoded.shape == (9, 3, 32, 32)


def test_text_tokens_are_those_of_the_pipeline(wan_folder: Path) -> None:
    encoder = _encoder(wan_folder)
    assert encoder.name == "Wan2.1 VAE, UMT5 of width 24"
    assert encoder.text_width == 24
    tokens = encoder.encode_text(PROMPTS)
    pipeline = WanPipeline(
        AutoTokenizer.from_pretrained(wan_folder / "tokenizer"),
        UMT5EncoderModel.from_pretrained(wan_folder / "text_encoder"),
        None,
        None,
    )
    for prompt, found in zip(PROMPTS, tokens, strict=True):
        with torch.no_grad():
            wanted, _ = pipeline.encode_prompt(
                prompt, do_classifier_free_guidance=False, max_sequence_length=512, device=CPU
            )
        assert found.shape == (512, 24)
        assert torch.equal(found, wanted[0])
    # The first prompt is five words and an end, once it is cleaned; the last one is cut.
    assert [int(each.ne(0).any(1).sum()) for each in tokens] == [6, 1, 512]


def test_the_text_encoder_is_gone_before_the_vae_comes(
    wan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = _encoder(wan_folder)
    encoder.encode_text(["a box"])
    held: list[bool] = []
    load = AutoencoderKLWan.from_pretrained

    def spy(*arguments: object, **named: object) -> object:
        held.append(encoder._text._parts is not None)  # type: ignore[attr-defined]
        return load(*arguments, **named)

    monkeypatch.setattr(AutoencoderKLWan, "from_pretrained", spy)
    encoder.load_vae()
    assert held == [False]


def test_files_for_comfyui_are_read_as_the_folder_is(tmp_path: Path) -> None:
    """Names of both files, turned back from those of diffusers, give the same VAE."""
    old = _small_vae()
    new = _small_vae(**{key: WAN22[key] for key in WAN22 if not key.startswith("latents")})
    for vae, name in ((old, "wan_2.1_vae"), (new, "wan2.2_vae")):
        state = vae.state_dict()
        names = _comfyui_names(is_wan22=vae is new)
        assert set(names) == set(state)
        path = tmp_path / f"{name}.safetensors"
        save_file({names[key]: value.contiguous() for key, value in state.items()}, path)
        loaded = load_vae(path, torch.float32)
        for key, value in loaded.state_dict().items():
            assert torch.equal(value, state[key]), key
        encoder = encoder_of(EncoderConfig("wan", vae=path, has_text=False, device="cpu"))
        channels, spatial = (48, 16) if vae is new else (16, 8)
        assert encoder.ratios == VaeRatios(4, spatial, channels)
        assert encoder.encode_video(_frames()).shape[0] == channels
    # Wan-AI/Wan2.2-TI2V-5B-Diffusers, vae/config.json: first and last numbers.
    assert (loaded.config.latents_mean[0], loaded.config.latents_mean[-1]) == (-0.2289, -0.0667)
    assert (loaded.config.latents_std[0], loaded.config.latents_std[-1]) == (0.4765, 0.7744)
    assert len(loaded.config.latents_mean) == len(loaded.config.latents_std) == 48


def _comfyui_names(is_wan22: bool) -> dict[str, str]:
    """The name in ComfyUI's file of each tensor of diffusers' small VAE."""
    sizes = {key: WAN22[key] for key in WAN22 if not key.startswith("latents")}
    vae = _small_vae(**(sizes if is_wan22 else {}))
    names = {}
    for key in vae.state_dict():
        name = key
        for old, new in (
            ("post_quant_conv", "conv2"),
            ("quant_conv", "conv1"),
            ("conv_in", "conv1"),
            ("norm_out", "head.0"),
            ("conv_out", "head.2"),
            ("mid_block.resnets.0", "middle.0"),
            ("mid_block.attentions.0", "middle.1"),
            ("mid_block.resnets.1", "middle.2"),
            ("conv_shortcut", "shortcut"),
        ):
            name = name.replace(old, new)
        if "middle" in name or "blocks" in name:
            for old, new in (("norm1", 0), ("conv1", 2), ("norm2", 3), ("conv2", 6)):
                name = name.replace(f".{old}.", f".residual.{new}.")
        names[key] = _new_blocks(name) if is_wan22 else _old_blocks(name)
    return names


def _new_blocks(name: str) -> str:
    """Wan2.2: two residual blocks and a downsampler, three and an upsampler, a level."""
    name = re.sub(r"down_blocks\.(\d)\.resnets\.", r"downsamples.\1.downsamples.", name)
    name = re.sub(r"down_blocks\.(\d)\.downsampler\.", r"downsamples.\1.downsamples.2.", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.", r"upsamples.\1.upsamples.", name)
    return re.sub(r"up_blocks\.(\d)\.upsampler\.", r"upsamples.\1.upsamples.3.", name)


def _old_blocks(name: str) -> str:
    """Wan2.1: all blocks of all levels in one list."""
    name = name.replace("down_blocks.", "downsamples.")
    name = re.sub(
        r"up_blocks\.(\d)\.resnets\.(\d)",
        lambda match: f"upsamples.{4 * int(match[1]) + int(match[2])}",
        name,
    )
    return re.sub(
        r"up_blocks\.(\d)\.upsamplers\.0",
        lambda match: f"upsamples.{4 * int(match[1]) + 3}",
        name,
    )


def test_names_of_wan22_are_all_converted() -> None:
    names = _comfyui_names(is_wan22=True)
    weights = {name: torch.zeros(1) for name in names.values()}
    assert set(to_diffusers_names(weights)) == set(names)


def test_what_is_missing_is_named_with_its_source(wan_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wanted the folder vae of Wan-AI/Wan2.1-T2V-1.3B-Diff"):
        _encoder(tmp_path, has_text=False)
    with pytest.raises(ValueError, match="wanted the folder text_encoder of .*decart-ai/Lucy-Edit"):
        _encoder(tmp_path, vae=wan_folder / "vae")
    (tmp_path / "text_encoder").symlink_to(wan_folder / "text_encoder")
    with pytest.raises(ValueError, match=r"got no tokenizer_config\.json, wanted the folder tok"):
        _encoder(tmp_path, vae=wan_folder / "vae")


def test_broken_weights_are_named(wan_folder: Path, tmp_path: Path) -> None:
    for part, call in (
        ("vae", lambda encoder: encoder.load_vae()),
        ("text_encoder", lambda encoder: encoder.encode_text(["a"])),
    ):
        folder = tmp_path / part
        _copy(wan_folder, folder)
        (weights,) = (folder / part).glob("*.safetensors")
        weights.write_bytes(weights.read_bytes()[:-1000])
        with pytest.raises(ValueError, match=re.escape(weights.name)):
            call(_encoder(folder))


def test_weights_that_lack_a_tensor_are_refused(wan_folder: Path, tmp_path: Path) -> None:
    """Libraries draw missing weights at random."""
    _copy(wan_folder, tmp_path)
    (tmp_path / "vae").rename(tmp_path / "whole")
    vae = _small_vae()
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text((tmp_path / "whole/config.json").read_text())
    state = {key: value for key, value in vae.state_dict().items() if key != "quant_conv.bias"}
    save_file(state, tmp_path / "vae" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(ValueError, match=r"lacks 1 of its tensors, such as quant_conv\.bias"):
        _encoder(tmp_path).load_vae()


def test_another_model_is_no_vae_of_wan(wan_folder: Path, tmp_path: Path) -> None:
    _copy(wan_folder, tmp_path)
    path = tmp_path / "vae" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_class_name": "AutoencoderKL"}))
    with pytest.raises(ValueError, match="holds 'AutoencoderKL', wanted a VAE of Wan2.1 or"):
        _encoder(tmp_path)
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, other)
    with pytest.raises(ValueError, match=r"other\.safetensors .* is no VAE of Wan"):
        _encoder(tmp_path, vae=other)


def _copy(folder: Path, target: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())


@pytest.mark.parametrize("model", ["novel_view", "text_edit"])
def test_the_built_in_codec_gives_a_video_back(model: str) -> None:
    encoder = BuiltinEncoder(model, CPU)
    frames = _frames(5, 64)
    latent = encoder.encode_video(frames)
    assert latent.shape == (encoder.ratios.channels, 5, 8, 8)
    error = (encoder.decode_video(latent) - frames).abs().mean()
    assert error < 0.04


def test_built_in_text_does_not_depend_on_its_neighbours() -> None:
    encoder, bundle = BuiltinEncoder("text_edit", CPU), load_bundle("text_edit")
    prompts = ["put a hat on the red box", "", "paint the white ring green " * 4]
    tokens = encoder.encode_text(prompts)
    assert tokens[0].shape == (16, 64)
    assert len(tokens[2]) > 16
    for prompt, found in zip(prompts, tokens, strict=True):
        assert torch.equal(found, bundle.encode_prompt([prompt])[0])


def test_a_model_that_reads_no_text_gets_one_zero_token() -> None:
    encoder, bundle = BuiltinEncoder("novel_view", CPU), load_bundle("novel_view")
    (tokens,) = encoder.encode_text(["anything"])
    assert torch.equal(tokens, bundle.empty_context(1)[0])
    assert encoder.text_width == 64


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BuiltinEncoder("none", CPU), "model got 'none', wanted one of novel_view"),
        (lambda: device_of("gpu"), "device got 'gpu', wanted auto"),
        (lambda: EncoderConfig("built_in"), "wanted model alone"),
        (lambda: EncoderConfig("wan", model="novel_view"), "kind 'wan' got model"),
        (lambda: EncoderConfig("wan"), "got no folder"),
    ],
)
def test_wrong_choices_are_errors(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()

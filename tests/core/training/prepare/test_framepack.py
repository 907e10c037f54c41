"""FramePack with a few random weights of the true classes continues a whole clip.

The clip has 33 frames of 16x16, so 9 latents of 2x2.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKLHunyuanVideo,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoFramepackPipeline,
    HunyuanVideoFramepackTransformer3DModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from memv2v_core.clips.clip_files import read_frames, write_clip
from memv2v_core.training.prepare.extension import ExtensionConfig, extend_clips, load_extender
from memv2v_core.training.prepare.framepack import (
    ClipFramepackPipeline,
    FramePackExtender,
    FramePackSettings,
    load_pipeline,
)

pytestmark = pytest.mark.slow

NUM_GIVEN, NUM_NEW, NUM_STEPS = 33, 200, 2
LATENT_CHANNELS = 4
WORDS = ("[UNK]", "[PAD]", "red", "blue", "ball", "cube")
TEXT = {
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
    "vocab_size": 64,
    "intermediate_size": 37,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Models as small as these are slower with several."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return _write_folders(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def pipeline(folders: dict[str, Path]) -> ClipFramepackPipeline:
    return load_pipeline(
        folders["transformer_folder"],
        folders["hunyuan_folder"],
        folders["image_encoder_folder"],
        torch.float32,
        torch.float32,
    )


@pytest.fixture(scope="module")
def extender(pipeline: ClipFramepackPipeline) -> FramePackExtender:
    return FramePackExtender(pipeline, FramePackSettings(NUM_NEW, num_steps=NUM_STEPS))


@pytest.fixture(scope="module")
def clip() -> torch.Tensor:
    return torch.rand(NUM_GIVEN, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def _past(pipeline: ClipFramepackPipeline, clip: torch.Tensor) -> torch.Tensor:
    """The latents (1, C, T, H, W) of a clip, on the scale of the transformer."""
    mean = pipeline.vae.encode(clip.movedim(0, 1)[None] * 2 - 1).latent_dist.mode()
    return mean * pipeline.vae.config.scaling_factor


def test_200_frames_follow_the_33_given_ones(
    extender: FramePackExtender, clip: torch.Tensor
) -> None:
    longer = extender.extend(clip, "red ball", 0)
    assert longer.shape == (233, 3, 16, 16)
    assert torch.equal(longer[:NUM_GIVEN], clip)
    assert longer.min() >= 0
    assert longer.max() <= 1
    # No frame is empty, or a copy of the one before.
    assert longer.std(dim=(1, 2, 3)).min() > 0.01
    assert (longer[1:] - longer[:-1]).abs().amax(dim=(1, 2, 3)).min() > 0.001


def test_the_clip_is_the_history_of_the_sections(
    pipeline: ClipFramepackPipeline, extender: FramePackExtender, clip: torch.Tensor
) -> None:
    calls: list[dict[str, Any]] = []
    hook = pipeline.transformer.register_forward_pre_hook(
        lambda _, arguments, named: calls.append(named), with_kwargs=True
    )
    extender.extend(clip, "red ball", 0)
    hook.remove()
    # 6 sections of 36 frames hold the 200.
    assert extender.num_sections == 6
    assert len(calls) == 6 * NUM_STEPS
    past = _past(pipeline, clip)
    assert past.shape == (1, LATENT_CHANNELS, 9, 2, 2)
    first, second = calls[0], calls[NUM_STEPS]
    for call in calls:
        assert call["hidden_states"].shape[2] == 9
        assert call["indices_latents_clean"].tolist() == [0, 19]
        assert call["indices_latents_history_4x"].tolist() == list(range(1, 17))
        assert call["indices_latents_history_2x"].tolist() == [17, 18]
        assert call["indices_latents"].tolist() == list(range(20, 29))
        assert torch.equal(call["latents_clean"][:, :, 0], past[:, :, 0])
    # The newest latent is clean, the two before it are halved, the rest are quartered.
    assert torch.equal(first["latents_clean"][:, :, 1], past[:, :, 8])
    assert torch.equal(first["latents_history_2x"], past[:, :, 6:8])
    assert torch.equal(first["latents_history_4x"][:, :, 10:], past[:, :, :6])
    assert not first["latents_history_4x"][:, :, :10].any()
    # Nine latents later.
    assert torch.equal(second["latents_history_4x"][:, :, 1:10], past)
    assert second["latents_history_4x"][:, :, 10:].any()


def test_a_clip_of_one_frame_is_continued_as_diffusers_does(
    pipeline: ClipFramepackPipeline,
    extender: FramePackExtender,
    clip: torch.Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = HunyuanVideoFramepackPipeline(**pipeline.components)
    plain.set_progress_bar_config(disable=True)
    past = _past(pipeline, clip[:1])
    # Diffusers draws from the VAE's distribution, we take its mean.
    monkeypatch.setattr(plain, "prepare_image_latents", lambda *_, **__: past)
    (sections,) = plain(
        image=clip[:1],
        prompt="red ball",
        height=16,
        width=16,
        num_frames=6 * 33,
        num_inference_steps=NUM_STEPS,
        guidance_scale=10.0,
        generator=torch.Generator().manual_seed(5),
        sampling_type="vanilla",
        output_type="latent",
        return_dict=False,
    )
    with torch.no_grad():
        video = pipeline.vae.decode(sections[-1] / pipeline.vae.config.scaling_factor).sample[0]
    expected = (video.movedim(1, 0)[1:201] / 2 + 0.5).clamp(0, 1)
    assert torch.equal(extender.extend(clip[:1], "red ball", 5)[1:], expected)


def test_seed_and_prompt_decide(extender: FramePackExtender, clip: torch.Tensor) -> None:
    longer = extender.extend(clip, "red ball", 0)
    assert torch.equal(extender.extend(clip, "red ball", 0), longer)
    assert not torch.equal(extender.extend(clip, "red ball", 1), longer)
    assert not torch.equal(extender.extend(clip, "blue cube", 0), longer)


def test_clips_that_do_not_fit_the_model_are_refused(
    extender: FramePackExtender, clip: torch.Tensor
) -> None:
    with pytest.raises(ValueError, match=r"frames got 32, wanted 4 n \+ 1"):
        extender.extend(clip[:32], "", 0)
    with pytest.raises(ValueError, match="frames got 8x16, wanted sides that are multiples of 16"):
        extender.extend(clip[..., :8], "", 0)


def test_a_folder_is_lengthened_with_the_weights_of_three_folders(
    folders: dict[str, Path], clip: torch.Tensor, tmp_path: Path
) -> None:
    (tmp_path / "clips").mkdir()
    write_clip(tmp_path / "clips" / "a.mp4", clip, 16, crf=0)
    (tmp_path / "clips" / "a.txt").write_text("red ball", encoding="utf-8")
    config = _config(tmp_path, folders)
    assert extend_clips(config).num_extended == 1
    frames, rate = read_frames(tmp_path / "longer" / "a.mp4")
    assert frames.shape == (233, 3, 16, 16)
    assert rate == 16
    given = read_frames(tmp_path / "clips" / "a.mp4").frames
    assert torch.equal(frames[:NUM_GIVEN], given)
    assert extend_clips(config).num_finished == 1


def test_missing_weights_are_named_with_their_source(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    config = _config(tmp_path, folders | {"image_encoder_folder": tmp_path / "nothing"})
    with pytest.raises(ValueError, match=r"image_encoder_folder got .*nothing .*flux_redux_bfl"):
        load_extender(config)
    empty = tmp_path / "framepack"
    empty.mkdir()
    (empty / "config.json").write_bytes(
        (folders["transformer_folder"] / "config.json").read_bytes()
    )
    config = _config(tmp_path, folders | {"transformer_folder": empty})
    with pytest.raises(ValueError, match="weights cannot be loaded: .*framepack"):
        load_extender(config)


def _config(folder: Path, folders: dict[str, Path]) -> ExtensionConfig:
    return ExtensionConfig(
        folder / "clips",
        folder / "longer",
        folders["transformer_folder"],
        folders["hunyuan_folder"],
        folders["image_encoder_folder"],
        num_steps=NUM_STEPS,
        crf=0,
        transformer_dtype="float32",
        dtype="float32",
        device="cpu",
    )


def _write_folders(folder: Path) -> dict[str, Path]:
    """The three model folders of an `ExtensionConfig`, by their keys."""
    transformer, hunyuan, vision = folder / "framepack", folder / "hunyuan", folder / "siglip"
    torch.manual_seed(0)
    _transformer().save_pretrained(transformer)
    _vae().save_pretrained(hunyuan / "vae")
    FlowMatchEulerDiscreteScheduler(shift=7.0).save_pretrained(hunyuan / "scheduler")
    LlamaModel(LlamaConfig(hidden_size=16, **TEXT)).save_pretrained(hunyuan / "text_encoder")
    _llama_tokenizer().save_pretrained(hunyuan / "tokenizer")
    clip = CLIPTextConfig(hidden_size=8, projection_dim=32, **TEXT)
    CLIPTextModel(clip).save_pretrained(hunyuan / "text_encoder_2")
    _write_clip_tokenizer(hunyuan / "tokenizer_2")
    (hunyuan / "model_index.json").write_text(json.dumps(_index()), encoding="utf-8")
    SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=32,
            intermediate_size=37,
            num_hidden_layers=1,
            num_attention_heads=4,
            image_size=30,
            patch_size=15,
        )
    ).save_pretrained(vision / "image_encoder")
    size = {"height": 30, "width": 30}
    SiglipImageProcessor(size=size).save_pretrained(vision / "feature_extractor")
    return {
        "transformer_folder": transformer,
        "hunyuan_folder": hunyuan,
        "image_encoder_folder": vision,
    }


def _transformer() -> HunyuanVideoFramepackTransformer3DModel:
    return HunyuanVideoFramepackTransformer3DModel(
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_attention_heads=2,
        attention_head_dim=10,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        text_embed_dim=16,
        pooled_projection_dim=8,
        rope_axes_dim=(2, 4, 4),
        has_image_proj=True,
        image_proj_dim=32,
        has_clean_x_embedder=True,
    )


def _vae() -> AutoencoderKLHunyuanVideo:
    return AutoencoderKLHunyuanVideo(
        latent_channels=LATENT_CHANNELS,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
    )


def _llama_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, also for the words of the prompt's long template."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", padding_side="right"
    )


def _write_clip_tokenizer(folder: Path) -> None:
    """One token a letter."""
    folder.mkdir(parents=True)
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{each}</w>" for each in letters)]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _index() -> dict[str, object]:
    """As in HunyuanVideo's own folder: it names a transformer that is not there."""
    return {
        "_class_name": "HunyuanVideoPipeline",
        "_diffusers_version": "0.32.0.dev0",
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "LlamaModel"],
        "text_encoder_2": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "transformer": ["diffusers", "HunyuanVideoTransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKLHunyuanVideo"],
    }

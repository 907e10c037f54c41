"""What files are, from the key layouts of the published checkpoints."""

import pytest
import torch
from diffusers import WanTransformer3DModel

from memv2v_core.bases.published import Shapes
from memv2v_core.bases.registry import PUBLISHED as BASES
from memv2v_core.weights.checkpoint import missing_weights, to_native_names
from memv2v_core.weights.detection import ADAPTER_FORMAT, detect, require_base

# (heads of 128, blocks, width of the feed-forward) as in Wan's configs
REAL = {"1.3B": (12, 30, 8960), "5B": (24, 30, 14336), "14B": (40, 40, 13824)}
TINY = (1, 2, 256)


def wan(
    size: tuple[int, int, int],
    in_channels: int = 16,
    out_channels: int = 16,
    layout: str = "native",
) -> Shapes:
    """Shapes of a Wan DiT of (heads, blocks, ffn)."""
    heads, blocks, ffn = size
    with torch.device("meta"):
        model = WanTransformer3DModel(
            num_attention_heads=heads,
            attention_head_dim=128,
            in_channels=in_channels,
            out_channels=out_channels,
            ffn_dim=ffn,
            num_layers=blocks,
        )
    state = model.state_dict()
    return {
        name: tuple(t.shape)
        for name, t in (to_native_names(state) if layout == "native" else state).items()
    }


def cameras(dim: int, blocks: int) -> Shapes:
    """What ReCamMaster adds to every block (inference_recammaster.py)."""
    shapes = {}
    for i in range(blocks):
        shapes |= {
            f"blocks.{i}.cam_encoder.weight": (dim, 12),
            f"blocks.{i}.cam_encoder.bias": (dim,),
        }
        shapes |= {f"blocks.{i}.projector.weight": (dim, dim), f"blocks.{i}.projector.bias": (dim,)}
    return shapes


@pytest.mark.parametrize("layout", ["native", "diffusers"])
@pytest.mark.parametrize(
    ("size", "channels", "kind", "name"),
    [
        ("1.3B", (16, 16), "wan2.1", "Wan2.1 T2V 1.3B"),
        ("14B", (16, 16), "wan2.1", "Wan T2V 14B"),
        ("5B", (48, 48), "wan2.2-5b", "Wan2.2 TI2V 5B"),
        ("5B", (96, 48), "lucyedit", "LucyEdit (Wan2.2 5B)"),
    ],
)
def test_published_bases_are_told_apart(
    size: str, channels: tuple[int, int], kind: str, name: str, layout: str
) -> None:
    shapes = wan(REAL[size], *channels, layout)
    file = detect(shapes)
    assert (file.kind, file.layout, file.model_name("my copy")) == (kind, layout, name)
    assert missing_weights(shapes, file) == []


def test_recammaster_is_told_by_its_cameras() -> None:
    file = detect(wan(REAL["1.3B"]) | cameras(1536, 30))
    assert (file.kind, file.model_name("step20000")) == ("recammaster", "ReCamMaster (Wan2.1 1.3B)")


def test_weights_of_other_sizes_are_named_with_their_file() -> None:
    assert detect(wan(TINY)).model_name("mine") == "Wan2.1 T2V 2 blocks of 128, mine"


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "diffusion_model.", "model.", "dit."])
def test_a_prefix_before_every_key_is_found(prefix: str) -> None:
    shapes = {prefix + name: shape for name, shape in (wan(TINY) | cameras(128, 2)).items()}
    shapes["vae.decoder.conv1.weight"] = (1,)
    file = detect(shapes)
    assert (file.kind, file.prefix, file.sizes.num_blocks) == ("recammaster", prefix, 2)


def test_missing_weights_are_named_as_they_stand_in_the_file() -> None:
    shapes = {"model." + name: shape for name, shape in wan(TINY).items()}
    del shapes["model.blocks.1.ffn.2.bias"]
    assert missing_weights(shapes, detect(shapes)) == ["model.blocks.1.ffn.2.bias"]


def test_scales_of_quantised_weights_change_nothing() -> None:
    extra = {
        "scaled_fp8": (2,),
        "blocks.0.ffn.0.scale_weight": (1,),
        "blocks.0.ffn.0.comfy_quant": (30,),
    }
    assert detect(wan(TINY) | extra).kind == "wan2.1"


def times(dim: int, blocks: int) -> Shapes:
    """What SpaceTimePilot adds to every block beside ReCamMaster's (spacetimepilot.py)."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i in range(blocks):
        embedding = f"blocks.{i}.frame_time_embedding."
        shapes |= {f"{embedding}0.weight": (dim, 256), f"{embedding}0.bias": (dim,)}
        shapes |= {f"{embedding}2.weight": (dim, dim), f"{embedding}2.bias": (dim,)}
        for stage in (1, 2):
            downsampler = f"blocks.{i}.temporal_downsampler."
            shapes |= {
                f"{downsampler}temporal_conv{stage}.weight": (dim, dim, 3),
                f"{downsampler}temporal_conv{stage}.bias": (dim,),
                f"{downsampler}norm{stage}.weight": (dim,),
                f"{downsampler}norm{stage}.bias": (dim,),
            }
    return shapes


def test_spacetimepilot_is_told_by_its_times() -> None:
    shapes = wan(REAL["1.3B"]) | cameras(1536, 30) | times(1536, 30)
    file = detect(shapes)
    assert file.model_name("mine") == "SpaceTimePilot (Wan2.1 1.3B)"
    assert (file.kind, missing_weights(shapes, file)) == ("spacetimepilot", [])
    own = BASES["spacetimepilot"].own
    assert {name for name in shapes if own.owns(name)} == set(cameras(1, 30) | times(1, 30))
    config = own.config(shapes, "", file.sizes)
    assert (config.dim, config.num_blocks, config.has_frame_times) == (1536, 30, True)
    assert (config.camera_conditioning, config.clean_timestep) == ("per_video", "target")


@pytest.mark.parametrize("name", [*cameras(128, 2), *times(128, 2)])
def test_each_weight_of_cameras_and_times_must_be_there_and_of_its_size(name: str) -> None:
    shapes = {**wan(TINY), **cameras(128, 2), **times(128, 2)}
    own, sizes = BASES["spacetimepilot"].own, detect(shapes).sizes
    with pytest.raises(ValueError, match=f"SpaceTimePilot's {name} has the size \\(1, 2\\)"):
        own.config({**shapes, name: (1, 2)}, "", sizes)
    del shapes[name]
    with pytest.raises(ValueError, match=f"{name} is missing, wanted .*SpacetimePilot_1.3B_v1"):
        own.config(shapes, "", sizes)


def test_cameras_with_times_need_their_dit() -> None:
    file = detect(cameras(128, 2) | times(128, 2))
    assert (file.kind, file.remedy) == ("unsupported", "choose the whole file of SpaceTimePilot")
    assert detect(cameras(128, 2)).kind == "cameras"
    file = detect(wan(TINY) | times(128, 2))
    with pytest.raises(
        ValueError, match="^x is a Wan DiT of .* and weights of frame_time_embedding, wanted"
    ):
        require_base(file, "x")


@pytest.mark.parametrize(
    ("extra", "channels", "message"),
    [
        (
            {"img_emb.proj.0.bias": (1280,)},
            (36, 16),
            "is a Wan image-to-video model, wanted a Wan DiT: Wan2.1-T2V",
        ),
        ({"vace_patch_embedding.weight": (128, 96, 1, 2, 2)}, (16, 16), "is a Wan VACE model"),
        ({"ref_conv.weight": (128, 16, 2, 2)}, (48, 16), "is a Wan Fun control model"),
        (
            {"control_adapter.conv.weight": (128, 24, 2, 2)},
            (32, 16),
            "is a Wan Fun camera-control model",
        ),
        ({}, (36, 16), "36 input and 16 output channels, .* image-to-video models 36 and 16"),
        (
            {"blocks.0.cam_encoder.weight": (128, 12)},
            (48, 48),
            "48 input and 48 output channels and weights of cam_encoder",
        ),
    ],
)
def test_other_wan_models_are_refused_by_name(
    extra: Shapes, channels: tuple[int, int], message: str
) -> None:
    file = detect(wan(TINY, *channels) | extra)
    assert file.kind not in BASES
    with pytest.raises(ValueError, match=message):
        require_base(file, "other.safetensors")


# keys of the published files: umt5_xxl_fp16, Wan2.1's models_t5 .pth, wan_2.1_vae, LightX2V's LoRA,
# SD 1.5, FLUX.1
@pytest.mark.parametrize(
    ("keys", "what", "remedy"),
    [
        (
            ["shared.weight", "encoder.block.0.layer.0.SelfAttention.q.weight"],
            "a text encoder",
            "Load CLIP, type wan",
        ),
        (
            ["token_embedding.weight", "blocks.0.attn.q.weight"],
            "a text encoder",
            "Load CLIP, type wan",
        ),
        (["encoder.conv1.weight", "decoder.middle.0.residual.0.gamma"], "a VAE", "Load VAE"),
        (["diffusion_model.blocks.0.self_attn.q.lora_down.weight"], "a LoRA", "LoRA loader"),
        (["diffusion_model.blocks.0.norm3.diff_b"], "a LoRA", "LoRA loader"),
        (
            ["model.diffusion_model.input_blocks.0.0.weight"],
            "a Stable Diffusion checkpoint",
            "edits video",
        ),
        (["double_blocks.0.img_attn.qkv.weight"], "a Flux or Hunyuan model", "works on Wan"),
        (["visual.transformer.resblocks.0.ln_1.weight"], "an image encoder", "clip_vision"),
        (["blocks.0.cam_encoder.weight"], "camera weights without a DiT", "as the adapter"),
        (["some.weight"], "1 tensors, the first named 'some.weight'", "another file"),
        ([], "0 tensors, the first named 'nothing'", "another file"),
    ],
)
def test_files_chosen_by_mistake_are_named_with_the_remedy(
    keys: list[str], what: str, remedy: str
) -> None:
    with pytest.raises(
        ValueError, match=f"^f is {what}, wanted a Wan DiT: .*step20000.ckpt.*; .*{remedy}"
    ):
        require_base(detect(dict.fromkeys(keys, (128, 12))), "f")


def test_our_own_adapter_is_told_by_its_metadata() -> None:
    with pytest.raises(
        ValueError, match="^f is a memory adapter, wanted .*; choose it as the adapter"
    ):
        require_base(detect(cameras(128, 2), {"format": ADAPTER_FORMAT}), "f")

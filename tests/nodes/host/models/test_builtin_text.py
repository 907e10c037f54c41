"""The built-in text encoder behind native CLIP nodes."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from memv2v_core.builtin import bundle
from memv2v_core.builtin.bundle import Bundle

PROMPTS = (
    "put a hat on the box",
    "give the ball a new colour",
    "",
    " ",
    "  two  spaces\nand a line ",
    "turn the cone into something else, then " * 12,
    "\u732b \U0001f3a9 na\u00efve \u2603",
    'Ball, BALL & 50% of "quotes"; it\'s <done>',
)


@pytest.fixture(scope="module")
def outside(edit_weights: Path) -> Bundle:
    """The same model outside ComfyUI."""
    return bundle.load_bundle("text_edit")


@pytest.fixture
def encode(comfy_api, edit_loaded):
    """Text tokens that the native CLIPTextEncode makes of a prompt."""

    def run(prompt: str, clip=None) -> torch.Tensor:
        with torch.inference_mode():
            (conditioning,) = comfy_api.nodes.CLIPTextEncode().encode(
                clip or edit_loaded[1], prompt
            )
        return conditioning[0][0]

    return run


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_native_encoder_equals_transformers_umt5(encode, outside: Bundle, prompt: str) -> None:
    wanted = outside.encode_prompt([prompt])
    got = encode(prompt)
    assert got.shape == wanted.shape
    assert got.shape[1] >= 16
    assert (got - wanted).abs().max() <= 1e-5


def test_prompts_differ_and_every_character_is_seen(encode) -> None:
    one, two, three = (encode(prompt) for prompt in ("\u732b", "\u72ac", "the \u732b"))
    assert (one - two).abs().max() > 1e-2
    assert (one - three).abs().max() > 1e-2


def test_what_follows_a_prompt_is_zero(encode) -> None:
    empty = encode("")
    assert empty[0, 0].abs().max() > 0
    assert not empty[0, 1:].any()


def test_words_can_be_weighted(encode) -> None:
    plain, heavy, neutral = (
        encode(f"put a {word} on the box") for word in ("hat", "(hat:1.4)", "(hat:1.0)")
    )
    assert plain.shape == heavy.shape
    assert (plain - heavy).abs().max() > 1e-3
    assert neutral.shape == plain.shape


def test_a_clone_and_a_second_copy_encode_alike(encode, edit_loaded) -> None:
    clip = edit_loaded[1]
    assert torch.equal(encode("put a hat on the box", clip.clone()), encode("put a hat on the box"))
    load, arguments = (
        clip.patcher.cached_patcher_init
    )  # what ComfyUI calls for torch.compile and for a second GPU
    again = load(*arguments, disable_dynamic=True)
    wanted = clip.patcher.model.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in again.model.state_dict().items())


@pytest.mark.parametrize(
    "name", ["spiece_model", "encoder.block.1.layer.0.SelfAttention.q.weight", "shared.weight"]
)
def test_a_part_that_is_missing_is_named(
    comfy_api, edit_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from memory_v2v.nodes.host.models.builtin_text import builtin_clip

    folder = tmp_path / "weights"
    shutil.copytree(edit_weights, folder)
    monkeypatch.setattr(bundle, "WEIGHTS", folder)
    path = bundle.text_path("text_edit")
    weights = load_file(str(path))
    del weights[name]
    save_file(weights, str(path))
    with pytest.raises(
        ValueError, match=f"text_edit_text.safetensors in .* has no tensor '{name}'"
    ):
        builtin_clip("text_edit")

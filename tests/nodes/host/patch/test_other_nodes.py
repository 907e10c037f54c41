"""Other nodes' code inside the DiT, put there as known node packs do: refused by name, or equal."""

import types
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from instruments.wan_turns import TinyWan

from memv2v_core.bases.base_info import BaseInfo
from memv2v_core.model.replaced_parts import name_of, pack_of, replaced_by, replaced_parts

BLOCKS = range(3)


@pytest.fixture(scope="module")
def wan_model(tiny_wan: TinyWan) -> Any:
    return tiny_wan.load()


def frame_attention(attention: Any, num_frames: int) -> Callable[..., torch.Tensor]:
    """As Enhance A Video: all tokens are frames of the target, and a gain follows from them."""

    def wrapped_attention(module: Any, x: torch.Tensor, freqs: torch.Tensor, **options: Any):
        by_frame = x.unflatten(1, (num_frames, -1))
        gain = 1 + by_frame.std(dim=1).mean()
        return type(module).forward(module, x, freqs, **options) * gain

    return types.MethodType(wrapped_attention, attention)


def guided_text(attention: Any, strength: float) -> Callable[..., torch.Tensor]:
    """As NAG: two readings of the text, mixed token by token."""

    def wrapped_attention(module: Any, x: torch.Tensor, context: torch.Tensor, **options: Any):
        read = partial(type(module).forward, module, x, **options)
        return (1 + strength) * read(context) - strength * read(context.flip(-1))

    return types.MethodType(wrapped_attention, attention)


def chunked_layers(layers: Any) -> Callable[..., torch.Tensor]:
    """As Wan ChunkFeedForward: pieces of the sequence, one after the other."""

    def wrapped_forward(module: Any, x: torch.Tensor) -> torch.Tensor:
        pieces = torch.chunk(x, 3, dim=1)
        return torch.cat([torch.nn.Sequential.forward(module, piece) for piece in pieces], dim=1)

    return types.MethodType(wrapped_forward, layers)


def framed_layers(layers: Any) -> Callable[..., torch.Tensor]:
    """A feed-forward that looks at the mean of the whole sequence."""

    def mean_of_all(module: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.Sequential.forward(module, x - x.mean(dim=1, keepdim=True))

    return types.MethodType(mean_of_all, layers)


def patched(model: Any, part: str, new: Callable[[Any], Any]) -> Any:
    """`model` with `new` of a part in every block, as an object patch."""
    clone = model.clone()
    dit = model.model.diffusion_model
    for i in BLOCKS:
        owner = dit.blocks[i].get_submodule(part) if part else dit.blocks[i]
        name = ".".join(filter(None, ("diffusion_model.blocks", str(i), part, "forward")))
        clone.add_object_patch(name, new(owner))
    return clone


def test_an_attention_that_counts_frames_is_refused_by_name(
    tiny_wan: TinyWan, wan_model: Any
) -> None:
    turn = tiny_wan.turn(wan_model)
    changed = patched(turn.model, "self_attn", partial(frame_attention, num_frames=3))
    told = (
        r"frame_attention.wrapped_attention of .*test_other_nodes in place of its own "
        r"blocks.0.self_attn, .* takes all tokens for frames of the target.* remove the node"
    )
    with pytest.raises(ValueError, match=told):
        tiny_wan.sample(turn, changed)


def test_without_anything_to_see_the_model_stays_as_it_is(
    tiny_wan: TinyWan, wan_model: Any
) -> None:
    from memory_v2v.nodes.sampling import ApplyMemory

    changed = patched(wan_model, "self_attn", partial(frame_attention, num_frames=1))
    inputs = {"positive": tiny_wan.prompt(1), "negative": tiny_wan.prompt(2)}
    model, *_ = tiny_wan.comfy_api.run_node(ApplyMemory, model=changed, **inputs).result
    assert model is changed


@pytest.mark.parametrize(
    ("part", "new"),
    [("cross_attn", partial(guided_text, strength=0.5)), ("ffn", chunked_layers)],
)
@pytest.mark.parametrize("is_before", [True, False])
def test_code_that_treats_each_token_by_itself_works(
    tiny_wan: TinyWan, wan_model: Any, part: str, new: Callable, is_before: bool
) -> None:
    if is_before:
        turn = tiny_wan.turn(patched(wan_model, part, new))
        result = tiny_wan.sample(turn)
    else:
        turn = tiny_wan.turn(wan_model)
        result = tiny_wan.sample(turn, patched(turn.model, part, new))
    plain = tiny_wan.sample(tiny_wan.turn(wan_model))
    is_equal = torch.allclose(result, plain, atol=1e-4)
    # Chunks give the same numbers; the guidance gives others, and the node's own ones.
    assert is_equal == (part == "ffn")
    if part == "cross_attn":
        assert torch.equal(result, by_hand(tiny_wan))


def by_hand(tiny_wan: TinyWan) -> torch.Tensor:
    """The same guidance where the class of the cross-attention itself gives it."""
    # ComfyUI leaves a method on the modules of a model that was patched before.
    wan_model = tiny_wan.load()
    kind = type(wan_model.model.diffusion_model.blocks[0].cross_attn)
    own = kind.forward

    def forward(self: Any, x: torch.Tensor, context: torch.Tensor, **options: Any) -> torch.Tensor:
        return 1.5 * own(self, x, context, **options) - 0.5 * own(
            self, x, context.flip(-1), **options
        )

    forward.__module__ = own.__module__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "forward", forward)
        return tiny_wan.sample(tiny_wan.turn(wan_model))


def test_code_that_mixes_tokens_is_refused_with_how_much_it_changes(
    tiny_wan: TinyWan, wan_model: Any
) -> None:
    turn = tiny_wan.turn(wan_model)
    changed = patched(turn.model, "ffn", framed_layers)
    told = r"framed_layers.mean_of_all .* blocks.0.ffn.* come out otherwise .* by \d+"
    with pytest.raises(ValueError, match=told):
        tiny_wan.sample(turn, changed)


def test_code_that_fails_beside_memory_is_named_with_its_error(
    tiny_wan: TinyWan, wan_model: Any
) -> None:
    def framed(module: Any, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[1] == 3 * 4 * 8
        return torch.nn.Sequential.forward(module, x)

    turn = tiny_wan.turn(wan_model)
    changed = patched(turn.model, "ffn", lambda layers: types.MethodType(framed, layers))
    with pytest.raises(ValueError, match="framed of .*test_other_nodes .*blocks.0.ffn"):
        tiny_wan.sample(turn, changed)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("diffusion_model.blocks.1.forward", lambda *args, **kwargs: args[0]),
        ("diffusion_model.forward_orig", lambda x, *args, **kwargs: x),
        ("diffusion_model.head.forward", lambda x, e: x),
    ],
)
def test_what_memory_never_calls_is_refused_as_doing_nothing(
    tiny_wan: TinyWan, wan_model: Any, name: str, code: Callable
) -> None:
    turn = tiny_wan.turn(wan_model)
    changed = turn.model.clone()
    changed.add_object_patch(name, code)
    with pytest.raises(ValueError, match="lambda.* it would do nothing; remove the node"):
        tiny_wan.sample(turn, changed)


def test_a_rotation_that_counts_frames_is_refused(tiny_wan: TinyWan, wan_model: Any) -> None:
    class Rotation(torch.nn.Module):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return ids

    turn = tiny_wan.turn(wan_model)
    changed = turn.model.clone()
    changed.add_object_patch("diffusion_model.rope_embedder", Rotation())
    with pytest.raises(ValueError, match="Rotation of .*test_other_nodes .* rope_embedder"):
        tiny_wan.sample(turn, changed)


def test_code_that_is_set_without_a_patch_is_found_too(tiny_wan: TinyWan) -> None:
    model = tiny_wan.load()
    attention = model.model.diffusion_model.blocks[1].self_attn
    attention.forward = frame_attention(attention, 3)
    with pytest.raises(ValueError, match=r"blocks\.1\.self_attn"):
        tiny_wan.sample(tiny_wan.turn(model))


def test_a_patch_that_has_left_counts_no_more(tiny_wan: TinyWan, wan_model: Any) -> None:
    turn = tiny_wan.turn(wan_model)
    before = tiny_wan.sample(turn)
    changed = patched(wan_model, "self_attn", partial(frame_attention, num_frames=3))
    with torch.inference_mode():
        changed.patch_model()
        assert replaced_parts(changed.model.diffusion_model)
        changed.unpatch_model()
    assert torch.equal(tiny_wan.sample(turn), before)
    assert replaced_parts(wan_model.model.diffusion_model) == ()


def test_compiled_code_counts_as_the_code_that_was_compiled() -> None:
    def forward(x: torch.Tensor) -> torch.Tensor:
        return x

    (part,) = replaced_by({"blocks.2.self_attn.forward": torch.compile(forward)})
    assert part.place == "blocks.2.self_attn"
    assert name_of(part.code).endswith("forward")
    compiled = torch.compile(torch.nn.Linear(2, 2))
    assert replaced_by({"blocks.0": compiled, "blocks.0.norm1": forward, "out": forward}) == ()


def test_a_pack_is_named_by_its_folder() -> None:
    def patch(x: torch.Tensor) -> torch.Tensor:
        return x

    file = "/home/me/ComfyUI/custom_nodes/Some-Pack/nodes/more.py"
    patch.__code__ = patch.__code__.replace(co_filename=file)
    assert pack_of(patch) == "Some-Pack"
    # A class has no file of its own; ComfyUI writes the dots of a folder in its module's name.
    folder = "C:\\ComfyUI\\custom_nodes\\Pack_x_2.nodes.nodes"
    assert pack_of(type("Rotation", (), {"__module__": folder})) == "Pack.2"
    assert pack_of(BaseInfo).endswith("memv2v_core.bases.base_info")

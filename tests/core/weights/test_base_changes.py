"""Names, sizes and sums of changes of a base's weights."""

import pytest
import torch
from instruments.adapter_files import random_changes
from instruments.broken_weights import SIZES, base_weights

from memv2v_core.weights.base_changes import (
    apply_base_changes,
    change_of,
    difference_name,
    require_changes,
)
from memv2v_core.weights.wan_shapes import shapes_hash, wan_shapes

BASE = wan_shapes(SIZES)


@pytest.mark.parametrize(
    ("weight", "change"),
    [
        ("blocks.0.self_attn.q.weight", "blocks.0.self_attn.q.diff"),
        ("blocks.1.self_attn.q.bias", "blocks.1.self_attn.q.diff_b"),
        ("blocks.0.self_attn.norm_q.weight", "blocks.0.self_attn.norm_q.diff"),
        ("patch_embedding.weight", "patch_embedding.diff"),
    ],
)
def test_a_full_difference_is_named_after_its_weight(weight: str, change: str):
    assert difference_name(weight) == change
    assert change_of(change, BASE).target == weight


def test_every_weight_but_a_modulation_can_have_a_full_difference():
    layers = {name: shape for name, shape in BASE.items() if "modulation" not in name}
    changes = {difference_name(name): shape for name, shape in layers.items()}
    assert len(changes) == len(layers) == len(BASE) - 3
    require_changes(changes, BASE)
    with pytest.raises(ValueError, match="'head.modulation', wanted a layer's weight or bias"):
        difference_name("head.modulation")


def test_changes_are_added_to_the_weights_they_name():
    weights = base_weights()
    down, up = torch.randn(3, 32), torch.randn(64, 3)
    bias, norm = torch.randn(64), torch.randn(32)
    changed = apply_base_changes(
        weights,
        {
            "blocks.1.ffn.0.lora_A.weight": down,
            "blocks.1.ffn.0.lora_B.weight": up,
            "blocks.1.ffn.0.diff_b": bias,
            "blocks.0.self_attn.norm_k.diff": norm,
        },
    )
    expected = {
        "blocks.1.ffn.0.weight": up @ down,
        "blocks.1.ffn.0.bias": bias,
        "blocks.0.self_attn.norm_k.weight": norm,
    }
    assert list(changed) == list(weights)
    for name, tensor in changed.items():
        if name in expected:
            torch.testing.assert_close(tensor, weights[name] + expected[name])
        else:
            assert tensor is weights[name]


def test_weights_keep_their_type():
    half = {name: tensor.bfloat16() for name, tensor in base_weights().items()}
    changes = random_changes(SIZES, "lora")
    changed = apply_base_changes(half, changes)
    assert {tensor.dtype for tensor in changed.values()} == {torch.bfloat16}
    name = "blocks.0.self_attn.q.weight"
    exact = apply_base_changes({n: t.float() for n, t in half.items()}, changes)[name]
    assert torch.equal(changed[name], exact.bfloat16())


LAYER = "blocks.0.self_attn.q"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"x": (1,)}, "a change 'x', which changes no layer"),
        ({"blocks.9.self_attn.q.diff": (32, 32)}, "'blocks.9.self_attn.q.diff', which changes no"),
        ({"blocks.0.cam_encoder.diff": (32, 12)}, "'blocks.0.cam_encoder.diff', which changes no"),
        ({"blocks.0.modulation.diff": (1, 6, 32)}, "'blocks.0.modulation.diff', which changes no"),
        ({f"{LAYER}.diff": (32, 31)}, r"size \(32, 31\), which must be \(32, 32\)"),
        ({f"{LAYER}.diff_b": (32, 32)}, r"size \(32, 32\), which must be \(32,\)"),
        ({f"{LAYER}.norm.diff_b": (32,)}, "changes no layer"),
        ({f"{LAYER}.weight": (32, 32)}, "changes no layer"),
        ({f"{LAYER}.lora_A.weight": (4, 32)}, "half of the change of 'blocks.0.*, and no lora_B"),
        ({f"{LAYER}.lora_B.weight": (32, 4)}, "half of the change of 'blocks.0.*, and no lora_A"),
        (
            {f"{LAYER}.lora_A.weight": (4, 32), f"{LAYER}.lora_B.weight": (32, 3)},
            r"lora_B.weight' of size \(32, 3\), which must be \(32, 4\)",
        ),
        (
            {f"{LAYER}.lora_A.weight": (4, 33), f"{LAYER}.lora_B.weight": (32, 4)},
            r"lora_A.weight' of size \(4, 33\), which must be \(4, 32\)",
        ),
        (
            {f"{LAYER}.lora_A.weight": (0, 32), f"{LAYER}.lora_B.weight": (32, 0)},
            "of rank 0",
        ),
        (
            {f"{LAYER}.lora_A.weight": (), f"{LAYER}.lora_B.weight": ()},
            "of rank 0",
        ),
        (
            {
                f"{LAYER}.lora_A.weight": (4, 32),
                f"{LAYER}.lora_B.weight": (32, 4),
                f"{LAYER}.diff": (32, 32),
            },
            "two changes of 'blocks.0.self_attn.q'",
        ),
        (
            {
                "patch_embedding.lora_A.weight": (4, 64),
                "patch_embedding.lora_B.weight": (32, 4),
            },
            "'patch_embedding', whose weight is no matrix",
        ),
    ],
)
def test_a_change_that_does_not_fit_is_named(found: dict, words: str):
    with pytest.raises(ValueError, match=words):
        require_changes(found, BASE)


def test_the_hash_follows_names_and_shapes_but_not_their_order():
    assert shapes_hash(BASE) == shapes_hash(dict(reversed(BASE.items())))
    assert shapes_hash(BASE) != shapes_hash(BASE | {"head.modulation": (1, 2, 33)})
    assert shapes_hash(BASE) != shapes_hash(
        {n: s for n, s in BASE.items() if n != "head.head.bias"}
    )
    # python -c "import hashlib, json; print(hashlib.sha256(json.dumps(
    #   [['a.bias', [3]], ['a.weight', [3, 2]]]).encode()).hexdigest())"
    assert shapes_hash({"a.weight": (3, 2), "a.bias": (3,)}) == HASH


HASH = "96f15ed3139e0c1a5067320a31a9ecbb36ee560a8763022faa70beeffca285b2"

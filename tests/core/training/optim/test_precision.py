import pytest
import torch
import torch.nn.functional as F

from memv2v_core.training.config.trained import Precision
from memv2v_core.training.optim.precision import attention_by_products, attention_for, computing

CPU = torch.device("cpu")


def test_attention_by_products_is_attention():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, length, 8, generator=generator) for length in (5, 7, 7))
    expected = F.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(attention_by_products(query, key, value), expected)


def test_only_a_cpu_in_bfloat16_needs_it():
    assert attention_for("bf16", CPU) is attention_by_products
    for precision, device in (
        ("fp32", CPU),
        ("bf16", torch.device("cuda")),
        ("fp32", torch.device("cuda")),
    ):
        assert attention_for(precision, device) is F.scaled_dot_product_attention


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)]
)
def test_matrices_are_multiplied_in_the_configured_precision(
    precision: Precision, dtype: torch.dtype
):
    layer = torch.nn.Linear(4, 4)
    with computing(precision, CPU):
        assert layer(torch.ones(1, 4)).dtype is dtype
    assert layer.weight.dtype is torch.float32

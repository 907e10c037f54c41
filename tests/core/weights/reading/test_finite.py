import math

import pytest
import torch

from memv2v_core.weights.reading.boundary import Fault
from memv2v_core.weights.reading.finite import (
    _PIECE,
    count_not_finite,
    require_finite,
    require_floats,
)

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 517, 1023])
def test_every_bad_number_is_counted(dtype: torch.dtype, bad: float, place: int) -> None:
    values = torch.randn(1024).to(dtype)
    assert count_not_finite(values) == 0
    values[place] = bad
    assert count_not_finite(values) == 1
    assert count_not_finite(values.reshape(32, 32).T) == 1


def test_the_last_piece_of_a_large_tensor_is_read() -> None:
    values = torch.zeros(_PIECE + 3, dtype=torch.bfloat16)
    values[-1] = math.nan
    values[5] = math.inf
    assert count_not_finite(values) == 2


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_fp8_is_counted_as_torch_converts_it(dtype: torch.dtype) -> None:
    # Every value that one byte can be.
    values = torch.arange(256, dtype=torch.uint8).view(dtype)
    assert count_not_finite(values) == int((~torch.isfinite(values.float())).sum()) > 0


@pytest.mark.parametrize("name", ["float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"])
def test_rare_types_of_one_byte_are_counted_too(name: str) -> None:
    if not hasattr(torch, name):
        pytest.skip(f"this torch has no {name}")
    values = torch.arange(256, dtype=torch.uint8).view(getattr(torch, name))
    assert count_not_finite(values) == int((~torch.isfinite(values.float())).sum()) == 1


def test_whole_numbers_and_empty_tensors_have_none() -> None:
    for values in (torch.ones(3, dtype=torch.int8), torch.zeros(0, 4), torch.ones(2).bool()):
        assert count_not_finite(values) == 0
    assert count_not_finite(torch.tensor([complex(1, math.nan)])) == 1


def test_the_tensor_and_the_count_are_named() -> None:
    weights = {"a": torch.ones(3), "b.weight": torch.tensor([1.0, math.nan, math.inf])}
    with pytest.raises(Fault, match="2 of 3 values in 'b.weight' that are NaN or infinite"):
        require_finite(weights)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.uint8, torch.complex64])
def test_only_floats_are_weights(dtype: torch.dtype) -> None:
    require_floats({"a": torch.ones(2), "b": torch.ones(2).half()})
    with pytest.raises(Fault, match=f"'b' of type {str(dtype)[6:]}, which must be a float"):
        require_floats({"a": torch.ones(2), "b": torch.ones(2, dtype=dtype)})

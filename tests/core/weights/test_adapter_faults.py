"""Adapter files that do not fit their own configuration."""

from pathlib import Path
from typing import Any

import pytest
import torch
from instruments.broken_weights import fault_of, save_small_adapter, with_config, with_header
from safetensors.torch import load_file, save_file

from memv2v_core.model.adapter import MemoryAdapter
from memv2v_core.weights.checkpoint import ADAPTER_FORMAT, read_adapter, read_own_adapter
from memv2v_core.weights.weight_files import read_header

NAME = "mine.safetensors"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_small_adapter(tmp_path / NAME)
    assert read_adapter(tmp_path / NAME)[0].dim == 32
    return tmp_path / NAME


def refused(path: Path) -> str:
    message = fault_of(lambda: read_adapter(path), NAME)
    assert message
    return message


def rewritten(path: Path, **changes: Any) -> Path:
    """The file with these tensors; None removes one."""
    metadata = read_header(path).metadata
    weights = {name: tensor.clone() for name, tensor in load_file(str(path)).items()} | changes
    weights = {name: tensor for name, tensor in weights.items() if tensor is not None}
    save_file(weights, str(path), metadata=metadata)
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dim": 10**9}, "1000000000 for the setting 'dim'"),
        ({"num_blocks": 10**6}, "1000000 for the setting 'num_blocks'"),
        ({"in_channels": 0}, "0 for the setting 'in_channels'"),
        ({"dim": True}, "True for the setting 'dim'"),
        ({"dim": 32.5}, "32.5 for the setting 'dim'"),
        ({"clean_timestep": "sometimes"}, "'sometimes' for the setting 'clean_timestep'"),
        ({"camera_conditioning": None, "memory_order": "x"}, "'x' for the setting 'memory_order'"),
        ({"has_rays": "yes"}, "'yes' for the setting 'has_rays'"),
        ({"dim": 64}, "of size (32, 12), which must be (64, 12)"),
        ({"num_blocks": 3}, "has no tensor 'blocks.2.cam_encoder.weight'"),
        ({"num_blocks": 1}, "which has no place in it"),
        ({"has_cameras": False}, "which has no place in it"),
        ({"dim": None}, "lacks the setting 'dim'"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(
    path: Path, changes: dict[str, Any], words: str
) -> None:
    with_config(path, **changes)
    assert words in refused(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no JSON"),
        ("[]", "no JSON object"),
        ("[" * 99_999, "nested more than 32"),
        ('{"dim": NaN}', "not finite"),
        (None, "no JSON"),
    ],
)
def test_a_configuration_that_is_none_is_refused(path: Path, text: str | None, words: str) -> None:
    metadata = {"format": ADAPTER_FORMAT} | ({} if text is None else {"config": text})
    with_header(path, lambda header: header.update(__metadata__=metadata))
    assert words in refused(path)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_number_that_is_not_finite_is_named(path: Path, bad: float) -> None:
    values = torch.zeros(32, 32)
    values[1, 2] = bad
    rewritten(path, **{"blocks.0.projector.weight": values})
    assert "1 of 1024 values in 'blocks.0.projector.weight' that are NaN or infinite" in refused(
        path
    )


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.uint8])
def test_whole_numbers_are_no_weights(path: Path, dtype: torch.dtype) -> None:
    rewritten(path, **{"blocks.0.projector.bias": torch.ones(32, dtype=dtype)})
    assert "'blocks.0.projector.bias' of type" in refused(path)


def test_no_module_is_made_before_the_sizes_fit(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[torch.device] = []
    build = MemoryAdapter.__init__

    def counted(self: MemoryAdapter, *args: Any) -> None:
        build(self, *args)
        made.extend({parameter.device for parameter in self.parameters()})

    monkeypatch.setattr(MemoryAdapter, "__init__", counted)
    with_config(path, dim=65_536, num_blocks=1000)
    refused(path)
    assert {device.type for device in made} == {"meta"}
    made.clear()
    with_config(path, dim=65_537)
    refused(path)
    assert made == []


def test_a_format_of_many_characters_is_cut(path: Path) -> None:
    text = "memory-v2v-adapter-" + "9\n" * 100_000
    with_header(path, lambda header: header["__metadata__"].update(format=text))
    assert "got memory-v2v-adapter-9 9" in refused(path)


def camera_weights() -> dict[str, torch.Tensor]:
    shapes = {"cam_encoder.weight": (8, 12), "cam_encoder.bias": (8,)}
    shapes |= {"projector.weight": (8, 8), "projector.bias": (8,)}
    return {f"blocks.0.{name}": torch.zeros(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("cam_encoder.weight", torch.zeros(()), "blocks.0.cam_encoder.weight"),
        ("cam_encoder.weight", torch.zeros(8, 13), "blocks.0.cam_encoder.weight has the size"),
        ("projector.bias", torch.full((8,), torch.inf), "8 of 8 values in 'blocks.0.projector.bia"),
        ("projector.bias", torch.zeros(8, dtype=torch.int32), "of type int32"),
    ],
)
def test_a_wrong_camera_weight_is_named_with_its_file(
    tmp_path: Path, name: str, tensor: torch.Tensor, words: str
) -> None:
    path = tmp_path / "step20000.ckpt"
    torch.save(camera_weights(), path)
    assert read_own_adapter(path)[0].dim == 8
    torch.save(camera_weights() | {f"blocks.0.{name}": tensor}, path)
    assert words in fault_of(lambda: read_own_adapter(path), path.name)

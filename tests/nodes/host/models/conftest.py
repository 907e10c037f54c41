"""Published bases, small and random in the real key layout, in folders of models."""

from pathlib import Path

import pytest
import torch
from instruments.published import diffusers_wan

from memv2v_core.weights.checkpoint import to_native_names

Weights = dict[str, torch.Tensor]
DIM, NUM_BLOCKS = 128, 2
SIZES = f"{NUM_BLOCKS} blocks of {DIM}"
NUM_FRAMES = 5


@pytest.fixture(scope="module")
def wan21() -> Weights:
    return to_native_names(diffusers_wan(16, 16))


@pytest.fixture(scope="module")
def lucy() -> Weights:
    """In diffusers' names."""
    return diffusers_wan(96, 48)


@pytest.fixture(scope="module")
def recammaster(wan21: Weights) -> Weights:
    """step20000.ckpt's keys."""
    weights = dict(wan21)
    for i in range(NUM_BLOCKS):
        weights[f"blocks.{i}.cam_encoder.weight"] = torch.randn(DIM, 12).bfloat16()
        weights[f"blocks.{i}.cam_encoder.bias"] = torch.randn(DIM).bfloat16()
        weights[f"blocks.{i}.projector.weight"] = (
            torch.eye(DIM) + 0.02 * torch.randn(DIM, DIM)
        ).bfloat16()
        weights[f"blocks.{i}.projector.bias"] = torch.randn(DIM).bfloat16()
    return weights


@pytest.fixture
def bases(comfy_api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models/diffusion_models."""
    return own_folder(comfy_api, tmp_path, monkeypatch, "diffusion_models")


@pytest.fixture
def adapters(comfy_api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models/memv2v."""
    return own_folder(comfy_api, tmp_path, monkeypatch, "memv2v")


def own_folder(comfy_api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Path:
    import memory_v2v.nodes.host.models.files  # noqa: F401  registers memv2v

    folder = tmp_path / name
    folder.mkdir()
    folders = comfy_api.folder_paths.folder_names_and_paths
    monkeypatch.setitem(folders, name, ([str(folder)], folders[name][1]))
    return folder


@pytest.fixture
def loader(comfy_api, bases: Path, adapters: Path) -> type:
    from memory_v2v.nodes.loading import LoadMemoryV2VModel

    return LoadMemoryV2VModel


@pytest.fixture
def adapter_loader(comfy_api, adapters: Path) -> type:
    from memory_v2v.nodes.loading import LoadMemoryAdapter

    return LoadMemoryAdapter

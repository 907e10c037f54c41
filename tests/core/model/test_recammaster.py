"""Our forward with a source alone and Eq. 16's cameras against numbers that ReCamMaster's own DiT computed."""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from memv2v_core.builtin.bundle import DitConfig, build_dit
from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from memv2v_core.model.camera_encoder import FrameCameras
from memv2v_core.model.checkpoint import to_diffusers_names, to_native_names
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_inputs import CameraConditioning, ConditioningStream, MemoryInputs
from memv2v_core.model.memory_model import memory_forward
from memv2v_core.tokens.positions import temporal_indices

GOLDEN = json.loads((Path(__file__).parent / "golden_recammaster.json").read_text(encoding="utf-8"))
SIZES = DitConfig(dim=256, num_heads=2, num_layers=2, ffn_dim=512, text_dim=32, freq_dim=64)
LATENT = (1, 16, 2, 60, 104)


def draw(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """z of the recipe in the golden file."""
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    return torch.from_numpy(values)


def weight(name: str, shape: torch.Size) -> torch.Tensor:
    z = draw(name, tuple(shape))
    if name.endswith(("norm_q.weight", "norm_k.weight", "norm3.weight")):
        z = 1 + 0.1 * z
    elif name.endswith(".bias"):
        z = 0.1 * z
    elif name.endswith("modulation"):
        z = 0.3 * z
    else:
        z = z / math.sqrt(math.prod(shape[1:]))
    return z.float()


@pytest.fixture(scope="module")
def view() -> DiffusersView:
    dit = build_dit(SIZES)
    native = {name: weight(name, tensor.shape) for name, tensor in to_native_names(dit.state_dict()).items()}
    dit.load_state_dict(to_diffusers_names(native))
    return DiffusersView(dit.eval().requires_grad_(False))


@pytest.fixture(scope="module")
def adapter() -> MemoryAdapter:
    made = MemoryAdapter(AdapterConfig(SIZES.dim, SIZES.num_layers, 16, has_tokenizers=False, has_merging=False))
    made.load_state_dict({name: weight(name, tensor.shape) for name, tensor in made.state_dict().items()})
    return made.eval().requires_grad_(False)


def cameras_of(poses: torch.Tensor) -> FrameCameras:
    """Frames (1, T) whose 12 numbers are `poses` (1, T, 12), rotations or not."""
    c2w = torch.eye(4).repeat(*poses.shape[:2], 1, 1)
    c2w[:, :, :3] = poses.unflatten(-1, (3, 4))
    return FrameCameras(c2w, torch.eye(3).repeat(*poses.shape[:2], 1, 1))


def our_output(view: DiffusersView, adapter: MemoryAdapter, conditioning: CameraConditioning) -> torch.Tensor:
    source_cameras = cameras_of(torch.zeros(1, 2, 12))
    source = ConditioningStream(
        "source", 2, draw("source", LATENT).float(), temporal_indices("source", 2, 2), source_cameras
    )
    target_cameras = cameras_of((0.5 * draw("poses", (1, 2, 12))).float())
    inputs = MemoryInputs((source,), target_cameras, camera_conditioning=conditioning)
    context = draw("context", (1, 8, 32)).float()
    return memory_forward(view, adapter, draw("target", LATENT).float(), torch.tensor([437.5]), context, inputs)


def test_a_source_alone_in_eq_16_mode_equals_recammasters_own_dit(view: DiffusersView, adapter: MemoryAdapter):
    out = our_output(view, adapter, "target")
    assert out.shape == LATENT
    expected = torch.tensor(GOLDEN["values"])
    torch.testing.assert_close(out.flatten()[:: GOLDEN["stride"]], expected, atol=1e-4, rtol=0)
    assert out.double().mean().item() == pytest.approx(GOLDEN["mean"], abs=1e-5)
    assert out.double().std().item() == pytest.approx(GOLDEN["std"], abs=1e-5)


def test_eq_17_gives_the_source_its_own_camera_and_so_something_else(view: DiffusersView, adapter: MemoryAdapter):
    out = our_output(view, adapter, "per_video")
    assert (out.flatten()[:: GOLDEN["stride"]] - torch.tensor(GOLDEN["values"])).abs().max() > 1e-2

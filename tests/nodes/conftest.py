"""A model of a few thousand weights with everything a real one has, and example inputs that fit it."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from memv2v_core.builtin import bundle
from memv2v_core.builtin.codec import Codec
from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix
from memv2v_core.retrieval.selection import RankedEntry, Retrieval
from memv2v_core.tokens.budget import TokenPlan
from memv2v_core.tokens.merging import MergeConfig
from memv2v_core.training.config import ModelConfig
from memv2v_core.training.trainer import build_network

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

NUM_FRAMES, SIDE = 3, 16
DIT = bundle.DitConfig(dim=64, num_heads=4, num_layers=3, ffn_dim=128, text_dim=16, freq_dim=32)


@dataclass(frozen=True)
class Examples:
    """Inputs of 3 frames with latents of 16 x 16, made by `model_name`."""

    model_name: str = "built-in: tiny"
    num_frames: int = NUM_FRAMES

    def path(self, motion: str, amplitude: float = 30.0, num_frames: int = NUM_FRAMES) -> CameraTrajectory:
        lens = intrinsics_matrix(0.866, 0.866)
        return make_preset(PresetConfig(motion=motion, amplitude=amplitude, num_frames=num_frames), lens)

    def latent(self, seed: int, side: int = SIDE) -> torch.Tensor:
        return torch.randn(1, 16, NUM_FRAMES, side, side, generator=torch.Generator().manual_seed(seed))

    def entry(self, seed: int, side: int = SIDE) -> MemoryEntry:
        camera = self.path(("pan_left", "pan_right", "tilt_up", "tilt_down")[seed % 4])
        latent = self.latent(seed, side)[0]
        return MemoryEntry(latent, camera, self.model_name, NUM_FRAMES, turn=seed, created_s=float(seed))

    def plan(
        self, kernels: tuple[int, ...] = (4, 8), merging: MergeConfig | None = None, side: int = SIDE
    ) -> TokenPlan:
        ranked = tuple(RankedEntry(self.entry(i + 1, side), 1.0 - i / 10) for i in range(len(kernels)))
        return TokenPlan(Retrieval(self.path("pan_left"), ranked), kernels, merging)


@pytest.fixture(autouse=True)
def own_output_folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test that runs nodes in this process writes into a folder of its own: sessions of one name never meet."""
    if "comfy_api" in request.fixturenames:
        comfy_api = request.getfixturevalue("comfy_api")
        monkeypatch.setattr(comfy_api.folder_paths, "output_directory", str(tmp_path / "output"))


@pytest.fixture(scope="session")
def examples() -> Examples:
    """Inputs that fit `tiny_model`."""
    return Examples()


@pytest.fixture(scope="module")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of built-in models, holding only one, `tiny`, of random weights."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    network, codec = build_network(ModelConfig(**asdict(DIT)), 16), Codec()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    info = bundle.BuiltinInfo("Tiny", size=128, num_frames=NUM_FRAMES, fov_deg=60.0, shift=3.0, num_steps=2, dit=DIT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle, "WEIGHTS", folder)
        bundle.save_bundle(info, "tiny", network["dit"], network["adapter"], codec)
        yield folder


@pytest.fixture(scope="module")
def tiny_model(comfy_api, tiny_weights: Path) -> "ModelPatcher":
    """The MODEL of `tiny`."""
    from memory_v2v.nodes.loading import load_builtin_model

    with torch.inference_mode():
        return load_builtin_model("tiny")


@pytest.fixture
def ksampler(comfy_api):
    """Latents that the native KSampler makes in 2 steps."""

    def sample(model: "ModelPatcher", positive: list, negative: list, latent: dict, **settings) -> torch.Tensor:
        settings = {"seed": 5, "steps": 2, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", **settings}
        with torch.inference_mode():
            (result,) = comfy_api.nodes.common_ksampler(
                model=model, positive=positive, negative=negative, latent=latent, **settings
            )
        return result["samples"]

    return sample

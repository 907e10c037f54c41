"""A model of a few thousand weights with everything a real one has, and example inputs that fit
it."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from instruments.wan_turns import TinyWan

from memv2v_core.builtin import bundle
from memv2v_core.builtin.codec import Codec
from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix
from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from memv2v_core.retrieval.selection import RankedEntry, Retrieval
from memv2v_core.tokens.budget import TokenPlan
from memv2v_core.tokens.merging import MergeConfig
from memv2v_core.training.config.model import AdapterOptions, ModelConfig
from memv2v_core.training.config.run import load_config
from memv2v_core.training.export import builtin_info
from memv2v_core.training.network.fresh import build_network, new_adapter_config

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from instruments.long_video import Result

NUM_FRAMES, SIDE = 3, 16
WAN_HEIGHT, WAN_WIDTH = 8, 16
HALF_MERGED = MergeConfig()
TWO_WAY = AdapterOptions(attention="two_way", has_base_tokenizer=False)
DIT = bundle.DitConfig(dim=64, num_heads=4, num_layers=3, ffn_dim=128, text_dim=16, freq_dim=32)


@dataclass(frozen=True)
class Examples:
    """Inputs of 3 frames with latents of 16 x 16, made by `model_name`."""

    model_name: str = "built-in: tiny"
    num_frames: int = NUM_FRAMES

    def path(
        self, motion: str, amplitude: float = 30.0, num_frames: int = NUM_FRAMES
    ) -> CameraTrajectory:
        lens = intrinsics_matrix(0.866, 0.866)
        return make_preset(
            PresetConfig(motion=motion, amplitude=amplitude, num_frames=num_frames), lens
        )

    def latent(self, seed: int, side: int = SIDE) -> torch.Tensor:
        return torch.randn(
            1, 16, NUM_FRAMES, side, side, generator=torch.Generator().manual_seed(seed)
        )

    def entry(self, seed: int, side: int = SIDE) -> MemoryEntry:
        camera = self.path(("pan_left", "pan_right", "tilt_up", "tilt_down")[seed % 4])
        latent = self.latent(seed, side)[0]
        return MemoryEntry.of(
            latent, camera, self.model_name, NUM_FRAMES, turn=seed, created_s=float(seed)
        )

    def plan(
        self,
        kernels: tuple[int, ...] = (4, 8),
        merging: MergeConfig | None = None,
        side: int = SIDE,
    ) -> TokenPlan:
        ranked = tuple(
            RankedEntry(self.entry(i + 1, side), 1.0 - i / 10) for i in range(len(kernels))
        )
        return TokenPlan(Retrieval(self.path("pan_left"), ranked), kernels, merging)


@pytest.fixture(autouse=True)
def own_output_folder(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each test that runs nodes in this process writes into a folder of its own: sessions of one
    name never meet.
    """
    if "comfy_api" in request.fixturenames:
        comfy_api = request.getfixturevalue("comfy_api")
        monkeypatch.setattr(comfy_api.folder_paths, "output_directory", str(tmp_path / "output"))
        monkeypatch.setattr(comfy_api.folder_paths, "user_directory", str(tmp_path / "user"))


@pytest.fixture(scope="session")
def examples() -> Examples:
    """Inputs that fit `tiny_model`."""
    return Examples()


@pytest.fixture(scope="module")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of built-in models, holding only one, `tiny`, of random weights."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    model, codec = ModelConfig(**asdict(DIT)), Codec()
    network = build_network(model, new_adapter_config(model, TWO_WAY))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    info = bundle.BuiltinInfo(
        "Tiny", size=128, num_frames=NUM_FRAMES, fov_deg=60.0, shift=3.0, num_steps=2, dit=DIT
    )
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


@pytest.fixture(scope="module")
def edit_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of built-in models, holding only one, `text_edit`, of the shipped one's sizes and
    random weights.
    """
    folder = tmp_path_factory.mktemp("edit_weights")
    config = load_config(Path("text_edit"))
    model = config.base.model
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        network = build_network(model, new_adapter_config(model, config.adapter))
        codec = Codec(model.channels, model.num_used)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.03 * torch.randn_like(parameter))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle, "WEIGHTS", folder)
        info = builtin_info(config, "Random")
        bundle.save_bundle(
            info, "text_edit", network["dit"], network["adapter"], codec, network["text"]
        )
        yield folder


@pytest.fixture(scope="module")
def edit_loaded(comfy_api, edit_weights: Path) -> tuple[Any, ...]:
    """MODEL, CLIP and VAE of `text_edit`, from the loader."""
    from memory_v2v.nodes.loading import LoadMemoryV2VModel

    return comfy_api.run_node(LoadMemoryV2VModel, model_name="built-in: text_edit").result


@pytest.fixture(scope="module")
def prompt(comfy_api, edit_loaded) -> Callable[[str], list]:
    """Texts as CONDITIONING of `text_edit`."""

    def encode(text: str) -> list:
        with torch.inference_mode():
            return comfy_api.nodes.CLIPTextEncode().encode(edit_loaded[1], text)[0]

    return encode


@pytest.fixture
def sampled(comfy_api, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seeds of all runs of ComfyUI's sampler, in order, but those of keyframes, which are one frame
    long.
    """
    import comfy.sample

    seeds, sample = [], comfy.sample.sample

    def counted(*args: Any, **kwargs: Any) -> torch.Tensor:
        result = sample(*args, **kwargs)
        if result.shape[2] > 1:
            seeds.append(kwargs["seed"])
        return result

    monkeypatch.setattr(comfy.sample, "sample", counted)
    return seeds


@pytest.fixture
def run(comfy_api, edit_loaded, prompt, sampled: list[int]) -> Callable[..., "Result"]:
    """EditLongVideo on a clip of four segments, its widgets at their defaults; `changes` replace
    inputs.
    """
    from instruments.long_video import LENGTH, NUM_FRAMES, SIDE, STEPS, Result, defaults, scene

    from memory_v2v.nodes.videos.long_video import EditLongVideo

    model, _, vae = edit_loaded

    def edit(seed: int = 100, **changes: Any) -> "Result":
        sampled.clear()
        given = {
            **defaults(EditLongVideo),
            "model": model,
            "vae": vae,
            "positive": prompt("put a hat on the box"),
            "negative": prompt(""),
            "images": scene(1, NUM_FRAMES),
            "session": "long",
            "length": LENGTH,
            "width": SIDE,
            "height": SIDE,
            "steps": STEPS,
            "seed": seed,
            **changes,
        }
        result = comfy_api.run_node(EditLongVideo, **given).result
        return Result(*result, [s - seed for s in sampled])

    return edit


@pytest.fixture
def ksampler(comfy_api):
    """Latents that the native KSampler makes in 2 steps."""

    def sample(
        model: "ModelPatcher", positive: list, negative: list, latent: dict, **settings
    ) -> torch.Tensor:
        settings = {
            "seed": 5,
            "steps": 2,
            "cfg": 1.0,
            "sampler_name": "euler",
            "scheduler": "simple",
            **settings,
        }
        with torch.inference_mode():
            (result,) = comfy_api.nodes.common_ksampler(
                model=model, positive=positive, negative=negative, latent=latent, **settings
            )
        return result["samples"]

    return sample


@pytest.fixture(scope="session")
def tiny_wan(comfy_api) -> TinyWan:
    """Random Wan2.1 weights at models/diffusion_models/tiny_wan.safetensors, and an adapter for
    them.
    """
    from instruments.tiny_wan import DIM, NUM_BLOCKS, wan_weights

    from memory_v2v.nodes.host.models.attachment import LoadedAdapter

    config = AdapterConfig(DIM, NUM_BLOCKS, 16, has_rays=True)
    torch.manual_seed(7)
    state = MemoryAdapter(config).state_dict()
    state = {name: values + 0.05 * torch.randn_like(values) for name, values in state.items()}
    wan = TinyWan(comfy_api, LoadedAdapter("tiny", config, state))
    wan.save(wan_weights(), "tiny_wan.safetensors")
    return wan


@pytest.fixture(scope="module")
def wan_model(tiny_wan: TinyWan) -> "ModelPatcher":
    """The MODEL of `tiny_wan`, fp32."""
    return tiny_wan.load()


@pytest.fixture(scope="module")
def plain(tiny_wan: TinyWan, wan_model: "ModelPatcher") -> torch.Tensor:
    """The turn of `tiny_wan` with nothing else connected, sampled."""
    return tiny_wan.sample(tiny_wan.turn(wan_model))

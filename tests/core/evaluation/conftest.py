"""An untrained model small enough to sample in a moment."""

import pytest
import torch

from memv2v_core.builtin.bundle import Bundle
from memv2v_core.builtin.codec import Codec
from memv2v_core.builtin.info import BuiltinInfo, DitConfig
from memv2v_core.evaluation.novel_view.arms import SceneTurns
from memv2v_core.evaluation.novel_view.scenes import HeldOutScene, held_out_scene
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.training.config.model import AdapterOptions, ModelConfig
from memv2v_core.training.network.fresh import build_network, new_adapter_config

SIZES = {"dim": 64, "num_heads": 2, "num_layers": 4, "ffn_dim": 64, "text_dim": 8, "freq_dim": 16}


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    torch.manual_seed(0)
    model = ModelConfig(**SIZES)
    options = AdapterOptions(attention="two_way", has_base_tokenizer=False)
    network = build_network(model, new_adapter_config(model, options))
    network.eval().requires_grad_(False)
    info = BuiltinInfo("untrained", 64, 5, 3.0, 2, DitConfig(**SIZES), fov_deg=60.0)
    return Bundle(
        info,
        DiffusersView(network["dit"]),
        network["adapter"],
        Codec().eval().requires_grad_(False),
    )


@pytest.fixture(scope="session")
def scenes(bundle: Bundle) -> tuple[HeldOutScene, ...]:
    return tuple(held_out_scene(i, bundle.info) for i in range(2))


@pytest.fixture(scope="session")
def turns(bundle: Bundle, scenes: tuple[HeldOutScene, ...]) -> SceneTurns:
    return SceneTurns.of(bundle, scenes[1])

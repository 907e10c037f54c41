from pathlib import Path

import pytest
import torch

from memv2v_core.builtin import bundle
from memv2v_core.training.codec_trainer import train_codec
from memv2v_core.training.config import TrainConfig
from memv2v_core.training.export import builtin_info, export_run
from memv2v_core.training.network import build_network
from memv2v_core.training.trainer import Run, build_optimizers, save_checkpoint

pytestmark = pytest.mark.slow


def test_an_exported_run_is_the_averaged_weights(
    tiny_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bundle, "WEIGHTS", tmp_path / "weights")
    train_codec(tiny_config, tmp_path, torch.device("cpu"))
    torch.manual_seed(0)
    network, average = build_network(tiny_config.model), build_network(tiny_config.model)
    save_checkpoint(
        Run(network, average, build_optimizers(network, tiny_config.optim)),
        tmp_path / "checkpoint.pt",
    )
    export_run(tiny_config, tmp_path, "tiny", "Tiny")
    loaded = bundle.load_bundle("tiny")
    for name, module in (("dit", loaded.backbone.model), ("adapter", loaded.adapter)):
        for key, value in module.state_dict().items():
            assert torch.equal(value, average[name].state_dict()[key].half().float())
    assert bundle.builtin_names() == ("tiny",)


def test_what_is_recorded_of_a_model_comes_from_its_configuration(tiny_config: TrainConfig):
    info = builtin_info(tiny_config, "Tiny")
    assert (info.name, info.size, info.num_frames, info.fov_deg) == ("Tiny", 32, 3, 60.0)
    assert info.dit == bundle.DitConfig(
        64, num_heads=2, num_layers=3, ffn_dim=64, text_dim=8, freq_dim=16
    )
    assert info.shift == tiny_config.optim.shift

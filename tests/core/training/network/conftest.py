"""Models in training, before anything wraps them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from instruments.training_runs import changed

from memv2v_core.training.codec_trainer import fit_codec, save_codec
from memv2v_core.training.config.run import TrainConfig
from memv2v_core.training.launch import Built, build

Make = Callable[..., Built]


@pytest.fixture(scope="session")
def run_folder(tiny_config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a codec for `tiny_config`."""
    folder = tmp_path_factory.mktemp("run")
    save_codec(fit_codec(tiny_config, torch.device("cpu")), folder)
    return folder


@pytest.fixture
def make(tiny_config: TrainConfig, run_folder: Path) -> Make:
    """make("optim.steps=4", ...): the model of `tiny_config` with these changes, in which every
    weight acts.
    """

    def made(*changes: str) -> Built:
        built = build(changed(tiny_config, *changes), run_folder)
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for weight in built.model.parameters():
                # fp8 has no sum.
                if weight.dtype is torch.float32:
                    weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
        return built

    return made

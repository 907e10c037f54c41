import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from memv2v_core.training import codec_trainer
from memv2v_core.training.codec_trainer import train_decoder
from memv2v_core.training.config import TrainConfig
from memv2v_core.training.data.tasks import examples_of
from memv2v_core.training.trainer import fit_codec

pytestmark = pytest.mark.slow


def test_training_the_decoder_leaves_latents_alone_and_the_codec_frozen(
    tiny_config: TrainConfig, tmp_path: Path
):
    codec = fit_codec(tiny_config, torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    train_decoder(codec, replace(tiny_config, codec_seconds=0.5), tmp_path / "log.jsonl")
    for name, value in codec.state_dict().items():
        assert torch.equal(value, before[name]) == (not name.startswith("refine.")), name
    assert not any(parameter.requires_grad for parameter in codec.parameters())


def test_the_decoder_gets_better(
    tiny_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ticks = itertools.count()
    monkeypatch.setattr(codec_trainer.time, "monotonic", lambda: next(ticks) / 105)
    monkeypatch.setattr(codec_trainer, "BATCH_SCENES", 1)
    codec = fit_codec(tiny_config, torch.Generator().manual_seed(0))
    unseen = examples_of(tiny_config, torch.Generator().manual_seed(1)).videos(4)

    def error() -> float:
        return (codec.decode(codec.encode(unseen)) - unseen).square().mean().item()

    before = error()
    train_decoder(codec, replace(tiny_config, codec_seconds=1.0), tmp_path / "log.jsonl")
    lines = [
        json.loads(line)
        for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [line["step"] for line in lines] == [50, 100]
    assert error() < 0.9 * before

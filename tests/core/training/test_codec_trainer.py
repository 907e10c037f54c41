import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from instruments.training_runs import changed

from memv2v_core.builtin.codec import Codec
from memv2v_core.training import codec_trainer
from memv2v_core.training.codec_trainer import (
    CODEC_FILE,
    fit_codec,
    load_run_codec,
    train_codec,
    train_decoder,
)
from memv2v_core.training.config.run import TrainConfig
from memv2v_core.training.data.scenes import SceneExamples
from memv2v_core.training.network.bases import new_base
from memv2v_core.training.seeds import seeded

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


def unseen_videos(config: TrainConfig, codec: Codec) -> torch.Tensor:
    """Videos of twelve scenes that no run of `config` draws."""
    scenes = replace(config.scenes, first_scenes=12, num_scenes=12)
    examples = SceneExamples(scenes, new_base(config.base.model), codec, seed=77)
    return examples.videos(0, [seeded(77, "unseen", number) for number in range(12)])


def test_training_the_decoder_leaves_latents_alone_and_the_codec_frozen(
    tiny_config: TrainConfig, tmp_path: Path
):
    codec = fit_codec(tiny_config, CPU)
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    train_decoder(codec, tiny_config, 0.01, tmp_path / "log.jsonl")
    for name, value in codec.state_dict().items():
        assert torch.equal(value, before[name]) == (not name.startswith("refine.")), name
    assert not any(parameter.requires_grad for parameter in codec.parameters())


def test_the_decoder_gets_better(
    tiny_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ticks = itertools.count()
    monkeypatch.setattr(codec_trainer.time, "monotonic", lambda: next(ticks) / 105)
    monkeypatch.setattr(codec_trainer, "BATCH_SCENES", 1)
    torch.manual_seed(0)
    codec = fit_codec(tiny_config, CPU)
    unseen = unseen_videos(tiny_config, codec)

    def error() -> float:
        return (codec.decode(codec.encode(unseen)) - unseen).square().mean().item()

    before = error()
    train_decoder(codec, tiny_config, 1 / 60, tmp_path / "log.jsonl")
    lines = [
        json.loads(line)
        for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [line["step"] for line in lines] == [50, 100]
    assert error() < 0.95 * before


def test_a_codec_keeps_more_of_a_video_than_a_new_one(tiny_config: TrainConfig):
    """Fitted to the videos' patches, 16 numbers of 192 keep most of them."""
    codec = fit_codec(tiny_config, CPU)
    video = unseen_videos(tiny_config, codec)
    left, new = (
        (each.decode(each.encode(video)) - video).square().mean() for each in (codec, Codec())
    )
    assert left < 0.1 * video.var()
    assert left < 0.1 * new


def test_a_runs_codec_is_the_same_for_every_process(tiny_config: TrainConfig, tmp_path: Path):
    for name in ("one", "other"):
        train_codec(tiny_config, tmp_path / name, CPU)
    one, other = ((tmp_path / name / CODEC_FILE).read_bytes() for name in ("one", "other"))
    assert one == other
    codec = load_run_codec(tiny_config, tmp_path / "one")
    assert not codec.training
    assert codec.ratios.channels == 16


def test_prepared_data_brings_its_own_codec(tiny_config: TrainConfig, tmp_path: Path):
    config = changed(tiny_config, "scenes=null", f"prepared.folder={tmp_path}")
    with pytest.raises(ValueError, match="base got kind new with prepared examples, wanted scenes"):
        train_codec(config, tmp_path / "run", CPU)


def test_a_decoder_to_train_on_needs_a_model_to_begin_with(
    tiny_config: TrainConfig, tmp_path: Path
):
    config = replace(tiny_config, decoder_minutes=1.0)
    with pytest.raises(ValueError, match="decoder_minutes got 1.0 .* name it with --start-from"):
        train_codec(config, tmp_path, CPU)

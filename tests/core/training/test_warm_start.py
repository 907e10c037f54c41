from dataclasses import replace
from pathlib import Path

import pytest
import torch

from memv2v_core.builtin import bundle
from memv2v_core.builtin.text_encoder import train_vocabulary
from memv2v_core.synthetic.worlds import WorldConfig
from memv2v_core.training.codec_trainer import train_codec
from memv2v_core.training.config import EditDataConfig, ModelConfig, TrainConfig
from memv2v_core.training.export import export_run
from memv2v_core.training.network import build_network
from memv2v_core.training.trainer import VOCABULARY_FILE, save_checkpoint, start_run, train
from memv2v_core.training.warm_start import start_from_builtin

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@pytest.fixture
def editor_config(tiny_config: TrainConfig) -> TrainConfig:
    model = ModelConfig(
        64,
        num_heads=2,
        num_layers=3,
        ffn_dim=64,
        text_dim=16,
        freq_dim=16,
        channels=8,
        has_source_channels=True,
        has_rays=False,
        has_cameras=False,
        has_text=True,
    )
    worlds = WorldConfig(canvas_height=48)
    edits = EditDataConfig(
        size=32,
        num_frames=3,
        target_frames=2,
        memory_frames=2,
        num_canvases=3,
        first_canvases=2,
        worlds=worlds,
    )
    return replace(tiny_config, task="text_edit", model=model, edits=edits)


@pytest.fixture
def shipped(
    editor_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> bundle.Bundle:
    """A built-in model "tiny", whose vocabulary is another than a new run's."""
    monkeypatch.setattr(bundle, "WEIGHTS", tmp_path / "weights")
    folder = tmp_path / "first"
    train_codec(editor_config, folder, CPU)
    vocabulary = train_vocabulary(
        ["give the red ball a new colour", "put a hat on the blue box"], size=60
    )
    (folder / VOCABULARY_FILE).write_bytes(vocabulary)
    torch.manual_seed(8)
    run = start_run(editor_config, build_network(editor_config.model, vocabulary))
    save_checkpoint(run, folder / "checkpoint.pt")
    export_run(editor_config, folder, "tiny", "Tiny")
    return bundle.load_bundle("tiny")


def test_a_run_begins_with_the_builtin_models_weights_and_trains_on(
    editor_config: TrainConfig, shipped: bundle.Bundle, tmp_path: Path
):
    folder = tmp_path / "second"
    start_from_builtin(editor_config, folder, "tiny")
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert (state["step"], state["seconds"]) == (0, 0.0)
    parts = {
        "dit": shipped.backbone.model,
        "adapter": shipped.adapter,
        "text": shipped.text_encoder,
    }
    for part, module in parts.items():
        for name, value in module.state_dict().items():
            assert torch.equal(state["network"][f"{part}.{name}"], value), name
    train_codec(editor_config, folder, CPU)  # finds the model's own
    codec = torch.load(folder / "codec.pt", weights_only=True)
    assert all(
        torch.equal(codec[name], value) for name, value in shipped.codec.state_dict().items()
    )
    train(replace(editor_config, optim=replace(editor_config.optim, steps=2)), folder, CPU)
    export_run(editor_config, folder, "trained_on", "Trained on")
    after = bundle.load_bundle("trained_on")
    assert after.text_encoder.vocabulary == shipped.text_encoder.vocabulary
    before = shipped.backbone.model.state_dict()
    assert any(
        not torch.equal(value, before[name])
        for name, value in after.backbone.model.state_dict().items()
    )


def test_a_run_that_has_begun_stays_as_it_is(
    editor_config: TrainConfig, shipped: bundle.Bundle, tmp_path: Path
):
    folder = tmp_path / "second"
    folder.mkdir()
    (folder / "checkpoint.pt").write_bytes(b"begun")
    start_from_builtin(editor_config, folder, "tiny")
    assert [path.name for path in folder.iterdir()] == ["checkpoint.pt"]
    assert (folder / "checkpoint.pt").read_bytes() == b"begun"


def test_a_model_of_another_size_or_task_is_refused(
    editor_config: TrainConfig, tiny_config: TrainConfig, shipped: bundle.Bundle, tmp_path: Path
):
    wide = replace(editor_config, model=replace(editor_config.model, dim=96))
    with pytest.raises(
        ValueError, match="tiny got model.dim 64, wanted 96 as configured; set model.dim to 64"
    ):
        start_from_builtin(wide, tmp_path / "second", "tiny")
    with pytest.raises(ValueError, match="tiny got task text_edit, wanted novel_view"):
        start_from_builtin(tiny_config, tmp_path / "second", "tiny")
    assert not (tmp_path / "second").exists()

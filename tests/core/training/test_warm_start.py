from pathlib import Path

import pytest
import torch
from instruments.training_runs import changed, finished_run, weights_of
from safetensors.torch import load_file

from memv2v_core.builtin import bundle
from memv2v_core.builtin.text_encoder import train_vocabulary
from memv2v_core.training.checkpoints import CHECKPOINTS, newest_checkpoint, read_position
from memv2v_core.training.codec_trainer import CODEC_FILE, load_run_codec, train_codec
from memv2v_core.training.config.run import TrainConfig
from memv2v_core.training.export import export_run
from memv2v_core.training.launch import VOCABULARY_FILE
from memv2v_core.training.warm_start import start_from_builtin

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


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
    finished_run(changed(editor_config, "optim.steps=1", "seed=8"), folder)
    export_run(editor_config, folder, "tiny", "Tiny")
    return bundle.load_bundle("tiny")


def place_of(part: str, name: str) -> str:
    """The name in a run of a weight of a built-in model."""
    words = name.split(".")
    if part in ("dit", "adapter") and words[0] == "blocks":
        inner = "base" if part == "dit" else "cameras"
        return ".".join(("blocks", words[1], inner, *words[2:]))
    return f"{part}.{name}"


def test_a_run_begins_with_the_builtin_models_weights_and_trains_on(
    editor_config: TrainConfig, shipped: bundle.Bundle, tmp_path: Path
):
    folder = tmp_path / "second"
    start_from_builtin(editor_config, folder, "tiny")
    begun = newest_checkpoint(folder)
    position = read_position(begun)
    assert (position.step, position.seconds) == (0, 0.0)
    found, checked = weights_of(folder), set()
    for part, module in (
        ("dit", shipped.backbone.model),
        ("adapter", shipped.adapter),
        ("text", shipped.text_encoder),
    ):
        for name, value in module.state_dict().items():
            if place_of(part, name) in found:
                assert torch.equal(found[place_of(part, name)], value), name
                checked.add(place_of(part, name))
    # Only the locator is new: the trained model does not keep it.
    assert {name.partition(".")[0] for name in found.keys() - checked} == {"locator"}
    train_codec(editor_config, folder, CPU)  # finds the model's own
    codec = load_file(folder / CODEC_FILE)
    own = shipped.codec.state_dict()
    assert all(torch.equal(codec[name], value) for name, value in own.items())
    finished_run(changed(editor_config, "optim.steps=2"), folder)
    export_run(editor_config, folder, "trained_on", "Trained on")
    after = bundle.load_bundle("trained_on")
    assert after.text_encoder.vocabulary == shipped.text_encoder.vocabulary
    before = shipped.backbone.model.state_dict()
    assert any(
        not torch.equal(value, before[name])
        for name, value in after.backbone.model.state_dict().items()
    )


def test_the_decoder_may_train_on_while_the_encoder_stays(
    editor_config: TrainConfig, shipped: bundle.Bundle, tmp_path: Path
):
    """Latents stay as the model knows them."""
    own = shipped.codec.state_dict()
    for minutes, is_trained in ((0.0, False), (0.01, True)):
        folder = tmp_path / f"run {is_trained}"
        start_from_builtin(changed(editor_config, f"decoder_minutes={minutes}"), folder, "tiny")
        codec = load_file(folder / CODEC_FILE)
        assert codec.keys() == own.keys()
        for name, value in codec.items():
            is_decoder = name.startswith("refine.")
            assert torch.equal(value, own[name]) != (is_trained and is_decoder), name
        # The run goes on with this codec, and the checkpoint is written after it.
        assert newest_checkpoint(folder) is not None
        assert torch.equal(load_run_codec(editor_config, folder).state_dict()[name], codec[name])


def test_a_run_that_has_begun_stays_as_it_is(
    editor_config: TrainConfig, shipped: bundle.Bundle, tmp_path: Path
):
    folder = tmp_path / "second"
    begun = folder / CHECKPOINTS / "step-00000007"
    begun.mkdir(parents=True)
    start_from_builtin(editor_config, folder, "tiny")
    assert [path.name for path in folder.rglob("*")] == [CHECKPOINTS, "step-00000007"]


def test_a_model_of_another_size_or_task_is_refused(
    editor_config: TrainConfig, tiny_config: TrainConfig, shipped: bundle.Bundle, tmp_path: Path
):
    wide = changed(editor_config, "base.model.dim=96")
    with pytest.raises(
        ValueError,
        match=r"tiny got base\.model\.dim 64, wanted 96 as configured; set base\.model\.dim to 64",
    ):
        start_from_builtin(wide, tmp_path / "second", "tiny")
    with pytest.raises(ValueError, match="tiny got task text_edit, wanted novel_view"):
        start_from_builtin(tiny_config, tmp_path / "second", "tiny")
    other = changed(editor_config, "base={kind: builtin, name: text_edit}")
    with pytest.raises(ValueError, match=r"tiny got base\.kind new, wanted builtin"):
        start_from_builtin(other, tmp_path / "second", "tiny")
    cameras = changed(editor_config, "base.model.has_cameras=true")
    with pytest.raises(ValueError, match=r"tiny got base\.model\.has_cameras False, wanted True"):
        start_from_builtin(cameras, tmp_path / "second", "tiny")
    assert not (tmp_path / "second").exists()


def test_a_part_that_the_run_freezes_is_refused(
    editor_config: TrainConfig, shipped: bundle.Bundle, tmp_path: Path
):
    """A new run's frozen parts are its own new ones."""
    frozen = changed(editor_config, "trained.text=null")
    low_rank = changed(editor_config, "trained.self_attention={lora_rank: 2}")
    for config, part in ((frozen, "text"), (low_rank, "self_attention")):
        with pytest.raises(
            ValueError, match=f"trained lacks the whole part {part}, .* builtin, nam"
        ):
            start_from_builtin(config, tmp_path / "second", "tiny")
    assert newest_checkpoint(tmp_path / "second") is None


def test_tokenizers_that_the_builtin_model_lacks_begin_from_its_embedding(
    editor_config: TrainConfig, shipped: bundle.Bundle, tmp_path: Path
):
    config = changed(editor_config, "adapter.has_base_tokenizer=true")
    start_from_builtin(config, tmp_path / "second", "tiny")
    found = weights_of(tmp_path / "second")
    patch = shipped.backbone.model.patch_embedding.weight
    assert torch.equal(found["adapter.tokenizers.2.weight"], patch)
    wanted = shipped.adapter.tokenizers["4"].weight
    assert torch.equal(found["adapter.tokenizers.4.weight"], wanted)

"""Recipes: what they choose, how `--set` changes them, and which choices contradict each other."""

import dataclasses
from pathlib import Path

import pytest
from instruments.training_runs import changed

from memv2v_core.strict_yaml import as_yaml
from memv2v_core.training.config.model import AdapterOptions, BaseConfig
from memv2v_core.training.config.recipes import RECIPES, recipe_names, recipe_path
from memv2v_core.training.config.run import TrainConfig, changed_config, load_config
from memv2v_core.training.network.parts import parts_of

SHORT = """
task: novel_view
base: {kind: new}
scenes: {}
trained: {mergers: {rate: 1e-3}}
optim: {steps: 10}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_loads_and_its_yaml_loads_again(path: Path, tmp_path: Path):
    config = load_config(Path(path.stem))
    assert config == load_config(path)
    assert load_config(write(tmp_path, as_yaml(config))) == config


def test_the_recipes_of_the_paper_have_its_numbers():
    """Sec. 4.1 and App. D, arXiv:2601.16296v2."""
    views, edits = load_config(Path("novel_view_paper")), load_config(Path("long_edit_paper"))
    for config, steps in ((views, 2000), (edits, 1000)):
        assert (config.optim.batch_size, config.optim.steps) == (32, steps)
        memory = config.prepared.memory
        assert memory.counts == (0, 1, 1, 1, 1, 1, 1)
        assert len(set(memory.kernels)) == 1
        assert (memory.single_kernel_share, memory.merge_probability) == (0.5, 0.5)
        assert memory.merge_shares == (0.3, 0.7)
        assert memory.noise_beside_source
        assert config.trained.self_attention.lora_rank is None
    names = {"self_attention", "tokenizers", "mergers"}
    assert parts_of(views.trained).keys() == names | {"cameras", "projector"}
    assert parts_of(edits.trained).keys() == names
    assert views.prepare.num_frames == 81
    assert edits.prepare.num_frames == 33
    assert views.adapter.camera_conditioning == "per_video"
    assert edits.adapter.memory_order == "reversed"


def test_the_builtin_models_recipe_asks_for_enough_irrelevant_memories_and_mixed_kernels():
    config = load_config(Path("novel_view"))
    assert config.scenes.irrelevant_share >= 0.15
    assert config.scenes.memory.single_kernel_share == 0.5  # Sec. 4.1
    assert config.scenes.size // 8 >= 16


def test_values_that_a_recipe_leaves_out_are_the_defaults(tmp_path: Path):
    config = load_config(write(tmp_path, SHORT))
    assert (config.seed, config.adapter) == (0, AdapterOptions())
    assert config.trained.mergers.rate == 1e-3
    assert config.trained.cameras is None


def test_a_run_can_begin_and_end_otherwise(editor_config: TrainConfig):
    config = changed(
        editor_config,
        "first.worlds={target_frames: 1}",
        "first.optim={minutes: 1}",
        "last.worlds={target_frames: 9}",
        "last.optim={minutes: 2}",
    )
    first, rest, last = config.phases
    assert (first.worlds.target_frames, first.optim.minutes, first.seed) == (1, 1, 3)
    assert (rest.worlds, rest.optim) == (editor_config.worlds, editor_config.optim)
    assert (last.worlds.target_frames, last.optim.minutes, last.seed) == (9, 2, 3)
    assert editor_config.phases == (editor_config,)
    assert all(phase.phases == (phase,) for phase in config.phases)


def test_changes_reach_their_place_and_their_type(tmp_path: Path):
    path = write(tmp_path, SHORT)
    config = changed_config(
        path,
        [
            "optim.steps=25",
            "optim.betas=[0.8, 0.9]",
            "scenes.memory.noise=0.25",
            "trained.cameras.rate=1e-5",
            "base.path=null",
            "keep.trackers=[tensorboard]",
        ],
    )
    assert (config.optim.steps, config.optim.betas) == (25, (0.8, 0.9))
    assert config.scenes.memory.noise == 0.25
    assert config.scenes.memory.counts == load_config(path).scenes.memory.counts
    assert config.trained.cameras.rate == 1e-5
    assert config.keep.trackers == ("tensorboard",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optim.steps", "--set got 'optim.steps', wanted KEY=VALUE"),
        ("=3", "--set got '=3', wanted KEY=VALUE"),
        ("task.name=3", "--set got 'task.name=3', but task is a value, not a group"),
        ("optim.step=3", r"run\.yaml: optim got the key 'step', wanted one of"),
        ("optim.steps=many", r"run\.yaml: optim: steps got 'many', wanted a whole number"),
        ("scenes.memory.kernels=[1, 1]", r"memory: kernels got 2 values, wanted 3"),
    ],
)
def test_a_wrong_change_is_an_error(tmp_path: Path, change: str, message: str):
    with pytest.raises(ValueError, match=message):
        changed_config(write(tmp_path, SHORT), [change])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("scenes=null", "examples got none, wanted one of scenes, worlds and prepared"),
        ("worlds={}", "examples got scenes and worlds, wanted one of"),
        ("task=text_edit", "task got text_edit with scenes, which belong to the other task"),
        ("task=novel", "task got 'novel', wanted 'novel_view' or 'text_edit'"),
        ("optim.minutes=3", "minutes and steps: give one of them"),
        ("optim.steps=null", "minutes and steps: give one of them"),
        ("optim.batch_size=0", "batch_size got 0, wanted at least 1"),
        ("optim.resident_blocks=2", "resident_blocks needs has_checkpointing: true"),
        ("trained.mergers.rate=0", "rates got 0.0 and None, wanted more than 0; leave the part"),
        ("scenes.memory.counts=[0, 0]", r"counts got \[0.0, 0.0\], wanted shares"),
        ("scenes.memory.drop_source=1.5", "drop_source got 1.5, wanted a share from 0 to 1"),
        ("adapter={attention: two_way, clean_reads_text: false}", "clean_reads_text got false"),
        ("base={kind: builtin}", "kind got builtin without a name; add name"),
        ("base={kind: file}", "kind got file without a path; add path"),
        ("keep.log_steps=0", "log_steps got 0, wanted at least 1"),
        ("keep.num_checkpoints=0", "num_checkpoints got 0, wanted at least 1"),
        ("keep.held_out_rows=0", "held_out_rows got 0, wanted at least 1"),
        ("optim.whole_batch_size=0", "whole_batch_size got 0, wanted at least 1"),
        ("codec_minutes=-1", "codec_minutes got -1.0, wanted 0 or more"),
        ("decoder_minutes=-0.5", "decoder_minutes got -0.5, wanted 0 or more"),
    ],
)
def test_choices_that_cannot_be_trained_are_refused(
    tiny_config: TrainConfig, change: str, message: str
):
    with pytest.raises(ValueError, match=message):
        changed(tiny_config, change)


def test_only_a_new_model_has_a_decoder_to_train(tiny_config: TrainConfig):
    base = "base={kind: builtin, name: novel_view}"
    with pytest.raises(ValueError, match="decoder_minutes got 5.0 with base.kind builtin"):
        changed(tiny_config, base, "decoder_minutes=5")
    assert changed(tiny_config, base).decoder_minutes == 0


def test_a_recipe_is_a_file_or_a_shipped_name(tmp_path: Path):
    assert recipe_path(Path("tiny")) == RECIPES / "tiny.yaml"
    assert recipe_path(Path("tiny.yaml")) == RECIPES / "tiny.yaml"
    own = write(tmp_path, SHORT)
    assert recipe_path(own) == own
    assert set(recipe_names()) > {"tiny", "novel_view", "text_edit"}
    with pytest.raises(
        ValueError, match="huge is no file, wanted .* recipes long_edit_24gb, .*tiny"
    ):
        recipe_path(Path("huge"))
    for path in (tmp_path, tmp_path / "tiny.yaml"):
        with pytest.raises(ValueError, match="is no file"):
            recipe_path(path)


def test_a_base_says_where_it_comes_from():
    assert BaseConfig().kind == "new"
    assert BaseConfig("builtin", name="novel_view").name == "novel_view"
    assert {field.name for field in dataclasses.fields(BaseConfig)} >= {"path", "adapter", "start"}

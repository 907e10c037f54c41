import dataclasses
from pathlib import Path

import pytest

from memv2v_core.training.config import TrainConfig, load_config

SHIPPED = (
    Path(__file__).resolve().parents[3] / "memv2v_core" / "training" / "configs" / "novel_view.yaml"
)


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_file_means_the_defaults(tmp_path: Path):
    assert load_config(write(tmp_path, "")) == TrainConfig()


def test_values_reach_nested_configs_and_lists_become_tuples(tmp_path: Path):
    config = load_config(
        write(
            tmp_path,
            """
            seed: 7
            model: {dim: 128, has_rays: false}
            data: {memory_counts: [0.5, 0.5], scenes: {num_shapes: 5}}
            """,
        )
    )
    assert (config.seed, config.model.dim, config.model.has_rays) == (7, 128, False)
    assert config.data.memory_counts == (0.5, 0.5)
    assert config.data.scenes.num_shapes == 5
    assert config.model.num_layers == TrainConfig().model.num_layers


def test_a_run_can_begin_and_end_otherwise(tmp_path: Path):
    begins = "first: {edits: {target_frames: 1}, optim: {seconds: 60}}"
    ends = "last: {edits: {target_frames: 9}, optim: {seconds: 120}}"
    first, rest, last = load_config(
        write(tmp_path, f"{{seed: 3, {begins}, optim: {{seconds: 90}}, {ends}}}")
    ).phases
    assert (first.edits.target_frames, first.optim.seconds, first.seed) == (1, 60, 3)
    assert (rest.edits, rest.optim.seconds, rest.seed) == (TrainConfig().edits, 90, 3)
    assert (last.edits.target_frames, last.optim.seconds, last.seed) == (9, 120, 3)
    assert TrainConfig().phases == (TrainConfig(),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "sede: 1",
            r"run.yaml got the key 'sede', wanted one of \[.*'seed', 'task'\]; correct its spell",
        ),
        ("optim: {lr: 1}", "run.yaml: optim got the key 'lr', wanted one of"),
        ("first: {data: {}}", "run.yaml: first got the key 'data', wanted one of"),
        (
            "data: {scenes: {shapes: 4}}",
            "run.yaml: data: scenes got the key 'shapes', wanted one of",
        ),
    ],
)
def test_an_unknown_key_is_an_error_that_names_its_place(tmp_path: Path, text: str, message: str):
    with pytest.raises(ValueError, match=message):
        load_config(write(tmp_path, text))


def test_configurations_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().seed = 1  # type: ignore[misc]


def test_the_shipped_configuration_asks_for_enough_irrelevant_memories_and_mixed_kernels():
    config = load_config(SHIPPED)
    assert config.data.irrelevant_share >= 0.15
    assert config.data.single_kernel_share == 0.5  # Sec. 4.1
    assert config.data.size // 8 >= 16

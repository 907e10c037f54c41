"""Runs so small that a step takes a fraction of a second."""

import pytest
from accelerate.state import AcceleratorState, PartialState
from instruments.training_runs import NOVEL_VIEW, TEXT_EDIT, recipe

from memv2v_core.training.config.run import TrainConfig


@pytest.fixture(autouse=True)
def own_accelerate_state() -> None:
    """Each test chooses its own precision: accelerate keeps one choice a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()


@pytest.fixture(scope="session")
def tiny_config() -> TrainConfig:
    """New camera paths: the adapter and the self-attention of a new model are trained."""
    return recipe(NOVEL_VIEW)


@pytest.fixture(scope="session")
def editor_config() -> TrainConfig:
    """Text-guided editing: a whole new model is trained."""
    return recipe(TEXT_EDIT)

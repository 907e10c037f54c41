"""Runs so small that a step takes a fraction of a second."""

import pytest
from instruments.training_runs import NOVEL_VIEW, TEXT_EDIT, recipe

from memv2v_core.training.config.run import TrainConfig


@pytest.fixture(scope="session")
def tiny_config() -> TrainConfig:
    """New camera paths: the adapter and the self-attention of a new model are trained."""
    return recipe(NOVEL_VIEW)


@pytest.fixture(scope="session")
def editor_config() -> TrainConfig:
    """Text-guided editing: a whole new model is trained."""
    return recipe(TEXT_EDIT)

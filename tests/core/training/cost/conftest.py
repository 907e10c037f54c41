from collections.abc import Callable
from dataclasses import replace

import pytest
from instruments.cost_recipes import paper_recipe

from memv2v_core.bases.recammaster import RECAMMASTER
from memv2v_core.training.config.run import TrainConfig
from memv2v_core.training.cost.base_sizes import SIZES


@pytest.fixture
def tiny_recipe(monkeypatch: pytest.MonkeyPatch) -> Callable[..., TrainConfig]:
    """The paper's recipe with changes, for a base of two blocks of 256."""
    sizes = replace(
        SIZES["recammaster"][1], dim=256, num_blocks=2, ffn_dim=1536, text_dim=64, freq_dim=32
    )
    monkeypatch.setitem(SIZES, "recammaster", (RECAMMASTER, sizes))
    return paper_recipe

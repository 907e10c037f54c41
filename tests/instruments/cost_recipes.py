"""The paper's recipe for new camera paths with changes, to count its costs."""

from pathlib import Path

from memv2v_core.training.config.run import TrainConfig, changed_config
from memv2v_core.training.cost.activations import counted_activations
from memv2v_core.training.cost.clips import ClipSizes, clips_of
from memv2v_core.training.cost.compute import Works, works_of
from memv2v_core.training.cost.draws import Draw
from memv2v_core.training.cost.planned_model import planned_model

TWO_WAY = ("adapter.attention=two_way", "adapter.clean_timestep=target")
# 81 frames of 480 x 832.
FULL_SIZE = ClipSizes(60, 104, 21, 21, 21)


def paper_recipe(*changes: str) -> TrainConfig:
    return changed_config(Path("novel_view_paper"), list(changes))


def works_of_recipe(config: TrainConfig) -> Works:
    """The work of steps with whole clips."""
    model = planned_model(config).model
    return works_of(config, model, clips_of(config, model.base_info.ratios))[-1]


def plain_draw(*kernels: int, share: float | None = None) -> Draw:
    """A source and memories with these kernels."""
    return Draw(1.0, kernels, True, share)


def activation_bytes(config: TrainConfig, draw: Draw, clips: ClipSizes, num_blocks: int) -> float:
    """What the report says of this draw."""
    tokens = draw.layout(clips).num_tokens
    return counted_activations(config, clips, num_blocks).peak(tokens)

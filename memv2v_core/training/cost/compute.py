"""The work of a run: tokens and FLOPs of every draw, of a step, and of all steps.

A FLOP is a multiply or an add.
"""

from dataclasses import dataclass

from ...builtin.text_encoder import TextEncoder
from ...tokens.cost import DitShape, forward_cost
from ..config.run import TrainConfig
from ..network.module import TrainedModel
from .clips import Clips, ClipSizes
from .draws import Draw, possible_draws

# Forward passes that one step of training is worth. The backward pass takes two: a gradient of
# every product's input and one of its weight. With checkpointing the forward pass runs twice.
PLAIN_PASSES, CHECKPOINTED_PASSES = 3, 4
# Text tokens of a published base; shorter prompts are filled up.
NUM_TEXT_TOKENS = 512


@dataclass(frozen=True)
class Work:
    """The work of one row of one draw. flops: of a forward pass."""

    draw: Draw
    tokens: int
    flops: int


@dataclass(frozen=True)
class Works:
    """The work of all draws of a kind of steps.

    share: of the steps. rows: of each step.
    """

    title: str
    clips: ClipSizes
    share: float
    rows: int
    each: tuple[Work, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """The numbers of memories that occur."""
        return tuple(sorted({len(work.draw.kernels) for work in self.each}))

    def of_count(self, count: int) -> tuple[Work, ...]:
        return tuple(work for work in self.each if len(work.draw.kernels) == count)


def mean_flops(works: tuple[Work, ...]) -> float:
    """The expected FLOPs of a forward pass of one row."""
    total = sum(work.draw.probability for work in works)
    return sum(work.draw.probability * work.flops for work in works) / total


def worst(works: tuple[Work, ...]) -> Work:
    """The draw with the most tokens, nothing merged where that occurs."""
    return max(works, key=lambda work: (work.tokens, work.flops))


def typical(works: tuple[Work, ...]) -> Work:
    """The draw with the median number of tokens, nothing merged where that occurs."""
    half, done = sum(work.draw.probability for work in works) / 2, 0.0
    for median in sorted(works, key=lambda work: work.tokens):
        done += median.draw.probability
        if done >= half:
            break
    same = (median.draw.kernels, median.draw.has_source)
    # Merging comes in the middle of the DiT: such draws have the same tokens and less work.
    alike = [work for work in works if (work.draw.kernels, work.draw.has_source) == same]
    return max(alike, key=lambda work: work.flops)


def works_of(config: TrainConfig, model: TrainedModel, clips: Clips) -> tuple[Works, ...]:
    """The work of steps with whole clips and, where a run has them, with parts of clips."""
    shape = dit_shape(model)
    draws = possible_draws(config, model.base_info.has_source_tokens)
    kinds = [("whole clips", clips.whole, 1 - clips.part_share, config.optim.rows(True))]
    if clips.part is not None:
        kinds.insert(0, ("parts of clips", clips.part, clips.part_share, config.optim.rows(False)))
    return tuple(
        Works(title, sizes, share, rows, tuple(_work(draw, sizes, shape) for draw in draws))
        for title, sizes, share, rows in kinds
        if share > 0
    )


def _work(draw: Draw, clips: ClipSizes, shape: DitShape) -> Work:
    cost = forward_cost(draw.layout(clips), shape, draw.merging)
    return Work(draw, cost.tokens_in, cost.flops)


def step_flops(config: TrainConfig, works: tuple[Works, ...]) -> float:
    """The expected FLOPs of one step of training, of all its rows."""
    passes = num_passes(config)
    return sum(kind.share * kind.rows * passes * mean_flops(kind.each) for kind in works)


def num_passes(config: TrainConfig) -> int:
    """Forward passes that training is worth."""
    return CHECKPOINTED_PASSES if config.optim.has_checkpointing else PLAIN_PASSES


def dit_shape(model: TrainedModel) -> DitShape:
    """The sizes of a model that decide its FLOPs."""
    base, dit = model.base_info, model.dit
    heads, head_dim = dit.config.num_attention_heads, dit.config.attention_head_dim
    return DitShape(
        dim=heads * head_dim,
        ffn_dim=dit.config.ffn_dim,
        num_blocks=len(model.blocks),
        num_text_tokens=num_text_tokens(model),
        head_dim=head_dim,
        has_adapter=base.has_cameras,
        has_mergers=len(model.adapter.mergers) > 0,
        attention=base.attention,
        clean_reads_text=base.clean_reads_text,
    )


def num_text_tokens(model: TrainedModel) -> int:
    """Text tokens of a prompt."""
    if model.text is not None:
        assert isinstance(model.text, TextEncoder)
        return model.text.config.num_tokens
    # A base with a width of empty text reads no prompt: one zero token.
    return NUM_TEXT_TOKENS if model.base_info.text_width is None else 1

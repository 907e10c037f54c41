"""What is trained, and how fast."""

from dataclasses import dataclass
from typing import Literal

PartName = Literal[
    "cameras", "projector", "tokenizers", "mergers", "self_attention", "base", "text", "locator"
]
Sigmas = Literal["logit_normal", "uniform"]
Weighting = Literal["even", "bell"]
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Part:
    """A part that is trained.

    rate: of AdamW. muon_rate: of Muon, which then takes the part's matrices inside blocks; None
    leaves them to AdamW.
    """

    rate: float = 1e-4
    muon_rate: float | None = None

    def __post_init__(self) -> None:
        if self.rate <= 0 or (self.muon_rate is not None and self.muon_rate <= 0):
            raise ValueError(
                f"rates got {self.rate} and {self.muon_rate}, wanted more than 0; leave the part "
                "out to freeze it"
            )


@dataclass(frozen=True)
class SelfAttention(Part):
    """Self-attention of every block: q, k, v, o and their norms.

    lora_rank: trains low-rank changes of q, k, v and o alone; None trains everything.
    lora_alpha: the changes are scaled by alpha / rank.
    """

    lora_rank: int | None = None
    lora_alpha: float = 32.0


@dataclass(frozen=True)
class TrainedConfig:
    """The parts that are trained; everything else is frozen.

    cameras: camera encoders and rays. projector: of every block. tokenizers: 1x2x2 of clean tokens,
    1x4x4, 1x8x8. mergers: the merging convolutions. base: everything else of the DiT. text: the
    text encoder of a small model. locator: its training aid.

    Source: Sec. 4.1, arXiv:2601.16296v2: self-attention, projector, camera encoder, tokenizers and
    compressors.
    """

    cameras: Part | None = None
    projector: Part | None = None
    tokenizers: Part | None = None
    mergers: Part | None = None
    self_attention: SelfAttention | None = None
    base: Part | None = None
    text: Part | None = None
    locator: Part | None = None

    @property
    def lora_rank(self) -> int | None:
        """Rank of the changes of self-attention; None where they are whole, or it is frozen."""
        return None if self.self_attention is None else self.self_attention.lora_rank


@dataclass(frozen=True)
class OptimConfig:
    """Optimiser and schedule.

    batch_size: rows of one step, over all processes. rows_at_once: rows of one forward of one
    process; the rest of a process's share accumulates.
    whole_batch_size: rows of a step with whole clips, where steps draw parts of clips.
    minutes: length of the training, summed over resumed sessions. steps: its length in steps. One
    of them is given.
    warmup_steps, cooldown: the rate rises over these steps, and falls over this share of the run.
    ema: decay of the average of the weights, which is exported; 0 exports the last weights.
    clip: largest norm of a gradient.
    sigmas: noise levels: "uniform" over 1000 levels as in ReCamMaster, or "logit_normal"; both
    shifted. weighting: "bell" is ReCamMaster's weight of a level.
    precision: of the forward; weights that are trained stay in fp32.
    has_checkpointing: activations of a block are computed again in the backward pass.
    resident_blocks: frozen weights of this many blocks are on the device at a time, the others in
    main memory; None keeps all there.
    draw_workers: processes that draw rendered examples ahead of the steps, for a GPU that would
    wait for them; 0 draws them in the step. The run is the same.
    whole_share: share of steps that draw whole clips. whole_from: progress after which every step
    does.
    """

    batch_size: int = 32
    rows_at_once: int = 1
    whole_batch_size: int | None = None
    minutes: float | None = None
    steps: int | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    warmup_steps: int = 100
    cooldown: float = 0.0
    ema: float = 0.0
    clip: float = 1.0
    sigmas: Sigmas = "uniform"
    weighting: Weighting = "even"
    shift: float = 5.0
    precision: Precision = "fp32"
    has_checkpointing: bool = False
    resident_blocks: int | None = None
    draw_workers: int = 0
    whole_share: float = 1.0
    whole_from: float = 1.0

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("minutes and steps: give one of them, as the length of the run")
        if self.resident_blocks is not None and not self.has_checkpointing:
            raise ValueError(
                "resident_blocks needs has_checkpointing: true, because a block's weights leave "
                "the device between its forward and its backward pass"
            )
        if self.draw_workers and self.whole_from < 1:
            raise ValueError(
                f"draw_workers got {self.draw_workers} with whole_from {self.whole_from}, wanted "
                "whole_from 1: whether a step draws whole clips must not depend on the clock; use "
                "a last phase for them"
            )
        _require_positive(self, "batch_size", "rows_at_once", "whole_batch_size")

    def rows(self, whole: bool) -> int:
        """Rows of one step."""
        return self.whole_batch_size or self.batch_size if whole else self.batch_size


@dataclass(frozen=True)
class KeepConfig:
    """Checkpoints, logs and looks at the run.

    checkpoint_minutes, checkpoint_steps: a checkpoint is written after either; None for never.
    num_checkpoints: how many of them stay.
    log_steps: steps between two lines of the log.
    held_out_steps: steps between two held-out losses, over `held_out_rows` rows; None for never.
    sample_steps: steps between two sample pictures; None for never.
    trackers: accelerate's, as "tensorboard" or "wandb".
    """

    checkpoint_minutes: float | None = 15.0
    checkpoint_steps: int | None = None
    num_checkpoints: int = 3
    log_steps: int = 20
    held_out_steps: int | None = None
    held_out_rows: int = 8
    sample_steps: int | None = None
    trackers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_positive(self, "log_steps", "num_checkpoints", "held_out_rows")


def _require_positive(config: OptimConfig | KeepConfig, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ValueError(f"{name} got {value}, wanted at least 1")

"""Looks at a run while it goes on: held-out losses and sample pictures.

Both use the averaged weights where there are any, and data that training never sees. Only pictures
are also made where there is no such data; their label says so.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..pictures.contact_sheet import SheetRow, contact_sheet
from ..pictures.loop import save_loop
from ..sampling.flow_match import sample_euler, shifted_sigmas
from .config.run import TrainConfig
from .data.example import Example, Examples
from .objective import draw_noising
from .optim.average import Average
from .progress import Progress
from .seeds import seeded

log = logging.getLogger(__name__)
SAMPLES = "samples"
NUM_SAMPLE_STEPS = 12
NUM_SHOWN_FRAMES = 5
SAMPLE_FRAME_RATE = 8.0
SMALL_PX = 256

# Frames (F, 3, H, W) in [0, 1] of a latent (C, T, H, W) in the DiT's space.
Decode = Callable[[torch.Tensor], torch.Tensor]


@dataclass(eq=False)
class Watch:
    """Held-out losses and sample pictures at intervals.

    decode: None where there is no VAE; then no pictures are made.

    Raises: ValueError for held-out losses without held-out data.
    """

    config: TrainConfig
    examples: Examples
    progress: Progress
    decode: Decode | None

    def __post_init__(self) -> None:
        if self.config.keep.held_out_steps and not self.examples.has_held_out:
            raise ValueError(
                "held_out_steps got a value, but no item is held out; prepare more items or a "
                "larger held_out_share, or set held_out_steps to null"
            )

    def look(self, model: nn.Module, average: Average, step: int) -> None:
        """Measure and draw what is due after `step`; all processes call this together."""
        keep = self.config.keep
        if keep.held_out_steps and step % keep.held_out_steps == 0:
            with _looking(model, average):
                loss = self._held_out_loss(model)
            self.progress.record({"step": step, "held_out_loss": float(f"{loss:.8g}")})
            self.progress.accelerator.log({"held_out_loss": loss}, step=step)
            log.info("step %d  held-out loss %.4f", step, loss)
        if keep.sample_steps and step % keep.sample_steps == 0 and self.decode is not None:
            with _looking(model, average):
                self._draw(model, self.decode, self.progress.folder, step)

    def _held_out_loss(self, model: nn.Module) -> float:
        """The mean loss of the same held-out rows, levels and noise at every look."""
        config, device = self.config, self.progress.accelerator.device
        total = torch.zeros((), device=device)
        # Every process measures every row: rows differ in their blocks, and sharded weights need
        # all processes in each of them.
        for number in range(config.keep.held_out_rows):
            example, row = self._example(number)
            noising = draw_noising(example.target, config.optim, [row])
            total += model(lambda own, e=example, n=noising: own.loss(e, n))
        return total.item() / config.keep.held_out_rows

    def _example(self, number: int) -> tuple[Example, torch.Generator]:
        # Each row has its own structure, so that all kinds of memory are measured.
        seed = self.config.seed
        structure = self.examples.structure(0, True, seeded(seed, "held-out structure", number))
        row = seeded(seed, "held-out row", number)
        is_held_out = self.examples.has_held_out
        return self.examples.draw(structure, [row], is_held_out=is_held_out), row

    def _draw(self, model: nn.Module, decode: Decode, folder: Path, step: int) -> None:
        """Pictures of one held-out target: the truth, sampled with memory, and without.

        A sheet of some frames, and a loop of all of them.
        """
        example, row = self._example(_with_memory(self.examples, self.config.seed))
        noise = draw_noising(example.target, self.config.optim, [row]).noise
        kind = "held out" if self.examples.has_held_out else "a training item: none is held out"
        rows = [SheetRow(f"truth ({kind})", decode(example.target[0]))]
        for label, inputs in (
            ("with memory", example.inputs),
            (
                "without memory",
                replace(
                    example.inputs,
                    streams=tuple(s for s in example.inputs.streams if s.role == "source"),
                ),
            ),
        ):
            latent = _sampled(
                model, replace(example, inputs=inputs), noise, self.config.optim.shift
            )
            rows.append(SheetRow(label, decode(latent)))
        if self.progress.accelerator.is_main_process:
            num_frames = len(rows[0].frames)
            shown = range(0, num_frames, max(1, num_frames // NUM_SHOWN_FRAMES))
            path = folder / SAMPLES / f"step-{step:08d}.png"
            path.parent.mkdir(exist_ok=True)
            contact_sheet(rows, shown).save(path)
            # Small pictures are enlarged.
            scale = 2 if rows[0].frames.shape[-1] < SMALL_PX else 1
            save_loop(rows, path.with_suffix(".webp"), SAMPLE_FRAME_RATE, scale=scale)


def _with_memory(examples: Examples, seed: int) -> int:
    """The number of the first held-out row that sees a memory; 0 where none of 64 does."""
    for number in range(64):
        structure = examples.structure(0, True, seeded(seed, "held-out structure", number))
        if structure.memory.kernels:
            return number
    return 0


def _sampled(model: nn.Module, example: Example, noise: torch.Tensor, shift: float) -> torch.Tensor:
    """The latent (C, T, H, W) that the model makes of `noise` beside an example's inputs."""

    def velocity(x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        return model(lambda own: own.velocity(x, timestep, example))

    return sample_euler(velocity, noise, shifted_sigmas(NUM_SAMPLE_STEPS, shift))[0]


@contextmanager
def _looking(model: nn.Module, average: Average) -> Iterator[Any]:
    """The averaged weights, without gradients."""
    average.swap()
    try:
        with torch.no_grad():
            yield model
    finally:
        # FSDP2 lets gathered weights go in the backward pass, and a look has none.
        for module in model.modules():
            reshard: Any = getattr(module, "reshard", None)
            if reshard is not None:
                reshard()
        average.swap()

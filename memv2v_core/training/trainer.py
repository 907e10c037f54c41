"""Trains a small DiT with memory from nothing, on a CPU or a GPU.

Training can stop at any step and resume from its last checkpoint.
"""

import copy
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..builtin.codec import Codec, fit_patch_basis, start_codec
from ..model.diffusers_view import DiffusersView
from ..model.memory_inputs import MemoryInputs
from ..model.memory_model import memory_forward
from .config import ModelConfig, OptimConfig, TrainConfig
from .data.own_memories import Editor
from .data.tasks import Examples, examples_of
from .muon import Muon
from .network import adapter_of, build_network
from .objective import draw_noise, draw_sigmas, flow_matching_loss
from .precision import attention_for, computing

log = logging.getLogger(__name__)
CODEC_VIDEOS = 40
CODEC_FILE = "codec.pt"
CHECKPOINT_FILE = "checkpoint.pt"
VOCABULARY_FILE = "vocabulary.model"


@dataclass(eq=False)
class Run:
    """Everything that a checkpoint holds."""

    network: nn.ModuleDict
    average: nn.ModuleDict
    optimizers: tuple[torch.optim.Optimizer, ...]
    step: int = 0
    seconds: float = 0.0


def build_optimizers(
    network: nn.ModuleDict, config: OptimConfig
) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the matrices inside blocks, AdamW for everything else.

    Cross-attention also goes to AdamW where the network reads no text.
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        # Camera and ray encoders read a few numbers, so they are no matrices in the sense of Muon.
        inside = (
            ".blocks." in name
            and parameter.ndim == 2
            and "cam_encoder" not in name
            and "ray_encoder" not in name
        )
        (matrices if inside and ("attn2" not in name or "text" in network) else others).append(
            parameter
        )
    adam = torch.optim.AdamW(
        others, lr=config.adam_lr, betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True
    )
    return Muon(matrices, lr=config.muon_lr, weight_decay=config.weight_decay), adam


def progress_of(run: Run, config: OptimConfig) -> float:
    """Share of the run that is done, by steps where they are given, else by seconds."""
    return run.seconds / config.seconds if config.steps is None else run.step / config.steps


def schedule(progress: float, step: int, config: OptimConfig) -> float:
    """Factor of the learning rates.

    It rises over the first steps, stays constant, then falls linearly over the last `cooldown`.
    """
    warm = min(1.0, (step + 1) / config.warmup_steps)
    return warm * min(1.0, max(0.02, (1 - progress) / config.cooldown))


def fit_codec(config: TrainConfig, generator: torch.Generator) -> Codec:
    """The codec, with its linear part fitted to videos that no other generator state draws."""
    # All frames of all videos as one batch (N, 3, H, W).
    frames = examples_of(config, generator).videos(CODEC_VIDEOS).transpose(1, 2).flatten(0, 1)
    codec = Codec(config.model.channels, config.model.num_used)
    start_codec(codec, fit_patch_basis(frames, codec.used))
    return codec.eval().requires_grad_(False)


def train(config: TrainConfig, folder: Path, device: torch.device) -> None:
    """Train to the end of `config.optim`'s seconds or steps.

    `folder` gets `checkpoint.pt` and `log.jsonl`.
    """
    # Step 1: the network, new or from the last checkpoint.
    folder.mkdir(parents=True, exist_ok=True)
    codec = load_run_codec(folder, config.model).to(device)
    torch.manual_seed(config.seed)
    run = start_run(config, build_network(config.model, run_vocabulary(folder)).to(device))
    if (folder / CHECKPOINT_FILE).exists():
        load_checkpoint(run, folder / CHECKPOINT_FILE)
        log.info("resumed at step %d, %.0f s", run.step, run.seconds)
    # Step 2: examples. The step is part of the seed, so a resumed run draws new ones.
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + run.step + 1)
    view = DiffusersView(run.network["dit"], attention_for(config.optim, device))
    examples = examples_of(config, generator, editor_of(run.network, view, config.optim))
    # Step 3: the loop. Seconds of earlier sessions count, so the clock starts in the past.
    started, saved = time.monotonic() - run.seconds, time.monotonic()
    losses: list[float] = []
    while progress_of(run, config.optim) < 1:
        losses.append(_step(run, config, view, examples, codec, generator, device))
        run.seconds = time.monotonic() - started
        # The log has the mean of 20 losses: a single loss says little.
        if run.step % 20 == 0:
            _record(folder, run, sum(losses) / len(losses))
            losses.clear()
        if time.monotonic() - saved > config.optim.checkpoint_seconds:
            save_checkpoint(run, folder / CHECKPOINT_FILE)
            saved = time.monotonic()
    save_checkpoint(run, folder / CHECKPOINT_FILE)


def start_run(config: TrainConfig, network: nn.ModuleDict) -> Run:
    """A run at step 0 that starts with this network."""
    average = copy.deepcopy(network).requires_grad_(False)
    return Run(network, average, build_optimizers(network, config.optim))


def run_vocabulary(folder: Path) -> bytes | None:
    """The vocabulary that the run in `folder` started with.

    None stands for a new vocabulary of all instructions.
    """
    path = folder / VOCABULARY_FILE
    return path.read_bytes() if path.exists() else None


def editor_of(network: nn.ModuleDict, view: DiffusersView, config: OptimConfig) -> Editor:
    """The network as an `Editor`. It always edits with its present weights."""

    def velocity(
        given: torch.Tensor, timesteps: torch.Tensor, prompts: tuple[str, ...], inputs: MemoryInputs
    ) -> torch.Tensor:
        with computing(config, given.device):
            return memory_forward(
                view, adapter_of(network), given, timesteps, network["text"](prompts), inputs
            )

    return velocity


def _step(
    run: Run,
    config: TrainConfig,
    view: DiffusersView,
    examples: Examples,
    codec: Codec,
    generator: torch.Generator,
    device: torch.device,
) -> float:
    # Step 1: a batch, of whole clips or of a few frames of each. Whole clips have about three
    # times as many tokens, so they come in smaller batches.
    optim = config.optim
    progress = progress_of(run, optim)
    often_whole = torch.rand((), generator=generator).item() < optim.full_frames_share
    all_frames = often_whole or progress > optim.full_frames_from
    batch_size = max(1, optim.batch_size // 3) if all_frames else optim.batch_size
    example = examples.draw(all_frames, batch_size, codec)
    # Each row has its own noise level.
    sigmas = draw_sigmas(batch_size, optim.shift, generator).to(device)
    noise = draw_noise(example.target, codec.used, generator)
    # Step 2: learning rates of this step.
    for optimizer in run.optimizers:
        base = optim.muon_lr if isinstance(optimizer, Muon) else optim.adam_lr
        for group in optimizer.param_groups:
            group["lr"] = base * schedule(progress, run.step, optim)
        optimizer.zero_grad(set_to_none=True)
    # Step 3: the loss, its gradient, and one step of both optimisers.
    locator = run.network["locator"] if config.model.has_text else None
    with computing(optim, device):
        if example.prompts is None:
            # A model without text reads one zero token, its empty prompt.
            context = torch.zeros(batch_size, 1, config.model.text_dim, device=device)
        else:
            context = run.network["text"](example.prompts)
        loss = flow_matching_loss(
            view, adapter_of(run.network), example, context, sigmas, noise, locator
        )
    loss.backward()
    nn.utils.clip_grad_norm_(run.network.parameters(), optim.clip)
    with computing(optim, device):
        for optimizer in run.optimizers:
            optimizer.step()
    run.step += 1
    # Step 4: the average of the weights, which is exported. Early on it follows faster, to forget
    # the random start.
    decay = min(optim.ema, (1 + run.step) / (10 + run.step))
    with torch.no_grad():
        pairs = zip(run.average.parameters(), run.network.parameters(), strict=True)
        for slow, fast in pairs:
            slow.lerp_(fast, 1 - decay)
    return loss.item()


def save_checkpoint(run: Run, path: Path) -> None:
    """Write everything that a resumed run needs.

    The file is written beside its place and then renamed, so that an interrupted write loses
    nothing.
    """
    state = {
        "network": run.network.state_dict(),
        "average": run.average.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in run.optimizers],
        "step": run.step,
        "seconds": run.seconds,
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def load_checkpoint(run: Run, path: Path) -> None:
    """Put the state of `save_checkpoint` back into `run`."""
    state = torch.load(path, weights_only=True)
    run.network.load_state_dict(state["network"])
    run.average.load_state_dict(state["average"])
    for optimizer, saved in zip(run.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    run.step, run.seconds = state["step"], state["seconds"]


def load_run_codec(folder: Path, config: ModelConfig) -> Codec:
    """The codec of the run in `folder`, whose model has these sizes.

    Raises: ValueError when it has not been trained yet.
    """
    path = folder / CODEC_FILE
    if not path.exists():
        raise ValueError(
            f"{folder} holds no {CODEC_FILE}, wanted the run's codec; run `python dev.py train`, "
            "which trains it first"
        )
    codec = Codec(config.channels, config.num_used).eval().requires_grad_(False)
    codec.load_state_dict(torch.load(path, weights_only=True))
    return codec


def _record(folder: Path, run: Run, loss: float) -> None:
    line = {"step": run.step, "seconds": round(run.seconds, 1), "loss": round(loss, 5)}
    with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    log.info("%s", line)

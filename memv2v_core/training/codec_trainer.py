"""Trains the decoder's refinement.

The linear encoder stays as it was fitted, so latents never change.
"""

import json
import logging
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from ..builtin.codec import Codec
from .config import TrainConfig
from .data.tasks import examples_of
from .trainer import CODEC_FILE, fit_codec

log = logging.getLogger(__name__)
BATCH_SCENES = 4
MAX_LATENT_NOISE = 0.15
LEARNING_RATE = 2e-3
GRADIENT_WEIGHT = 1.0


def train_codec(config: TrainConfig, folder: Path, device: torch.device) -> None:
    """Fit the codec of a run and train its decoder for `config.codec_seconds`.

    A codec that `folder` already holds stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CODEC_FILE
    if path.exists():
        return
    codec = fit_codec(config, torch.Generator().manual_seed(config.seed + 7)).to(device)
    torch.manual_seed(config.seed)
    train_decoder(codec, config, folder / "codec_log.jsonl")
    # Renamed when it is whole: an interrupted write leaves no broken codec.
    partial = path.with_suffix(".partial")
    torch.save(codec.state_dict(), partial)
    partial.replace(path)


def train_decoder(codec: Codec, run: TrainConfig, log_path: Path) -> None:
    """Train `codec.refine` in place, on frames of endless scenes.

    Latents carry a little noise, as sampled latents do. The loss is the squared error plus the
    absolute error of differences between neighbouring pixels. The second part keeps edges sharp and
    removes seams between patches.
    """
    seconds = run.codec_seconds
    device = next(codec.parameters()).device
    generator = torch.Generator().manual_seed(run.seed + 11)
    examples = examples_of(run, generator)
    codec.refine.requires_grad_(True)
    optimizer = torch.optim.AdamW(codec.refine.parameters(), lr=LEARNING_RATE)
    started, step = time.monotonic(), 0
    while (elapsed := time.monotonic() - started) < seconds:
        # The rate falls linearly over the given time, to 2 % at its end.
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(1.0, 1.02 - elapsed / seconds)
        video = examples.videos(BATCH_SCENES).to(device)
        # Step 1: latents with noise of one random level per video. The encoder learns nothing.
        with torch.no_grad():
            latent = codec.encode(video)  # (B, C, F, h, w)
            level = MAX_LATENT_NOISE * torch.rand(len(latent), 1, 1, 1, 1, generator=generator)
            latent = latent + (level * torch.randn(latent.shape, generator=generator)).to(device)
        # Step 2: the loss, and one step of the refinement.
        decoded = codec.decode(latent)
        error = F.mse_loss(decoded, video)
        loss = 4 * error + GRADIENT_WEIGHT * _edge_error(decoded, video)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step += 1
        if step % 50 == 0:
            # Videos span [-1, 1]: the peak is 2, its square 4.
            psnr = -10 * torch.log10(error.detach() / 4).item()
            line = {"step": step, "seconds": round(elapsed, 1), "psnr": round(psnr, 2)}
            with log_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            log.info("%s", line)
    codec.refine.requires_grad_(False)


def _edge_error(decoded: torch.Tensor, video: torch.Tensor) -> torch.Tensor:
    across, down = (F.l1_loss(decoded.diff(dim=dim), video.diff(dim=dim)) for dim in (-1, -2))
    return across + down

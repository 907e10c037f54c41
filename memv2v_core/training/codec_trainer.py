"""Trains the decoder's refinement.

The linear encoder stays as it was fitted, so latents never change.
"""

import json
import logging
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from ..builtin.codec import Codec, fit_patch_basis, start_codec
from .config.run import TrainConfig
from .data.example import CodecVideos
from .data.scenes import SceneExamples
from .data.worlds import WorldExamples
from .network.bases import new_base
from .seeds import seeded

log = logging.getLogger(__name__)
CODEC_FILE, CODEC_LOG = "codec.safetensors", "codec_log.jsonl"
FITTED_VIDEOS = 40
BATCH_SCENES = 4
MAX_LATENT_NOISE = 0.15
LEARNING_RATE = 2e-3
GRADIENT_WEIGHT = 1.0


def train_codec(config: TrainConfig, folder: Path, device: torch.device) -> None:
    """Fit the codec of a run and train its decoder for `config.codec_minutes`.

    A codec that `folder` already holds stays.

    Raises: ValueError for a recipe that trains a built-in model's decoder on, and has none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / CODEC_FILE).exists():
        return
    if config.decoder_minutes:
        raise ValueError(
            f"decoder_minutes got {config.decoder_minutes} in a run that begins with nothing, "
            "wanted a built-in model whose decoder is trained on; name it with --start-from, or "
            "set decoder_minutes to 0"
        )
    torch.manual_seed(config.seed)
    codec = fit_codec(config, device)
    train_decoder(codec, config, config.codec_minutes, folder / CODEC_LOG)
    save_codec(codec, folder)


def fit_codec(config: TrainConfig, device: torch.device) -> Codec:
    """The codec, with its linear part fitted to videos that no step draws."""
    model = config.base.model
    codec = Codec(model.channels, model.num_used).to(device)
    generators = [seeded(config.seed, "fitted video", i) for i in range(FITTED_VIDEOS)]
    videos = _videos_of(config, codec).videos(0, generators)
    # All frames of all videos as one batch (N, 3, H, W).
    frames = videos.transpose(1, 2).flatten(0, 1)
    start_codec(codec, fit_patch_basis(frames, codec.used))
    return codec.eval().requires_grad_(False)


def save_codec(codec: Codec, folder: Path) -> None:
    """Write a run's codec, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    temp = folder / f"writing-{CODEC_FILE}"
    save_file(codec.state_dict(), temp)
    temp.replace(folder / CODEC_FILE)


def load_run_codec(config: TrainConfig, folder: Path) -> Codec:
    """The codec of the run in `folder`, whose model is new.

    Raises: ValueError when it has not been trained yet.
    """
    path = folder / CODEC_FILE
    if not path.exists():
        raise ValueError(
            f"{folder} holds no {CODEC_FILE}, wanted the run's codec; run `python dev.py train`, "
            "which trains it first"
        )
    model = config.base.model
    codec = Codec(model.channels, model.num_used)
    codec.load_state_dict(load_file(path))
    return codec.eval().requires_grad_(False)


def train_decoder(codec: Codec, run: TrainConfig, minutes: float, log_path: Path) -> None:
    """Train `codec.refine` in place for so many minutes, on frames of endless scenes.

    Latents carry a little noise, as sampled latents do. The loss is the squared error plus the
    absolute error of differences between neighbouring pixels. The second part keeps edges sharp and
    removes seams between patches.
    """
    seconds, device = 60 * minutes, codec.device
    generator, examples = seeded(run.seed, "decoder"), _videos_of(run, codec)
    codec.refine.requires_grad_(True)
    optimizer = torch.optim.AdamW(codec.refine.parameters(), lr=LEARNING_RATE)
    started, step = time.monotonic(), 0
    while (elapsed := time.monotonic() - started) < seconds:
        # The rate falls linearly over the given time, to 2 % at its end.
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(1.0, 1.02 - elapsed / seconds)
        rows = [seeded(run.seed, "decoder", step, i) for i in range(BATCH_SCENES)]
        video = examples.videos(step, rows).to(device)
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


def _videos_of(config: TrainConfig, codec: Codec) -> CodecVideos:
    base = new_base(config.base.model)
    if config.scenes is not None:
        return SceneExamples(config.scenes, base, codec, config.seed)
    if config.worlds is not None:
        return WorldExamples(config.worlds, base, codec, config.seed)
    raise ValueError(
        "base got kind new with prepared examples, wanted scenes or worlds: prepared latents come "
        "from a codec that exists"
    )


def _edge_error(decoded: torch.Tensor, video: torch.Tensor) -> torch.Tensor:
    across, down = (F.l1_loss(decoded.diff(dim=dim), video.diff(dim=dim)) for dim in (-1, -2))
    return across + down

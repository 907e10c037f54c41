"""An LVSM that two CPU cores can train: 96 scene latents of 128 numbers, on rendered scenes."""

import time
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from memv2v_core.context.lvsm import LvsmConfig, LvsmNetwork
from memv2v_core.context.lvsm_encoder import new_lvsm, pluecker_rays, square_views
from memv2v_core.synthetic.panoramas import FilmedView
from memv2v_core.training.data.scenes import SceneExamples
from memv2v_core.training.optim.muon import Muon
from memv2v_core.training.optim.optimizers import Optimizers
from memv2v_core.training.seeds import seeded
from memv2v_core.weights.weight_files import read_header, read_weights, write_safetensors

from .branch_training import MUON_RATE, RATE, most_overlapping

SMALL = LvsmConfig(
    dim=128, head_dim=32, num_layers=4, num_latents=96, patch=8, size=64, has_decoder=True
)
_ROWS = 8
# Losses that the told quality is a mean of.
_LAST = 50
# The rates rise over these steps, and fall over this share of the time.
_WARMUP, _COOLDOWN = 20, 0.5


def trained_lvsm(
    examples: SceneExamples, folder: Path, minutes: float, seed: int
) -> tuple[LvsmNetwork, str]:
    """A small LVSM that renders views of scenes it never saw whole, and its training in words.

    Views of one path go in, and frames of another path through the same scene are rendered.
    """
    network, path = new_lvsm(SMALL, seed), folder / "lvsm_small.safetensors"
    if path.exists():
        network.load_state_dict(read_weights(path))
        return network.eval().requires_grad_(False), read_header(path).metadata["trained"]
    matrices = [
        p for n, p in network.named_parameters() if n.startswith("transformer_") and p.ndim == 2
    ]
    taken = set(map(id, matrices))
    others = [p for p in network.parameters() if id(p) not in taken]
    adam = torch.optim.AdamW(others, lr=RATE, betas=(0.9, 0.95))
    optimizers = Optimizers((adam, Muon(matrices, lr=MUON_RATE)), ((RATE,), (MUON_RATE,)))
    began, step, losses = time.monotonic(), 0, [1.0]
    while (done := (time.monotonic() - began) / (60 * minutes)) < 1:
        structure = examples.structure(step, False, seeded(seed, "lvsm structure", step))
        rows = [seeded(seed, "lvsm", step, row) for row in range(_ROWS)]
        drawn = [examples.draw_row(structure, row) for row in rows]
        views = [square_and_rays(most_overlapping(row), row.reference.c2w[0]) for row in drawn]
        asked = [square_and_rays(row.target, row.reference.c2w[0]) for row in drawn]
        images, rays = (torch.stack(each) for each in zip(*views, strict=True))
        truth, wanted = (torch.stack(each) for each in zip(*asked, strict=True))
        loss = F.mse_loss(network.render(network.scene(images, rays), wanted), truth)
        optimizers.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizers.set_rates(min(1.0, (step + 1) / _WARMUP, (1 - done) / _COOLDOWN))
        optimizers.step()
        step, losses = step + 1, [*losses[1 - _LAST :], loss.item()]
    psnr = -10 * torch.tensor(losses).mean().log10().item()
    told = f"trained here for {step} steps, its pictures {psnr:.1f} dB"
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(path, network.state_dict(), {"trained": told})
    return network.eval().requires_grad_(False), told


def square_and_rays(view: FilmedView, origin: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (F, 3, H, W) and rays (F, 6, H, W) of a filmed view, for the small LVSM."""
    path = replace(view.path, c2w=torch.linalg.inv(origin) @ view.path.c2w)
    images, path = square_views(view.frames, path, SMALL.size)
    return images, pluecker_rays(path, SMALL.size)

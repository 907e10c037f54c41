"""Rectified-flow sampling outside ComfyUI.

x_t = (1 - sigma) x0 + sigma noise; the network predicts noise - x0.
"""

from collections.abc import Callable

import torch

NUM_TRAIN_TIMESTEPS = 1000


def shifted_sigmas(num_steps: int, shift: float) -> torch.Tensor:
    """Noise levels (num_steps + 1,) float64 from 1 to 0: evenly spaced, then shifted towards noise.

    ReCamMaster uses these levels. ComfyUI's "simple" schedule of a flow model with the same shift
    gives them where num_steps divides 1000. For other numbers "simple" takes the nearest lower one
    of its 1000 levels, within 0.003 at shift 5. ComfyUI's other schedules differ by more than 0.01.

    Raises: ValueError for fewer than 1 step or a shift that is not positive.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps got {num_steps}, wanted at least 1; raise it")
    if shift <= 0:
        raise ValueError(
            f"shift got {shift}, wanted more than 0; 3 suits the built-in model, 5 ReCamMaster"
        )
    even = torch.linspace(1, 0, num_steps + 1, dtype=torch.float64)
    return shifted(even, shift)


def shifted(even: torch.Tensor, shift: float) -> torch.Tensor:
    """Noise levels in [0, 1], shifted towards noise.

    ComfyUI and ReCamMaster use this formula.
    """
    return shift * even / (1 + (shift - 1) * even)


@torch.no_grad()
def sample_euler(
    velocity: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    noise: torch.Tensor,
    sigmas: torch.Tensor,
) -> torch.Tensor:
    """The sample x0 that Euler's method reaches from `noise` (B, C, T, H, W).

    velocity(x, timestep) predicts noise - x0 for timesteps (B,) in [0, 1000].
    """
    x = noise
    for sigma, next_sigma in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        timestep = torch.full((x.shape[0],), NUM_TRAIN_TIMESTEPS * sigma, device=x.device)
        x = x + (next_sigma - sigma) * velocity(x, timestep)
    return x

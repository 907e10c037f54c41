"""Diagonal denoising of a video of any length, without memory: the baseline of task two.

The base has a short window. A queue holds consecutive latent frames, each noisier than the frame
before it. Every round brings all of them one noise level down. Then the first frame is finished and
leaves, and a frame of pure noise enters behind the last.

S noise levels, a window of T latent frames, a video of N frames. Frames are numbered from the start
of the video.

Source: Kim et al. 2024, FIFO-Diffusion, arXiv:2405.11473: diagonal denoising, latent partitioning
(S / T windows cover a queue of S frames) and lookahead denoising (windows overlap by half, and only
the noisier half of each moves on). Departs from it: the ends of the queue are frames of the video,
never copies of its first frame or frames beyond its last, so every frame has its own source; and S
need not be a multiple of T.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from .flow_match import NUM_TRAIN_TIMESTEPS, sample_euler

Velocity = Callable[[torch.Tensor, torch.Tensor, tuple[int, ...]], torch.Tensor]
Noise = Callable[[int], torch.Tensor]


@dataclass(frozen=True)
class FifoWindow:
    """A window that the model sees at once: frames start..start+T-1.

    Frames first..stop-1 move to their next noise level; the others only give context.
    """

    start: int
    first: int
    stop: int


@dataclass(frozen=True)
class FifoRound:
    """One pass over the queue.

    head: the first frame of the queue; below 0 while the queue is not yet full.
    """

    head: int
    windows: tuple[FifoWindow, ...]

    def noise_level(self, frame: int, num_steps: int) -> int:
        """Place of a frame in the S + 1 falling sigmas, before this round.

        It is S - 1 at the head, and S where the frame is finished.
        """
        return num_steps - 1 - (frame - self.head) if frame >= self.head else num_steps


def fifo_rounds(
    num_frames: int, window: int, num_steps: int, has_lookahead: bool = True
) -> Iterator[FifoRound]:
    """Every round after the sample of the first window, for a video longer than that window.

    Where the queue is shorter than a window, the window also shows finished frames.
    """
    # Lookahead moves only the noisier half: it has the cleaner half as context.
    moved = window - window // 2 if has_lookahead else window
    for head in range(window - num_steps, num_frames):
        lowest, stop = max(head, 0), min(head + num_steps, num_frames)
        windows = []
        # From the noisy end to the head: each window ends where the one after it begins to move.
        while stop > lowest:
            start = max(stop - window, 0)
            # The window at the start of the video has no window before it, so it moves all its
            # frames.
            first = max(stop - moved, lowest) if start else lowest
            windows.append(FifoWindow(start, first, stop))
            stop = first
        yield FifoRound(head, tuple(windows))


def num_fifo_calls(num_frames: int, window: int, num_steps: int, has_lookahead: bool = True) -> int:
    """How many velocities `sample_fifo` asks for."""
    if num_frames <= window:
        return num_steps
    rounds = fifo_rounds(num_frames, window, num_steps, has_lookahead)
    return num_steps + sum(len(planned.windows) for planned in rounds)


@torch.no_grad()
def sample_fifo(
    velocity: Velocity,
    noise: Noise,
    num_frames: int,
    window: int,
    sigmas: torch.Tensor,
    has_lookahead: bool = True,
) -> Iterator[torch.Tensor]:
    """The finished latent frames (B, C, 1, H, W) of a video of `num_frames`, in order.

    Only the queue is held in memory.

    velocity(x, timesteps, frames): predicts noise - x0, for x (B, C, T, H, W) and timesteps (B, T)
    in [0, 1000]. `frames` are the numbers of the frames in x; the caller adds their source.
    noise(n): draws new noise (B, C, n, H, W).
    sigmas: (S + 1,) from 1 to 0.
    The queue starts from an ordinary sample of the first window, whose frames then get noise of
    rising levels. A video no longer than the window is that sample.

    Raises: ValueError for a window or a video without frames.
    """
    for name, value in (("window", window), ("num_frames", num_frames)):
        if value < 1:
            raise ValueError(f"{name} got {value}, wanted at least 1 latent frame; raise it")
    # Step 1: an ordinary sample of the first window.
    first_window = _first_window(velocity, noise(min(window, num_frames)), sigmas)
    if num_frames <= window:
        yield from first_window.split(1, dim=2)
        return
    # Step 2: the last frame of the window gets pure noise, each frame before it one level less.
    num_steps, levels = len(sigmas) - 1, sigmas.to(first_window)
    begun = FifoRound(window - num_steps, ())
    told = levels[_places(begun, 0, window, num_steps)].view(-1, 1, 1)
    # queue[:, :, i] is frame offset + i.
    offset, queue = 0, torch.lerp(first_window, noise(window), told)
    # With fewer levels than frames in a window, the first frames are finished already.
    for i in range(begun.head):
        yield queue[:, :, i : i + 1].clone()
    # Step 3: each round finishes the frame at its head.
    for planned in fifo_rounds(num_frames, window, num_steps, has_lookahead):
        queue = _advance(velocity, queue, offset, planned, window, levels)
        if planned.head >= 0:
            done = planned.head - offset
            yield queue[:, :, done : done + 1].clone()
        # The windows of the next round reach back no further than this frame.
        keep_from = max(planned.head + 2 - window, offset)
        queue, offset = queue[:, :, keep_from - offset :], keep_from
        if planned.head + num_steps < num_frames:
            queue = torch.cat((queue, noise(1)), dim=2)


def _first_window(velocity: Velocity, noise: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    num_frames = noise.shape[2]
    frames = tuple(range(num_frames))

    def of_whole(x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        return velocity(x, timestep[:, None].expand(-1, num_frames), frames)

    return sample_euler(of_whole, noise, sigmas.to(noise.device))


def _advance(
    velocity: Velocity,
    queue: torch.Tensor,
    offset: int,
    planned: FifoRound,
    window: int,
    sigmas: torch.Tensor,
) -> torch.Tensor:
    """The queue one noise level further.

    Every window reads the queue as it was before the round.
    """
    num_steps = len(sigmas) - 1
    moved = queue.clone()
    for part in planned.windows:
        places = _places(planned, part.start, window, num_steps)
        # Every frame takes its own Euler step, from its own level to the next.
        now, following = sigmas[places], sigmas[[min(place + 1, num_steps) for place in places]]
        x = queue[:, :, part.start - offset : part.start - offset + window]  # (B, C, T, H, W)
        timesteps = (NUM_TRAIN_TIMESTEPS * now).expand(len(x), -1)  # (B, T)
        frames = tuple(range(part.start, part.start + window))
        stepped = x + (following - now).view(-1, 1, 1) * velocity(x, timesteps, frames)
        # Frames of the window outside first..stop-1 were context: their step is dropped.
        inside = slice(part.first - part.start, part.stop - part.start)
        moved[:, :, part.first - offset : part.stop - offset] = stepped[:, :, inside]
    return moved


def _places(planned: FifoRound, start: int, window: int, num_steps: int) -> list[int]:
    return [planned.noise_level(frame, num_steps) for frame in range(start, start + window)]

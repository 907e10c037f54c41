"""Diagonal denoising: what each round shows the model, and that an exact velocity gives the exact
video.
"""

from collections.abc import Callable

import pytest
import torch

from memv2v_core.sampling.fifo import FifoWindow, fifo_rounds, num_fifo_calls, sample_fifo
from memv2v_core.sampling.flow_match import sample_euler, shifted_sigmas

Call = tuple[torch.Tensor, torch.Tensor, tuple[int, ...]]


def drawn(rows: int = 2) -> Callable[[int], torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return lambda count: torch.randn(rows, 3, count, 2, 2, generator=generator, dtype=torch.float64)


def exact_velocity(
    truth: torch.Tensor, calls: list[Call] | None = None
) -> Callable[..., torch.Tensor]:
    """noise - x0 for the known x0; a finished frame has none to move by."""

    def velocity(x: torch.Tensor, timesteps: torch.Tensor, frames: tuple[int, ...]) -> torch.Tensor:
        if calls is not None:
            calls.append((x.clone(), timesteps.clone(), frames))
        sigma = (timesteps / 1000).view(len(x), 1, -1, 1, 1)
        return torch.where(sigma > 0, (x - truth[:, :, list(frames)]) / sigma.clamp(min=1e-9), 0.0)

    return velocity


def sampled(
    num_frames: int,
    window: int,
    num_steps: int,
    has_lookahead: bool,
    calls: list[Call] | None = None,
):
    truth = torch.randn(
        2, 3, num_frames, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    sigmas = shifted_sigmas(num_steps, 3.0)
    frames = sample_fifo(
        exact_velocity(truth, calls), drawn(), num_frames, window, sigmas, has_lookahead
    )
    return truth, list(frames)


@pytest.mark.parametrize("has_lookahead", [True, False])
@pytest.mark.parametrize(
    ("num_frames", "window", "num_steps"),
    [(17, 4, 8), (17, 5, 7), (9, 5, 3), (6, 5, 12), (4, 5, 3)],
)
def test_an_exact_velocity_gives_the_video_frame_by_frame(
    num_frames, window, num_steps, has_lookahead
):
    calls: list[Call] = []
    truth, frames = sampled(num_frames, window, num_steps, has_lookahead, calls)
    assert [tuple(frame.shape) for frame in frames] == [(2, 3, 1, 2, 2)] * num_frames
    torch.testing.assert_close(
        torch.cat(frames, dim=2), truth, atol=1e-6, rtol=0
    )  # the first window's timesteps are fp32
    assert len(calls) == num_fifo_calls(num_frames, window, num_steps, has_lookahead)


@pytest.mark.parametrize("has_lookahead", [True, False])
@pytest.mark.parametrize(("window", "num_steps"), [(4, 8), (5, 7), (6, 4)])
def test_every_frame_takes_every_noise_level_once_and_in_order(window, num_steps, has_lookahead):
    num_frames, taken = 15, {}
    for planned in fifo_rounds(num_frames, window, num_steps, has_lookahead):
        for part in planned.windows:
            for frame in range(part.first, part.stop):
                taken.setdefault(frame, []).append(planned.noise_level(frame, num_steps))
    for frame in range(num_frames):
        first = max(0, min(num_steps, window - 1 - frame))  # the first window enters as a diagonal
        assert taken.get(frame, []) == list(range(first, num_steps)), frame


def test_timesteps_rise_along_the_queue_and_finished_frames_are_told_zero():
    calls: list[Call] = []
    sampled(12, 4, 6, True, calls)
    for _, timesteps, frames in calls[6:]:
        assert (timesteps.diff(dim=1) >= 0).all()
        assert (timesteps[0] == timesteps[1]).all()
        assert list(frames) == list(range(frames[0], frames[0] + 4))
        assert frames[0] >= 0
        assert frames[-1] < 12
    assert (
        calls[-1][1].tolist()
        == [[0.0, 0.0, 0.0, pytest.approx(1000 * float(shifted_sigmas(6, 3.0)[-2]))]] * 2
    )


def test_a_full_queue_is_seen_through_the_papers_windows():
    plain = next(r for r in fifo_rounds(40, 4, 8, has_lookahead=False) if r.head == 10)
    assert plain.windows == (FifoWindow(14, 14, 18), FifoWindow(10, 10, 14))
    ahead = next(r for r in fifo_rounds(40, 4, 8, has_lookahead=True) if r.head == 10)
    # lookahead denoising: two windows for each of the plain ones, every frame in the noisier half
    # of its own
    assert ahead.windows == tuple(FifoWindow(stop - 4, stop - 2, stop) for stop in (18, 16, 14, 12))


def test_the_first_window_is_an_ordinary_sample_noised_anew():
    calls: list[Call] = []
    truth, _ = sampled(12, 4, 4, True, calls)
    noise = drawn()
    start, fresh = noise(4), noise(4)
    velocity = exact_velocity(truth)
    ordinary = sample_euler(
        lambda x, t: velocity(x, t[:, None].expand(-1, 4), (0, 1, 2, 3)),
        start,
        shifted_sigmas(4, 3.0),
    )
    x, timesteps, frames = calls[4]
    sigma = (timesteps[0] / 1000).view(-1, 1, 1)
    assert frames == (0, 1, 2, 3)
    assert sigma.flatten().tolist() == shifted_sigmas(4, 3.0).flip(0)[1:].tolist()
    torch.testing.assert_close(x, (1 - sigma) * ordinary + sigma * fresh)


def test_windows_see_the_queue_as_it_was_before_the_round():
    calls: list[Call] = []
    sampled(14, 4, 8, True, calls)
    full = [planned for planned in fifo_rounds(14, 4, 8) if planned.head == 2][0]
    before = sum(len(planned.windows) for planned in fifo_rounds(14, 4, 8) if planned.head < 2) + 8
    shown = calls[before : before + len(full.windows)]
    for (upper, _, upper_frames), (lower, _, lower_frames) in zip(
        shown[:-1], shown[1:], strict=True
    ):
        shared = [frame for frame in upper_frames if frame in lower_frames]
        assert shared
        a = upper[:, :, [upper_frames.index(frame) for frame in shared]]
        b = lower[:, :, [lower_frames.index(frame) for frame in shared]]
        assert torch.equal(a, b)


def test_only_the_queue_is_kept(monkeypatch):
    longest = 0
    joined = torch.cat

    def watched(tensors, dim=0):
        nonlocal longest
        longest = max(longest, joined(tensors, dim).shape[2])
        return joined(tensors, dim)

    monkeypatch.setattr(torch, "cat", watched)
    sampled(60, 4, 8, True)
    assert longest <= 8 + 4


@pytest.mark.parametrize(("num_frames", "window"), [(0, 4), (4, 0)])
def test_nothing_to_sample_is_refused(num_frames, window):
    with pytest.raises(ValueError, match="got 0, wanted at least 1 latent frame"):
        next(
            sample_fifo(
                exact_velocity(torch.zeros(0)), drawn(), num_frames, window, shifted_sigmas(2, 3.0)
            )
        )

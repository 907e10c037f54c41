"""Samples of sound at their times.

A file gives sound in pieces with times of their own: the first may come late, and some may be
missing. C channels, n samples.
"""

from collections.abc import Iterator
from fractions import Fraction

import torch

# Times are rounded in files. A smaller step is no hole; sound and picture stay within 30 ms.
_JITTER_S = 0.02
# Silence is given in pieces of at most this length.
_PIECE_S = 1


def at_their_times(
    pieces: Iterator[tuple[Fraction | None, torch.Tensor]],
    rate: int,
    start_s: Fraction,
    picture_s: Fraction,
    duration_s: Fraction | None = None,
) -> Iterator[torch.Tensor]:
    """The samples (C, n) from `start_s` on, without holes.

    Silence fills the time before a late first piece and every hole. Sound that comes twice is cut.
    A hole that goes on behind the pictures ends the sound: one wrong time must not make hours of
    silence.

    pieces: seconds of the first sample, or None where the file does not say; and samples (C, n).
    rate: samples per second. picture_s: seconds of picture.
    duration_s: what is given at most; None for everything.
    """
    place, stop = 0, None if duration_s is None else round(duration_s * rate)
    most = round((picture_s + _PIECE_S) * rate)
    is_first = True
    for time_s, samples in pieces:
        if time_s is not None:
            begin = round((time_s - start_s) * rate)
            # The first piece sets the place exactly; later ones only where they jump.
            if is_first or abs(begin - place) > _JITTER_S * rate:
                if begin > place:
                    until = begin if stop is None else min(begin, stop)
                    if until > most:
                        return
                    yield from _silence(len(samples), max(until - place, 0), rate)
                    place = begin
                else:
                    samples = samples[:, place - begin :]
        is_first = is_first and not samples.shape[1]
        if stop is not None:
            samples = samples[:, : max(stop - place, 0)]
        place += samples.shape[1]
        if samples.shape[1]:
            yield samples
        if stop is not None and place >= stop:
            return


def _silence(channels: int, count: int, rate: int) -> Iterator[torch.Tensor]:
    for done in range(0, count, _PIECE_S * rate):
        yield torch.zeros(channels, min(_PIECE_S * rate, count - done))


def mixed_to_stereo(samples: torch.Tensor) -> torch.Tensor:
    """(2, n): the mean of the odd channels on the left, and of the even ones on the right."""
    return torch.stack((samples[0::2].mean(dim=0), samples[1::2].mean(dim=0)))

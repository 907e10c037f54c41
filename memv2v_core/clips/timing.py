"""When the frames of a clip are shown.

Cameras and screen recorders give frames at a varying rate, and some containers round the times of
a steady one. Times are exact fractions of a second, counted from the first frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

# Broadcast rates such as 30000 / 1001 have this denominator.
MAX_RATE_DENOMINATOR = 1001
# Matroska rounds times to milliseconds, so a steady rate may be off by one.
_ROUNDING_S = Fraction(3, 2000)


@dataclass(frozen=True)
class FrameTimes:
    """When each frame is shown.

    rate: frames per second; the mean where the times vary.
    starts: seconds of each frame after the first one; None where all frames last 1 / rate.
    duration: seconds until the last frame ends.
    """

    num_frames: int
    rate: Fraction
    duration: Fraction
    starts: tuple[Fraction, ...] | None = None

    @property
    def is_steady(self) -> bool:
        """Whether all frames are shown for the same time."""
        return self.starts is None

    def start(self, idx: int) -> Fraction:
        """Seconds at which frame `idx` begins; the end of the clip for idx = num_frames."""
        if idx == self.num_frames:
            return self.duration
        return idx / self.rate if self.starts is None else self.starts[idx]

    def slowest_and_fastest(self) -> tuple[Fraction, Fraction]:
        """The lowest and the highest rate between two frames, in frames per second."""
        steps = [self.start(i + 1) - self.start(i) for i in range(self.num_frames)]
        return 1 / max(steps), 1 / min(steps)

    def picked(self, chosen: Sequence[int]) -> "FrameTimes":
        """Times of some of the frames, each shown until the next one, over the same duration.

        chosen: ascending indices. A short clip may repeat frames; all frames then last equally.
        """
        count = len(chosen)
        if self.starts is None or len(set(chosen)) < count:
            return FrameTimes(count, self.rate * count / self.num_frames, self.duration)
        # The first picked frame begins the clip, even where it was not the first frame.
        starts = (Fraction(0), *(self.starts[idx] for idx in chosen[1:]))
        return FrameTimes(count, count / self.duration, self.duration, starts)


def steady_times(num_frames: int, rate: Fraction) -> FrameTimes:
    """Times of frames that all last 1 / rate seconds."""
    return FrameTimes(num_frames, rate, num_frames / rate)


def measured_times(
    shown: Sequence[Fraction | None], last: Fraction | None, rates: Sequence[Fraction]
) -> FrameTimes:
    """The times of a decoded file.

    shown: seconds of each frame, at least one; None where the file does not say.
    last: seconds that the last frame is shown, where the file says so.
    rates: what the file says of its rate, the likeliest first. The first one that agrees with the
    times is taken. Without one, the mean rate is tried, and then the times themselves are kept.
    """
    count = len(shown)
    known = [time for time in shown if time is not None]
    if len(known) < count:
        # Bare streams have no times at all.
        return steady_times(count, rates[0])
    starts = [time - known[0] for time in known]
    is_rising = all(a < b for a, b in zip(starts[:-1], starts[1:], strict=True))
    if not is_rising:
        return steady_times(count, rates[0])
    candidates = [*rates]
    if count > 1:
        mean = (count - 1) / starts[-1]
        candidates.append(mean.limit_denominator(MAX_RATE_DENOMINATOR))
    for rate in candidates:
        if all(abs(time - i / rate) <= _ROUNDING_S for i, time in enumerate(starts)):
            is_held = last is not None and abs(last - 1 / rate) > 2 * _ROUNDING_S and count > 1
            if not is_held:
                return steady_times(count, rate)
    step = last if last else (starts[-1] - starts[-2] if count > 1 else 1 / rates[0])
    duration = starts[-1] + step
    return FrameTimes(count, count / duration, duration, tuple(starts))

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
# Times that step back by less are repaired.
_MOST_BACK_S = 1
# A frame may be held for this long. Beyond it the clock is wrong.
_MOST_PAUSE_S = 3600
# The share of times that may be guessed.
_MOST_GUESSED = 0.25


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

    def describe(self) -> str:
        """The rate in words, and whether it is a mean."""
        text = f"{float(self.rate):.3f} a second"
        return text if self.is_steady else f"{text} on average, at the times of the original"

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
    shown: Sequence[Fraction | None],
    last: Fraction | None,
    rates: Sequence[Fraction],
    name: str = "in memory",
) -> tuple[FrameTimes, int]:
    """The times of a decoded file, and how many of them had to be guessed.

    shown: seconds of each frame, at least one; None where the file does not say.
    last: seconds that the last frame is shown, where the file says so.
    rates: what the file says of its rate, the likeliest first. The first one that agrees with the
    times is taken. Without one, the mean rate is tried, and then the times themselves are kept.
    name: of the file, for messages.

    Raises: ValueError where times jump back by more than a second, or on by more than an hour.
    """
    count = len(shown)
    # Bare streams have no times at all.
    if all(time is None for time in shown):
        return steady_times(count, rates[0]), 0
    starts, num_repaired = _repaired(shown, 1 / rates[0], name)
    # AVI files give the order of coding as times: such times say nothing.
    if num_repaired > _MOST_GUESSED * count:
        return steady_times(count, rates[0]), num_repaired
    candidates = [*rates]
    if count > 1:
        mean = ((count - 1) / starts[-1]).limit_denominator(MAX_RATE_DENOMINATOR)
        # Of very slow clips it is 0.
        candidates += [mean] if mean else []
    for rate in candidates:
        if all(abs(time - i / rate) <= _ROUNDING_S for i, time in enumerate(starts)):
            # A last frame that is shown for longer is meant so; a shorter one is a fault.
            is_held = last is not None and count > 1 and last - 1 / rate > 2 * _ROUNDING_S
            if not is_held:
                return steady_times(count, rate), num_repaired
    step = starts[-1] - starts[-2] if count > 1 else 1 / rates[0]
    if last is not None and last > step / 4:
        step = last
    duration = starts[-1] + step
    return FrameTimes(count, count / duration, duration, tuple(starts)), num_repaired


def _repaired(
    shown: Sequence[Fraction | None], step: Fraction, name: str
) -> tuple[list[Fraction], int]:
    """Rising times from 0 on, and how many were guessed: missing ones, doubled ones, small steps
    back.
    """
    known = next(time for time in shown if time is not None)
    starts: list[Fraction] = []
    num_repaired = 0
    for i, time in enumerate(shown):
        step_s = time - known - starts[-1] if time is not None and starts else Fraction(0)
        if not -_MOST_BACK_S <= step_s <= _MOST_PAUSE_S:
            way = "back" if step_s < 0 else "on"
            raise ValueError(
                f"video {name} got frame times that jump {way} by {abs(float(step_s)):.1f} s at "
                f"frame {i + 1}, wanted rising times; the file was joined of several: convert it "
                "with a video program"
            )
        if time is None or (starts and time - known <= starts[-1]):
            starts.append(_between(shown, i, starts, known, step))
            num_repaired += 1
        else:
            starts.append(time - known)
    return starts, num_repaired


def _between(
    shown: Sequence[Fraction | None],
    idx: int,
    starts: list[Fraction],
    known: Fraction,
    step: Fraction,
) -> Fraction:
    """A time after the frame before, and halfway to the next known one where that is near."""
    before = starts[-1] if starts else -step
    later = (shown[i] for i in range(idx + 1, len(shown)))
    after = next((t - known for t in later if t is not None and t - known > before), None)
    return before + step if after is None else before + min(step, (after - before) / 2)

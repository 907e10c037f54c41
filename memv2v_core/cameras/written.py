"""Camera paths written as words: "pan_left 30; sweep 40 + tilt_down 4; dolly_in 0.5 returns".

A path is one move, or several at the same time joined by "+". After the moves may follow the name
of an easing, "returns" and "speed" with a number. Paths end with a line or ";".
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import torch

from .presets import EASINGS, MOTIONS, PresetConfig, combine_paths, make_preset
from .trajectory import CameraTrajectory

MAX_PATHS = 64
_STATIC, _RETURNS, _SPEED = "static", "returns", "speed"
_TOKEN = re.compile(r"\+|[^\s+,]+")
_EXAMPLE = "a motion with its amount, such as 'pan_left 30' or 'sweep 40 + tilt_down 4'"
# Like a preset's own limits, and those of the widgets of Camera Trajectory.
_MAX_AMPLITUDE, _MAX_SPEED = 360.0, 20.0


@dataclass(frozen=True)
class WrittenPath:
    """A path as somebody wrote it.

    moves: motion and amplitude of each, all at the same time: degrees, or pose units for dollies.
    The other fields are those of `PresetConfig`, for all moves.
    """

    moves: tuple[tuple[str, float], ...]
    easing: str = "ease_in_out"
    returns: bool = False
    speed: float = 1.0

    @property
    def name(self) -> str:
        """The path in words: parsed again, they give the same path."""
        words = [
            " + ".join(
                motion if motion == _STATIC else f"{motion} {_number_text(amplitude)}"
                for motion, amplitude in self.moves
            )
        ]
        if self.easing != WrittenPath.easing:
            words.append(self.easing)
        if self.returns:
            words.append(_RETURNS)
        if self.speed != 1:
            words.append(f"{_SPEED} {_number_text(self.speed)}")
        return " ".join(words)

    def path(self, num_frames: int, lens: torch.Tensor | None = None) -> CameraTrajectory:
        """The path over `num_frames` frames with one lens (3, 3); None takes the default lens.

        Each later move is seen from the moving camera of the moves before it.

        Raises: ValueError for numbers out of range.
        """
        parts = (
            make_preset(
                PresetConfig(
                    motion,
                    amplitude,
                    num_frames,
                    speed=self.speed,
                    easing=self.easing,
                    returns=self.returns,
                ),
                lens,
            )
            for motion, amplitude in self.moves
        )
        return reduce(combine_paths, parts)


def parse_paths(text: str) -> tuple[WrittenPath, ...]:
    """The paths that `text` names, in their order; none for an empty text.

    Raises: ValueError naming the path, the word that is wrong, and the choices.
    """
    written = [part for part in re.split(r"[;\n]", text) if part.strip()]
    if len(written) > MAX_PATHS:
        raise ValueError(
            f"paths got {len(written)} camera paths, wanted at most {MAX_PATHS}; split them over "
            "two nodes with the same session"
        )
    return tuple(_parsed(part, number) for number, part in enumerate(written, 1))


def _parsed(text: str, number: int) -> WrittenPath:
    place = f"paths got {text.strip()[:60]!r} as path {number}"
    words = iter(_TOKEN.findall(text))
    moves: list[tuple[str, float]] = []
    wants_move = True
    # Step 1: moves, joined by "+". What follows the last one are options.
    options: list[str] = []
    for word in words:
        if wants_move:
            moves.append(_move(word, words, place))
            wants_move = False
        elif word == "+":
            wants_move = True
        else:
            options = [word, *words]
    if wants_move:
        raise ValueError(f"{place}, which ends in '+', wanted {_EXAMPLE}; add a motion or drop '+'")
    return _with_options(tuple(moves), iter(options), place)


def _move(word: str, words: Iterator[str], place: str) -> tuple[str, float]:
    motion = word.lower()
    if motion not in MOTIONS:
        raise ValueError(
            f"{place}: {word[:30]!r} is no motion, wanted one of {', '.join(MOTIONS)}; write "
            f"{_EXAMPLE}"
        )
    if motion == _STATIC:
        return motion, 0.0
    amplitude = _number(next(words, None), f"{place}: {motion}", _MAX_AMPLITUDE, "30")
    return motion, amplitude


def _with_options(
    moves: tuple[tuple[str, float], ...], words: Iterator[str], place: str
) -> WrittenPath:
    easing, returns, speed = WrittenPath.easing, WrittenPath.returns, WrittenPath.speed
    for word in words:
        if word in EASINGS:
            easing = word
        elif word == _RETURNS:
            returns = True
        elif word == _SPEED:
            speed = _number(next(words, None), f"{place}: speed", _MAX_SPEED, "2")
            if speed == 0:
                raise ValueError(f"{place}: speed got 0, wanted more; 1 arrives at the last frame")
        else:
            raise ValueError(
                f"{place}: {word[:30]!r} is unknown, wanted '+' and another motion, "
                f"{', '.join(EASINGS)}, '{_RETURNS}' or '{_SPEED} 2'; separate paths by a new line "
                "or ';'"
            )
    return WrittenPath(moves, easing, returns, speed)


def _number(word: str | None, what: str, limit: float, example: str) -> float:
    try:
        value = float(word or "nothing")
    except ValueError:
        value = math.nan
    # "nan" and "inf" are numbers for Python alone.
    if not 0 <= value <= limit:
        got = "no number" if word is None else repr(word[:30])
        raise ValueError(
            f"{what} got {got}, wanted a number from 0 to {limit:g} after it, such as {example}; "
            "for the other way choose the opposite motion"
        )
    return value


def _number_text(value: float) -> str:
    return f"{value:.10g}"

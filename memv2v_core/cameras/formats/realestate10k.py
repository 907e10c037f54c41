"""RealEstate10K's text files, which CameraCtrl and its descendants use, to our convention.

The first line may be the address of the video. Every other line holds 19 numbers: a time in
microseconds; fx, fy, cx, cy divided by the picture's size; two zeros; and a 3x4 world-to-camera
matrix, row by row, in OpenCV axes.

Source: https://google.github.io/realestate10k/download.html.
"""

from itertools import islice
from pathlib import Path
from statistics import median

from .reading.content import data_lines, file_error, finite_numbers, require_count
from .reading.frames import PlacedFrame, path_of_frames
from .reading.lenses import lens_matrix
from .reading.limits import MAX_FRAMES
from .reading.poses import inverse_pose, read_pose
from .reading.results import ImportedCameras, ImportSettings

_NUM_COLUMNS = 19


def is_realestate10k(text: str, path: Path) -> bool:
    """Whether a text's first line, or the one after an address, holds 19 numbers."""
    rows = (_words(line) for _, line in data_lines(text, path) if line)
    return any(len(row) == _NUM_COLUMNS and _is_number(row[0]) for row in islice(rows, 2))


def read_realestate10k(text: str, path: Path, settings: ImportSettings) -> ImportedCameras:
    """The path in the order of time.

    Our choice: the shortest usual step between two times is one frame; longer steps are gaps.
    Files whose times do not rise, as written by hand, keep the order of their lines.

    Raises: ValueError naming the file, the line, what was found and the remedy.
    """
    lines = [(number, _words(line)) for number, line in data_lines(text, path) if line]
    require_count(len(lines), path)
    if len(lines[0][1]) != _NUM_COLUMNS:
        # The video's address.
        lines = lines[1:]
    times, cameras = [], []
    for number, words in lines:
        where = f"line {number}"
        if len(words) != _NUM_COLUMNS:
            raise file_error(
                path,
                f"{len(words)} or more numbers in {where}"
                if len(words) > _NUM_COLUMNS
                else f"{len(words)} numbers in {where}",
                "19",
                "repair that line, or remove it",
            )
        time, fx, fy, cx, cy = finite_numbers(words, path, where)[:5]
        if min(fx, fy) <= 0:
            raise file_error(
                path,
                f"focal lengths {fx:g} and {fy:g} in {where}",
                "numbers above 0",
                "repair that line, or remove it",
            )
        w2c = read_pose(words[7:], path, where)
        times.append(time)
        cameras.append((inverse_pose(w2c), lens_matrix(fx, fy, path, where, cx, cy)))
    names = _frame_names(times, path)
    frames = [PlacedFrame(name, *camera) for name, camera in zip(names, cameras, strict=True)]
    return path_of_frames(frames, path, settings)


def _frame_names(times: list[float], path: Path) -> list[str | None]:
    """Frame numbers from 0 as texts; None for all where the times do not rise."""
    steps = [after - before for before, after in zip(times, times[1:], strict=False)]
    if not steps or min(steps) <= 0:
        return [None] * len(times)
    # The median of the shorter half: gaps are the longer half at worst.
    step = median(sorted(steps)[: (len(steps) + 1) // 2])
    if not (times[-1] - times[0]) / step <= MAX_FRAMES:
        raise file_error(
            path,
            f"times from {times[0]:g} to {times[-1]:g} in steps of {step:g}",
            f"at most {MAX_FRAMES} steps",
            "export the cameras of one clip alone",
        )
    return [str(round((time - times[0]) / step)) for time in times]


def _words(line: str) -> list[str]:
    # A line of millions of words would fill the memory.
    return line.split(maxsplit=_NUM_COLUMNS)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True

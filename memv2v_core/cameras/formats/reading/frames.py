"""Single cameras with names become one path: which camera of a rig, which frame, which gaps."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ...resampling import fill_gaps
from ...trajectory import CameraTrajectory
from .content import file_error, require_count
from .found import listed
from .limits import MAX_DIGITS, MAX_NAME
from .results import ImportedCameras, ImportSettings, shown_setting

_DIGITS = re.compile(r"\d+")
# An extension begins with a letter; ".123" is a part of a number.
_EXTENSION = re.compile(r"\.[A-Za-z]\w*$")


@dataclass(frozen=True, eq=False)
class PlacedFrame:
    """The camera of one frame of a file.

    name: the picture's file name or the frame's number; None where the file gives neither.
    c2w: (4, 4) float64, OpenCV camera-to-world.
    intrinsics: (3, 3) float64, normalised by image size.
    """

    name: str | None
    c2w: torch.Tensor
    intrinsics: torch.Tensor


@dataclass(frozen=True)
class _Gap:
    """Frames from first to last that have no camera."""

    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.first}" if self.length == 1 else f"{self.first} to {self.last}"


def path_of_frames(
    frames: Sequence[PlacedFrame],
    path: Path,
    settings: ImportSettings,
    notes: Sequence[str] = (),
) -> ImportedCameras:
    """One path in the order of the frame numbers, its gaps interpolated.

    Without names the frames keep the file's order.

    Raises: ValueError for several cameras unless `settings.camera` picks one, for a frame with
    two cameras, for names without numbers, and for gaps above `settings.max_gap`.
    """
    if not frames:
        raise file_error(path, "no cameras", "one camera a frame", "export the path again")
    require_count(len(frames), path)
    names = [frame.name for frame in frames if frame.name is not None]
    if len(names) < len(frames):
        return ImportedCameras(_joined(frames), tuple(notes))
    group = _chosen_camera(_cameras_of_names(names, path), path, settings.camera)
    numbers = sorted(group)
    gaps = _gaps(numbers)
    longest = max(gaps, key=lambda gap: gap.length, default=_Gap(0, -1))
    if longest.length > settings.max_gap:
        raise file_error(
            path,
            f"no camera for frames {longest.first} to {longest.last} ({longest.length} in "
            "sequence)",
            f"gaps of at most {settings.max_gap} frames",
            "track these frames again, or raise max_gap to interpolate them",
        )
    require_count(numbers[-1] - numbers[0] + 1, path, "frames from its first to its last camera")
    known = _joined([frames[group[number]] for number in numbers])
    offsets = tuple(number - numbers[0] for number in numbers)
    said = [*notes, *_frame_notes(numbers, gaps)]
    return ImportedCameras(fill_gaps(known, offsets), tuple(said), is_numbered=True)


def _joined(frames: Sequence[PlacedFrame]) -> CameraTrajectory:
    return CameraTrajectory(
        torch.stack([frame.c2w for frame in frames]),
        torch.stack([frame.intrinsics for frame in frames]),
    )


def _cameras_of_names(names: Sequence[str], path: Path) -> dict[str, dict[int, int]]:
    """Cameras by the names of their pictures, '#' in place of the frame number.

    Each camera is a dict of positions in `names` by frame number.

    Our choice: pictures whose names differ in more than one number belong to different cameras.
    The frame number is the number that varies most; of equals, the last.
    """
    for position, name in enumerate(names):
        if len(name) > MAX_NAME:
            raise file_error(
                path,
                f"a picture name of {len(name)} characters for entry {position}",
                f"at most {MAX_NAME}",
                "rename the pictures to frame_0001.png and so on",
            )
    stems = [_EXTENSION.sub("", name) for name in names]
    shapes: dict[str, list[str]] = {}
    for stem in stems:
        shapes.setdefault(_shape(stem), []).append(stem)
    places = {shape: _place_of_number(alike) for shape, alike in shapes.items()}
    cameras: dict[str, dict[int, int]] = {}
    for position, stem in enumerate(stems):
        found = list(_DIGITS.finditer(stem))
        if not found and len(stems) > 1:
            raise file_error(
                path,
                f"a picture name without a number for entry {position}",
                "names with frame numbers",
                "rename the pictures to frame_0001.png and so on",
            )
        digits = found[places[_shape(stem)]] if found else None
        number = _frame_number(digits[0], path, position) if digits else 0
        camera = stem[: digits.start()] + "#" + stem[digits.end() :] if digits else stem
        held = cameras.setdefault(camera, {})
        if number in held:
            raise file_error(
                path,
                f"two cameras for frame {number} (entries {held[number]} and {position})",
                "one camera a frame",
                "remove one of them",
            )
        held[number] = position
    return cameras


def _frame_number(digits: str, path: Path, position: int) -> int:
    if len(digits) > MAX_DIGITS:
        raise file_error(
            path,
            f"a frame number of {len(digits)} digits in the picture name of entry {position}",
            f"at most {MAX_DIGITS} digits",
            "rename the pictures to frame_0001.png and so on",
        )
    return int(digits)


def _shape(stem: str) -> str:
    """A name without its numbers. No file name has a zero character."""
    return _DIGITS.sub("\0", stem)


def _place_of_number(stems: Sequence[str]) -> int:
    """Which number of names that differ only in their numbers counts the frames."""
    rows = [_DIGITS.findall(stem) for stem in stems]
    varied = [len(set(column)) for column in zip(*rows, strict=True)]
    return max(range(len(varied)), key=lambda place: (varied[place], place), default=0)


def _chosen_camera(cameras: dict[str, dict[int, int]], path: Path, wanted: str) -> dict[int, int]:
    if len(cameras) == 1:
        return next(iter(cameras.values()))
    matching = [name for name in cameras if wanted and wanted in name]
    if wanted in cameras or len(matching) == 1:
        return cameras[wanted if wanted in cameras else matching[0]]
    # Names of a foreign file are not repeated; their places are.
    firsts = [str(next(iter(frames.values()))) for frames in cameras.values()]
    raise file_error(
        path,
        f"{len(cameras)} cameras (their first pictures are entries {listed(firsts)})",
        f"one of them in camera, not {shown_setting(wanted)}",
        "write a part of its picture names that no other camera has",
    )


def _gaps(numbers: Sequence[int]) -> list[_Gap]:
    pairs = zip(numbers, numbers[1:], strict=False)
    return [_Gap(before + 1, after - 1) for before, after in pairs if after - before > 1]


def _frame_notes(numbers: Sequence[int], gaps: Sequence[_Gap]) -> list[str]:
    notes = []
    if numbers[0] > 1:
        notes.append(f"The path begins at frame {numbers[0]}, the first one with a camera.")
    if gaps:
        notes.append(
            f"{sum(gap.length for gap in gaps)} of {numbers[-1] - numbers[0] + 1} frames have no "
            f"camera in the file and are interpolated: {listed([str(gap) for gap in gaps])}."
        )
    return notes

"""COLMAP's sparse model, images and cameras as text or binary, to our convention.

`images` holds a world-to-camera pose for each picture that COLMAP placed: a quaternion (w, x, y, z)
and a translation, in OpenCV axes. `cameras`, beside it, holds the lenses in pixels, with pixel
centres at +0.5. Pictures that COLMAP did not place are missing.

Our choice: the binary files are read here, without pycolmap, which few people have. The layout is
fixed: little endian, counts of 64 bits.

Source: https://colmap.github.io/format.html; https://colmap.github.io/cameras.html.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import torch
from kornia.geometry import quaternion_to_rotation_matrix

from .reading.content import (
    data_lines,
    file_error,
    finite_numbers,
    read_text,
    require_count,
    require_file,
    unreadable,
)
from .reading.found import known_or_kind
from .reading.frames import PlacedFrame, path_of_frames
from .reading.lenses import distortion_note, pixel_lens
from .reading.limits import MAX_NAME
from .reading.poses import inverse_pose, pose_from_parts, require_place
from .reading.results import ImportedCameras, ImportSettings

_IMAGES, _CAMERAS = "images", "cameras"
# Name and number of parameters of each model, by its number in binary files.
_MODELS = (
    *(("SIMPLE_PINHOLE", 3), ("PINHOLE", 4), ("SIMPLE_RADIAL", 4), ("RADIAL", 5), ("OPENCV", 8)),
    *(("OPENCV_FISHEYE", 8), ("FULL_OPENCV", 12), ("FOV", 5), ("SIMPLE_RADIAL_FISHEYE", 4)),
    *(("RADIAL_FISHEYE", 5), ("THIN_PRISM_FISHEYE", 12), ("RAD_TAN_THIN_PRISM_FISHEYE", 16)),
)
# How many focal lengths a model has; other models are no pinholes.
_NUM_FOCALS = {
    **dict.fromkeys(("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL"), 1),
    **dict.fromkeys(("PINHOLE", "OPENCV", "FULL_OPENCV"), 2),
}
_UNIT_TOLERANCE = 1e-2
# Of a line of a lens: number, model, size and parameters.
_MOST_WORDS = 4 + max(num_parameters for _, num_parameters in _MODELS)


@dataclass(frozen=True)
class _Image:
    """quaternion: w, x, y, z and translation: of the world-to-camera pose. where: in the file."""

    name: str
    where: str
    camera_id: int
    quaternion: tuple[float, ...]
    translation: tuple[float, ...]


@dataclass(frozen=True)
class _Lens:
    model: str
    width_px: float
    height_px: float
    parameters: tuple[float, ...]


def is_colmap_binary(path: Path) -> bool:
    """Whether a file has a name that COLMAP gives to a binary file of pictures or lenses."""
    return path.suffix == ".bin" and any(kind in path.stem for kind in (_IMAGES, _CAMERAS))


def is_colmap_text(text: str, path: Path) -> bool:
    """Whether a text begins with a picture or a lens as COLMAP writes them."""
    first = next((line for _, line in data_lines(text, path) if line), "")
    words = first.split(maxsplit=9)
    is_lens = len(words) >= 5 and words[1] in dict(_MODELS)
    return is_lens or (len(words) == 10 and _are_numbers(words[:9]))


def read_colmap(path: Path, settings: ImportSettings) -> ImportedCameras:
    """The path of a model, in the order of the picture names, from either of its two files.

    Raises: ValueError naming the file, what was found and the remedy; also where the other file is
    not beside it.
    """
    images_path, cameras_path = _both_files(path)
    is_binary = path.suffix == ".bin"
    images = list(_binary_images(images_path) if is_binary else _text_images(images_path))
    require_count(len(images), images_path)
    lenses = _binary_lenses(cameras_path) if is_binary else _text_lenses(cameras_path)
    frames, bent = [], [0.0]
    for image in images:
        if image.camera_id not in lenses:
            raise file_error(
                images_path,
                f"camera {image.camera_id:g} in {image.where}",
                f"one of the {len(lenses)} cameras of {cameras_path.name}",
                "copy both files of one model",
            )
        lens = lenses[image.camera_id]
        frames.append(
            PlacedFrame(image.name, _c2w(image, images_path), _intrinsics(lens, cameras_path, bent))
        )
    return path_of_frames(frames, images_path, settings, distortion_note(bent))


def other_colmap_file(path: Path) -> Path | None:
    """Where the lenses of COLMAP's pictures lie, or the pictures of its lenses.

    None for a name that COLMAP gives to neither. The file itself may be missing.
    """
    for kind, other in ((_IMAGES, _CAMERAS), (_CAMERAS, _IMAGES)):
        if kind in path.stem and path.suffix in (".txt", ".bin"):
            return path.with_name(path.name.replace(kind, other))
    return None


def _both_files(path: Path) -> tuple[Path, Path]:
    """Paths of the pictures and of the lenses, whichever of them `path` is."""
    other = other_colmap_file(path)
    if other is None:
        raise file_error(
            path,
            "COLMAP's content under another name",
            f"{_IMAGES}{path.suffix} and {_CAMERAS}{path.suffix}",
            "rename both files so, in one folder",
        )
    require_file(path)
    if not other.is_file():
        raise file_error(
            path,
            f"no {other.name} beside it",
            f"{path.name} and {other.name} in one folder",
            f"copy {other.name} there too",
        )
    return (path, other) if _IMAGES in path.stem else (other, path)


def _c2w(image: _Image, path: Path) -> torch.Tensor:
    """Camera-to-world (4, 4) float64."""
    numbers = (*image.quaternion, *image.translation)
    finite_numbers(list(numbers), path, image.where)
    require_place(image.translation, path, image.where)
    quaternion = torch.tensor(image.quaternion, dtype=torch.float64)
    if not abs(float(quaternion.norm()) - 1) <= _UNIT_TOLERANCE:
        raise file_error(
            path,
            f"a quaternion of length {float(quaternion.norm()):.3g} in {image.where}",
            "length 1, as w x y z",
            "write the model with COLMAP again",
        )
    rotation = quaternion_to_rotation_matrix(quaternion / quaternion.norm())
    translation = torch.tensor(image.translation, dtype=torch.float64)
    return inverse_pose(pose_from_parts(rotation, translation))


def _intrinsics(lens: _Lens, path: Path, bent: list[float]) -> torch.Tensor:
    """Normalised intrinsics (3, 3); the lens distortion is added to `bent`."""
    num_focals = _NUM_FOCALS.get(lens.model)
    if num_focals is None:
        raise file_error(
            path,
            f"camera model {known_or_kind(lens.model, dict(_MODELS))}",
            f"one of {', '.join(_NUM_FOCALS)}",
            "undistort with `colmap image_undistorter`",
        )
    values = finite_numbers(list(lens.parameters), path, f"the {lens.model} lens")
    if (
        len(values) < num_focals + 2
        or min(*values[:num_focals], lens.width_px, lens.height_px) <= 0
    ):
        raise file_error(
            path,
            f"{lens.model} with {len(values)} parameters for {lens.width_px:g}x{lens.height_px:g}",
            "sizes and focal lengths above 0",
            "write the model with COLMAP again",
        )
    focals, (cx, cy) = values[:num_focals], values[num_focals : num_focals + 2]
    bent += values[num_focals + 2 :]
    size = {"width_px": lens.width_px, "height_px": lens.height_px}
    where = f"the {lens.model} lens"
    return pixel_lens(focals[0], focals[-1], cx, cy, **size, path=path, where=where)


def _text_images(path: Path) -> Iterator[_Image]:
    # Every picture has two lines; the second lists its points and may be empty.
    for number, line in islice(data_lines(read_text(path), path), 0, None, 2):
        if not line:
            continue
        words = line.split(maxsplit=9)
        if len(words) != 10:
            raise file_error(
                path,
                f"{len(words)} words in line {number}",
                "10: id, quaternion, translation, camera, picture name",
                "keep the line of points after each picture, even if it is empty",
            )
        values = finite_numbers(words[:9], path, f"line {number}")
        pose = tuple(values[1:5]), tuple(values[5:8])
        yield _Image(words[9], f"line {number}", int(values[8]), *pose)


def _text_lenses(path: Path) -> dict[int, _Lens]:
    lenses = {}
    for number, line in data_lines(read_text(path), path):
        if not line:
            continue
        # One word more than any model has, so that too many are seen.
        words = line.split(maxsplit=_MOST_WORDS)
        if len(words) < 5:
            raise file_error(
                path,
                f"{len(words)} words in line {number}",
                "id, model, width, height and parameters",
                "write the model with COLMAP again",
            )
        values = finite_numbers([words[0], *words[2:]], path, f"line {number}")
        lenses[int(values[0])] = _Lens(words[1], values[1], values[2], tuple(values[3:]))
    return lenses


def _binary_images(path: Path) -> Iterator[_Image]:
    with _opened(path) as reader:
        for place in range(reader.count("pictures")):
            _, *pose, camera_id = reader.values("I7dI")
            name = reader.name(place)
            # The points of the picture: two coordinates and the number of a point.
            reader.skip(reader.values("Q")[0] * struct.calcsize("<2dq"))
            where = f"picture {place}"
            yield _Image(name, where, camera_id, tuple(pose[:4]), tuple(pose[4:]))


def _binary_lenses(path: Path) -> dict[int, _Lens]:
    lenses = {}
    with _opened(path) as reader:
        for _ in range(reader.count("cameras")):
            camera_id, model_idx, width, height = reader.values("IiQQ")
            if not 0 <= model_idx < len(_MODELS):
                raise file_error(
                    path,
                    f"camera model number {model_idx}",
                    f"0 to {len(_MODELS) - 1}",
                    "convert the model to text with `colmap model_converter`",
                )
            model, num_parameters = _MODELS[model_idx]
            parameters = reader.values(f"{num_parameters}d")
            lenses[camera_id] = _Lens(model, width, height, parameters)
    return lenses


@contextmanager
def _opened(path: Path) -> Iterator["_BinaryReader"]:
    try:
        with path.open("rb") as file:
            yield _BinaryReader(path, file)
    except OSError as error:
        raise unreadable(path, error) from error


class _BinaryReader:
    """Little-endian values of a file, one after the other; the points between them are not read.

    Raises: ValueError where the file ends too early.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file, self._place = path, file, 0
        self._size = os.fstat(file.fileno()).st_size

    def count(self, what: str) -> int:
        """The number of entries that follow."""
        (count,) = self.values("Q")
        require_count(count, self._path, what)
        return count

    def values(self, layout: str) -> tuple[int, ...]:
        """Numbers of a layout of `struct`."""
        num_bytes = struct.calcsize(f"<{layout}")
        self.skip(num_bytes)
        self._file.seek(self._place - num_bytes)
        return struct.unpack(f"<{layout}", self._file.read(num_bytes))

    def name(self, place: int) -> str:
        """A text that ends with a zero byte; of picture `place`."""
        self._file.seek(self._place)
        found, zero, _ = self._file.read(MAX_NAME + 1).partition(b"\0")
        if not zero and len(found) > MAX_NAME:
            raise file_error(
                self._path,
                f"a name of more than {MAX_NAME} bytes for picture {place}",
                f"at most {MAX_NAME}",
                "copy the file again",
            )
        self.skip(len(found) + 1)
        return found.decode("utf-8", errors="replace")

    def skip(self, num_bytes: int) -> None:
        """Go over bytes without reading them."""
        self._place += num_bytes
        if self._place > self._size:
            raise file_error(
                self._path,
                f"{self._size} bytes, which end inside an entry",
                "a whole binary file of COLMAP",
                "copy the file again",
            )


def _are_numbers(words: Sequence[str]) -> bool:
    try:
        return bool([float(word) for word in words])
    except ValueError:
        return False

"""Camera files of every format that the pack imports."""

import hashlib
import json
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random

import torch

from memv2v_core.cameras.formats.camera_path import save_camera_path
from memv2v_core.cameras.formats.detection import (
    camera_names,
    load_cameras,
    may_be_camera_file,
    parts_of_camera_file,
)
from memv2v_core.cameras.formats.reading.results import ImportSettings
from memv2v_core.cameras.formats.recammaster import save_recammaster
from memv2v_core.cameras.formats.transforms import save_transforms
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, lens_intrinsics

from ..mutations import places
from ..mutations.content import BYTES
from ..mutations.json_text import change_json
from ..target import Mutation, Reading, Target

PAN = make_preset(PresetConfig("pan_left", 16.0, 5, easing="linear"), lens_intrinsics(80.0, 2.0))
STILL = "1 0 0 0  0 1 0 0  0 0 1 0"
LENS = "0.48 0.86 0.5 0.5 0 0"
_WORDS = (
    "nan",
    "inf",
    "-1",
    "1e999",
    "9" * 400,
    "x",
    "0",
    "",
    "1e308",
    "\u0663",
    "0x10",
    "2147483648",
)


def with_note(path: Path) -> None:
    """Puts private content into a JSON file, which no message may repeat."""
    content = json.loads(path.read_text())
    if isinstance(content, dict) and "frame0" not in content:
        path.write_text(json.dumps({**content, "note": places.SECRET}))


def make_transforms(path: Path) -> None:
    save_transforms(PAN, path, height=100, width=200)


def make_camera_path(path: Path) -> None:
    save_camera_path(PAN, path, height=100, width=200, fps=24)


def make_recammaster(path: Path) -> None:
    save_recammaster({"cam01": PAN, "cam02": PAN}, path)


def make_ns_export(path: Path) -> None:
    rows = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    entries = [
        {"file_path": f"/data/images/frame_{number:05d}.png", "transform": rows}
        for number in range(1, 5)
    ]
    path.write_text(json.dumps(entries))


def make_opencv(path: Path) -> None:
    matrix = [[0, 0, 1, 1], [0, 1, 0, 2], [-1, 0, 0, 3], [0, 0, 0, 1]]
    lens = {"K": [[150, 0, 100], [0, 160, 40], [0, 0, 1]], "width": 200, "height": 100}
    path.write_text(
        json.dumps(
            [
                {"c2w": matrix, **lens},
                {"R": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "t": [3, -2, -1], **lens},
            ]
        )
    )


def make_omnicam(path: Path) -> None:
    keys = [
        {
            "frame": frame,
            "camera": {
                "position": [frame, 0, 5],
                "target": [0, 0, 0],
                "fov": 90,
                "roll": 0,
                "camera_type": "perspective",
                "zoom": 1,
            },
            "interpolation": "linear",
        }
        for frame in (0, 4)
    ]
    track = {
        "schema_version": 1,
        "fps": 24,
        "duration_frames": 5,
        "width": 200,
        "height": 100,
        "keyframes": keys,
        "objects": [],
        "metadata": {},
    }
    scene = {
        "version": 1,
        "timeline": {"duration_seconds": 5 / 24, "authoring_fps": 24},
        "canvas": {"width": 200, "height": 100},
        "cameras": [{"id": "cam01", "label": "Main", "enabled": True, "track": track}],
    }
    path.write_text(json.dumps(scene))


def make_realestate(path: Path) -> None:
    lines = [f"{time} {LENS} {STILL}" for time in (0, 33333, 66666)]
    path.write_text("https://www.youtube.com/watch?v=none\n" + "\n".join(lines) + "\n")


def make_colmap_text(path: Path) -> None:
    path.with_name("cameras.txt").write_text("# Cameras\n1 PINHOLE 200 100 150 160 100 40\n")
    pictures = (f"{n} 1 0 0 0 0 0 {n} 1 frame_{n:04d}.png\n10 20 -1 30 40 -1\n" for n in (1, 2, 3))
    path.write_text("# Images\n" + "".join(pictures))


def make_colmap_binary(path: Path) -> None:
    lens = struct.pack("<QIiQQ4d", 1, 7, 1, 200, 100, 150.0, 160.0, 100.0, 40.0)
    path.with_name("cameras.bin").write_bytes(lens)
    content = struct.pack("<Q", 3)
    for number in range(3):
        content += struct.pack("<I7dI", number, 1, 0, 0, 0, 1, 2, number, 7)
        content += f"frame_{number}.png".encode() + b"\0" + struct.pack("<Qddq", 1, 10.5, 20.5, -1)
    path.write_bytes(content)


def read_cameras(name: str, folder: Path) -> Reading:
    """The path as the importing node gets it, with the questions it asks before."""
    path = folder / name
    assert may_be_camera_file(path)
    # ComfyUI passes over a fingerprint that fails; loading reports the problem.
    with suppress(OSError):
        for part in parts_of_camera_file(path):
            part.stat()
    names: tuple[str, ...] = ()
    with suppress(OSError, ValueError):
        names = camera_names(path)
    imported = load_cameras(path, ImportSettings(camera="cam01", aspect=2.0))
    track = imported.trajectory
    value = {"names": repr(names), "notes": repr(imported.notes)}
    value.update(c2w=_digest(track.c2w), intrinsics=_digest(track.intrinsics))
    require_cameras(track)
    return Reading(value)


def require_cameras(track: CameraTrajectory) -> None:
    """Raise AssertionError for a path that no camera can take, which a reader must refuse."""
    rotation = track.c2w[:, :3, :3]
    error = (rotation.mT @ rotation - torch.eye(3, dtype=torch.float64)).abs().max()
    assert float(error) < 0.05, f"a rotation is off by {float(error):.3g}"
    assert bool((track.intrinsics.diagonal(dim1=1, dim2=2) > 0).all()), "a lens of no size"


def change_word(path: Path, rng: Random) -> str:
    """One word of a text replaced, removed or repeated; a number becomes no number."""
    lines = path.read_text().split("\n")
    row = rng.choice([i for i, line in enumerate(lines) if line.strip()])
    words = lines[row].split(" ")
    place = rng.randrange(len(words))
    change = rng.choice((*_WORDS, "gone", "twice"))
    if change in ("gone", "twice"):
        words[place : place + 1] = [words[place]] * (2 if change == "twice" else 0)
    else:
        words[place] = change
    lines[row] = " ".join(words)
    path.write_text("\n".join(lines))
    return f"word {place} of line {row + 1}: {change[:20]!r}"


def change_line(path: Path, rng: Random) -> str:
    """Lines removed, repeated, reversed or ended in other ways."""
    lines = path.read_text().split("\n")
    place = rng.randrange(len(lines))
    change = rng.choice(("gone", "twice", "100,000 times", "reversed", "with carriage returns"))
    if change == "reversed":
        lines.reverse()
    elif change == "with carriage returns":
        lines = [f"{line}\r" for line in lines]
    else:
        count = {"gone": 0, "twice": 2}.get(change, 100_000)
        lines[place : place + 1] = [lines[place]] * count
    path.write_text("\n".join(lines))
    return f"line {place + 1} {change}"


def change_count(path: Path, rng: Random) -> str:
    """A number of a binary file set to a value that no file of this size can have."""
    data = bytearray(path.read_bytes())
    place = rng.choice((0, 0, 8, 12, 16, 24, rng.randrange(len(data) - 8)))
    form, value = rng.choice(
        (("<Q", 2**63), ("<Q", 2**32), ("<Q", 0), ("<d", float("nan")), ("<d", 1e308), ("<q", -1))
    )
    data[place : place + 8] = struct.pack(form, value)
    path.write_bytes(data)
    return f"{value} at byte {place}"


def _digest(tensor: torch.Tensor) -> str:
    head = f"{tensor.dtype}{tuple(tensor.shape)}".encode()
    return hashlib.sha1(head + tensor.contiguous().numpy().tobytes()).hexdigest()


def _target(
    name: str, file: str, make: Callable[[Path], None], *special: Mutation, other: str = ""
) -> Target:
    def fill(folder: Path) -> None:
        make(folder / file)
        if file.endswith(".json"):
            with_note(folder / file)

    def victims(folder: Path) -> list[Path]:
        return [folder / file, *([folder / other] if other else [])]

    mutations = (*special * 12, *BYTES, *places.PLACES)
    reader = partial(read_cameras, file)
    return Target(f"cameras: {name}", fill, victims, mutations, reader, names_any=bool(other))


TARGETS = (
    _target("transforms", "transforms.json", make_transforms, change_json),
    _target("camera_path", "camera_path.json", make_camera_path, change_json),
    _target("ns-export", "transforms_train.json", make_ns_export, change_json),
    _target("ReCamMaster", "camera_extrinsics.json", make_recammaster, change_json),
    _target("OmniCam", "scene.json", make_omnicam, change_json),
    _target("OpenCV list", "cameras.json", make_opencv, change_json),
    _target("RealEstate10K", "clip.txt", make_realestate, change_word, change_line),
    _target(
        "COLMAP text",
        "images.txt",
        make_colmap_text,
        change_word,
        change_line,
        other="cameras.txt",
    ),
    _target("COLMAP binary", "images.bin", make_colmap_binary, change_count, other="cameras.bin"),
)

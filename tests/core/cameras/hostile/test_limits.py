"""No camera file takes much memory or time, or ends in anything but one error that names it."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from instruments import camera_files
from instruments.camera_files import CONTENTS, POSE, changed, colmap_binary, written

from memv2v_core.cameras.formats.detection import load_cameras
from memv2v_core.cameras.formats.reading import limits
from memv2v_core.cameras.formats.reading.results import ImportSettings

MANY = limits.MAX_FRAMES + 1


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory needs Linux")
def test_broken_files_are_read_or_refused_by_one_error(tmp_path: Path) -> None:
    command = [sys.executable, camera_files.__file__, "0", "300", str(tmp_path / "files")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["faults"] == []
    assert result["ends"].keys() == {"read", "refused"}
    assert min(result["ends"].values()) > 10


def frames(names: list[str]) -> dict:
    lens = {"w": 8, "h": 4, "fl_x": 5}
    return {**lens, "frames": [{"file_path": name, "transform_matrix": POSE} for name in names]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"frame0": {}, "frame30000000": {"cam01": ""}}, "no frame1 among its 2 frames"),
        ({f"frame{i}": {} for i in range(MANY)}, f"{MANY} cameras, wanted at most"),
        (frames(["f_1"] * MANY), f"{MANY} cameras, wanted at most {limits.MAX_FRAMES}"),
        (
            frames([f"f_{10 * i}" for i in range(3000)]),
            "29991 frames from its first to its last camera, wanted at most",
        ),
        (
            changed(CONTENTS["omnicam"], ("cameras", 0, "track", "duration_frames"), 10**9),
            "duration_frames 1e.09, wanted all three, and 1 to 14400",
        ),
        (
            changed(CONTENTS["omnicam"], ("cameras", 0, "track", "duration_frames"), 0.5),
            "duration_frames 0.5, wanted all three, and 1 to 14400",
        ),
        (
            changed(CONTENTS["omnicam"], ("cameras", 0, "track", "keyframes", 1, "frame"), 1e300),
            r"keyframe at frame 1e\+300 .*wanted a frame up to 14400",
        ),
        (changed(CONTENTS["opencv"], ("cameras", 0, "dist"), [0] * 65), "more than 64 values"),
        (changed(CONTENTS["opencv"], ("cameras", 0, "K"), [[]] * 65), "more than 64 values"),
        (
            changed(CONTENTS["opencv"], ("cameras", 0, "K", 0), 10**400),
            "a whole number of about 398 digits",
        ),
        (
            changed(CONTENTS["transforms"], ("w",), 10**400),
            "w = a whole number of about 39[0-9] digits for frame 0",
        ),
        (changed(CONTENTS["transforms"], ("fl_x",), 1e300), "a lens of fx 1.25e.299"),
        (
            changed(CONTENTS["transforms"], ("frames", 0, "transform_matrix", 0, 3), 1e13),
            r"a place at 1e\+13 in frame 0, wanted at most 1e\+12",
        ),
        (
            changed(CONTENTS["transforms"], ("frames", 0, "transform_matrix", 0, 0), 1e200),
            "scaled, sheared or mirrored pose in frame 0",
        ),
    ],
)
def test_sizes_are_checked_before_anything_is_made(
    tmp_path: Path, content: dict, message: str
) -> None:
    path = written({"a.json": json.dumps(content).encode()}, tmp_path)
    with pytest.raises(ValueError, match=message):
        load_cameras(path, ImportSettings(camera="cam01", max_gap=2000))


@pytest.mark.parametrize(
    ("name", "limit"),
    [("a.json", limits.MAX_JSON_BYTES), ("a.txt", limits.MAX_TEXT_BYTES)],
)
def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, name: str, limit: int) -> None:
    with (tmp_path / name).open("wb") as file:
        # Without any content on the disk.
        file.truncate(4 * 2**30)
    with pytest.raises(ValueError, match=f"{name} got 4294967296 bytes, wanted at most {limit};"):
        load_cameras(tmp_path / name)


def test_json_in_a_text_file_has_the_limit_of_json(tmp_path: Path) -> None:
    path = written({"a.txt": b"[" + b" " * limits.MAX_JSON_BYTES}, tmp_path)
    with pytest.raises(ValueError, match=f"wanted at most {limits.MAX_JSON_BYTES};"):
        load_cameras(path)


def test_lines_are_counted_before_they_are_kept(tmp_path: Path) -> None:
    path = written({"a.txt": b"\n" * limits.MAX_LINES + b"1"}, tmp_path)
    with pytest.raises(ValueError, match=f"more than {limits.MAX_LINES} lines"):
        load_cameras(path)


def test_steps_of_time_are_counted(tmp_path: Path) -> None:
    lens = "0.9 1.5 0.5 0.5 0 0 1 0 0 0 0 1 0 0 0 0 1 0"
    lines = "\n".join(f"{time} {lens}" for time in ("0", "1", "1e300"))
    with pytest.raises(ValueError, match=r"times from 0 to 1e\+300 in steps of 1, wanted at most"):
        load_cameras(written({"a.txt": lines.encode()}, tmp_path))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("images.bin", {0: struct.pack("<Q", 2**63)}, "images.bin got 9223372036854775808 pictur"),
        ("cameras.bin", {0: struct.pack("<Q", MANY)}, f"cameras.bin got {MANY} cameras"),
        # The number of points behind the first picture.
        ("images.bin", {80: struct.pack("<Q", 2**62)}, "which end inside an entry"),
    ],
)
def test_counts_of_a_binary_file_are_checked(
    tmp_path: Path, name: str, change: dict[int, bytes], message: str
) -> None:
    files = colmap_binary()
    for place, data in change.items():
        files[name] = files[name][:place] + data + files[name][place + len(data) :]
    with pytest.raises(ValueError, match=message):
        load_cameras(written(files, tmp_path))


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{tmp_path} got a folder or a device"):
        load_cameras(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.json")
        with pytest.raises(ValueError, match=r"pipe.json got a folder or a device"):
            load_cameras(tmp_path / "pipe.json")

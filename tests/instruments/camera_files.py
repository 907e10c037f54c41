"""A valid camera file of every format, and files that are broken in one place or many.

Run as a program it loads broken files, each within bounds of memory and time, and prints one line
of JSON: how many ended in which way, and what was wrong with the first few.

    python camera_files.py SEED COUNT FOLDER
"""

import copy
import json
import math
import random
import resource
import signal
import struct
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

POSE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
_KEY = {"position": [0, 0, 5], "target": [0, 0, 0], "fov": 40, "roll": 0, "zoom": 1}
_TRACK = {
    "duration_frames": 2,
    "width": 64,
    "height": 64,
    "keyframes": [
        {"frame": 0, "camera": _KEY, "interpolation": "ease"},
        {"frame": 1, "camera": _KEY, "interpolation": "linear"},
    ],
    "constraints": {"look_at": {"status": "missing_target"}},
}
CONTENTS: dict[str, Any] = {
    "transforms": {
        "camera_model": "OPENCV",
        "w": 8,
        "h": 4,
        "fl_x": 5,
        "cx": 4,
        "k1": 0,
        "frames": [{"file_path": f"f_{i}.png", "transform_matrix": POSE} for i in (1, 3)],
    },
    "blender": {
        "camera_angle_x": 0.7,
        "frames": [{"file_path": "r_0", "transform_matrix": POSE}],
    },
    "camera_path": {
        "camera_type": "perspective",
        "render_height": 4,
        "render_width": 8,
        "camera_path": [{"camera_to_world": sum(POSE, []), "fov": 50, "aspect": 2}],
    },
    "ns_export": [{"file_path": "f_1.png", "transform": POSE[:3]}],
    "recammaster": {
        f"frame{i}": {name: "[1 0 0 0] [0 1 0 0] [0 0 1 0] [0 0 0 1]" for name in ("cam01", "x")}
        for i in range(3)
    },
    "omnicam": {
        "version": 1,
        "timeline": {},
        "canvas": {},
        "cameras": [{"id": "a", "label": "front", "track": _TRACK}],
    },
    "opencv": {
        "width": 8,
        "height": 4,
        "cameras": [
            {"w2c": POSE, "K": [5, 0, 4, 0, 5, 2, 0, 0, 1], "img_name": "1", "dist": [0]},
            {"rotation": [row[:3] for row in POSE[:3]], "position": [0, 0, 0], "fx": 3, "id": 2},
        ],
    },
    "opencv_parts": [
        {"R": POSE[0][:3], "t": [0, 0, i], "frame": i, "fx": 3, "w": 8, "h": 4} for i in range(2)
    ],
}
_REAL_LINE = "{} 0.9 1.5 0.5 0.5 0 0 1 0 0 0 0 1 0 0 0 0 1 0"
TEXTS = {
    "realestate10k": {
        "clip.txt": "https://a.example/watch\n"
        + "\n".join(_REAL_LINE.format(33000 * i) for i in range(4))
    },
    "colmap": {
        "images.txt": "# a comment\n1 1 0 0 0 0 0 0 1 f_1.png\n\n"
        "2 1 0 0 0 -1 0 0 1 f_2.png\n1 2 -1\n",
        "cameras.txt": "1 OPENCV 200 100 100 100 100 50 0.1 0 0 0\n",
    },
    "colmap_lenses": {
        "cameras.txt": "1 SIMPLE_PINHOLE 200 100 100 100 50\n",
        "images.txt": "1 1 0 0 0 0 0 0 1 f_1.png\n\n",
    },
}
NASTY = (
    *(
        None,
        "x",
        "",
        [],
        {},
        math.nan,
        math.inf,
        -1,
        0,
        0.5,
        10**30,
        10**400,
        1e308,
        -1e308,
        1e-320,
    ),
    *(
        True,
        [["x"]],
        {"a": 1},
        "f_9999999999",
        "9" * 5000,
        "a" * 100_000,
        [0] * 100_000,
        [[]] * 1000,
    ),
    *("\ud800", "a\nb", "\0", "frame30000000", "1e999", "nan"),
)
_NASTY_WORDS = (
    *(
        b"1e999",
        b"nan",
        b"-1",
        b"9" * 5000,
        b"\xff",
        b"\0",
        b"0",
        b"1e308",
        b"1e-320",
        b"",
        b"a" * 9999,
    ),
    *(b"99999999", b"1 " * 2000, b"[" * 2000, b'"', b"\n", b"{", b"}", b",", b"\xf0\x9f\x98\x80"),
)
_MOST_MIB, _MOST_S = 1024, 5


def colmap_binary() -> dict[str, bytes]:
    """images.bin and cameras.bin of two pictures."""
    images = struct.pack("<Q", 2)
    for i in (1, 2):
        images += struct.pack("<I7dI", i, 1, 0, 0, 0, -i, 0, 0, 1) + f"f_{i}.png\0".encode()
        images += struct.pack("<Q2dq", 1, 3.5, 4.5, -1)
    lenses = struct.pack("<QIiQQ4d", 1, 1, 1, 200, 100, 100, 100, 100, 50)
    return {"images.bin": images, "cameras.bin": lenses}


def samples() -> dict[str, dict[str, bytes]]:
    """Files by their names, by the name of their format; the first one is loaded."""
    found = {f"{name}": {"a.json": json.dumps(value).encode()} for name, value in CONTENTS.items()}
    for name, texts in TEXTS.items():
        found[name] = {file: text.encode() for file, text in texts.items()}
    return {**found, "colmap_binary": colmap_binary()}


def places(content: Any, place: tuple = ()) -> Iterator[tuple]:
    """Where the values of a content stand, the content itself included."""
    yield place
    inside = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in inside:
        if isinstance(value, dict | list):
            yield from places(value, (*place, key))
        else:
            yield (*place, key)


def changed(content: Any, place: tuple, value: Any) -> Any:
    """A copy with another value in one place."""
    if not place:
        return value
    content = copy.deepcopy(content)
    inside = content
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    return content


def renamed(content: Any, place: tuple, name: str) -> Any:
    """A copy with another key in one place; `place` ends with a key of an object."""
    content = copy.deepcopy(content)
    inside = content
    for key in place[:-1]:
        inside = inside[key]
    inside[name] = inside.pop(place[-1])
    return content


def broken(seed: int) -> dict[str, bytes]:
    """One of the samples with up to three faults."""
    dice = random.Random(seed)
    files = dict(samples()[dice.choice(sorted(samples()))])
    name = dice.choice(list(files))
    for _ in range(dice.randint(1, 3)):
        is_json = name.endswith(".json") and dice.random() < 0.6
        files[name] = (
            _broken_json(files[name], dice) if is_json else _broken_bytes(files[name], dice)
        )
    return files


def _broken_json(data: bytes, dice: random.Random) -> bytes:
    try:
        content = json.loads(data)
        spots = list(places(content)) if isinstance(content, dict | list) else []
    except (ValueError, RecursionError):
        spots = []
    if not spots:
        return _broken_bytes(data, dice)
    place = dice.choice(spots)
    value = dice.choice(NASTY)
    if place and isinstance(place[-1], str) and dice.random() < 0.3:
        name = (
            value if isinstance(value, str) else dice.choice(("frame30000000", "frame007", "w2c"))
        )
        return json.dumps(renamed(content, place, name)).encode()
    if dice.random() < 0.1:
        # As many entries as no clip has.
        inside = content
        for key in place:
            inside = inside[key]
        value = [inside] * dice.choice((2, 1000, 30_000))
    return json.dumps(changed(content, place, value)).encode()


def _broken_bytes(data: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(data) + 1)
    stop = min(len(data), start + dice.choice((0, 1, 1, 2, 4, 8, 30)))
    kind = dice.randrange(5)
    if kind == 0:
        return data[:start]
    if kind == 1:
        return data[:start] + data[stop:]
    if kind == 2:
        return data[:start] + data[start:stop] * dice.choice((2, 100, 50_000)) + data[stop:]
    if kind == 3:
        return data[:start] + dice.randbytes(stop - start) + data[stop:]
    return data[:start] + dice.choice(_NASTY_WORDS) + data[stop:]


def written(files: dict[str, bytes], folder: Path) -> Path:
    """The file to load, with the others beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder / next(iter(files))


def outcome(path: Path) -> tuple[str, str]:
    """How loading a file ends: read, refused, or a fault in words."""
    from memv2v_core.cameras.formats.detection import load_cameras
    from memv2v_core.cameras.formats.reading.results import ImportSettings

    try:
        load_cameras(path, ImportSettings(camera="cam01", aspect=2.0))
    except ValueError as error:
        text = str(error)
        # Either file of a COLMAP model may be the broken one.
        is_named = text.startswith(f"camera file {path.parent}") and " got " in text
        is_good = is_named and "\n" not in text and len(text) < 1000 and text.isprintable()
        return ("refused", "") if is_good else ("bad message", repr(text[:300]))
    except _TooLong:
        return "too long", ""
    except MemoryError:
        return "too much memory", ""
    except Exception as error:  # the fault that is looked for
        return type(error).__name__, "".join(traceback.format_exception(error)[-2:])[-300:]
    return "read", ""


class _TooLong(BaseException):
    pass


def _stop(*_: object) -> None:
    raise _TooLong


def main(seed: int, count: int, folder: Path) -> None:
    """Load `count` broken files."""
    outcome(written(samples()["transforms"], folder))  # imports all that is needed
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + _MOST_MIB * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGALRM, _stop)
    ends: Counter[str] = Counter()
    faults: list[str] = []
    for number in range(seed, seed + count):
        for old in folder.iterdir():
            old.unlink()
        path = written(broken(number), folder)
        signal.setitimer(signal.ITIMER_REAL, _MOST_S)
        end, words = outcome(path)
        signal.setitimer(signal.ITIMER_REAL, 0)
        ends[end] += 1
        if end not in ("read", "refused"):
            faults.append(f"{number}: {end} {words}")
    sys.stdout.write(json.dumps({"ends": dict(ends), "faults": faults[:20]}) + "\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))

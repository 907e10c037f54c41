"""Small clips with faults in the boxes of their head, opened in a process of its own.

    python broken_clips.py CLIP SEED COUNT COMFYUI

Opens COUNT broken copies of CLIP as the nodes do, reads every frame and all sound, and prints one
line of JSON a copy: how it ended, its seconds and the highest memory above the start in MiB.
"""

import importlib
import importlib.util
import json
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
# Boxes that hold boxes, by the bytes before the first of them.
_HOLDERS = {b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0, b"edts": 0, b"stsd": 8}
_ENTRIES = {b"avc1": 78, b"mp4a": 28, b"png ": 78, b"raw ": 78}
_NUMBERS = (0, 1, 2, 255, 65535, 2**16, 2**20, 2**24, 2**28, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)
_MOST_S, _MOST_MIB = 10, 3072


def boxes(data: bytes, start: int = 0, stop: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and end of the content of every box, outer ones first."""
    stop = len(data) if stop is None else stop
    while start + 8 <= stop:
        size, name = struct.unpack_from(">I4s", data, start)
        end = min(start + size, stop)
        if size < 8:
            return
        yield name, start + 8, end
        skip = _HOLDERS.get(name, _ENTRIES.get(name))
        if skip is not None:
            yield from boxes(data, start + 8 + skip, end)
        start = end


def broken(data: bytes, seed: int) -> bytes:
    """A copy with one to three faults, most of them in numbers of the head."""
    dice, made = random.Random(seed), bytearray(data)
    places = [box for box in boxes(data) if box[0] != b"mdat"]
    for _ in range(dice.randint(1, 3)):
        name, start, end = dice.choice(places)
        kind = dice.random()
        if kind < 0.6 and end - start >= 4:
            place = start + 4 * dice.randrange((end - start) // 4)
            struct.pack_into(">I", made, place, dice.choice(_NUMBERS))
        elif kind < 0.75 and end - start >= 2:
            place = start + 2 * dice.randrange((end - start) // 2)
            struct.pack_into(">H", made, place, dice.choice((0, 1, 255, 32767, 65535)))
        elif kind < 0.85 and end > start:
            made[dice.randrange(start, end)] = dice.randrange(256)
        elif kind < 0.9:
            struct.pack_into(">I", made, start - 8, dice.choice(_NUMBERS))
        elif kind < 0.95:
            place = data.index(b"mdat") + dice.randrange(1000)
            made[place : place + 8] = dice.randbytes(8)
        else:
            del made[dice.randrange(len(made)) :]
            return bytes(made)
    return bytes(made)


def outcome(path: Path) -> tuple[str, str]:
    """How a clip ends that is opened and read as the nodes do: read, refused, or a fault."""
    from comfy_api.latest import InputImpl

    from memory_v2v.nodes.host.footage.reading import open_clip

    try:
        clip = open_clip(None, InputImpl.VideoFromFile(str(path)), 25, None)
        num_read = sum(len(piece) for piece in clip.reader()(0, clip.num_frames))
        if clip.sound is not None:
            clip.sound.waveform()
    except ValueError as error:
        text = str(error)
        is_good = path.name in text and "\n" not in text and len(text) < 1000
        return ("refused", text) if is_good else ("bad message", text[:400])
    except _TooLong:
        return "too long", "".join(traceback.format_stack()[-3:])
    except Exception as error:  # the fault that is looked for
        return type(error).__name__, "".join(traceback.format_exception(error)[-3:])[-600:]
    return "read", f"{num_read} frames"


class _TooLong(BaseException):
    pass


def _stop(*_: object) -> None:
    raise _TooLong


def _loaded(name: str, folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _memory_mib(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(field))


def main(clip: Path, seed: int, count: int, comfyui: str, root: Path = ROOT) -> None:
    """Open the broken copies."""
    with tempfile.TemporaryDirectory() as folder:
        sys.path.insert(0, comfyui)
        sys.argv = ["main.py", "--cpu", "--base-directory", folder]
        importlib.import_module("comfy.options").enable_args_parsing()
        _loaded("memory_v2v", root)
        path = Path(folder) / clip.name
        path.write_bytes(clip.read_bytes())
        end = outcome(path)
        sys.stdout.write(json.dumps({"seed": "whole", "end": end[0], "said": end[1]}) + "\n")
        limit = (_memory_mib("VmSize") + _MOST_MIB) * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        signal.signal(signal.SIGALRM, _stop)
        for number in range(seed, seed + count):
            path.write_bytes(broken(clip.read_bytes(), number))
            # A crash ends the line here, so the reader of the lines knows its seed.
            sys.stdout.write(f'{{"seed": {number}, ')
            sys.stdout.flush()
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            start, before = time.monotonic(), _memory_mib("VmRSS")
            signal.setitimer(signal.ITIMER_REAL, _MOST_S)
            end, said = outcome(path)
            signal.setitimer(signal.ITIMER_REAL, 0)
            facts = {
                "end": end,
                "said": said,
                "s": round(time.monotonic() - start, 2),
                "mib": _memory_mib("VmHWM") - before,
            }
            sys.stdout.write(json.dumps(facts)[1:] + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    roots = [Path(sys.argv[5])] if len(sys.argv) > 5 else []
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], *roots)

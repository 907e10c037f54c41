"""Video files, read by the pack's own node in a ComfyUI without a server."""

import hashlib
import importlib
import importlib.util
import math
import sys
from fractions import Fraction
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import av
import numpy

from devtools.environment import ROOT, find_environment

from ..mutations import places
from ..mutations.content import BYTES
from ..target import Reading, Report, Target

FILE, PACK, NUM_FRAMES, SIDE, RATE = "clip.mp4", "memory_v2v", 6, 32, 8
# Boxes of an MP4 file whose numbers say how much there is.
_BOXES = (b"moov", b"mdat", b"stts", b"stsz", b"stsc", b"stco", b"mvhd", b"tkhd", b"avcC", b"elst")


def make_clip(folder: Path) -> None:
    """Six frames of 32 x 32 with a tone."""
    with av.open(str(folder / FILE), "w") as file:
        stream = file.add_stream("libx264", rate=RATE)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        sound = file.add_stream("aac", rate=16_000)
        for idx in range(NUM_FRAMES):
            pixels = numpy.full((SIDE, SIDE, 3), 40 * idx, numpy.uint8)
            pixels[:, : 4 + idx] = 255 - pixels[:, : 4 + idx]
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
        tone = [math.sin(idx / 10) for idx in range(16_000 * NUM_FRAMES // RATE)]
        samples = numpy.array([tone], numpy.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate, frame.time_base = 16_000, Fraction(1, 16_000)
        file.mux(sound.encode(frame))
        file.mux(sound.encode())


def read_clip(folder: Path) -> Reading:
    """Frames, count and report of Fit Video to Model, as the server calls it."""
    node, from_file = _fit_node()
    output = node(
        num_frames=NUM_FRAMES,
        width=SIDE,
        height=SIDE,
        temporal_ratio=1,
        video=from_file(str(folder / FILE)),
        mode="all frames",
    )
    frames, count, report, fitting = output.result
    value = {"frames": hashlib.sha1(frames.numpy().tobytes()).hexdigest(), "count": str(count)}
    value["times"] = repr(fitting.times)
    # Notes of the node follow its first line; ComfyUI shows them beside the file's name.
    notes = report.split("\n")[1:]
    return Reading(value, tuple(Report("report", f"{FILE}: {note}; see it") for note in notes))


def change_box(path: Path, rng: Random) -> str:
    """The size or a number of an MP4 box changed."""
    data = bytearray(path.read_bytes())
    found = [(box, data.find(box)) for box in _BOXES if data.find(box) >= 4]
    box, place = rng.choice(found)
    value = rng.choice((0, 1, 2**31, 2**32 - 1, 7, 2**24))
    offset = rng.choice((-4, 4, 8, 12, 16, 20))
    data[place + offset : place + offset + 4] = value.to_bytes(4, "big")
    path.write_bytes(data)
    return f"{box.decode()}{offset:+d} is {value}"


_loaded: list[Any] = []


def _fit_node() -> tuple[Any, Any]:
    """(a call of the node as the server makes it, ComfyUI's video of a file)."""
    if not _loaded:
        _start_comfyui()
        nodes = importlib.import_module(f"{PACK}.nodes.clips")
        make_locked = importlib.import_module("comfy_api.internal").make_locked_method_func
        video = importlib.import_module("comfy_api.latest").InputImpl.VideoFromFile
        fit = nodes.FitVideo
        fit.VALIDATE_CLASS()
        _loaded.append((make_locked(fit, "execute", fit.PREPARE_CLASS_CLONE(None)), video))
    return _loaded[0]


def _start_comfyui() -> None:
    """ComfyUI's modules and the pack, imported as the server does."""
    environment = find_environment()
    assert environment is not None, "the parent skips this target without a ComfyUI"
    sys.path.insert(0, str(environment.comfyui))
    arguments, sys.argv = sys.argv, ["main.py", "--cpu"]
    try:
        importlib.import_module("comfy.options").enable_args_parsing()
        importlib.import_module("comfy.cli_args")
    finally:
        sys.argv = arguments
    importlib.import_module("nodes")
    _load_pack()


def _load_pack() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        PACK, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACK] = module
    spec.loader.exec_module(module)
    return module


TARGETS = (
    Target(
        "clip",
        make_clip,
        lambda folder: [folder / FILE],
        (*(change_box,) * 10, *BYTES, *places.PLACES),
        read_clip,
        needs_comfy=True,
    ),
)

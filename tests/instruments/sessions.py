"""Sessions on disk as runs leave them, made without a model."""

from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from memv2v_core.cache.entry import MemoryEntry, Segment
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import save_session
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import static_trajectory
from memv2v_core.pictures.loop import animated_webp

NUM_FRAMES, START_S = 9, 1.7e9
_MOTIONS = ("pan_left", "pan_right", "tilt_up", "orbit_left", "dolly_in")
_NUM_LOOPS, _HEIGHT, _WIDTH = 8, 45, 80


def turn_entry(number: int, **facts: Any) -> MemoryEntry:
    """Turn `number`, from 1, of a session with cameras."""
    motion = _MOTIONS[number % len(_MOTIONS)]
    amplitude = 0.5 if motion == "dolly_in" else 20.0
    camera = make_preset(PresetConfig(motion, amplitude, num_frames=NUM_FRAMES))
    return _entry(number, camera, **facts)


def segment_entry(number: int, **facts: Any) -> MemoryEntry:
    """Segment `number`, from 1, of a long edit; it saw the one before and, later on, the first."""
    segment = Segment(number - 1, (number - 1) * NUM_FRAMES, NUM_FRAMES, (number - 1) // 10)
    given = {"segment": segment, "recipe": f"recipe {number}", "prompt": "put a red hat on the box"}
    return _entry(number, static_trajectory(NUM_FRAMES, is_assumed=True), **{**given, **facts})


def segments(count: int) -> MemoryCache:
    """A long edit of `count` segments, in the order in which they were made."""
    cache = MemoryCache()
    for number in range(1, count + 1):
        seen = tuple(entry.entry_id for entry in (*cache.entries[-1:], *cache.entries[:1]))
        seen = tuple(dict.fromkeys(seen))
        kernels = (2, 4)[: len(seen)]
        entry = segment_entry(number, memory_ids=seen, memory_kernels=kernels)
        cache = MemoryCache("built-in: tiny", (*cache.entries, entry))
    return cache


def turns(count: int) -> MemoryCache:
    """`count` turns with cameras, of which none saw another."""
    entries = tuple(turn_entry(number) for number in range(1, count + 1))
    return MemoryCache("built-in: tiny", entries)


def save(cache: MemoryCache, root: Path, name: str) -> Path:
    """The folder of the session, saved under `root`."""
    # Nobody cuts the power of a test, and a thousand turns would wait for the disk.
    with mock.patch("os.fsync"):
        save_session(cache, root / name)
    return root / name


def _entry(number: int, camera: Any, **facts: Any) -> MemoryEntry:
    generator = torch.Generator().manual_seed(number)
    given = {
        "latent": torch.randn(4, 3, 6, 8, generator=generator),
        "camera": camera,
        "model_name": "built-in: tiny",
        "num_frames": NUM_FRAMES,
        "turn": number,
        "created_s": START_S + number,
        "seed": number,
        "mode": "trained",
        "thumbnail": _frames(number % _NUM_LOOPS)[0].clone(),
        "loop": _loop(number % _NUM_LOOPS),
    }
    return MemoryEntry.of(**{**given, **facts})


@lru_cache
def _frames(kind: int) -> torch.Tensor:
    """A square that crosses a coloured picture: (12, 45, 80, 3) uint8."""
    rows = torch.linspace(40, 160, _HEIGHT)[:, None].expand(-1, _WIDTH)
    columns = torch.linspace(30, 200, _WIDTH).expand(_HEIGHT, -1)
    back = torch.stack((rows, columns, (rows + columns + 40 * kind) % 255), dim=-1)
    frames = back.to(torch.uint8).repeat(12, 1, 1, 1)
    for i, frame in enumerate(frames):
        frame[14:30, 4 + 5 * i : 20 + 5 * i] = torch.tensor((235, 200 - 20 * kind, 60))
    return frames


@lru_cache
def _loop(kind: int) -> torch.Tensor:
    data = animated_webp(_frames(kind), 8.0)
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)

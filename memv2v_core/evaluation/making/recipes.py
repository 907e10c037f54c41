"""Where the videos that are made here lie: in folders named by all that decides them."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from ...atomic_files import write_atomically
from ...builtin.bundle import WEIGHTS
from ..report import machine
from ..suites.methods import EditedConfig, MadeConfig, MethodConfig, WorkflowConfig
from ..suites.suite import Suite

VIDEOS, TRUE_VIEWS = "videos", "true views"
FRAME_RATE = 8
# 8-bit values are kept exactly: a metric measures the model and not a codec.
LOSSLESS = 0
# Rises where the same settings make other videos.
RECIPE_VERSION = 2
_HASH_DIGITS = 12
_CLIP_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")


def view_clip(index: int) -> str:
    """The name of a held-out scene."""
    return f"scene_{index:03d}"


def long_clip_name(family: str, index: int) -> str:
    """The name of a held-out long clip."""
    return f"{family}_{index:03d}"


def with_made_videos(suite: Suite, folder: Path) -> Suite:
    """The suite as one of folders: those where `make_videos` puts its videos.

    A folder is named after its method and a hash of all that decides its videos, so videos of other
    settings are never taken for these.
    """
    if not suite.is_made_here:
        return suite
    place = folder.resolve() / VIDEOS
    methods = tuple(
        replace(
            method,
            folder=place / f"{method.name} {_recipe(suite, method)}",
            made=None,
            edited=None,
            workflow=None,
        )
        if config_of(method) is not None
        else method
        for method in suite.methods
    )
    # A suite of folders has no scenes.
    plain = replace(
        suite, methods=methods, num_scenes=0, families=(), clips_a_family=0, sources=None
    )
    if suite.sources is not None:
        named = suite.clips or tuple(path.stem for path in source_clips(suite))
        return replace(plain, clips=named)
    if suite.families:
        clips = [
            long_clip_name(family, index)
            for family in suite.families
            for index in range(suite.clips_a_family)
        ]
        return replace(plain, clips=tuple(clips))
    truths = place / f"{TRUE_VIEWS} {_recipe(suite, None)}"
    return replace(plain, clips=tuple(map(view_clip, range(suite.num_scenes))), truths=truths)


def models_of(suite: Suite) -> list[str]:
    """The built-in models that make the suite's videos, each once."""
    configs = map(config_of, suite.methods)
    names = [each.builtin for each in configs if isinstance(each, (MadeConfig, EditedConfig))]
    return list(dict.fromkeys(names))


def source_clips(suite: Suite) -> list[Path]:
    """The clips in the suite's folder of sources, in the order of their names.

    Raises: ValueError for a folder that has none, or two of one name.
    """
    assert suite.sources is not None, "only a suite with sources has clips there"
    folder = suite.root / suite.sources
    files = folder.iterdir() if folder.is_dir() else ()
    clips = sorted(path for path in files if path.suffix.lower() in _CLIP_SUFFIXES)
    names = [path.stem for path in clips]
    if not clips or len(set(names)) < len(names):
        raise ValueError(
            f"sources got {folder} with {len(clips)} clips and {len(set(names))} names, wanted at "
            f"least one clip ({', '.join(_CLIP_SUFFIXES)}), each of its own name; correct the "
            "folder"
        )
    return clips


def config_of(method: MethodConfig) -> MadeConfig | EditedConfig | WorkflowConfig | None:
    """How the method's videos are made here; None for a folder."""
    return method.made or method.edited or method.workflow


def write_seconds(
    first: Path,
    suite: Suite,
    method: MethodConfig,
    seconds: Sequence[float],
    device: torch.device,
    **facts: str,
) -> None:
    """Write beside a clip's first turn how long each turn took, by which settings and where."""
    held = {
        **facts,
        "machine": machine(device),
        "settings": str(config_of(method)),
        "cameras": str(suite.cameras),
        "seconds": list(seconds),
    }
    write_atomically(seconds_file(first), json.dumps(held, indent=1).encode())


def now_s(device: torch.device) -> float:
    """A clock that waits for the device's work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def seconds_file(first: Path) -> Path:
    """Where a clip's seconds stand, beside its first turn."""
    return first.with_suffix(".json")


def _recipe(suite: Suite, method: MethodConfig | None) -> str:
    """A short hash of what decides videos; None stands for the true views."""
    config = None if method is None else config_of(method)
    if isinstance(config, WorkflowConfig):
        # Where the server runs does not decide what it makes.
        config = replace(config, server="", timeout_s=0.0)
        files = [suite.root / config.file]
    else:
        models = models_of(suite) if config is None else [config.builtin]
        files = [path for name in models for path in weight_files(name)]
    pattern = suite.file if method is None else method.file or suite.file
    # Where a file's name says its seed, other seeds have other files.
    seeds = () if "{seed}" in pattern else suite.seeds
    facts = (RECIPE_VERSION, config, suite.camera_facts, suite.turns, seeds)
    digest = hashlib.sha256(str(facts).encode())
    for path in files:
        digest.update(hash_of(path))
    return digest.hexdigest()[:_HASH_DIGITS]


def weight_files(builtin: str) -> list[Path]:
    """The files of a built-in model, which decide what it makes."""
    return sorted(WEIGHTS.glob(f"{builtin}*"))


def hash_of(path: Path) -> bytes:
    """SHA-256 of a file.

    Raises: ValueError for one that is not there.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not there, wanted a file; correct its name in the suite")
    return _hash_at(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=32)
def _hash_at(path: Path, _changed_ns: int) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()

"""Videos of the methods that a built-in model makes, of held-out scenes with known true views.

A clip is a scene that training never saw; its source is filmed along the suite's source camera, and
turn n along the n-th path. All methods share the noise of a turn. Videos that are there already,
made by the same settings, are kept.

C channels, T latent frames, F frames, H rows, W columns.
"""

import hashlib
import json
import logging
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from ...atomic_files import write_atomically
from ...builtin.bundle import WEIGHTS, Bundle, load_bundle
from ...builtin.sampler import BundleSampler
from ...cache.memory_cache import MemoryCache
from ...cameras.trajectory import CameraTrajectory
from ...clips.clip_files import write_clip
from ...retrieval.selection import retrieve_by_fov
from ...sampling.entries import finished_entry
from ...sampling.sample import sample_turn
from ...sampling.turn import Turn, checked_turn
from ...synthetic.panoramas import FilmedView, SceneConfig, film_scene, make_scene
from ...tokens.budget import BudgetConfig, plan_tokens
from ..held_out_seeds import held_out_generator
from .shares import WHOLE, Share
from .suite import MadeConfig, Suite
from .videos import needed_files

log = logging.getLogger(__name__)

VIDEOS, TRUE_VIEWS = "videos", "true views"
# Purposes of the generators of a scene: the scene, then the noise of each turn and seed. Those of
# the other suites are below.
_SCENE, _NOISE = 64, 65
_MAX_SEEDS = 16
_HASH_DIGITS = 12
FRAME_RATE = 8
# 8-bit values are kept exactly: a metric measures the model and not a codec.
_LOSSLESS = 0


@dataclass(frozen=True, eq=False)
class _Scene:
    """A filmed scene: its source and the true view of each turn."""

    index: int
    source: FilmedView
    turns: tuple[FilmedView, ...]


def with_made_videos(suite: Suite, folder: Path) -> Suite:
    """The suite as one of folders: those where `make_videos` puts its videos.

    A folder is named after its method and a hash of all that decides its videos, so videos of other
    settings are never taken for these.
    """
    if not suite.num_scenes:
        return suite
    place = folder.resolve() / VIDEOS
    # A suite of folders has no scenes.
    methods = tuple(
        replace(method, folder=place / f"{method.name} {_recipe(suite, method.made)}", made=None)
        for method in suite.methods
    )
    clips = tuple(map(_clip, range(suite.num_scenes)))
    truths = place / f"{TRUE_VIEWS} {_recipe(suite, None)}"
    return replace(suite, methods=methods, clips=clips, num_scenes=0, truths=truths)


def _recipe(suite: Suite, config: MadeConfig | None) -> str:
    """A short hash of what decides videos; None stands for the true views."""
    all_made = [method.made for method in suite.methods if method.made is not None]
    models = {made.builtin for made in (all_made if config is None else [config])}
    files = sorted(path for name in models for path in WEIGHTS.glob(f"{name}*"))
    digest = hashlib.sha256(str((config, suite.cameras, suite.turns)).encode())
    for path in files:
        digest.update(_hash_of(path))
    return digest.hexdigest()[:_HASH_DIGITS]


@lru_cache(maxsize=32)
def _hash_of(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def make_videos(suite: Suite, folder: Path, device: torch.device, share: Share = WHOLE) -> None:
    """Make the videos of a suite that are not there yet, as far as they are this process's share.

    Raises: ValueError for settings that the model cannot take.
    """
    if not suite.num_scenes:
        return
    if len(suite.turns) > _MAX_SEEDS or not all(0 <= seed < _MAX_SEEDS for seed in suite.seeds):
        raise ValueError(
            f"seeds got {list(suite.seeds)} and turns {len(suite.turns)}, wanted seeds from 0 to "
            f"{_MAX_SEEDS - 1} and at most {_MAX_SEEDS} turns; held-out noise has no more"
        )
    made = with_made_videos(suite, folder)
    indices = range(suite.num_scenes)[share.rank :: share.count]
    for method, place in zip(suite.methods, made.methods, strict=True):
        assert method.made is not None, "a suite with scenes makes all its methods"
        wanted = [
            (index, seed, [*needed_files(made, place, _clip(index), seed)])
            for index in indices
            for seed in suite.seeds
        ]
        to_do = [item for item in wanted if not all(path.is_file() for path in item[2])]
        if not to_do:
            log.info("%s: all videos are there", method.name)
            continue
        bundle = _bundle(method.made, device)
        start = time.monotonic()
        for done, (index, seed, files) in enumerate(to_do, 1):
            scene, count = _filmed(suite, bundle, index), len(suite.turns)
            _write_missing(files[count:], scene)
            _make(suite, method.made, bundle, scene, seed, files[:count])
            left = (time.monotonic() - start) / done * (len(to_do) - done)
            log.info("%s: scene %d of %d, about %.0f s left", method.name, done, len(to_do), left)


def _clip(index: int) -> str:
    return f"scene_{index:03d}"


def _bundle(config: MadeConfig, device: torch.device) -> Bundle:
    bundle = load_bundle(config.builtin, device)
    if bundle.info.task != "novel_view":
        raise ValueError(
            f"builtin got {config.builtin!r}, which edits by text; wanted a model that takes "
            "cameras, such as novel_view"
        )
    return bundle


def _filmed(suite: Suite, bundle: Bundle, index: int) -> _Scene:
    info = bundle.info
    assert suite.cameras is not None, "a suite with scenes has cameras"
    assert info.fov_deg is not None, "a model that takes cameras has a lens"
    if suite.cameras.fov_deg != info.fov_deg:
        raise ValueError(
            f"fov_deg got {suite.cameras.fov_deg:g}, wanted {info.fov_deg:g}, the lens of "
            f"{info.name}; correct the suite's cameras"
        )
    generator = held_out_generator(index, _SCENE)
    scene = make_scene(SceneConfig(fov_deg=info.fov_deg), generator)

    def film(turn: int | None) -> FilmedView:
        path = suite.camera(turn, info.num_frames, 1.0)
        assert path is not None
        return film_scene(scene, path, info.size)

    return _Scene(index, film(None), tuple(map(film, suite.turns)))


def _make(
    suite: Suite,
    config: MadeConfig,
    bundle: Bundle,
    scene: _Scene,
    seed: int,
    paths: list[Path],
) -> None:
    """The turns of one scene, one after another, as one session."""
    if all(path.is_file() for path in paths):
        return
    source = bundle.codec.encode_frames(scene.source.frames)
    source_path = scene.source.path
    cache, seconds = MemoryCache(), []
    for number, (view, path) in enumerate(zip(scene.turns, paths, strict=True)):
        turn = _turn(config, bundle, cache, source, source_path, view.path)
        start = time.perf_counter()
        latent = _sampled(bundle, config, turn, scene.index, seed, number)
        seconds.append(time.perf_counter() - start)
        write_clip(_folder_of(path), bundle.codec.decode_frames(latent), FRAME_RATE, _LOSSLESS)
        cache = cache.append(finished_entry(turn, latent, cache, seed=seed))
        if config.arm == "previous":
            source, source_path = latent, view.path
    held = {"settings": str(config), "cameras": str(suite.cameras), "seconds": seconds}
    write_atomically(paths[0].with_suffix(".json"), json.dumps(held, indent=1).encode())


def _turn(
    config: MadeConfig,
    bundle: Bundle,
    cache: MemoryCache,
    source: torch.Tensor,
    source_path: CameraTrajectory,
    path: CameraTrajectory,
) -> Turn:
    k = config.k if config.arm == "memory" else 0
    budget = BudgetConfig(config.num_top, config.top_kernel, config.rest_kernel)
    retrieval = retrieve_by_fov(cache, path, k)
    plan = plan_tokens(retrieval, budget, config.unresponsive, config.share)
    return checked_turn(bundle.base_info(), source, plan, source_path, path)


def _sampled(
    bundle: Bundle, config: MadeConfig, turn: Turn, index: int, seed: int, number: int
) -> torch.Tensor:
    """The latent (C, T, H, W), from noise that every method shares."""
    generator = held_out_generator(index, _NOISE + seed * _MAX_SEEDS + number)
    noise = torch.randn(turn.latent_shape, generator=generator)
    context = bundle.empty_context(1).to(bundle.device)
    return sample_turn(turn, BundleSampler(bundle, context, lambda _turn: noise, config.steps))


def _write_missing(paths: list[Path], scene: _Scene) -> None:
    """The true views of the turns, where they are not written yet."""
    for path, view in zip(paths, scene.turns, strict=True):
        if not path.is_file():
            write_clip(_folder_of(path), view.frames, FRAME_RATE, _LOSSLESS)


def _folder_of(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path

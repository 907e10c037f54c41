"""Videos of the methods that a built-in model makes, of held-out scenes with known true views.

A clip is a scene that training never saw; its source is filmed along the suite's source camera, and
turn n along the n-th path. All methods share the noise of a turn. Videos that are there already,
made by the same settings, are kept.

C channels, T latent frames, F frames, H rows, W columns.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import torch

from ...builtin.bundle import Bundle, load_bundle, read_info
from ...builtin.info import BuiltinInfo
from ...builtin.sampler import BundleSampler
from ...cache.memory_cache import MemoryCache
from ...cameras.projection import SHARED_CENTRE_TOLERANCE
from ...cameras.trajectory import CameraTrajectory, lens_intrinsics
from ...clips.clip_files import write_clip
from ...retrieval.selection import Retrieval, retrieve_by_fov
from ...sampling.entries import finished_entry
from ...sampling.sample import sample_turn
from ...sampling.turn import Turn, checked_turn
from ...synthetic.panoramas import FilmedView, SceneConfig, film_scene, make_scene
from ...tokens.budget import BudgetConfig, plan_tokens
from ...tokens.reuse import ReuseConfig
from ..held_out_seeds import held_out_generator
from ..suites.methods import MadeConfig, MethodConfig
from ..suites.suite import Suite
from .disturbances import quantised, retrieve_disturbed
from .recipes import FRAME_RATE, LOSSLESS, models_of, now_s, seconds_file, write_seconds

# Purposes of the generators of a scene: the scene, then the noise of each turn and seed. Those of
# the other suites are below.
_SCENE, _NOISE = 64, 65
_POSES = 60
_MAX_SEEDS = 16


@dataclass(frozen=True, eq=False)
class _Scene:
    """A filmed scene: its source and the true view of each turn."""

    index: int
    source: FilmedView
    turns: tuple[FilmedView, ...]


class ViewMaker:
    """Makes the turns of a suite's scenes."""

    def __init__(self, suite: Suite, device: torch.device) -> None:
        self.suite = suite
        self.bundle = cache(lambda name: load_bundle(name, device))
        self.warm: set[str] = set()
        # One scene is filmed for all seeds.
        self.filmed = lru_cache(maxsize=1)(self._film)

    def check(self) -> None:
        suite = self.suite
        if len(suite.turns) > _MAX_SEEDS or not all(0 <= seed < _MAX_SEEDS for seed in suite.seeds):
            raise ValueError(
                f"seeds got {list(suite.seeds)} and turns {len(suite.turns)}, wanted seeds from 0 "
                f"to {_MAX_SEEDS - 1} and at most {_MAX_SEEDS} turns; held-out noise has no more"
            )
        assert suite.cameras is not None, "a suite with scenes has cameras"
        for name in models_of(suite):
            for turn in (None, *suite.turns):
                self._check_path(turn, read_info(name))

    def _check_path(self, turn: int | None, info: BuiltinInfo) -> None:
        """Raise ValueError for a path that a rendered scene cannot be filmed along."""
        path = self.suite.camera(turn, info.num_frames, 1.0)
        assert path is not None, "a suite with scenes has cameras"
        assert info.fov_deg is not None, "a model that takes cameras has a lens"
        lens = lens_intrinsics(info.fov_deg, 1.0)
        which = "the source" if turn is None else f"turn {turn}"
        if not path.intrinsics.allclose(lens.to(path.intrinsics), atol=1e-4):
            raise ValueError(
                f"the camera of {which} got another lens than {info.name}, wanted fov_deg "
                f"{info.fov_deg:g}; correct the suite's cameras"
            )
        centres = path.c2w[:, :3, 3]
        if (centres - centres[0]).norm(dim=-1).max() > SHARED_CENTRE_TOLERANCE:
            raise ValueError(
                f"the camera of {which} moves, wanted one that only turns: rendered scenes have no "
                "depth; take pans, tilts, rolls or sweeps"
            )

    def make(self, method: MethodConfig, clip: str, seed: int, files: list[Path]) -> None:
        config = method.made
        assert config is not None, "a suite with scenes makes all its methods"
        scene = self.filmed(config.builtin, _index(clip))
        paths, truths = files[: len(scene.turns)], files[len(scene.turns) :]
        for path, view in zip(truths, scene.turns, strict=True):
            if not path.is_file():
                write_clip(path, view.frames, FRAME_RATE, LOSSLESS)
        if all(path.is_file() for path in (*paths, seconds_file(paths[0]))):
            return
        bundle = self.bundle(config.builtin)
        if config.builtin not in self.warm:
            # A first forward is slow: its time would count as the first turn's.
            next(_turns(bundle, config, scene, seed))
            self.warm.add(config.builtin)
        seconds = [
            _write(bundle, latent, path, took)
            for (latent, took), path in zip(_turns(bundle, config, scene, seed), paths, strict=True)
        ]
        write_seconds(paths[0], self.suite, method, seconds, bundle.device)

    def _film(self, builtin: str, index: int) -> _Scene:
        info = read_info(builtin)
        assert info.fov_deg is not None, "a model that takes cameras has a lens"
        generator = held_out_generator(index, _SCENE)
        scene = make_scene(SceneConfig(fov_deg=info.fov_deg), generator)

        def film(turn: int | None) -> FilmedView:
            path = self.suite.camera(turn, info.num_frames, 1.0)
            assert path is not None, "a suite with scenes has cameras"
            return film_scene(scene, path, info.size)

        return _Scene(index, film(None), tuple(map(film, self.suite.turns)))


def _index(clip: str) -> int:
    return int(clip.rsplit("_", 1)[1])


def _turns(
    bundle: Bundle, config: MadeConfig, scene: _Scene, seed: int
) -> Iterator[tuple[torch.Tensor, float]]:
    """The latent (C, T, H, W) of each turn and its seconds, one after another as one session."""
    source = bundle.codec.encode_frames(scene.source.frames)
    source_path = scene.source.path
    cache = MemoryCache()
    for number, view in enumerate(scene.turns):
        retrieval = _retrieved(config, cache, view.path, scene.index)
        budget = BudgetConfig(config.num_top, config.top_kernel, config.rest_kernel)
        plan = plan_tokens(
            retrieval,
            budget,
            config.unresponsive,
            config.share,
            memory_frames=config.memory_frames,
            reuse=ReuseConfig(config.refresh_every),
            strength=config.strength,
        )
        turn = checked_turn(bundle.base_info(), source, plan, source_path, view.path)
        start = now_s(bundle.device)
        latent = _sampled(bundle, config, turn, scene.index, seed, number)
        yield latent, now_s(bundle.device) - start
        stored = latent if config.stored_bits == 16 else quantised(latent, config.stored_bits)
        cache = cache.append(finished_entry(turn, stored, cache, seed=seed))
        if config.arm == "previous":
            source, source_path = latent, view.path


def _write(bundle: Bundle, latent: torch.Tensor, path: Path, seconds: float) -> float:
    write_clip(path, bundle.codec.decode_frames(latent), FRAME_RATE, LOSSLESS)
    return seconds


def _retrieved(
    config: MadeConfig, cache: MemoryCache, path: CameraTrajectory, index: int
) -> Retrieval:
    """The turn's memories: as users retrieve them, or under a disturbance that is measured."""
    k = config.k if config.arm == "memory" else 0
    if config.pose_noise_deg == 0 and config.recency == 1:
        return retrieve_by_fov(cache, path, k)
    return retrieve_disturbed(cache, path, k, config, held_out_generator(index, _POSES))


def _sampled(
    bundle: Bundle, config: MadeConfig, turn: Turn, index: int, seed: int, number: int
) -> torch.Tensor:
    """The latent (C, T, H, W), from noise that every method shares."""
    generator = held_out_generator(index, _NOISE + seed * _MAX_SEEDS + number)
    noise = torch.randn(turn.latent_shape, generator=generator)
    context = bundle.empty_context(1).to(bundle.device)
    return sample_turn(turn, BundleSampler(bundle, context, lambda _turn: noise, config.steps))

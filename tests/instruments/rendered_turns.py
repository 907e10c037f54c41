"""Small turns of rendered panoramas, encoded by a model's VAE, for nodes that compare turns."""

from functools import lru_cache
from typing import Any

import torch

from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix, static_trajectory
from memv2v_core.synthetic.panoramas import Scene, SceneConfig, make_scene, render_panorama

LENS = intrinsics_matrix(0.8660254, 0.8660254)
NUM_FRAMES, SIDE = 3, 64
SOURCE = static_trajectory(NUM_FRAMES, LENS)


@lru_cache
def scene(seed: int) -> Scene:
    config = SceneConfig(num_shapes=16, panorama_width=256)
    return make_scene(config, torch.Generator().manual_seed(seed))


def path(motion: str, amplitude: float, num_frames: int = NUM_FRAMES) -> CameraTrajectory:
    return make_preset(PresetConfig(motion, amplitude, num_frames), LENS)


def images(camera: CameraTrajectory, seed: int = 1, side: int = SIDE) -> torch.Tensor:
    return render_panorama(scene(seed), camera, side, side).movedim(1, -1)


def turn(
    vae: Any,
    number: int,
    camera: CameraTrajectory,
    seed: int = 1,
    has_source: bool = False,
    **facts: Any,
) -> MemoryEntry:
    """The turn as it was filmed, with its source's latent where a test asks for it."""
    with torch.inference_mode():
        latent = vae.encode(images(camera, seed))[0].clone()
        if has_source:
            facts["source_latent"] = vae.encode(images(SOURCE, seed))[0].clone()
    return MemoryEntry.of(latent, camera, "m", NUM_FRAMES, number, float(number), **facts)


def cache_of(*entries: MemoryEntry) -> MemoryCache:
    cache = MemoryCache()
    for entry in entries:
        cache = cache.append(entry)
    return cache


def right_left_right(vae: Any, **facts: Any) -> MemoryCache:
    """Turn 1 looks right, turn 2 left, turn 3 right again."""
    return cache_of(
        turn(vae, 1, path("pan_right", 40), **facts),
        turn(vae, 2, path("pan_left", 40), **facts),
        turn(vae, 3, path("pan_right", 32), **facts),
    )

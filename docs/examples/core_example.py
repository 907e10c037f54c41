"""Two turns that agree, without ComfyUI. Run it in the repository's root with PYTHONPATH=."""

import torch

from memv2v_core.builtin.bundle import load_bundle
from memv2v_core.builtin.sampler import BundleSampler
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import lens_intrinsics
from memv2v_core.retrieval.selection import retrieve_by_fov
from memv2v_core.sampling.entries import finished_entry
from memv2v_core.sampling.sample import sample_turn
from memv2v_core.sampling.turn import checked_turn
from memv2v_core.synthetic.panoramas import SceneConfig, demo_scene, drifting_path, render_panorama
from memv2v_core.tokens.budget import plan_tokens

bundle, cache, config = load_bundle("novel_view"), MemoryCache(), SceneConfig()
source_path = drifting_path(3.0, 9, config)
source = bundle.codec.encode_frames(render_panorama(demo_scene(3, config), source_path, 128, 128))
for seed, motion in enumerate(("pan_left", "sweep")):
    path = make_preset(PresetConfig(motion, 30.0, num_frames=9), lens_intrinsics(60, aspect=1))
    plan = plan_tokens(retrieve_by_fov(cache, path, k=3))
    turn = checked_turn(bundle.base_info(), source, plan, source_path, path)
    noise = torch.randn(turn.latent_shape, generator=torch.Generator().manual_seed(seed))
    sampler = BundleSampler(bundle, bundle.empty_context(1), draw=lambda _turn, noise=noise: noise)
    cache = cache.append(finished_entry(turn, sample_turn(turn, sampler), cache, seed=seed))
print(cache.describe([turn.describe()]))
videos = [bundle.codec.decode_frames(entry.latent) for entry in cache.entries]  # (9, 3, 128, 128)

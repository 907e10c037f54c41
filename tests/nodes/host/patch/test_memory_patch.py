"""Memory on a native MODEL: what must be bit-equal, and what must agree with the diffusers view."""

import math
from dataclasses import replace

import pytest
import torch

from memv2v_core.builtin.bundle import load_bundle
from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix, static_trajectory
from memv2v_core.model.adapter import MemoryAdapter, start_from_base
from memv2v_core.model.memory_model import memory_forward
from memv2v_core.retrieval.selection import RankedEntry, Retrieval
from memv2v_core.sampling.turn import Turn
from memv2v_core.tokens.budget import TokenPlan
from memv2v_core.tokens.merging import MergeConfig

NUM_FRAMES, SIDE = 3, 16
STEPS = {"steps": 2, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple"}


@pytest.fixture(scope="module")
def model(comfy_api):
    from memory_v2v.nodes.loading import load_builtin_model

    with torch.inference_mode():
        return load_builtin_model("novel_view")


def path(motion: str, amplitude: float = 30.0) -> CameraTrajectory:
    lens = intrinsics_matrix(0.866, 0.866)
    return make_preset(
        PresetConfig(motion=motion, amplitude=amplitude, num_frames=NUM_FRAMES), lens
    )


def latent(seed: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(
        batch, 16, NUM_FRAMES, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)
    )


def entry(
    seed: int, camera: CameraTrajectory, model_name: str = "built-in: novel_view"
) -> MemoryEntry:
    return MemoryEntry.of(
        latent=latent(seed)[0],
        camera=camera,
        model_name=model_name,
        num_frames=NUM_FRAMES,
        turn=1,
        created_s=float(seed),
    )


def plan(kernels: tuple[int, ...], merging: MergeConfig | None = None) -> TokenPlan:
    motions = ("pan_left", "pan_right", "tilt_up", "tilt_down")
    ranked = tuple(
        RankedEntry(entry(i + 1, path(motions[i])), 1.0 - i / 10) for i in range(len(kernels))
    )
    return TokenPlan(Retrieval(path("pan_left"), ranked), kernels, merging)


def ksampler(
    comfy_api, model, positive, negative, empty: dict, seed: int = 5, **settings
) -> torch.Tensor:
    with torch.inference_mode():
        (result,) = comfy_api.nodes.common_ksampler(
            model=model,
            seed=seed,
            positive=positive,
            negative=negative,
            latent=empty,
            **{**STEPS, **settings},
        )
    return result["samples"]


def distance(model, first: torch.Tensor, second: torch.Tensor) -> float:
    """Largest absolute difference in the DiT's space; the VAE's stretches it by up to 3.3."""
    return (
        (model.model.process_latent_in(first) - model.model.process_latent_in(second))
        .abs()
        .max()
        .item()
    )


def apply(comfy_api, model, **inputs):
    from memory_v2v.nodes.sampling import ApplyMemory

    return comfy_api.run_node(ApplyMemory, model=model, **inputs).result


def test_nothing_connected_leaves_sampling_bit_equal(comfy_api, model) -> None:
    patched, positive, negative, _ = apply(comfy_api, model)
    empty = {"samples": torch.zeros(1, 16, NUM_FRAMES, SIDE, SIDE)}
    assert torch.equal(
        ksampler(comfy_api, patched, positive, negative, empty),
        ksampler(comfy_api, model, positive, negative, empty),
    )


def test_fresh_adapter_with_identity_poses_leaves_sampling_bit_equal(comfy_api, model) -> None:
    from memory_v2v.nodes.host.models.attachment import adapter_of, attach_adapter, base_info

    dit = model.model.diffusion_model
    fresh = MemoryAdapter(adapter_of(model).config)
    start_from_base(fresh, dit.patch_embedding.weight.data, dit.patch_embedding.bias.data)
    attached = attach_adapter(model, fresh.config, fresh.state_dict(), base_info(model))
    patched, positive, negative, empty = apply(
        comfy_api, attached, target_camera=static_trajectory(NUM_FRAMES)
    )
    assert patched is not attached
    plain = ksampler(comfy_api, model, positive, negative, empty)
    assert plain.abs().max() > 0.1
    assert torch.equal(ksampler(comfy_api, patched, positive, negative, empty), plain)


def test_apply_memory_with_ksampler_equals_memory_sampler(comfy_api, model) -> None:
    from memory_v2v.nodes.sampling import MemoryV2VSampler

    inputs = {
        "source": {"samples": latent(0)},
        "plan": plan((4, 8), MergeConfig()),
        "target_camera": path("pan_left"),
        "source_camera": path("pan_right", 3.0),
    }
    patched, positive, negative, empty = apply(comfy_api, model, **inputs)
    native = ksampler(comfy_api, patched, positive, negative, empty)
    result, cache = comfy_api.run_node(
        MemoryV2VSampler, model=model, seed=5, **STEPS, **inputs
    ).result
    assert torch.equal(result["samples"], native)
    assert torch.equal(cache.newest.latent, native[0])
    assert cache.newest.turn == 1
    assert cache.newest.mode == "trained"


def test_batch_of_two_equals_two_batches_of_one_with_merging(comfy_api, model) -> None:
    inputs = {
        "source": {"samples": latent(0)},
        "plan": plan((4, 8), MergeConfig()),
        "target_camera": path("pan_left"),
    }
    patched, positive, negative, empty = apply(comfy_api, model, batch_size=2, **inputs)
    both = ksampler(comfy_api, patched, positive, negative, empty)
    for row in range(2):
        one = {"samples": empty["samples"][row : row + 1], "batch_index": [row]}
        single = ksampler(comfy_api, patched, positive, negative, one)
        assert distance(model, single, both[row : row + 1]) <= 1e-5


def test_cond_and_uncond_together_equal_apart_with_merging(comfy_api, model, monkeypatch) -> None:
    inputs = {
        "source": {"samples": latent(0)},
        "plan": plan((4, 8), MergeConfig()),
        "target_camera": path("pan_left"),
    }
    prompts = [[[torch.full((1, 1, 64), value), {}]] for value in (0.5, -0.5)]
    patched, positive, negative, empty = apply(
        comfy_api, model, positive=prompts[0], negative=prompts[1], **inputs
    )
    together = ksampler(comfy_api, patched, positive, negative, empty, cfg=1.5)
    monkeypatch.setattr(
        type(model.model), "memory_required", lambda *args, **kwargs: 1e30
    )  # as if nothing were free
    apart = ksampler(comfy_api, patched, positive, negative, empty, cfg=1.5)
    assert distance(model, together, apart) <= 1e-5


@pytest.mark.parametrize("identity", ["temporal_ranges", "source_id"])
def test_comfyui_view_agrees_with_diffusers_view(comfy_api, model, identity: str) -> None:
    import comfy.ldm.flux.math
    import comfy.model_management
    from comfy.ldm.modules.attention import optimized_attention

    from memory_v2v.nodes.host.models.attachment import adapter_of, base_info
    from memv2v_core.model.wan_view import WanView

    bundle = load_bundle("novel_view")
    info = replace(base_info(model), stream_identity=identity, max_source_id=3)
    turn = Turn(
        info,
        latent(0)[0],
        path("pan_right", 3.0),
        path("pan_left"),
        plan((4, 4, 8), MergeConfig()),
    )
    inputs = turn.inputs(lambda x: x)
    # Four videos share the numbers 1 to 3.
    numbers = [stream.source_id for stream in inputs.streams]
    whole = identity == "temporal_ranges"
    assert numbers == 4 * [None] if whole else numbers == pytest.approx([1, 5 / 3, 7 / 3, 3])
    x, timestep, context = latent(9), torch.tensor([700.0]), torch.zeros(1, 1, 64)
    dit = model.model.diffusion_model
    comfy.model_management.load_models_gpu([model])
    plans: dict[str, list] = {"comfyui": [], "diffusers": []}
    with torch.inference_mode():
        view = WanView(
            dit,
            comfy.model_management.cast_to,
            comfy.ldm.flux.math.apply_rope1,
            optimized_attention,
            {},
            x,
        )
        ours = memory_forward(
            view,
            adapter_of(model),
            x,
            timestep,
            context,
            inputs,
            on_merge=lambda i, p: plans["comfyui"].append(p),
        )
        theirs = memory_forward(
            bundle.backbone,
            bundle.adapter,
            x,
            timestep,
            context,
            inputs,
            on_merge=lambda i, p: plans["diffusers"].append(p),
        )
    assert len(plans["comfyui"]) == 2
    for a, b in zip(plans["comfyui"], plans["diffusers"], strict=True):
        assert a.layout == b.layout
        splits = [(p, q) for p, q in zip(a.pieces, b.pieces, strict=True) if hasattr(p, "merged")]
        assert splits
        assert all(torch.equal(p.merged, q.merged) for p, q in splits)
    assert (ours - theirs).abs().max() <= 1e-4
    assert math.isfinite(ours.sum().item())


def test_native_unet_loader_accepts_the_shipped_dit(comfy_api) -> None:
    import shutil

    from memv2v_core.builtin.bundle import dit_path

    folder = comfy_api.base_dir / "models" / "diffusion_models"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(dit_path("novel_view"), folder / "novel_view_dit.safetensors")
    (loaded,) = comfy_api.nodes.UNETLoader().load_unet("novel_view_dit.safetensors", "default")
    assert loaded.model.diffusion_model.dim == 256


def test_memory_of_another_model_is_refused(comfy_api, model) -> None:
    foreign = entry(1, path("pan_left"), model_name="Wan2.1")
    retrieval = Retrieval(path("pan_left"), (RankedEntry(foreign, 1.0),))
    with pytest.raises(ValueError, match=r"made by 'Wan2.1', wanted 'built-in: novel_view'"):
        apply(
            comfy_api,
            model,
            source={"samples": latent(0)},
            plan=TokenPlan(retrieval, (4,)),
            target_camera=path("pan_left"),
        )


def test_memory_of_another_size_is_refused(comfy_api, model) -> None:
    source = {"samples": torch.zeros(1, 16, NUM_FRAMES, 20, SIDE)}
    with pytest.raises(ValueError, match=r"latents of \(16, 16, 16\).*wanted \(16, 20, 16\)"):
        apply(comfy_api, model, source=source, plan=plan((4,)), target_camera=path("pan_left"))


def test_path_of_another_length_is_refused(comfy_api, model) -> None:
    longer = make_preset(PresetConfig(motion="pan_left", num_frames=7))
    with pytest.raises(ValueError, match="target got 7 frames, wanted 3"):
        apply(comfy_api, model, source={"samples": latent(0)}, target_camera=longer)


def test_source_with_nan_is_refused(comfy_api, model) -> None:
    broken = latent(0)
    broken[0, 0, 0, 0, 0] = math.nan
    with pytest.raises(ValueError, match="source got NaN"):
        apply(comfy_api, model, source={"samples": broken}, target_camera=path("pan_left"))


def test_sampler_refuses_a_cache_of_another_model(comfy_api, model) -> None:
    from memory_v2v.nodes.sampling import MemoryV2VSampler

    foreign = MemoryCache().append(entry(1, path("pan_left"), model_name="Wan2.1"))
    with pytest.raises(ValueError, match="Wan2.1"):
        comfy_api.run_node(
            MemoryV2VSampler,
            model=model,
            seed=1,
            **STEPS,
            source={"samples": latent(0)},
            target_camera=path("pan_left"),
            cache=foreign,
        )


def test_latent_size_that_no_kernel_divides_is_sampled_whole(comfy_api, model) -> None:
    source = {"samples": torch.randn(1, 16, NUM_FRAMES, 18, 22)}
    small = entry(1, path("pan_left"))
    odd = MemoryEntry.of(
        latent=torch.randn(16, NUM_FRAMES, 18, 22),
        camera=small.camera,
        model_name=small.model_name,
        num_frames=NUM_FRAMES,
        turn=1,
        created_s=1.0,
    )
    odd_plan = TokenPlan(Retrieval(path("pan_left"), (RankedEntry(odd, 1.0),)), (8,), MergeConfig())
    patched, positive, negative, empty = apply(
        comfy_api, model, source=source, plan=odd_plan, target_camera=path("pan_left")
    )
    assert ksampler(comfy_api, patched, positive, negative, empty).shape == (
        1,
        16,
        NUM_FRAMES,
        18,
        22,
    )

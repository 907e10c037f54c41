"""The built-in editor of LucyEdit's form: what ComfyUI makes of it equals the same weights outside
ComfyUI.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from memv2v_core.builtin import bundle
from memv2v_core.builtin.bundle import Bundle
from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cameras.trajectory import static_trajectory
from memv2v_core.model.memory_inputs import MemoryInputs
from memv2v_core.model.memory_model import memory_forward, tokenize_clean
from memv2v_core.retrieval.selection import RankedEntry, Retrieval
from memv2v_core.sampling.flow_match import sample_euler, shifted_sigmas
from memv2v_core.sampling.turn import Turn
from memv2v_core.tokens.budget import TokenPlan
from memv2v_core.tokens.merging import MergeConfig

NAME, NUM_FRAMES, SIDE = "built-in: text_edit", 9, 12
POSITIVE, NEGATIVE = "put a hat on the box", "change the colour of the ball"
SEED, NUM_STEPS = 5, 2
NO_MERGING, ALL_MERGED = None, MergeConfig(pool="memory")


@pytest.fixture(scope="module")
def outside(edit_weights: Path) -> Bundle:
    """The same model outside ComfyUI."""
    return bundle.load_bundle("text_edit")


@pytest.fixture(scope="module")
def model(edit_loaded):
    return edit_loaded[0]


@pytest.fixture
def prompts(comfy_api, edit_loaded) -> tuple[list, list]:
    encode = comfy_api.nodes.CLIPTextEncode().encode
    with torch.inference_mode():
        return tuple(encode(edit_loaded[1], text)[0] for text in (POSITIVE, NEGATIVE))


def video(model, seed: int) -> torch.Tensor:
    """A latent (C, T, H, W) in the VAE's unnormalised space."""
    latent = torch.randn(
        1, 48, NUM_FRAMES, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)
    )
    return model.model.process_latent_out(latent)[0]


def plan_of(model, merging: MergeConfig | None = ALL_MERGED) -> TokenPlan:
    """The previous segment at 1x2x2, then memories at 1x4x4 and 1x8x8, each with its source."""
    camera = static_trajectory(NUM_FRAMES, is_assumed=True)
    ranked = []
    for i in range(3):
        entry = MemoryEntry.of(
            video(model, 10 + i),
            camera,
            NAME,
            NUM_FRAMES,
            i + 1,
            float(i),
            source_latent=video(model, 20 + i),
        )
        ranked.append(RankedEntry(entry, 1.0 - i / 10, is_previous=i == 0))
    return TokenPlan(Retrieval(None, tuple(ranked)), (2, 4, 8), merging)


def turn_of(comfy_api, model, prompts: tuple[list, list], **changes: Any) -> tuple[Any, ...]:
    """What ApplyMemory gives for a source, all memories and both prompts."""
    from memory_v2v.nodes.sampling import ApplyMemory

    given = {
        "positive": prompts[0],
        "negative": prompts[1],
        "source": {"samples": video(model, 3)[None]},
        "plan": plan_of(model),
        **changes,
    }
    return comfy_api.run_node(ApplyMemory, model=model, **given).result


def inputs_outside(model, plan: TokenPlan | None) -> MemoryInputs:
    from memory_v2v.nodes.host.models.attachment import base_info

    turn = Turn(base_info(model), video(model, 3), plan=plan)
    return turn.inputs(model.model.process_latent_in)


@torch.no_grad()
def sample_outside(
    outside: Bundle, model, plan: TokenPlan | None, cfg: float, noise: torch.Tensor
) -> torch.Tensor:
    """The core's own sampling: the source beside the target's channels, guidance between both
    prompts.
    """
    inputs = inputs_outside(model, plan)
    source = model.model.process_latent_in(video(model, 3)[None]).expand_as(noise)
    clean = tokenize_clean(outside.backbone, outside.adapter, inputs, noise.shape)
    positive, negative = (
        outside.encode_prompt([text] * len(noise)) for text in (POSITIVE, NEGATIVE)
    )

    def velocity(x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        both = torch.cat((x, source), dim=1)
        told, other = (
            memory_forward(
                outside.backbone, outside.adapter, both, timestep, context, inputs, clean
            )
            for context in (positive, negative)
        )
        return other + cfg * (told - other)

    return sample_euler(velocity, noise, shifted_sigmas(NUM_STEPS, outside.info.shift))


def noise_of(rows: int) -> torch.Tensor:
    """The noise that KSampler draws."""
    shape = rows, 48, NUM_FRAMES, SIDE, SIDE
    return torch.randn(shape, generator=torch.manual_seed(SEED))


def test_the_loader_gives_model_clip_and_vae_and_says_what_they_are_for(
    comfy_api, edit_weights: Path
) -> None:
    from memory_v2v.nodes.host.models.attachment import adapter_of, base_info
    from memory_v2v.nodes.loading import LoadMemoryV2VModel

    output = comfy_api.run_node(LoadMemoryV2VModel, model_name=NAME)
    model, clip, vae = output.result
    assert type(model.model).__name__ == "WAN22"
    assert clip is not None
    assert vae.latent_channels == 48
    assert (model.model.diffusion_model.in_dim, model.model.diffusion_model.text_len) == (96, 16)
    assert adapter_of(model).config.has_cameras is False
    info = base_info(model)
    assert (info.model_name, info.mode, info.source_placement) == (NAME, "trained", "channels")
    assert (info.text_width, info.has_cameras, info.clean_timestep) == (None, False, "zero")
    assert (info.num_frames, info.latent_size, info.memory_order) == (
        9,
        (12, 12),
        "forward",
    )
    assert info.has_keyframe
    assert (info.ratios.temporal, info.ratios.spatial, info.ratios.channels) == (1, 8, 48)
    shown = output.ui.as_dict()["text"][0]
    assert "put a hat on the red box" in shown
    assert "no camera paths" in shown
    assert "Load CLIP" not in shown


def test_what_the_dit_sees_of_a_clip_equals_codec_latents(
    comfy_api, edit_loaded, outside: Bundle
) -> None:
    model, _, vae = edit_loaded
    frames = torch.rand(3, 64, 48, 3)
    (encoded,) = comfy_api.nodes.VAEEncode().encode(vae, frames)
    wanted = outside.codec.encode(frames.movedim(-1, 0)[None] * 2 - 1)
    assert (model.model.process_latent_in(encoded["samples"]) - wanted).abs().max() <= 1e-5


@pytest.mark.parametrize("merging", [NO_MERGING, ALL_MERGED], ids=["whole", "merged"])
def test_the_sampler_equals_the_core(
    comfy_api, model, prompts, outside: Bundle, ksampler, merging
) -> None:
    plan = plan_of(model, merging)
    turn = turn_of(comfy_api, model, prompts, plan=plan)
    result = model.model.process_latent_in(ksampler(*turn, seed=SEED, steps=NUM_STEPS, cfg=3.0))
    wanted = sample_outside(outside, model, plan, 3.0, noise_of(1))
    torch.testing.assert_close(result, wanted, atol=1e-4, rtol=0)
    without = sample_outside(outside, model, None, 3.0, noise_of(1))
    assert (wanted - without).abs().max() > 1e-2


def test_the_previous_segment_has_a_time_of_its_own(model) -> None:
    previous, first, second = inputs_outside(model, plan_of(model)).streams
    assert (previous.frame_indices, first.frame_indices) == (
        tuple(range(9, 18)),
        tuple(range(18, 27)),
    )
    assert (second.frame_indices, previous.kernel, first.kernel, second.kernel) == (
        first.frame_indices,
        2,
        4,
        8,
    )
    assert previous.latent.shape[1] == 96


def test_two_variants_at_once_equal_the_core(
    comfy_api, model, prompts, outside: Bundle, ksampler
) -> None:
    plan = plan_of(model, NO_MERGING)
    turn = turn_of(comfy_api, model, prompts, plan=plan, batch_size=2)
    result = model.model.process_latent_in(ksampler(*turn, seed=SEED, steps=NUM_STEPS, cfg=3.0))
    wanted = sample_outside(outside, model, plan, 3.0, noise_of(2))
    torch.testing.assert_close(result, wanted, atol=1e-4, rtol=0)


def test_frames_of_their_own_time_equal_the_core(
    comfy_api, model, prompts, outside: Bundle, ksampler
) -> None:
    model_with, positive, negative, latent = turn_of(comfy_api, model, prompts)
    start, noise = torch.randn(1, 48, NUM_FRAMES, SIDE, SIDE), noise_of(1)
    level = torch.linspace(0, 1, NUM_FRAMES)
    mask = level.view(1, 1, -1, 1, 1)
    latent = {
        "samples": model.model.process_latent_out(start),
        "noise_mask": mask.expand(1, 1, -1, SIDE, SIDE),
    }
    result = model.model.process_latent_in(
        ksampler(model_with, positive, negative, latent, seed=SEED, steps=1)
    )
    inputs = inputs_outside(model, plan_of(model))
    x = torch.lerp(start, noise, mask)
    both = torch.cat((x, model.model.process_latent_in(video(model, 3)[None])), dim=1)
    context, timestep = outside.encode_prompt([POSITIVE]), 1000 * level[None]
    with torch.no_grad():
        velocity = memory_forward(
            outside.backbone, outside.adapter, both, timestep, context, inputs
        )
    torch.testing.assert_close(result, torch.lerp(start, x - velocity, mask), atol=1e-4, rtol=0)


def test_an_ordinary_workflow_edits_a_clip(comfy_api, edit_loaded, prompts, ksampler) -> None:
    model, _, vae = edit_loaded
    nodes, results = comfy_api.nodes, []
    with torch.inference_mode():
        (source,) = nodes.VAEEncode().encode(vae, torch.rand(NUM_FRAMES, 96, 96, 3))
        for positive in prompts:
            turn = turn_of(
                comfy_api, model, (positive, prompts[1]), source=source, plan=None, batch_size=2
            )
            sampled = ksampler(*turn, cfg=3.0)
            results.append(nodes.VAEDecode().decode(vae, {"samples": sampled})[0])
    assert results[0].shape == (2 * NUM_FRAMES, 96, 96, 3)
    assert results[0].isfinite().all()
    assert (results[0] - results[1]).abs().max() > 1e-3
    assert (results[0][:NUM_FRAMES] - results[0][NUM_FRAMES:]).abs().max() > 1e-3


def test_it_needs_a_source_and_prompts_and_takes_no_cameras(comfy_api, model, prompts) -> None:
    with pytest.raises(
        ValueError, match="source is not connected, but built-in: text_edit edits a video"
    ):
        turn_of(comfy_api, model, prompts, source=None)
    with pytest.raises(
        ValueError,
        match="negative is not connected, but built-in: text_edit reads prompts",
    ):
        turn_of(comfy_api, model, (prompts[0], None))
    with pytest.raises(
        ValueError, match="target_camera got a path, but built-in: text_edit has no camera weights"
    ):
        turn_of(comfy_api, model, prompts, target_camera=static_trajectory(NUM_FRAMES))


@pytest.fixture
def copied_weights(edit_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the weights that a test may break."""
    folder = tmp_path / "weights"
    shutil.copytree(edit_weights, folder)
    monkeypatch.setattr(bundle, "WEIGHTS", folder)
    return folder


def test_fingerprint_follows_the_text_encoder(comfy_api, copied_weights: Path) -> None:
    from memory_v2v.nodes.loading import LoadMemoryV2VModel

    before = LoadMemoryV2VModel.fingerprint_inputs(model_name=NAME)
    path = bundle.text_path("text_edit")
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    assert LoadMemoryV2VModel.fingerprint_inputs(model_name=NAME) != before


def test_a_dit_without_the_sources_channels_is_refused(comfy_api, copied_weights: Path) -> None:
    from memory_v2v.nodes.loading import load_builtin_model

    shutil.copy(
        Path(bundle.__file__).parent / "weights" / "novel_view_dit.safetensors",
        bundle.dit_path("text_edit"),
    )
    with pytest.raises(ValueError, match="is Wan2.1 T2V .*, wanted a Wan DiT of LucyEdit's form"):
        load_builtin_model("text_edit")


def test_a_second_copy_of_the_dit_is_the_same(model) -> None:
    load, arguments = (
        model.cached_patcher_init
    )  # what ComfyUI calls for torch.compile and for a second GPU
    again = load(*arguments, disable_dynamic=True)
    wanted = model.model.diffusion_model.state_dict()
    assert all(
        torch.equal(value, wanted[name])
        for name, value in again.model.diffusion_model.state_dict().items()
    )

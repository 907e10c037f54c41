"""The built-in editor of Bernini's form: what ComfyUI makes of it equals the same weights outside
ComfyUI, and it works in both sampler nodes.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from instruments.long_video import LENGTH, STEPS, Result, defaults, scene
from instruments.long_video import NUM_FRAMES as NUM_SCENE_FRAMES
from instruments.long_video import SIDE as SCENE_SIDE

from memv2v_core.builtin.bundle import Bundle, load_bundle
from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cameras.trajectory import static_trajectory
from memv2v_core.retrieval.selection import RankedEntry, Retrieval
from memv2v_core.sampling.denoising import SamplerConfig, sample_latent
from memv2v_core.sampling.turn import Turn
from memv2v_core.tokens.budget import TokenPlan

NAME, NUM_FRAMES, SIDE, SEED = "built-in: reference_edit", 9, 12, 5
INSTRUCTION = "give the red ball a new colour"


@pytest.fixture(scope="module")
def loaded(comfy_api):
    from memory_v2v.nodes.loading import LoadMemoryV2VModel

    return comfy_api.run_node(LoadMemoryV2VModel, model_name=NAME)


@pytest.fixture(scope="module")
def outside() -> Bundle:
    return load_bundle("reference_edit")


def video(model, seed: int) -> torch.Tensor:
    """A latent (C, T, H, W) in the VAE's unnormalised space."""
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(1, 16, NUM_FRAMES, SIDE, SIDE, generator=generator)
    return model.model.process_latent_out(latent)[0]


def plan_of(model, memory_frames: int) -> TokenPlan:
    camera = static_trajectory(NUM_FRAMES, is_assumed=True)
    ranked = tuple(
        RankedEntry(
            MemoryEntry.of(
                video(model, 10 + i),
                camera,
                NAME,
                NUM_FRAMES,
                i + 1,
                float(i),
                source_latent=video(model, 20 + i),
            ),
            1.0 - i / 10,
        )
        for i in range(2)
    )
    return TokenPlan(Retrieval(None, ranked), (2, 2), memory_frames=memory_frames)


def test_the_loader_describes_a_base_that_reads_references(loaded) -> None:
    from memory_v2v.nodes.host.models.attachment import adapter_of, base_info

    model, clip, vae = loaded.result
    info = base_info(model)
    assert (info.model_name, info.mode, info.stream_identity) == (
        NAME,
        "training-free",
        "source_id",
    )
    assert (info.max_source_id, info.source_placement) == (5, "sequence")
    # It has no weights for memory.
    assert adapter_of(model) is None
    assert clip is not None
    assert vae is not None
    assert "reads earlier edits as references" in loaded.ui.as_dict()["text"][0]


@pytest.mark.parametrize("memory_frames", [0, 2])
def test_the_sampler_equals_the_core(comfy_api, loaded, outside: Bundle, memory_frames: int):
    from memory_v2v.nodes.sampling import MemoryV2VSampler

    model, clip, _ = loaded.result
    (positive,) = comfy_api.nodes.CLIPTextEncode().encode(clip, INSTRUCTION)
    plan = plan_of(model, memory_frames)
    latent = comfy_api.run_node(
        MemoryV2VSampler,
        model=model,
        seed=SEED,
        steps=STEPS,
        cfg=1.0,
        sampler_name="euler",
        scheduler="simple",
        positive=positive,
        negative=positive,
        source={"samples": video(model, 3)[None]},
        plan=plan,
    ).result[0]["samples"]
    turn = Turn(outside.base_info(), video(model, 3), plan=plan)
    noise = torch.randn(1, *turn.latent_shape, generator=torch.manual_seed(SEED))
    wanted = sample_latent(
        outside.backbone,
        outside.adapter,
        turn.inputs(model.model.process_latent_in),
        outside.encode_prompt([INSTRUCTION]),
        noise,
        SamplerConfig(STEPS, outside.info.shift),
    )
    assert wanted.abs().max() > 0.5
    assert (model.model.process_latent_in(latent) - wanted).abs().max() < 2e-4


@pytest.fixture
def edit(comfy_api, loaded) -> Callable[..., Result]:
    """EditLongVideo with this model on a clip of four segments."""
    from memory_v2v.nodes.videos.long_video import EditLongVideo

    model, clip, vae = loaded.result

    def run(**changes: Any) -> Result:
        (positive,) = comfy_api.nodes.CLIPTextEncode().encode(clip, INSTRUCTION)
        given = {
            **defaults(EditLongVideo),
            "model": model,
            "vae": vae,
            "positive": positive,
            "images": scene(1, NUM_SCENE_FRAMES),
            "session": "references",
            "length": LENGTH,
            "width": SCENE_SIDE,
            "height": SCENE_SIDE,
            "steps": STEPS,
            "cfg": 1.0,
            **changes,
        }
        return Result(*comfy_api.run_node(EditLongVideo, **given).result, [])

    return run


def test_edit_long_video_shows_earlier_segments_as_references(edit) -> None:
    """Run, resume, exact frame count; every memory at the kernel of the training."""
    result = edit()
    assert result.outcomes() == ["new"] * 4
    assert result.seen()[:2] == [[], [0]]
    assert sorted(result.seen()[3]) == [0, 1, 2]
    assert "segment 1 at 1x2x2" in result.report
    assert "1x4x4" not in result.report
    assert len(result.frames) == NUM_SCENE_FRAMES
    again = edit()
    assert again.outcomes() == ["kept"] * 4
    assert again.ids == result.ids


def test_best_frames_are_another_edit_and_the_default_keeps_old_segments(edit) -> None:
    whole, some = edit(), edit(memory_frames=1)
    assert some.outcomes() == ["new"] * 4
    assert torch.equal(some.latents[0], whole.latents[0])  # it saw nothing either way
    assert (some.latents[3] - whole.latents[3]).abs().max() > 1e-3


def test_a_camera_path_is_refused_with_the_reason(comfy_api, loaded) -> None:
    from memory_v2v.nodes.sampling import ApplyMemory

    model = loaded.result[0]
    path = static_trajectory(NUM_FRAMES)
    with pytest.raises(ValueError, match="reference_edit has no camera weights"):
        comfy_api.run_node(ApplyMemory, model=model, target_camera=path)

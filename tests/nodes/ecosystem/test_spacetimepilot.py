"""SpaceTimePilot, small and random, through the loader and ComfyUI's own samplers, with memory."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from instruments.tiny_wan import DIM, FFN_DIM, NUM_BLOCKS, pilot_weights

from memv2v_core.builtin.bundle import build_dit
from memv2v_core.builtin.info import DitConfig
from memv2v_core.cameras.playback import with_playback
from memv2v_core.cameras.trajectory import CameraTrajectory
from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_model import memory_forward
from memv2v_core.sampling.turn import checked_turn
from memv2v_core.tokens.budget import TokenPlan
from memv2v_core.weights.checkpoint import to_diffusers_names

NAME = "tiny_SpacetimePilot.safetensors"


def load(tiny_wan: Any, name: str = NAME) -> Any:
    """Model and report of Load Memory-V2V Model."""
    from memory_v2v.nodes.loading import LoadMemoryV2VModel

    output = tiny_wan.comfy_api.run_node(LoadMemoryV2VModel, model_name=name)
    return output.result[0], output.ui.as_dict()["text"][0]


@pytest.fixture(scope="module")
def pilot(tiny_wan) -> Any:
    return load(tiny_wan, tiny_wan.save(pilot_weights(), NAME))[0]


def plan_of(tiny_wan: Any, pilot: Any, playbacks: tuple[str, ...] = ("reverse", "")) -> TokenPlan:
    """Two memories, made by turns with these playbacks; "" is a turn without one."""
    from memory_v2v.nodes.host.models.attachment import base_info
    from memv2v_core.cache.entry import MemoryEntry

    plan = tiny_wan.plan(tiny_wan.load(), merging=None)
    ranked = []
    for item, playback in zip(plan.retrieval.ranked, playbacks, strict=True):
        old = item.entry
        camera = with_playback(old.camera, playback) if playback else old.camera
        entry = MemoryEntry.of(
            old.latent, camera, base_info(pilot).model_name, old.num_frames, old.turn, old.created_s
        )
        ranked.append(replace(item, entry=entry))
    return replace(plan, retrieval=replace(plan.retrieval, ranked=tuple(ranked)))


def turn_of(tiny_wan: Any, pilot: Any, target: CameraTrajectory, **changes: Any) -> Any:
    inputs = {"adapter": None, "plan": plan_of(tiny_wan, pilot), "target_camera": target, **changes}
    return tiny_wan.turn(pilot, **inputs)


def played(tiny_wan: Any, pattern: str, freeze_frame: int = 0) -> CameraTrajectory:
    """The target's path after Playback Time."""
    from memory_v2v.nodes.cameras.playback import PlaybackTime

    camera = tiny_wan.path("pan_left")
    return tiny_wan.run(PlaybackTime, camera=camera, pattern=pattern, freeze_frame=freeze_frame)


def test_the_loader_says_what_it_takes(tiny_wan, pilot, tmp_path) -> None:
    from memory_v2v.nodes.host.models.attachment import adapter_of, base_info

    model, report = load(tiny_wan)
    info = base_info(model)
    assert info.model_name.startswith(f"SpaceTimePilot (Wan2.1 {NUM_BLOCKS} blocks of {DIM})")
    assert (info.has_cameras, info.has_frame_times) == (True, True)
    assert (info.camera_conditioning, info.clean_timestep) == ("per_video", "target")
    assert model.get_model_object("model_sampling").shift == 5.0
    assert "takes camera paths\ntakes a playback time with the target's path" in report
    # Every weight of the file is in the DiT or in its adapter.
    held = {**model.model.diffusion_model.state_dict(), **adapter_of(model).state_dict()}
    weights = pilot_weights()
    assert held.keys() == weights.keys()
    assert all(torch.equal(held[name], weights[name]) for name in weights)


def test_the_published_form_loads_too(tiny_wan, pilot) -> None:
    path = tiny_wan.comfy_api.base_dir / "models" / "diffusion_models" / "SpacetimePilot.ckpt"
    torch.save(pilot_weights(), path)
    model, _ = load(tiny_wan, path.name)
    noise = tiny_wan.video(8)[None]
    target = played(tiny_wan, "reverse")
    of_file, of_ckpt = (
        tiny_wan.predict(turn_of(tiny_wan, each, target, plan=None), noise)
        for each in (pilot, model)
    )
    assert torch.equal(of_file, of_ckpt)


def test_a_turn_with_two_memories_is_the_forward_of_the_core(tiny_wan, pilot) -> None:
    from memory_v2v.nodes.host.models.attachment import base_info

    target = played(tiny_wan, "pingpong")
    turn, noise = turn_of(tiny_wan, pilot, target), tiny_wan.video(8)[None]
    # From noise alone to the prediction in one step: the output is their difference.
    output = noise - tiny_wan.predict(turn, noise)
    # The same weights in diffusers' DiT and in layers of torch.
    weights = pilot_weights()
    sizes = DitConfig(DIM, DIM // 128, NUM_BLOCKS, FFN_DIM, text_dim=4096, freq_dim=256)
    dit, adapter = build_dit(sizes), MemoryAdapter(config_of_pilot())
    adapter.load_state_dict({name: weights.pop(name) for name in adapter.state_dict()})
    dit.load_state_dict(to_diffusers_names(weights))
    given = turn.inputs
    core = checked_turn(
        base_info(pilot),
        given["source"]["samples"][0],
        given["plan"],
        given["source_camera"],
        given["target_camera"],
    ).inputs(pilot.model.process_latent_in)
    text = given["positive"][0][0]
    with torch.inference_mode():
        wanted = memory_forward(
            DiffusersView(dit.eval()), adapter, noise, torch.tensor([1000.0]), text, core
        )
    assert (output - wanted).abs().max() < 1e-4
    assert wanted.std() > 0.1


def config_of_pilot() -> AdapterConfig:
    return AdapterConfig(
        DIM, NUM_BLOCKS, 16, has_tokenizers=False, has_merging=False, has_frame_times=True
    )


def test_memories_and_moments_matter_and_forward_is_the_default(tiny_wan, pilot) -> None:
    noise = tiny_wan.video(8)[None]

    def predicted(target: CameraTrajectory, **changes: Any) -> torch.Tensor:
        return tiny_wan.predict(turn_of(tiny_wan, pilot, target, **changes), noise)

    forward = predicted(played(tiny_wan, "forward"))
    assert torch.equal(predicted(tiny_wan.path("pan_left")), forward)
    others = {
        "reverse": predicted(played(tiny_wan, "reverse")),
        "freeze": predicted(played(tiny_wan, "freeze", 4)),
        "no memory": predicted(played(tiny_wan, "forward"), plan=None),
        "memories that played otherwise": predicted(
            played(tiny_wan, "forward"),
            plan=plan_of(tiny_wan, pilot, ("slowmo_first_half", "reverse")),
        ),
    }
    for name, other in others.items():
        assert (other - forward).abs().max() > 1e-3, name


def test_the_sampler_keeps_the_playback_in_the_cache(tiny_wan, pilot) -> None:
    from memory_v2v.nodes.sampling import MemoryV2VSampler
    from memv2v_core.cache.memory_cache import MemoryCache

    target = played(tiny_wan, "reverse")
    inputs = {
        "positive": tiny_wan.prompt(1),
        "negative": tiny_wan.prompt(2),
        "source": {"samples": tiny_wan.video(3)[None]},
        "source_camera": tiny_wan.path("tilt_down"),
        "target_camera": target,
    }
    settings = {"steps": 2, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple"}
    cache = MemoryCache()
    for seed, plan in enumerate((None, plan_of(tiny_wan, pilot))):
        output = tiny_wan.comfy_api.run_node(
            MemoryV2VSampler,
            model=pilot,
            cache=cache,
            seed=seed,
            **inputs,
            **settings,
            **({} if plan is None else {"plan": plan}),
        )
        latent, cache = output.result[:2]
        assert latent["samples"].isfinite().all()
    assert [entry.camera.moments().tolist() for entry in cache.entries] == [
        [8, 7, 6, 5, 4, 3, 2, 1, 0]
    ] * 2
    report = output.ui.as_dict()["text"][0]
    assert "the target shows moments 8 to 0 of the source" in report


def test_windows_keep_the_moments_of_the_whole_clip(tiny_wan, pilot) -> None:
    """A window of the clip equals the same frames of the clip with their moments stated."""
    noise, source = tiny_wan.video(8, 6)[None], tiny_wan.video(3, 6)
    target = with_playback(tiny_wan.path("pan_left", 6), "reverse")
    path = tiny_wan.path("tilt_down", 6)

    def turn(first: int, last: int, target: CameraTrajectory = target) -> Any:
        pixels = tuple(range(4 * first, 4 * (last - 1) + 1))
        source_path, target_path = (
            replace(each, times=each.moments()).frames(pixels) for each in (path, target)
        )
        return turn_of(
            tiny_wan,
            pilot,
            target_path,
            plan=None,
            source_camera=source_path,
            source={"samples": source[None, :, first:last]},
        )

    whole = turn(0, 6)
    windows = tiny_wan.predict(whole, noise, tiny_wan.windows(whole.model))
    first = tiny_wan.predict(turn(0, 3), noise[:, :, :3])
    assert (windows[:, :, :3] - first).abs().max() < 1e-5
    # Only the window that shows a moment changes with it.
    times = target.moments().clone()
    times[-4:] = 20
    other = turn(0, 6, replace(target, times=times))
    changed = tiny_wan.predict(other, noise, tiny_wan.windows(other.model)) - windows
    assert changed[:, :, :3].abs().max() == 0
    assert changed[:, :, 3:].abs().max() > 1e-3


def test_a_base_without_times_refuses_a_path_with_times(tiny_wan, wan_model) -> None:
    with pytest.raises(ValueError, match="has no weights for one .* disconnect Playback Time"):
        tiny_wan.turn(wan_model, target_camera=played(tiny_wan, "reverse"))


def test_its_checkpoint_gives_its_cameras_and_times_to_a_plain_wan(tiny_wan, pilot) -> None:
    from memory_v2v.nodes.loading import LoadMemoryAdapter

    name = tiny_wan.save(pilot_weights(), NAME, "memv2v")
    output = tiny_wan.comfy_api.run_node(LoadMemoryAdapter, adapter_name=name)
    assert "SpaceTimePilot's own self-attention stays" in output.ui.as_dict()["text"][0]
    adapter, noise = output.result[0], tiny_wan.video(8)[None]
    plain, target = tiny_wan.load(), played(tiny_wan, "reverse")
    ours = tiny_wan.turn(plain, plan=None, adapter=adapter, target_camera=target)
    # `pilot_weights` has the DiT of `wan_weights`, so both are the same model.
    other = turn_of(tiny_wan, pilot, target, plan=None)
    assert (tiny_wan.predict(ours, noise) - tiny_wan.predict(other, noise)).abs().max() < 1e-5

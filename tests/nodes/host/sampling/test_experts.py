"""Two experts with memory: a high-noise Wan and a low-noise Wan of small random weights, in one
node and by hand."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from instruments.tiny_wan import wan_weights

from memv2v_core.bases.experts import num_high_noise_steps

BOUNDARY = 0.875
# Levels of 6 simple steps at Wan's shift 8: 1, 0.976, 0.941, 0.889, 0.8, 0.615.
STEPS, CUT = 6, 4
SETTINGS = {"steps": STEPS, "cfg": 2.0, "sampler_name": "euler", "scheduler": "simple"}


@pytest.fixture(scope="module")
def low(tiny_wan):
    """The low-noise expert; `wan_model` is the other."""
    tiny_wan.save(wan_weights(seed=3), "tiny_low_noise.safetensors")
    return tiny_wan.load("tiny_low_noise.safetensors")


@pytest.fixture
def with_adapter(tiny_wan):
    """A MODEL with the adapter of `tiny_wan`, or another."""
    from memory_v2v.nodes.host.models import attachment

    return lambda model, adapter=None: attachment.with_adapter(model, adapter or tiny_wan.adapter)


@pytest.fixture
def in_one_node(comfy_api, tiny_wan, wan_model, low, with_adapter):
    """Output of MemoryV2VSampler for the turn of `tiny_wan` on both experts."""
    from memory_v2v.nodes.sampling import MemoryV2VSampler

    def run(**changes: Any):
        inputs = dict(tiny_wan.turn(wan_model).inputs)
        given = {**inputs, "low_noise_model": with_adapter(low), "seed": 5, **SETTINGS, **changes}
        return comfy_api.run_node(MemoryV2VSampler, **{"model": wan_model, **given})

    return run


@pytest.fixture
def by_hand(comfy_api, tiny_wan, wan_model, low):
    """The same with Apply Memory on each expert and two nodes KSampler (Advanced)."""

    def run(cut: int = CUT, **changes: Any) -> torch.Tensor:
        names = {**SETTINGS, **changes}
        order = ("steps", "cfg", "sampler_name", "scheduler")
        first, second = tiny_wan.turn(wan_model), tiny_wan.turn(low)
        node, latent = comfy_api.nodes.KSamplerAdvanced(), first.latent
        stages = ((first, "enable", 0, cut, "enable"), (second, "disable", cut, 10000, "disable"))
        with torch.inference_mode():
            for turn, adds_noise, start, end, keeps_noise in stages:
                prompts = turn.positive, turn.negative
                values = [names[name] for name in order]
                (latent,) = node.sample(
                    turn.model, adds_noise, 5, *values, *prompts, latent, start, end, keeps_noise
                )
        return latent["samples"]

    return run


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cfg": 1.0, "sampler_name": "dpmpp_2m"},
        {"sampler_name": "euler_ancestral"},
        # It leaves the level before the last one out.
        {"sampler_name": "dpm_2"},
    ],
    ids=lambda changes: changes.get("sampler_name", "euler"),
)
def test_one_node_equals_apply_memory_on_each_expert(in_one_node, by_hand, changes: dict) -> None:
    made = in_one_node(**changes).result[0]["samples"]
    assert torch.equal(made, by_hand(**changes))
    # One step earlier is another result, so the cut lies where it should.
    assert not torch.equal(made, by_hand(CUT - 1, **changes))


def test_one_node_equals_split_sigmas(comfy_api, tiny_wan, wan_model, low, in_one_node) -> None:
    def node(name: str) -> type:
        return tiny_wan.extra("nodes_custom_sampler", name)

    first, second = tiny_wan.turn(wan_model), tiny_wan.turn(low)
    sigmas = tiny_wan.run(
        node("BasicScheduler"), model=first.model, scheduler="simple", steps=STEPS, denoise=1.0
    )
    assert [sigma.item() >= BOUNDARY for sigma in sigmas] == [True] * CUT + [False] * 3
    halves = comfy_api.run_node(node("SplitSigmas"), sigmas=sigmas, step=CUT).result
    noises = (
        tiny_wan.run(node("RandomNoise"), noise_seed=5),
        tiny_wan.run(node("DisableNoise")),
    )
    sampler = tiny_wan.run(node("KSamplerSelect"), sampler_name="euler")
    latent = first.latent
    for turn, part, noise in zip((first, second), halves, noises, strict=True):
        prompts = {"positive": turn.positive, "negative": turn.negative}
        guider = tiny_wan.run(node("CFGGuider"), model=turn.model, cfg=2.0, **prompts)
        latent = tiny_wan.run(
            node("SamplerCustomAdvanced"),
            noise=noise,
            guider=guider,
            sampler=sampler,
            sigmas=part,
            latent_image=latent,
        )
    assert torch.equal(in_one_node().result[0]["samples"], latent["samples"])


def test_both_experts_see_the_memory(in_one_node) -> None:
    with_memory, without = in_one_node(), in_one_node(plan=None)
    assert not torch.equal(with_memory.result[0]["samples"], without.result[0]["samples"])
    text = with_memory.ui.as_dict()["text"][0]
    assert (
        "two experts, cut where sigma falls below 0.875: model takes steps 1 to 4, "
        "low_noise_model takes steps 5 to 6"
    ) in text


def test_the_same_expert_twice_is_one_model_in_two_parts(
    in_one_node, wan_model, with_adapter
) -> None:
    twice = in_one_node(low_noise_model=with_adapter(wan_model)).result[0]["samples"]
    alone = in_one_node(low_noise_model=None).result[0]["samples"]
    assert not torch.equal(in_one_node().result[0]["samples"], twice)
    # Euler's method has no history; between the parts the latent is scaled and scaled back.
    assert (twice - alone).abs().max() < 1e-4 * alone.abs().max()


def test_an_expert_without_a_step_does_not_run(
    in_one_node, tiny_wan, wan_model, low, with_adapter, ksampler
) -> None:
    from memory_v2v.nodes.host.models.published import with_shift

    # One step at sigma 1: the first expert alone.
    alone = in_one_node(low_noise_model=None, steps=1).result[0]["samples"]
    assert torch.equal(in_one_node(steps=1).result[0]["samples"], alone)
    # Two steps of this scheduler at shift 1 begin at sigma 0.501: the second expert alone, with
    # the noise of the run.
    first, second = with_shift(wan_model, 1.0), with_shift(low, 1.0)
    settings = {"steps": 2, "cfg": 2.0, "scheduler": "ddim_uniform"}
    made = in_one_node(model=first, low_noise_model=with_adapter(second), **settings)
    turn = tiny_wan.turn(second)
    native = ksampler(turn.model, turn.positive, turn.negative, turn.latent, **settings)
    assert torch.equal(made.result[0]["samples"], native)


def test_levels_are_those_of_the_first_model(in_one_node, low, with_adapter) -> None:
    from memory_v2v.nodes.host.models.published import with_shift

    other = with_adapter(with_shift(low, 3.0))
    made = in_one_node(low_noise_model=other).result[0]["samples"]
    assert torch.equal(made, in_one_node().result[0]["samples"])


def test_a_level_at_the_boundary_belongs_to_the_first_expert() -> None:
    assert num_high_noise_steps([1.0, 0.9, BOUNDARY, 0.8749, 0.5, 0.0], BOUNDARY) == 3
    assert num_high_noise_steps([1.0, 0.0], BOUNDARY) == 1
    assert num_high_noise_steps([0.5, 0.0], BOUNDARY) == 0


def test_one_progress_bar_over_both_experts(in_one_node, monkeypatch) -> None:
    from memory_v2v.nodes.host.live.run import LiveRun

    runs, seen = [], []
    callback = LiveRun.callback

    def spied(live: Any, step: int, x0: torch.Tensor, x: torch.Tensor, total: int) -> None:
        runs.append(live)
        seen.append((step, total))
        callback(live, step, x0, x, total)

    monkeypatch.setattr(LiveRun, "callback", spied)
    in_one_node()
    assert len(set(map(id, runs))) == 1
    assert seen == [(step, STEPS) for step in range(STEPS)]


def test_a_stop_in_the_second_expert_stops_the_turn(in_one_node, monkeypatch) -> None:
    import comfy.model_management

    from memory_v2v.nodes.host.live.run import LiveRun

    steps = []

    def stopping(_live: Any, step: int, *_: Any) -> None:
        steps.append(step)
        comfy.model_management.interrupt_current_processing(step == CUT)

    monkeypatch.setattr(LiveRun, "callback", stopping)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        in_one_node()
    comfy.model_management.interrupt_current_processing(False)
    assert steps == list(range(CUT + 1))


def test_an_entry_of_a_pair_is_read_by_each_expert_by_hand(
    tiny_wan, wan_model, low, in_one_node, with_adapter
) -> None:
    from memory_v2v.nodes.host.models.attachment import base_info

    high_adapter, low_adapter = (
        replace(tiny_wan.adapter, name=f"hats_{word}_noise") for word in ("high", "low")
    )
    second = with_adapter(low, low_adapter)
    names = {
        base_info(model).model_name for model in (with_adapter(wan_model, high_adapter), second)
    }
    assert len(names) == 1
    assert names.pop().endswith(" with hats")
    made = in_one_node(adapter=high_adapter, low_noise_model=second, plan=None)
    entry = made.result[1].newest
    plan = tiny_wan.plan(wan_model, kernels=(4,))
    seen = replace(plan.retrieval.ranked[0], entry=entry)
    plan = replace(plan, retrieval=replace(plan.retrieval, ranked=(seen,)))
    for model, adapter in ((wan_model, high_adapter), (low, low_adapter)):
        assert tiny_wan.turn(model, adapter=adapter, plan=plan).latent is not None


def test_a_bare_apply_memory_gives_a_second_expert_its_adapter(tiny_wan, low, in_one_node) -> None:
    nothing = {"source": None, "plan": None, "source_camera": None, "target_camera": None}
    bare = tiny_wan.turn(low, **nothing).model
    made = in_one_node(low_noise_model=bare).result[0]["samples"]
    assert torch.equal(made, in_one_node().result[0]["samples"])


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("hats_high_noise", "hats"),
        ("hats-LowNoise-v2", "hats-v2"),
        ("high noise hats", "hats"),
        ("wan_t2v_low_noise_14B", "wan_t2v_14B"),
        ("low_noise", "experts"),
        ("hats", "hats"),
        ("slow_noise", "slow_noise"),
        ("low_noises", "low_noises"),
    ],
)
def test_the_name_of_a_pair_has_no_words_of_one_expert(name: str, wanted: str) -> None:
    from memv2v_core.bases.experts import pair_name

    assert pair_name(name) == wanted


def test_models_that_are_no_pair_are_refused(
    in_one_node, tiny_wan, low, tiny_model, monkeypatch
) -> None:
    import comfy.sample

    monkeypatch.setattr(comfy.sample, "sample", lambda *_, **__: pytest.fail("sampled"))
    with pytest.raises(
        ValueError, match=r"low_noise_model \(.*\) got mode 'training-free', wanted 'trained'; .*"
    ):
        in_one_node(low_noise_model=low)
    with pytest.raises(ValueError, match="has_cameras True, wanted False"):
        in_one_node(
            adapter=None,
            plan=None,
            source_camera=None,
            target_camera=None,
            low_noise_model=tiny_model,
        )


def test_a_base_of_one_dit_has_no_second_expert(comfy_api, tiny_model, examples) -> None:
    from memory_v2v.nodes.sampling import MemoryV2VSampler

    with pytest.raises(ValueError, match="built-in: tiny is one DiT for all noise"):
        comfy_api.run_node(
            MemoryV2VSampler,
            model=tiny_model,
            low_noise_model=tiny_model,
            seed=1,
            **SETTINGS,
            target_camera=examples.path("pan_left"),
        )


@pytest.fixture(params=[False, True], ids=["whole", "windows"])
def two_turns(request, tiny_wan):
    """Two runs of other source, memory and path, over the whole turn or in two windows each."""
    num_latent = 6 if request.param else 3

    def turns(first: Any, second: Any) -> list[tuple[Any, Any]]:
        other = {
            "plan": tiny_wan.plan(second, kernels=(4,), num_latent=num_latent),
            "source": {"samples": tiny_wan.video(30, num_latent)[None]},
            "target_camera": tiny_wan.path("tilt_up", num_latent),
        }
        made = [tiny_wan.turn(first, num_latent), tiny_wan.turn(second, num_latent, **other)]
        if not request.param:
            return [(turn, turn.model) for turn in made]
        return [(turn, tiny_wan.windows(turn.model)) for turn in made]

    return turns


def test_a_run_within_the_run_of_another_expert_sees_its_own_tokens(
    tiny_wan, wan_model, low, two_turns
) -> None:
    outer, inner = two_turns(wan_model, low)
    alone = [tiny_wan.sample(*run) for run in two_turns(tiny_wan.load(), low)]
    # Tokens of the other turn would be noticed: on one DiT both turns differ.
    assert not torch.equal(tiny_wan.sample(*two_turns(low, low)[0]), alone[1])
    nested = []

    # After the first step of one run comes a whole run of the other expert.
    def callback(step: int, *_: Any) -> None:
        if step == 0:
            nested.append(tiny_wan.sample(*inner))

    assert torch.equal(sample(*outer, callback), alone[0])
    assert torch.equal(nested[0], alone[1])


def test_runs_of_one_dit_leave_nothing_to_each_other(tiny_wan, wan_model, two_turns) -> None:
    first, second = two_turns(wan_model, wan_model)
    alone = [tiny_wan.sample(*run) for run in two_turns(tiny_wan.load(), tiny_wan.load())]
    assert not torch.equal(*alone)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    for run, wanted in ((first, alone[0]), (second, alone[1]), (first, alone[0])):
        assert torch.equal(tiny_wan.sample(*run), wanted)
        with pytest.raises(KeyboardInterrupt):
            sample(*run, stop)


def sample(turn: Any, model: Any, callback: Any) -> torch.Tensor:
    """As `tiny_wan.sample`, with a callback."""
    import comfy.sample

    latent = turn.latent["samples"]
    with torch.inference_mode():
        result = comfy.sample.sample(
            model,
            comfy.sample.prepare_noise(latent, 5),
            2,
            1.0,
            "euler",
            "simple",
            turn.positive,
            turn.negative,
            latent,
            callback=callback,
            disable_pbar=True,
            seed=5,
        )
        return model.model.process_latent_in(result)

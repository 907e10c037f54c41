"""Conditioning beside memory: VACE's control works, other kinds are refused with their reason."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from instruments.wan_turns import AppliedTurn, window_parts

from memv2v_core.tokens.merging import MergeConfig

BARE = {"source_camera": None, "target_camera": None, "adapter": None}


def distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """Largest absolute difference."""
    return (first - second).abs().max().item()


@pytest.fixture(scope="module", params=[3, 1], ids=["3 control blocks", "1 control block"])
def vace(tiny_wan, request: pytest.FixtureRequest) -> Any:
    """With one block of the control, it speaks after the first block of the DiT alone."""
    from instruments.tiny_wan import vace_weights

    name = f"tiny_vace_{request.param}.safetensors"
    return tiny_wan.load(tiny_wan.save(vace_weights(request.param), name))


def control(seed: int, num_frames: int = 3, size: tuple[int, int] = (8, 16)) -> dict[str, Any]:
    """The values that WanVaceToVideo sets."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "vace_frames": [torch.randn(1, 32, num_frames, *size, generator=generator)],
        "vace_mask": [torch.rand(1, 64, num_frames, *size, generator=generator).round()],
        "vace_strength": [0.8],
    }


def given(turn: AppliedTurn, *controls: dict[str, Any]) -> AppliedTurn:
    """The turn with controls in both prompts, one node after the other."""
    import node_helpers

    positive, negative = turn.positive, turn.negative
    for values in controls:
        positive, negative = (
            node_helpers.conditioning_set_values(prompt, values, append=True)
            for prompt in (positive, negative)
        )
    return replace(turn, positive=positive, negative=negative)


def bare(wan: Any, model: Any) -> Any:
    """The model with our forward, without source, memories and adapter."""
    from memory_v2v.nodes.host.models.attachment import base_info
    from memory_v2v.nodes.host.patch.memory_patch import MemoryPatch
    from memv2v_core.sampling.turn import Turn

    return MemoryPatch(Turn(replace(base_info(model), latent_size=(8, 16)))).attach(model)


def plan_of(wan: Any, model: Any, kernels: Sequence[int], merging: MergeConfig | None) -> Any:
    from memory_v2v.nodes.host.models.attachment import base_info

    plan = wan.plan(wan.load(), kernels=tuple(kernels), merging=merging)
    name = base_info(model).model_name
    ranked = tuple(
        replace(item, entry=replace(item.entry, model_name=name)) for item in plan.retrieval.ranked
    )
    return replace(plan, retrieval=replace(plan.retrieval, ranked=ranked))


@pytest.mark.parametrize("cfg", [1.0, 2.0])
def test_vace_without_videos_is_its_own_forward_bit_for_bit(tiny_wan, vace, cfg: float) -> None:
    turn = tiny_wan.turn(vace, source=None, plan=None, **BARE)
    assert turn.model is vace
    latent = {"samples": torch.zeros(2, 16, 1, 8, 16)}
    controls = [control(20, 1), {**control(21, 1), "vace_strength": [1.7]}]
    results = []
    for shown in (given(turn), given(turn, controls[0]), given(turn, *controls)):
        ours, native = (
            tiny_wan.sample(shown, model, latent=latent, cfg=cfg)
            for model in (bare(tiny_wan, vace), vace)
        )
        assert torch.equal(ours, native)
        results.append(native)
    assert distance(results[0], results[1]) > 1e-2
    assert distance(results[1], results[2]) > 1e-2


def with_source_behind(vace: Any, source: torch.Tensor) -> Any:
    """VACE whose own, native forward sees the source as further frames behind the target.

    Its control's blocks see the target's tokens alone, so the source gets nothing from them. No
    code of ours runs.
    """
    from comfy.patcher_extension import WrappersMP

    clean = vace.model.process_latent_in(source)
    blocks = vace.model.diffusion_model.vace_blocks

    def seeing(own: Callable, num_target: int) -> Callable:
        def forward(
            c: torch.Tensor, x: torch.Tensor, freqs: torch.Tensor, **others: Any
        ) -> tuple[torch.Tensor, torch.Tensor]:
            skip, c = own(c, x=x[:, :num_target], freqs=freqs[:, :num_target], **others)
            return torch.nn.functional.pad(skip, (0, 0, 0, x.shape[1] - num_target)), c

        return forward

    def forward(executor: Callable, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        with pytest.MonkeyPatch.context() as patch:
            for block in blocks:
                patch.setattr(block, "forward", seeing(block.forward, x[0, 0].numel() // 4))
            behind = clean.to(x).expand(x.shape[0], -1, -1, -1, -1)
            return executor(torch.cat((x, behind), dim=2), *args, **kwargs)[:, :, : x.shape[2]]

    clone = vace.clone()
    clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", forward)
    return clone


def test_vace_speaks_to_the_target_alone(tiny_wan, vace) -> None:
    turn = given(tiny_wan.turn(vace, plan=None, **BARE), control(20), control(21))
    native = with_source_behind(vace, turn.inputs["source"]["samples"])
    assert torch.equal(tiny_wan.sample(turn), tiny_wan.sample(turn, native))
    # With guidance the source is embedded once for both prompts, which rounds in another way.
    guided, wanted = (tiny_wan.sample(turn, model, cfg=2.0) for model in (None, native))
    assert distance(guided, wanted) < 2e-5
    without = tiny_wan.turn(vace, plan=None, **BARE)
    assert distance(tiny_wan.sample(without), tiny_wan.sample(turn)) > 1e-2


@pytest.mark.parametrize("adapter", [False, True], ids=["no adapter", "adapter"])
def test_vace_and_merged_memories_both_matter(tiny_wan, vace, adapter: bool) -> None:
    from memory_v2v.nodes.host.models.attachment import with_adapter

    # An adapter brings cameras, and a name of its own.
    cameras = {} if adapter else BARE
    model = with_adapter(vace, tiny_wan.adapter) if adapter else vace
    plan = plan_of(tiny_wan, model, (4, 8), MergeConfig(share=0.5))
    turn = tiny_wan.turn(vace, plan=plan, **cameras)
    result = tiny_wan.sample(given(turn, control(20)), cfg=2.0)
    assert result.isfinite().all()
    assert distance(result, tiny_wan.sample(turn, cfg=2.0)) > 1e-2
    alone = tiny_wan.turn(vace, plan=None, **cameras)
    assert distance(result, tiny_wan.sample(given(alone, control(20)), cfg=2.0)) > 1e-2


def test_context_windows_cut_the_control_with_the_source(tiny_wan, vace) -> None:
    source, noise = tiny_wan.video(3, 6), tiny_wan.video(8, 6)[None]
    shown = control(20, 6)
    turn = given(tiny_wan.turn(vace, source={"samples": source[None]}, plan=None, **BARE), shown)
    whole = tiny_wan.predict(turn, noise, tiny_wan.windows(turn.model))
    for first, last, kept in window_parts():
        cut = {name: [shown[name][0][:, :, first:last]] for name in ("vace_frames", "vace_mask")}
        part = tiny_wan.turn(
            vace, source={"samples": source[None, :, first:last]}, plan=None, **BARE
        )
        alone = tiny_wan.predict(given(part, {**shown, **cut}), noise[:, :, first:last])
        assert distance(whole[:, :, first + kept : last], alone[:, :, kept:]) < 1e-5


def test_a_control_of_another_length_is_refused(tiny_wan, vace) -> None:
    """A reference image of VACE is one frame more."""
    turn = given(tiny_wan.turn(vace, plan=None, **BARE), control(20, 4))
    with pytest.raises(
        ValueError,
        match=r"control of VACE got \(4, 8, 16\).*wanted \(3, 8, 16\).*no reference image",
    ):
        tiny_wan.sample(turn)
    longer = {"samples": torch.zeros(1, 16, 4, 8, 16)}
    with pytest.raises(ValueError, match="sampler's latent got .* connect the latent output"):
        tiny_wan.sample(turn, latent=longer)


def test_an_odd_size_is_refused_for_vace(tiny_wan, vace) -> None:
    """ComfyUI pads the target of VACE to even sizes, and not its control."""
    source = {"samples": tiny_wan.video(3)[None, ..., :7, :9]}
    turn = given(tiny_wan.turn(vace, source=source, plan=None, **BARE), control(20, size=(7, 9)))
    with pytest.raises(ValueError, match=r"got \(3, 7, 9\) .* with an even height and width"):
        tiny_wan.sample(turn)
    with pytest.raises(RuntimeError, match="must match the size"):
        tiny_wan.sample(turn, vace)


def clip_vision() -> Any:
    import comfy.clip_vision

    output = comfy.clip_vision.Output()
    output.penultimate_hidden_states = torch.zeros(1, 257, 1280)
    return output


# (input of the DiT, a value of a CONDITIONING that brings it, part of the reason): the values that
# native nodes set for Wan2.1.
FROM_NODES = [
    ("clip_fea", lambda: {"clip_vision_output": clip_vision()}, "only image-to-video models"),
    (
        "time_dim_concat",
        lambda: {"time_dim_concat": torch.zeros(1, 16, 1, 8, 16)},
        "behind the target in time",
    ),
    (
        "reference_latent",
        lambda: {"reference_latents": [torch.zeros(1, 16, 1, 8, 16)]},
        "only Fun Control models",
    ),
]


@pytest.mark.parametrize(("name", "values", "reason"), FROM_NODES, ids=[n for n, *_ in FROM_NODES])
def test_conditioning_of_other_wans_is_refused(
    tiny_wan, wan_model, name: str, values: Callable[[], dict], reason: str
) -> None:
    turn = given(tiny_wan.turn(wan_model), values())
    with pytest.raises(
        ValueError, match=f"the conditioning '{name}' beside memory, wanted text alone: .*{reason}"
    ):
        tiny_wan.sample(turn)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("camera_conditions", "only Fun Camera models"),
        ("audio_embed", "only speech models"),
        ("control", "reads no ControlNet"),
    ],
)
def test_inputs_that_no_text_to_video_model_makes_are_refused(
    tiny_wan, wan_model, name: str, reason: str
) -> None:
    """Other nodes may put them into a prompt for the DiT directly."""
    import comfy.conds

    values = {"model_conds": {name: comfy.conds.CONDConstant([torch.zeros(1)])}}
    turn = given(tiny_wan.turn(wan_model), {**values})
    with pytest.raises(ValueError, match=f"the conditioning '{name}' beside memory.*{reason}"):
        tiny_wan.sample(turn)


def test_every_refused_input_has_a_test() -> None:
    from memory_v2v.nodes.host.patch.conditioning import REFUSED

    tested = {name for name, *_ in FROM_NODES} | {"camera_conditions", "audio_embed", "control"}
    assert set(REFUSED) == tested


@pytest.mark.parametrize("kind", ["fun_control", "fun_camera"])
def test_fun_models_are_refused_before_anything_runs(tiny_wan, kind: str) -> None:
    from instruments import tiny_wan as weights

    name = f"tiny_{kind}.safetensors"
    model = tiny_wan.load(tiny_wan.save(getattr(weights, f"{kind}_weights")(), name))
    wanted = {
        "fun_control": r"\(WanModel, 48 input channels\)",
        "fun_camera": r"\(CameraWanModel, 36 input channels\)",
    }
    with pytest.raises(
        ValueError, match=f"model got .*{wanted[kind]}.*memories have nothing for them"
    ):
        tiny_wan.turn(model, plan=None, **BARE)

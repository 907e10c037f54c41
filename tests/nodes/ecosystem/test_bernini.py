"""Bernini-R: clean videos told apart by numbers, against ComfyUI's own forward with the same
`context_latents`.
"""

import inspect
from dataclasses import replace
from typing import Any

import pytest
import torch
from instruments.entry_files import with_content
from instruments.wan_turns import AppliedTurn, window_parts

from memv2v_core.tokens.merging import MergeConfig

BARE = {"source_camera": None, "target_camera": None, "adapter": None}
# Latents of another size, of one frame and of several.
IMAGE, VIDEO = (1, 6, 10), (2, 8, 16)


def distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """Largest absolute difference."""
    return (first - second).abs().max().item()


def random_latent(seed: int, size: tuple[int, int, int]) -> torch.Tensor:
    """(1, 16, T, H, W)."""
    return torch.randn(1, 16, *size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def bernini(tiny_wan) -> Any:
    """The MODEL of a file whose name says Bernini."""
    from instruments.tiny_wan import wan_weights

    from memory_v2v.nodes.loading import LoadMemoryV2VModel

    name = tiny_wan.save(wan_weights(seed=3), "tiny_bernini_r.safetensors")
    return tiny_wan.run(LoadMemoryV2VModel, model_name=name)


@pytest.fixture(scope="module")
def own_forward() -> None:
    """Skips a test on a ComfyUI whose Wan reads no clean videos."""
    import comfy.ldm.wan.model

    if "context_latents" not in inspect.getsource(comfy.ldm.wan.model.WanModel):
        pytest.skip("this ComfyUI has no Bernini: its Wan does not read context_latents")


def memories(wan: Any, model: Any, kernels: tuple[int, ...], **options: Any) -> Any:
    """A plan of memories that `model` made."""
    from memory_v2v.nodes.host.models.attachment import base_info

    plan = wan.plan(wan.load(), kernels=kernels[:4], merging=None, **options)
    ranked = tuple(
        replace(
            plan.retrieval.ranked[i % 4],
            entry=with_content(
                replace(plan.retrieval.ranked[i % 4].entry, model_name=base_info(model).model_name),
                latent=wan.video(50 + i),
            ),
        )
        for i in range(len(kernels))
    )
    return replace(plan, retrieval=replace(plan.retrieval, ranked=ranked), kernels=kernels)


def turn_of(wan: Any, model: Any, source: torch.Tensor | None, **changes: Any) -> AppliedTurn:
    given = None if source is None else {"samples": source}
    return wan.turn(model, **{"source": given, "plan": None, **BARE, **changes})


def showing(turn: AppliedTurn, latents: list[torch.Tensor]) -> AppliedTurn:
    """The turn with clean videos in both prompts, as Bernini Conditioning sets them."""
    import node_helpers

    def with_latents(prompt: list) -> list:
        return node_helpers.conditioning_set_values(prompt, {"context_latents": latents})

    return replace(turn, positive=with_latents(turn.positive), negative=with_latents(turn.negative))


def test_the_name_of_the_file_tells_the_base(bernini) -> None:
    from memory_v2v.nodes.host.models.attachment import base_info

    info = base_info(bernini)
    assert info.model_name.startswith("Bernini-R")
    assert info.has_source_ids
    assert info.max_source_id == 5


@pytest.mark.parametrize("cfg", [1.0, 2.0])
@pytest.mark.parametrize("size", [(3, 8, 16), (3, 7, 9)], ids=["even", "odd"])
@pytest.mark.parametrize(
    "others", [(), (VIDEO,), (IMAGE,), (IMAGE, VIDEO, IMAGE)], ids=["none", "video", "image", "3"]
)
def test_a_source_and_references_are_comfyuis_own_forward_bit_for_bit(
    tiny_wan, bernini, own_forward, cfg: float, size: Any, others: Any
) -> None:
    source = random_latent(3, size)
    references = [random_latent(60 + i, other) for i, other in enumerate(others)]
    turn = turn_of(tiny_wan, bernini, source)
    ours = tiny_wan.sample(showing(turn, references) if references else turn, cfg=cfg)
    native = tiny_wan.sample(showing(turn, [source, *references]), bernini, cfg=cfg)
    assert ours.abs().max() > 0.1
    assert torch.equal(ours, native)
    # The clean videos, and their order, decide the result.
    assert distance(tiny_wan.sample(turn, bernini, cfg=cfg), native) > 1e-2
    if references:
        moved = showing(turn, [*references, source])
        assert distance(tiny_wan.sample(moved, bernini, cfg=cfg), native) > 1e-3


@pytest.mark.parametrize("cfg", [1.0, 2.0])
def test_a_batch_of_two_is_comfyuis_own_bit_for_bit(
    tiny_wan, bernini, own_forward, cfg: float
) -> None:
    source, reference = random_latent(3, (3, 8, 16)), random_latent(60, IMAGE)
    turn = turn_of(tiny_wan, bernini, source, batch_size=2)
    ours = tiny_wan.sample(showing(turn, [reference]), cfg=cfg)
    native = tiny_wan.sample(showing(turn, [source, reference]), bernini, cfg=cfg)
    assert len(ours) == 2
    assert torch.equal(ours, native)


def test_each_prompt_sees_its_own_references(tiny_wan, bernini, own_forward) -> None:
    source, reference = random_latent(3, (3, 8, 16)), random_latent(60, VIDEO)
    turn = turn_of(tiny_wan, bernini, source)
    ours = replace(showing(turn, [reference]), negative=turn.negative)
    with_both = showing(turn, [source, reference])
    native = replace(with_both, negative=showing(turn, [source]).negative)
    wanted = tiny_wan.sample(native, bernini, cfg=2.0)
    assert torch.equal(tiny_wan.sample(ours, cfg=2.0), wanted)
    assert distance(tiny_wan.sample(with_both, bernini, cfg=2.0), wanted) > 1e-3


@pytest.mark.parametrize("cfg", [1.0, 2.0])
def test_references_alone_are_comfyuis_own_forward_bit_for_bit(
    tiny_wan, bernini, own_forward, cfg: float
) -> None:
    """Apply Memory without a source patches nothing, so the patch is attached here."""
    from memory_v2v.nodes.host.models.attachment import base_info
    from memory_v2v.nodes.host.patch.memory_patch import MemoryPatch
    from memv2v_core.sampling.turn import Turn

    bare = Turn(replace(base_info(bernini), latent_size=(8, 16)))
    turn = turn_of(tiny_wan, bernini, None)
    assert turn.model is bernini
    latent = {"samples": torch.zeros(1, *bare.latent_shape)}
    shown = showing(turn, [random_latent(60, VIDEO), random_latent(61, IMAGE)])
    native = tiny_wan.sample(shown, bernini, latent=latent, cfg=cfg)
    ours = tiny_wan.sample(shown, MemoryPatch(bare).attach(bernini), latent=latent, cfg=cfg)
    assert torch.equal(ours, native)
    without = tiny_wan.sample(turn, bernini, latent=latent, cfg=cfg)
    assert distance(without, native) > 1e-2


@pytest.mark.parametrize("has_source", [True, False], ids=["source", "no source"])
def test_memories_in_rank_order_are_comfyuis_next_numbers(
    tiny_wan, bernini, own_forward, has_source: bool
) -> None:
    source = [random_latent(3, (3, 8, 16))] if has_source else []
    plan = memories(tiny_wan, bernini, (2, 2, 2))
    turn = turn_of(tiny_wan, bernini, source[0] if source else None, plan=plan)
    seen = [entry.latent[None] for entry in plan.retrieval.entries]
    native = tiny_wan.sample(showing(turn, [*source, *seen]), bernini, cfg=2.0)
    assert torch.equal(tiny_wan.sample(turn, cfg=2.0), native)
    other = showing(turn, [*source, *reversed(seen)])
    assert distance(tiny_wan.sample(other, bernini, cfg=2.0), native) > 1e-3


def test_a_reference_stands_between_source_and_memories(tiny_wan, bernini, own_forward) -> None:
    source, reference = random_latent(3, (3, 8, 16)), random_latent(60, IMAGE)
    plan = memories(tiny_wan, bernini, (2, 2))
    turn = turn_of(tiny_wan, bernini, source, plan=plan)
    seen = [entry.latent[None] for entry in plan.retrieval.entries]
    native = tiny_wan.sample(showing(turn, [source, reference, *seen]), bernini, cfg=2.0)
    assert torch.equal(tiny_wan.sample(showing(turn, [reference]), cfg=2.0), native)


@pytest.mark.parametrize("merging", [None, MergeConfig(share=0.5)], ids=["whole", "merged"])
def test_coarse_and_merged_memories_run_and_matter(tiny_wan, bernini, merging: Any) -> None:
    source = random_latent(3, (3, 8, 16))
    plan = replace(memories(tiny_wan, bernini, (2, 4, 8)), merging=merging)
    result = tiny_wan.sample(turn_of(tiny_wan, bernini, source, plan=plan))
    assert result.isfinite().all()
    without = tiny_wan.sample(turn_of(tiny_wan, bernini, source))
    assert distance(result, without) > 1e-2


def test_context_windows_cut_the_source_and_a_reference_as_long_as_it(
    tiny_wan, bernini, own_forward
) -> None:
    source, noise = random_latent(3, (6, 8, 16)), random_latent(8, (6, 8, 16))
    reference, image = random_latent(60, (6, 6, 10)), random_latent(61, IMAGE)
    plan = memories(tiny_wan, bernini, (2, 4))
    turn = showing(turn_of(tiny_wan, bernini, source, plan=plan), [reference, image])
    whole = tiny_wan.predict(turn, noise, tiny_wan.windows(turn.model))
    for first, last, kept in window_parts():
        part = turn_of(tiny_wan, bernini, source[:, :, first:last], plan=plan)
        part = showing(part, [reference[:, :, first:last], image])
        alone = tiny_wan.predict(part, noise[:, :, first:last])
        assert distance(whole[:, :, first + kept : last], alone[:, :, kept:]) < 1e-5


def test_references_count_in_the_memory_estimate(
    tiny_wan, bernini, own_forward, monkeypatch
) -> None:
    import comfy.sampler_helpers

    seen, estimate = [], comfy.sampler_helpers.estimate_memory

    def watched(model: Any, shape: Any, conds: Any) -> Any:
        seen.append(tuple(shape))
        return estimate(model, shape, conds)

    monkeypatch.setattr(comfy.sampler_helpers, "estimate_memory", watched)
    source, image, video = (random_latent(3, size) for size in ((6, 8, 16), (1, 16, 32), (6, 8, 8)))
    turn = turn_of(tiny_wan, bernini, source)
    tiny_wan.sample(turn)
    # 128 tokens more are 4 frames of the target's 32 tokens; a prompt with fewer does not count.
    shown = replace(showing(turn, [image]), negative=turn.negative)
    tiny_wan.sample(shown, cfg=2.0)
    tiny_wan.sample(showing(turn, [image, video]))
    # Of 3 frames in a window, beside 3 of the source, 4 of the image and 3 half ones of the video.
    tiny_wan.sample(showing(turn, [image, video]), tiny_wan.windows(turn.model))
    assert [shape[2] for shape in seen] == [12, 16, 19, 12]


def test_references_beside_ranges_in_time_are_refused(tiny_wan, wan_model) -> None:
    turn = turn_of(tiny_wan, wan_model, random_latent(3, (3, 8, 16)))
    with pytest.raises(
        ValueError, match="'context_latents' beside memory, but WAN21 .*; disconnect Bernini"
    ):
        tiny_wan.sample(showing(turn, [random_latent(60, IMAGE)]))


def test_the_source_given_twice_is_refused_once_per_run(tiny_wan, bernini, monkeypatch) -> None:
    from memory_v2v.nodes.host.patch import conditioning

    compared, same = [], conditioning._same
    monkeypatch.setattr(conditioning, "_same", lambda *args: compared.append(1) or same(*args))
    source = random_latent(3, (3, 8, 16))
    turn = turn_of(tiny_wan, bernini, source)
    with pytest.raises(ValueError, match="got the source video twice: as source of Apply Memory"):
        tiny_wan.sample(showing(turn, [random_latent(60, VIDEO), source.clone()]))
    compared.clear()
    other = showing(turn, [source + 0.1 * random_latent(9, (3, 8, 16))])
    tiny_wan.sample(replace(other, negative=turn.negative), steps=3)
    assert compared == [1]

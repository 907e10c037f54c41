"""Bases beside Wan2.1: Wan2.2 with a timestep a frame, and LucyEdit with its source on the channel
axis.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from instruments.entry_files import with_content
from instruments.wan_turns import window_parts

from memv2v_core.tokens.merging import MergeConfig


def distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """Largest absolute difference."""
    return (first - second).abs().max().item()


@pytest.fixture(scope="module")
def wan22(tiny_wan) -> Any:
    from instruments.tiny_wan import wan_weights

    return tiny_wan.load(tiny_wan.save(wan_weights(48, 48), "tiny_wan22.safetensors"))


@pytest.fixture(scope="module")
def lucy(tiny_wan) -> Any:
    from instruments.tiny_wan import wan_weights

    return tiny_wan.load(tiny_wan.save(wan_weights(96, 48), "tiny_lucy.safetensors"))


def bare_turn(
    wan: Any, model: Any, kernels: tuple[int, ...] = (4, 8), source: torch.Tensor | None = None
) -> Any:
    """A turn without adapter and cameras: latents of 48 channels, memories that know their
    source."""
    source = wan.video(3, 3, 48) if source is None else source
    plan = None
    if kernels:
        plan = wan.plan(wan.load(), kernels=kernels, merging=MergeConfig(share=0.5))
        from memory_v2v.nodes.host.models.attachment import base_info

        name = base_info(model).model_name
        entries = [
            with_content(
                replace(item.entry, model_name=name),
                latent=wan.video(20 + i, 3, 48),
                source_latent=wan.video(30 + i, 3, 48),
            )
            for i, item in enumerate(plan.retrieval.ranked)
        ]
        ranked = tuple(
            replace(item, entry=entry)
            for item, entry in zip(plan.retrieval.ranked, entries, strict=True)
        )
        plan = replace(plan, retrieval=replace(plan.retrieval, ranked=ranked))
    cameras = {"source_camera": None, "target_camera": None, "adapter": None}
    return wan.turn(model, plan=plan, source={"samples": source[None]}, **cameras)


def test_wan22_noise_masks_give_frames_their_own_time(tiny_wan, wan22) -> None:
    turn = bare_turn(tiny_wan, wan22)
    plain = tiny_wan.sample(turn)
    start, mask = tiny_wan.video(40, 3, 48)[None], torch.ones(1, 1, 3, 8, 16)
    everything = tiny_wan.sample(turn, latent={**turn.latent, "noise_mask": mask})
    assert distance(everything, plain) < 1e-4  # one time for all, told frame by frame
    mask[:, :, 0] = 0
    result = tiny_wan.sample(turn, latent={"samples": start, "noise_mask": mask})
    assert distance(result[:, :, 0], wan22.model.process_latent_in(start)[:, :, 0]) < 1e-4
    assert result.isfinite().all()
    alone = bare_turn(tiny_wan, wan22, kernels=())
    without = tiny_wan.sample(alone, latent={"samples": start, "noise_mask": mask})
    assert distance(result[:, :, 1:], without[:, :, 1:]) > 1e-2


@pytest.mark.parametrize("size", [(8, 16), (7, 9)], ids=["even", "odd"])
def test_lucy_edit_without_memories_is_native_bit_for_bit(
    tiny_wan, lucy, size: tuple[int, int]
) -> None:
    turn = bare_turn(
        tiny_wan, lucy, kernels=(), source=tiny_wan.video(3, 3, 48)[..., : size[0], : size[1]]
    )
    assert turn.latent["samples"].shape[3:] == size
    assert type(lucy.model).__name__ == "WAN22"
    assert lucy.model.diffusion_model.in_dim == 96
    assert turn.model is not lucy
    ours, native = tiny_wan.sample(turn, cfg=2.0), tiny_wan.sample(turn, lucy, cfg=2.0)
    assert torch.equal(ours, native)
    other = replace(
        turn, positive=tiny_wan.prompt(1), negative=tiny_wan.prompt(2)
    )  # without the source's channels
    assert distance(native, tiny_wan.sample(other, lucy, cfg=2.0)) > 1e-2


def test_lucy_edit_sees_memories_and_the_sources_they_were_made_from(tiny_wan, lucy) -> None:
    turn = bare_turn(tiny_wan, lucy)
    result = tiny_wan.sample(turn)
    assert distance(result, tiny_wan.sample(bare_turn(tiny_wan, lucy, kernels=()))) > 1e-2
    plan = turn.inputs["plan"]
    first, *rest = plan.retrieval.ranked
    first = replace(first, entry=with_content(first.entry, source_latent=tiny_wan.video(77, 3, 48)))
    plan = replace(plan, retrieval=replace(plan.retrieval, ranked=(first, *rest)))
    inputs = {**turn.inputs, "plan": plan}
    assert distance(result, tiny_wan.sample(tiny_wan.turn(lucy, **inputs))) > 1e-3


def test_context_windows_cut_the_source_of_lucy_edit(tiny_wan, lucy) -> None:
    source, noise = tiny_wan.video(3, 6, 48), tiny_wan.video(8, 6, 48)[None]
    turn = bare_turn(tiny_wan, lucy, source=source)
    whole = tiny_wan.predict(turn, noise, tiny_wan.windows(turn.model))
    for first, last, kept in window_parts():
        part = bare_turn(tiny_wan, lucy, source=source[:, first:last])
        alone = tiny_wan.predict(part, noise[:, :, first:last])
        assert distance(whole[:, :, first + kept : last], alone[:, :, kept:]) < 1e-5


def test_rope_options_move_the_target_as_they_do_natively(tiny_wan, lucy) -> None:
    turn = bare_turn(
        tiny_wan, lucy, kernels=()
    )  # sees its source, and yet has no tokens but the target's
    for options in ({}, {"scale_t": 1.5, "scale_y": 0.5, "scale_x": 2.0, "shift_t": 4.0}):
        ours = tiny_wan.sample(turn, tiny_wan.scale_rope(turn.model, **options), steps=1)
        native = tiny_wan.sample(turn, tiny_wan.scale_rope(lucy, **options), steps=1)
        assert distance(ours, native) < 1e-4
    assert distance(ours, tiny_wan.sample(turn, steps=1)) > 1e-3

"""EditLongVideo with two experts: `text_edit` of random weights, and a second DiT like it."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from instruments.long_video import ALL


@pytest.fixture(scope="module")
def experts(comfy_api, edit_loaded) -> tuple[Any, Any]:
    """Two DiTs that count as one base of two experts. The levels of two steps are 1 and 0.75."""
    from memory_v2v.nodes.host.models import attachment
    from memory_v2v.nodes.host.models.builtin import load_builtin_model

    with torch.inference_mode():
        second = load_builtin_model("text_edit")
        for weight in second.model.diffusion_model.parameters():
            weight.mul_(1.1)
    pair = []
    for model in (edit_loaded[0], second):
        info = replace(attachment.base_info(model), expert_boundary=0.875)
        clone = model.clone()
        clone.set_attachments(attachment.KEY, info)
        pair.append(clone)
    return tuple(pair)


def test_every_segment_is_made_by_both_and_kept(run, experts) -> None:
    high, low = experts
    alone = run(model=high)
    made = run(model=high, low_noise_model=low)
    # Each run of a sampler is one expert.
    assert made.sampled == sorted([*ALL, *ALL])
    assert (
        "two experts, cut where sigma falls below 0.875: model takes steps 1 to 1, " in made.report
    )
    assert not any(map(torch.equal, alone.latents, made.latents))
    again = run(model=high, low_noise_model=low)
    assert again.sampled == []
    assert again.ids == made.ids


def test_another_second_expert_makes_every_segment_again(run, experts) -> None:
    high, low = experts
    first = run(model=high, low_noise_model=low)
    assert run(model=high, low_noise_model=high).sampled == sorted([*ALL, *ALL])
    # Without the second one, the first run's segments are of another recipe too.
    assert run(model=high).sampled == ALL
    assert len(first.sampled) == 2 * len(ALL)


def test_one_model_alone_counts_as_in_versions_without_experts(experts) -> None:
    from memory_v2v.memv2v_core.long_edit.recipe import content_hash
    from memory_v2v.nodes.host.sampling.fingerprints import model_parts, models_parts

    high, low = experts
    alone = content_hash(model_parts(high))
    assert content_hash(models_parts(high)) == alone
    pairs = {content_hash(models_parts(*pair)) for pair in ((high, low), (low, high), (high, high))}
    assert len({alone, *pairs}) == 4


def test_the_first_segment_is_the_one_turn_of_the_sampler(comfy_api, run, experts, prompt) -> None:
    from memory_v2v.nodes.sampling import MemoryV2VSampler

    high, low = experts
    made = run(model=high, low_noise_model=low, mode="independent")
    entry = min(made.cache.entries, key=lambda entry: entry.segment.idx)
    turn = comfy_api.run_node(
        MemoryV2VSampler,
        model=high,
        low_noise_model=low,
        positive=prompt("put a hat on the box"),
        negative=prompt(""),
        source={"samples": entry.source_latent[None]},
        seed=100,
        steps=2,
        cfg=1.0,
        sampler_name="euler",
        scheduler="simple",
    ).result
    assert torch.equal(turn[0]["samples"][0], entry.latent)


def test_the_negative_prompt_counts_where_one_expert_reads_it(run, experts, prompt) -> None:
    high, low = experts
    other = {"negative": prompt("a blue ball")}
    run(model=high, low_noise_model=low)
    assert run(model=high, low_noise_model=low, **other).sampled == []
    reads = low.clone()
    reads.model_options["disable_cfg1_optimization"] = True
    run(model=high, low_noise_model=reads)
    assert run(model=high, low_noise_model=reads, **other).sampled == sorted([*ALL, *ALL])


def test_fifo_with_two_experts_is_refused(run, experts) -> None:
    high, low = experts
    with pytest.raises(ValueError, match="mode got 'fifo' with a low_noise_model, wanted 'memory'"):
        run(model=high, low_noise_model=low, mode="fifo")

"""VideoFOVRetrieve and DynamicTokenize: who is chosen, how finely, at what cost."""

import pytest
import torch

from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix
from memv2v_core.retrieval.selection import RankedEntry, Retrieval
from memv2v_core.tokens.merging import share_for

LENS = intrinsics_matrix(0.866, 0.866)
TOKENIZE = {
    "top_kernel": "4",
    "num_top": 3,
    "rest_kernel": "8",
    "unresponsive": "merge",
    "share": 0.0,
    "pool": "conditioning",
    "memory_range": "own",
    "camera_conditioning": "per_video",
}


@pytest.fixture(scope="module")
def model(comfy_api):
    from memory_v2v.nodes.loading import load_builtin_model

    with torch.inference_mode():
        return load_builtin_model("novel_view")


@pytest.fixture(scope="module")
def vae(comfy_api):
    from memory_v2v.nodes.loading import LoadMemoryV2VModel

    return comfy_api.run_node(LoadMemoryV2VModel, model_name="built-in: novel_view")[2]


def path(motion: str, amplitude: float = 30.0) -> CameraTrajectory:
    return make_preset(PresetConfig(motion, amplitude, 3), LENS)


def entry(motion: str, seed: int) -> MemoryEntry:
    latent = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    return MemoryEntry.of(latent, path(motion), "built-in: novel_view", 3, seed + 1, float(seed))


def cache_of(*motions: str) -> MemoryCache:
    cache = MemoryCache()
    for seed, motion in enumerate(motions):
        cache = cache.append(entry(motion, seed))
    return cache


def retrieve(comfy_api, cache: MemoryCache, k: int, **inputs):
    from memory_v2v.nodes.retrieval import VideoFOVRetrieve

    given = {
        "cache": cache,
        "camera": path("pan_right"),
        "k": k,
        "balance": 0.5,
        "radius": 1.0,
        **inputs,
    }
    return comfy_api.run_node(VideoFOVRetrieve, **given)


def tokenize(comfy_api, num_memories: int, inputs: dict | None = None, **changes):
    from memory_v2v.nodes.tokens import DynamicTokenize

    ranked = tuple(
        RankedEntry(entry("pan_left", seed), 1.0 - seed / 100, 0.5, 0.5)
        for seed in range(num_memories)
    )
    retrieval = Retrieval(path("pan_right"), ranked)
    return comfy_api.run_node(
        DynamicTokenize, retrieval=retrieval, **{**TOKENIZE, **changes}, **(inputs or {})
    ).args


def source() -> dict:
    return {"samples": torch.zeros(1, 16, 3, 16, 16)}


def test_the_turn_that_saw_the_same_is_chosen(comfy_api) -> None:
    output = retrieve(comfy_api, cache_of("pan_left", "pan_right", "tilt_up"), 1)
    retrieval, picture = output.args
    assert [ranked.entry.turn for ranked in retrieval.ranked] == [2]
    assert retrieval.ranked[0].score == 1.0
    assert picture.shape[0] == 1
    assert picture.shape[-1] == 3
    shown = output.ui.as_dict()
    assert shown["images"]
    assert shown["text"][0].startswith("rank 1: turn 2")


def test_an_empty_cache_gives_an_empty_retrieval_and_says_so(comfy_api) -> None:
    output = retrieve(comfy_api, MemoryCache(), 3)
    assert output[0].ranked == ()
    assert output[1].shape[0] == 1
    assert output.ui.as_dict()["text"] == ("the cache is empty: this turn has no memory",)


def test_a_pinned_turn_is_always_chosen(comfy_api) -> None:
    cache = cache_of("pan_left", "pan_right")
    pinned = cache.pin(cache.entries[0].entry_id)
    assert [ranked.entry.turn for ranked in retrieve(comfy_api, pinned, 1)[0].ranked] == [1]
    assert retrieve(comfy_api, cache, 0)[0].ranked == ()


def test_balance_changes_the_score(comfy_api) -> None:
    cache = cache_of("sweep")
    scores = [retrieve(comfy_api, cache, 1, balance=balance)[0].ranked[0] for balance in (0.0, 1.0)]
    assert scores[0].score == scores[0].contain
    assert scores[1].score == scores[1].overlap


def test_a_radius_left_alone_where_cameras_move_is_named(comfy_api) -> None:
    cache = cache_of("pan_left", "dolly_in")
    text = retrieve(comfy_api, cache, 1).ui.as_dict()["text"][0]
    assert text.splitlines()[-1].startswith("cameras move up to 30 pose units and radius is 1")
    text = retrieve(comfy_api, cache, 1, radius=4.0).ui.as_dict()["text"][0]
    assert "radius" not in text
    text = retrieve(comfy_api, cache_of("pan_left", "tilt_up"), 1).ui.as_dict()["text"][0]
    assert "radius" not in text


def test_a_vae_adds_pictures_of_the_memories(comfy_api, vae) -> None:
    cache = cache_of("pan_left")
    plain, decoded = retrieve(comfy_api, cache, 1)[1], retrieve(comfy_api, cache, 1, vae=vae)[1]
    assert plain.shape == decoded.shape
    assert not torch.equal(plain, decoded)


def test_ranks_get_the_kernels_of_the_paper(comfy_api) -> None:
    plan, _ = tokenize(comfy_api, 5)
    assert plan.kernels == (4, 4, 4, 8, 8)
    assert tokenize(comfy_api, 5, num_top=1, top_kernel="2", rest_kernel="4")[0].kernels == (
        2,
        4,
        4,
        4,
        4,
    )


def test_share_is_automatic_or_as_given(comfy_api) -> None:
    assert tokenize(comfy_api, 1)[0].merging.share == 0.5
    assert tokenize(comfy_api, 9)[0].merging.share == pytest.approx(share_for(10))
    assert tokenize(comfy_api, 1, share=0.3)[0].merging.share == 0.3
    assert tokenize(comfy_api, 1, unresponsive="keep")[0].merging is None
    with pytest.raises(ValueError, match="share got 0.1, wanted 0 for automatic or 0.3 to 0.7"):
        tokenize(comfy_api, 1, share=0.1)


def test_cost_counts_tokens_of_source_and_memories(comfy_api, model) -> None:
    # 3 latent frames of 16x16: 3 * 64 tokens a video, 3 * 16 a memory at 1x4x4, 3 * 4 at 1x8x8.
    _, cost = tokenize(comfy_api, 4, {"model": model, "source": source()}, unresponsive="keep")
    tokens = 2 * 192 + 3 * 48 + 12
    assert f"{tokens} tokens enter, {tokens} leave the last block (384 without memory)" in cost
    assert "TFLOP a step" in cost
    assert "MiB of activations" in cost
    _, merged = tokenize(comfy_api, 4, {"model": model, "source": source()})
    assert f"{tokens} tokens enter, {tokens} leave" not in merged
    assert f"{tokens} tokens enter" in merged


def test_tokens_are_the_same_without_a_model(comfy_api, model) -> None:
    _, with_model = tokenize(comfy_api, 2, {"model": model, "source": source()})
    _, without = tokenize(comfy_api, 2, {"source": source()})
    assert without.splitlines()[:2] == with_model.splitlines()[:2]
    assert without.splitlines()[-1] == "connect model to see TFLOP and memory"


def test_a_first_turn_has_a_plan_without_memory(comfy_api, model) -> None:
    plan, cost = tokenize(comfy_api, 0)
    assert plan.kernels == ()
    assert cost.startswith("no memory")
    assert "384 tokens enter" in tokenize(comfy_api, 0, {"model": model, "source": source()})[1]


def test_without_cameras_the_newest_turns_are_chosen_and_pinned_ones_stay(comfy_api) -> None:
    from memory_v2v.nodes.retrieval import RecentRetrieve

    cache = cache_of("pan_left", "pan_right", "tilt_up")
    output = comfy_api.run_node(RecentRetrieve, cache=cache, k=2)
    assert [made.turn for made in output[0].entries] == [3, 2]
    assert output[0].query is None
    assert output.ui.as_dict()["text"][0].splitlines()[-1].startswith("not chosen: turn 1")
    pinned = cache.pin(cache.entries[0].entry_id)
    assert [
        made.turn for made in comfy_api.run_node(RecentRetrieve, cache=pinned, k=2)[0].entries
    ] == [3, 1]
    assert comfy_api.run_node(RecentRetrieve, cache=MemoryCache(), k=2)[0].ranked == ()


def test_the_cost_of_a_picture_is_refused(comfy_api) -> None:
    from memory_v2v.nodes.tokens import DynamicTokenize

    inputs = DynamicTokenize.define_schema().inputs
    widgets = {given.id: given.default for given in inputs if hasattr(given, "default")}
    picture = {"samples": torch.zeros(1, 16, 8, 8)}
    with pytest.raises(ValueError, match=r"source got a latent of shape \(1, 16, 8, 8\)"):
        comfy_api.run_node(
            DynamicTokenize, retrieval=Retrieval(None, ()), source=picture, **widgets
        )

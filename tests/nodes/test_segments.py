"""Splitting a long video, choosing a segment's memories, and joining the edits, as single nodes."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch

from memv2v_core.builtin.codec import Codec
from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cameras.trajectory import static_trajectory
from memv2v_core.clips.timing import FrameTimes
from memv2v_core.shapes import VaeRatios

NAME, WINDOW, SIDE = "built-in: text_edit", 9, 32
NUM_FRAMES = 22


@pytest.fixture(scope="module")
def model(comfy_api, edit_loaded) -> Callable[..., Any]:
    """The built-in editor, said to have another window and other sizes."""
    from memory_v2v.nodes.host.models.attachment import KEY, base_info

    def changed(temporal: int = 1, placement: str = "channels") -> Any:
        clone = edit_loaded[0].clone()
        info = replace(
            base_info(clone),
            ratios=VaeRatios(temporal, 8, 48),
            source_placement=placement,
            latent_size=(SIDE // 8, SIDE // 8),
            num_frames=WINDOW,
        )
        clone.set_attachments(KEY, info)
        return clone

    return changed


def clip(num_frames: int = NUM_FRAMES, side: int = SIDE) -> torch.Tensor:
    """Frames (F, side, side, 3), each of a grey of its own."""
    return (
        torch.linspace(0.1, 0.9, num_frames)[:, None, None, None].expand(-1, side, side, 3).clone()
    )


@pytest.fixture
def split(comfy_api, model) -> Callable[..., tuple]:
    """The outputs of SplitSegments, cuts not looked for where not said otherwise."""
    from memory_v2v.nodes.videos.segments import SplitSegments

    def run(temporal: int = 1, placement: str = "channels", **changes: Any) -> tuple:
        widgets = {
            "length": 0,
            "overlap": 0,
            "shots": False,
            "sensitivity": 0.5,
            "width": 0,
            "height": 0,
        }
        inputs = {"images": clip(), "aspect": "keep", **widgets, **changes}
        return comfy_api.run_node(SplitSegments, model=model(temporal, placement), **inputs).result

    return run


@pytest.fixture(scope="module")
def vae(comfy_api):
    from memory_v2v.nodes.host.models.builtin_vae import BuiltinVAE

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return BuiltinVAE(Codec(48).eval())


def entry(segment, latent: torch.Tensor, **changes: Any) -> MemoryEntry:
    camera = static_trajectory(latent.shape[1], is_assumed=True)
    fields = {
        "turn": segment.idx + 1,
        "created_s": float(segment.idx),
        "segment": segment,
        **changes,
    }
    return MemoryEntry.of(latent, camera, NAME, segment.num_frames, **fields)


def edited(segments) -> MemoryCache:
    """A cache with every segment; the VAE decodes the one at i to noise that no other has."""
    cache = MemoryCache()
    for segment in segments.plan.segments:
        generator = torch.Generator().manual_seed(segment.idx)
        cache = cache.append(
            entry(segment, torch.randn(48, segment.num_frames, 4, 4, generator=generator))
        )
    return cache


def test_a_clip_is_split_into_windows_of_the_model(split) -> None:
    segments, count, info = split()
    assert count == 3
    assert [(s.start, s.num_frames) for s in segments.plan.segments] == [(0, 9), (9, 9), (13, 9)]
    assert "3 segments of 9, overlap 0, in 1 shots" in info
    assert "segment 3: frames 14 to 22, shot 1" in info
    assert split(overlap=4)[1] == 4
    assert split(length=5)[1] == 5


def test_a_length_that_the_vae_cannot_take_names_its_neighbours(split) -> None:
    with pytest.raises(ValueError, match=r"length got 12, wanted 4 \* n \+ 1 .* use 9 or 13"):
        split(temporal=4, length=12)


def test_segments_stop_at_cuts_unless_asked_not_to(split) -> None:
    two_shots = torch.cat((clip(11) * 0.2, 1 - clip(11) * 0.2))
    with_cuts, _, _ = split(images=two_shots, shots=True)
    assert [(s.start, s.num_frames, s.shot) for s in with_cuts.plan.segments] == [
        (0, 9, 0),
        (2, 9, 0),
        (11, 9, 1),
        (13, 9, 1),
    ]
    assert {s.shot for s in split(images=two_shots)[0].plan.segments} == {0}


def test_a_large_clip_is_worked_on_at_the_models_number_of_pixels(split) -> None:
    wide = torch.zeros(3, 48, 83, 3)
    small, _, info = split(images=wide)
    assert small.fitting(1).size == (16, 32)
    assert "3 frames of 83x48: all kept, scaled to 32x16" in info
    assert split(images=wide, width=64, height=48, aspect="crop")[0].fitting(1).size == (48, 64)
    assert split(images=wide, aspect="pad")[0].fitting(1).size == (SIDE, SIDE)


@pytest.fixture
def retrieve(comfy_api) -> Callable[..., tuple]:
    from memory_v2v.nodes.retrieval import DinoSegmentRetrieve

    def run(segments, index: int, cache: MemoryCache, **changes: Any) -> tuple:
        settings = {
            "recent_first": True,
            "shot_aware": True,
            "min_similarity": 0.0,
            "allow_download": False,
        }
        given = {"k": 3, "descriptor": "built-in light", **settings, **changes}
        inputs = {"segments": segments, "index": index, "cache": cache, **given}
        return comfy_api.run_node(DinoSegmentRetrieve, **inputs).result

    return run


def remembered(retrieve, segments, count: int) -> MemoryCache:
    """A cache with the first segments, described as the node describes their sources."""
    cache = MemoryCache()
    for i in range(count):
        _, frames, query, _ = retrieve(segments, i + 1, cache)
        latent = torch.full((48, len(frames), 4, 4), float(i))
        about = {"source_descriptor": query.descriptor, "descriptor_name": query.descriptor_name}
        cache = cache.append(entry(query.segment, latent, **about))
    return cache


def test_a_segment_comes_with_its_frames_and_its_memories(split, retrieve) -> None:
    segments, _, _ = split()
    cache = remembered(retrieve, segments, 2)
    retrieval, frames, query, why = retrieve(segments, 3, cache)
    assert torch.equal(frames, clip()[13:22])
    assert query.segment == segments.plan.segments[2]
    assert query.descriptor_name == "built-in light"
    assert [(r.entry.segment.idx, r.is_previous) for r in retrieval.ranked] == [
        (1, True),
        (0, False),
    ]
    assert why.ndim == 4
    assert why.shape[-1] == 3
    assert retrieve(segments, 1, cache)[0].ranked == ()


def test_a_short_segment_is_held_until_the_vae_takes_it(split, retrieve) -> None:
    segments, _, _ = split(temporal=4, images=clip(7))
    _, frames, query, _ = retrieve(segments, 1, MemoryCache())
    assert query.segment.num_frames == 7
    assert torch.equal(frames, torch.cat((clip(7), clip(7)[-1:], clip(7)[-1:])))


def test_a_base_with_source_tokens_has_no_range_of_its_own_for_the_segment_before(
    split, retrieve
) -> None:
    segments, _, _ = split(placement="sequence")
    retrieval = retrieve(segments, 2, remembered(retrieve, segments, 1))[0]
    assert [ranked.is_previous for ranked in retrieval.ranked] == [False]


def test_a_segment_that_is_not_there_and_missing_weights_are_named(split, retrieve) -> None:
    segments, _, _ = split()
    with pytest.raises(ValueError, match="index got 4, wanted 1 to 3"):
        retrieve(segments, 4, MemoryCache())
    with pytest.raises(
        ValueError, match=r"dinov2-small is missing; put model.safetensors .*dinov2"
    ):
        retrieve(segments, 1, MemoryCache(), descriptor="dinov2-small")


@pytest.fixture
def stitch(comfy_api, vae) -> Callable[..., Any]:
    from memory_v2v.nodes.videos.segments import StitchSegments

    def run(segments, cache: MemoryCache, **changes: Any) -> Any:
        given = {
            "stitch_mode": "cut",
            "match_colours": False,
            "size": "original",
            "crf": 0,
            **changes,
        }
        return comfy_api.run_node(StitchSegments, segments=segments, cache=cache, vae=vae, **given)

    return run


def decoded(vae, one: MemoryEntry) -> torch.Tensor:
    with torch.inference_mode():
        return vae.decode(one.latent[None])[0]


def test_a_cut_takes_each_frame_from_one_segment(split, stitch, vae) -> None:
    segments, _, _ = split(frame_rate=24000 / 1001)
    cache = edited(segments)
    video, frames = stitch(segments, cache).result
    parts = [decoded(vae, one) for one in cache.entries]
    assert frames.shape == (NUM_FRAMES, SIDE, SIDE, 3)
    assert torch.equal(frames[:9], parts[0])
    # Segments 2 and 3 share frames 13 to 17 and meet in their middle.
    assert torch.equal(frames[9:15], parts[1][:6])
    assert torch.equal(frames[16:], parts[2][3:])
    assert video.get_components().frame_rate == Fraction(24000, 1001)
    assert video.get_frame_count() == NUM_FRAMES


def test_a_cross_fade_mixes_neighbours_where_they_overlap(split, stitch, vae) -> None:
    segments, _, _ = split(images=clip(16), overlap=2)
    cache = edited(segments)
    frames = stitch(segments, cache, stitch_mode="cross_fade").result[1]
    one, two = (decoded(vae, held) for held in cache.entries)
    torch.testing.assert_close(frames[7], one[7] * 2 / 3 + two[0] / 3)
    torch.testing.assert_close(frames[8], one[8] / 3 + two[1] * 2 / 3)


def test_the_newer_edit_of_a_segment_is_taken(split, stitch, vae) -> None:
    segments, _, _ = split(images=clip(9))
    old, new = (
        torch.randn(48, 9, 4, 4, generator=torch.Generator().manual_seed(i)) for i in (1, 2)
    )
    (segment,) = segments.plan.segments
    cache = MemoryCache().append(entry(segment, old)).append(entry(segment, new, created_s=9.0))
    assert torch.equal(stitch(segments, cache).result[1], decoded(vae, cache.newest))


def test_missing_segments_are_named(split, stitch) -> None:
    segments, _, _ = split()
    cache = edited(segments)
    short = cache.forget(cache.entries[2].entry_id).forget(cache.entries[0].entry_id)
    with pytest.raises(ValueError, match="cache lacks segments 1, 3 of 3"):
        stitch(segments, short)
    other, _, _ = split(overlap=3)
    with pytest.raises(ValueError, match="cache lacks segments 2, 3"):
        stitch(other, cache)


def test_edits_that_saw_a_replaced_one_are_named(split, stitch) -> None:
    segments, _, _ = split()
    first, second, third = edited(segments).entries
    second = replace(second, memory_ids=("0" * 32,))
    third = replace(third, memory_ids=(second.entry_id,))
    cache = MemoryCache().append(first).append(second).append(third)
    (text,) = stitch(segments, cache).ui.as_dict()["text"]
    assert "segments 2, 3 saw an edit of another segment that was replaced since" in text
    assert "saw" not in stitch(segments, edited(segments)).ui.as_dict()["text"][0]


def test_a_frame_rate_that_varies_is_told(split) -> None:
    from memory_v2v.nodes.host.clips.stitching import StitchSettings

    segments, _, _ = split(images=clip(9))
    settings = StitchSettings(stitch_mode="cut", match_colours=False, size="original", crf=0)
    assert "at the times of the original" not in settings.describe(segments)
    starts = tuple(Fraction(i * i, 24) for i in range(9))
    uneven = FrameTimes(9, Fraction(3), Fraction(3), starts)
    varied = replace(segments, clip=replace(segments.clip, times=uneven))
    assert "3.000 a second on average, at the times of the original" in settings.describe(varied)


def test_an_odd_size_comes_back_as_it_was(split, stitch) -> None:
    segments, _, _ = split(images=clip(9, side=33))
    output = stitch(segments, edited(segments))
    assert (
        output.result[0].get_components().images.shape == output.result[1].shape == (9, 33, 33, 3)
    )
    assert "9 frames of 33x33" in output.ui.as_dict()["text"][0]
    assert "4:4:4" in output.ui.as_dict()["text"][0]
    assert stitch(segments, edited(segments), size="model").result[1].shape == (9, SIDE, SIDE, 3)

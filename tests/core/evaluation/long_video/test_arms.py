"""The arms of the long-video comparison with an untrained editor: who sees which memory, and
nothing else differs.
"""

import copy
import importlib
import json
import sys
from dataclasses import replace

import pytest
import torch

from memv2v_core.builtin.bundle import BuiltinInfo, Bundle
from memv2v_core.builtin.codec import Codec
from memv2v_core.cache.entry import Segment
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.evaluation.long_video import arms as long_video
from memv2v_core.evaluation.long_video import run as long_video_run
from memv2v_core.evaluation.long_video.arms import (
    AS_IN_THE_PAPER,
    LongBatch,
    edit_alone,
    edit_by_fifo,
    edit_by_segments,
    edit_with_memory,
)
from memv2v_core.evaluation.long_video.clips import FAMILIES, LongClip, long_clip
from memv2v_core.evaluation.long_video.measures import measure_batch
from memv2v_core.evaluation.long_video.run import evaluate_long, long_evaluation_record
from memv2v_core.evaluation.novel_view import run
from memv2v_core.evaluation.report import markdown_table
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_inputs import MemoryInputs
from memv2v_core.pictures.contact_sheet import contact_sheet
from memv2v_core.retrieval.selection import Retrieval, retrieve_recent
from memv2v_core.training.config import ModelConfig
from memv2v_core.training.network import build_network

LENGTH = 5
CONFIG = ModelConfig(
    dim=48, num_heads=2, num_layers=2, ffn_dim=48, text_dim=16, freq_dim=16, channels=48,
    used_channels=3, has_source_channels=True, has_rays=False, has_cameras=False, has_text=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def editor() -> Bundle:
    """An untrained editor of LucyEdit's form for 32 x 32 px and windows of 5 frames."""
    torch.manual_seed(0)
    network = build_network(CONFIG).eval().requires_grad_(False)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    info = BuiltinInfo("untrained", 32, LENGTH, 3.0, 2, CONFIG, task="text_edit")
    codec = Codec(48, 3).eval().requires_grad_(False)
    return Bundle(info, DiffusersView(network["dit"]), network["adapter"], codec, network["text"])


@pytest.fixture(scope="module")
def clips(editor: Bundle) -> dict[str, tuple[LongClip, ...]]:
    return {
        family: tuple(long_clip(family, i, editor.info) for i in range(2)) for family in FAMILIES
    }


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Segment, Retrieval]]:
    """Every retrieval, with the segment that it was for."""
    found: list[tuple[Segment, Retrieval]] = []
    retrieve = long_video.retrieve_by_similarity

    def watched(cache, descriptor, name, segment, k, config):
        found.append((segment, retrieve(cache, descriptor, name, segment, k, config)))
        return found[-1][1]

    monkeypatch.setattr(long_video, "retrieve_by_similarity", watched)
    return found


def test_clips_have_the_shots_of_their_family(clips) -> None:
    assert [clip.shots for clip in (clips[family][0] for family in FAMILIES)] == [
        ((0, 30),), ((0, 30),), ((0, 15), (15, 30)), ((0, 10), (10, 20), (20, 30))
    ]  # fmt: skip
    for family in FAMILIES:
        for clip in clips[family]:
            assert clip.num_frames == 30 and clip.scene.source.shape == clip.truth.shape == (
                30,
                3,
                32,
                32,
            )
            assert (clip.truth - clip.scene.source).abs().max() > 0.1
    visible = clips["away"][0].scene.track.visible
    assert visible[:3].all() and not visible[LENGTH : 4 * LENGTH].any() and visible[-3:].all()


def test_clips_do_not_depend_on_how_many_there_are(editor: Bundle, clips) -> None:
    again = long_clip("two_shot", 1, editor.info)
    assert torch.equal(again.truth, clips["two_shot"][1].truth)
    assert again.instruction == clips["two_shot"][1].instruction
    assert not torch.equal(again.truth, clips["two_shot"][0].truth)
    assert [clips["one_shot"][i].edit_kind for i in range(2)] == ["recolour", "hat"]


def test_no_two_segments_or_clips_share_noise_and_batches_do_not_change_it(
    editor: Bundle, clips
) -> None:
    batch, alone = (
        LongBatch.of(editor, clips["one_shot"]),
        LongBatch.of(editor, clips["one_shot"][1:]),
    )
    drawn = [batch.noise(segment) for segment in batch.plan.segments]
    flat = torch.cat(drawn).flatten(1)
    assert torch.cdist(flat, flat).add(torch.eye(len(flat)) * 1e9).min() > 1
    assert torch.equal(drawn[2][1:], alone.noise(alone.plan.segments[2]))
    other = LongBatch.of(editor, clips["away"])
    assert not torch.equal(other.noise(other.plan.segments[2]), drawn[2])


def test_memories_are_the_clips_own_earlier_segments(editor: Bundle, clips, seen) -> None:
    batch = LongBatch.of(editor, clips["one_shot"])
    edited = edit_with_memory(batch)
    assert edited.shape == (2, 48, 30, 4, 4)
    for call, (segment, retrieval) in enumerate(seen):
        row = call % 2
        assert len(retrieval.ranked) == min(segment.idx, long_video.NUM_MEMORIES)
        assert [ranked.is_previous for ranked in retrieval.ranked] == [
            i == 0 for i in range(len(retrieval.ranked))
        ]
        for entry in retrieval.entries:
            assert entry.segment.idx < segment.idx
            span = slice(entry.segment.start, entry.segment.stop)
            assert torch.equal(entry.latent, edited[row, :, span])
            assert torch.equal(entry.source_latent, batch.source_latent[row, :, span])
    in_one_shot = edit_with_memory(batch, AS_IN_THE_PAPER)
    assert torch.equal(in_one_shot, edited)


def test_given_edits_are_the_memories_instead_of_the_results(editor: Bundle, clips, seen) -> None:
    batch = LongBatch.of(editor, clips["one_shot"])
    given = batch.encode(torch.stack([clip.truth for clip in batch.clips]))
    edited = edit_with_memory(batch, given=given)
    assert [len(retrieval.ranked) for _, retrieval in seen] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4, 4]
    for call, (_, retrieval) in enumerate(seen):
        for entry in retrieval.entries:
            assert torch.equal(
                entry.latent, given[call % 2, :, entry.segment.start : entry.segment.stop]
            )
    assert torch.equal(edited[:, :, :LENGTH], given[:, :, :LENGTH])
    assert (edited - given)[:, :, LENGTH:].abs().amax((0, 1, 3, 4)).min() > 1e-3
    assert not torch.equal(edited, edit_with_memory(batch))


def test_the_paper_takes_the_segment_across_the_cut_and_shot_awareness_does_not(
    editor: Bundle, clips, seen
) -> None:
    batch = LongBatch.of(editor, clips["two_shot"])
    edit_with_memory(batch, AS_IN_THE_PAPER)
    paper = [retrieval for segment, retrieval in seen if segment.idx == 3]
    assert all(found.ranked[0].is_previous and found.entries[0].segment.idx == 2 for found in paper)
    seen.clear()
    edit_with_memory(batch)
    aware = [retrieval for segment, retrieval in seen if segment.idx == 3]
    assert not any(ranked.is_previous for found in aware for ranked in found.ranked)


def test_memory_changes_a_segment_and_the_first_has_none(editor: Bundle, clips) -> None:
    batch = LongBatch.of(editor, clips["one_shot"])
    alone, remembered = edit_alone(batch), edit_with_memory(batch)
    led = edit_alone(batch, is_led=True)
    assert torch.equal(led[:, :, :LENGTH], remembered[:, :, :LENGTH])
    for segment in batch.plan.segments[1:]:
        difference = (alone - remembered)[:, :, segment.start : segment.stop]
        assert difference.abs().max() > 1e-3


def test_a_segment_without_memory_sees_its_own_keyframe_edited_alone(
    editor: Bundle, clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled: list[tuple[MemoryInputs, slice, torch.Tensor]] = []
    sample = long_video._sample

    def watched(batch, segment, rows, inputs, frames=long_video.ALL_FRAMES):
        sampled.append((inputs, frames, sample(batch, segment, rows, inputs, frames)))
        return sampled[-1][2]

    monkeypatch.setattr(long_video, "_sample", watched)
    batch = LongBatch.of(editor, clips["one_shot"])
    led = edit_alone(batch, is_led=True)
    assert len(sampled) == 2 * 6
    for (bare, keyframe, edited), (inputs, frames, _) in zip(
        sampled[::2], sampled[1::2], strict=True
    ):
        assert bare.streams == () and keyframe == slice(2, 3) and frames == slice(None)
        (stream,) = inputs.streams
        assert stream.kernel == 2 and stream.frame_indices == (LENGTH,) and inputs.merging is None
        assert torch.equal(stream.latent[:, :48], edited)
    span = batch.plan.segments[1]
    middle = batch.source_latent[:, :, span.start + 2 : span.start + 3]
    assert torch.equal(sampled[3][0].streams[0].latent[:, 48:], middle)
    sampled.clear()
    edit_with_memory(batch)
    assert [len(inputs.streams) for inputs, _, _ in sampled] == [
        1,
        2,
        3,
        4,
        4,
    ]  # the first segment was made already

    plain = replace(editor, adapter=copy.copy(editor.adapter))
    plain.adapter.config = replace(editor.adapter.config, has_keyframe=False)
    sampled.clear()
    unled = edit_alone(LongBatch.of(plain, clips["one_shot"]), is_led=True)
    assert all(inputs.streams == () for inputs, _, _ in sampled) and len(sampled) == 6
    assert (led - unled).abs().amax((0, 1, 3, 4)).min() > 1e-3
    assert torch.equal(edit_alone(batch), unled)


def test_what_arms_have_in_common_is_sampled_once(
    editor: Bundle, clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled: list[tuple[int, tuple[int, ...]]] = []
    sample = long_video._sample

    def watched(batch, segment, rows, inputs, *frames):
        if not frames:  # not the keyframe
            sampled.append((segment.idx, rows))
        return sample(batch, segment, rows, inputs, *frames)

    monkeypatch.setattr(long_video, "_sample", watched)
    batch = LongBatch.of(editor, clips["two_shot"])
    edit_alone(batch, is_led=True)
    assert sampled == [(i, (0, 1)) for i in range(6)]
    sampled.clear()
    paper = edit_with_memory(batch, AS_IN_THE_PAPER)
    assert 0 not in dict(sampled) and sum(len(rows) for _, rows in sampled) == 10
    sampled.clear()
    fresh = edit_with_memory(LongBatch.of(editor, clips["two_shot"]), AS_IN_THE_PAPER)
    torch.testing.assert_close(paper, fresh)


def test_rows_with_other_memories_are_sampled_apart_and_come_out_as_if_alone(
    editor: Bundle, clips
) -> None:
    def newest(cache: MemoryCache, segment: Segment, descriptor: torch.Tensor) -> Retrieval:
        count = 1 + int(descriptor.sum().item() * 1e4) % 2  # differs from row to row
        return retrieve_recent(cache, count)

    batch = LongBatch.of(editor, clips["one_shot"])
    together = edit_by_segments(batch, newest)
    for row in range(2):
        single = edit_by_segments(LongBatch.of(editor, clips["one_shot"][row : row + 1]), newest)
        torch.testing.assert_close(together[row : row + 1], single, atol=1e-4, rtol=1e-4)


def test_fifo_edits_every_frame_and_rows_do_not_touch(editor: Bundle, clips) -> None:
    batch = LongBatch.of(editor, clips["one_shot"])
    together = edit_by_fifo(batch)
    assert together.shape == (2, 48, 30, 4, 4) and together.isfinite().all()
    single = edit_by_fifo(LongBatch.of(editor, clips["one_shot"][1:]))
    torch.testing.assert_close(together[1:], single, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_right_answers_agree_and_leak_no_more_than_their_colours_do(
    editor: Bundle, family: str
) -> None:
    large = [long_clip(family, i, replace(editor.info, size=96)) for i in range(3)]
    truth = torch.stack([clip.truth for clip in large])
    for clip, measures in zip(
        large, measure_batch(LongBatch.of(editor, large), family, {"truth": truth}), strict=True
    ):
        assert (
            measures[f"{family}_colour_truth"] < 0.08
            and measures[f"{family}_edited_share_truth"] == 1
        )
        assert measures[f"{family}_background_psnr_truth"] > 60
        assert (f"{family}_shape_truth" in measures) is (clip.edit_kind != "recolour")
        assert measures.get(f"{family}_shape_truth", 0.0) < 0.25
        if len(clip.shots) > 1:
            assert measures[f"{family}_leak_truth"] == float(
                measures[f"{family}_leak_distance_truth"] < 0.2
            )


def test_a_perfect_editor_without_memory_differs_much_more_than_one_with(editor: Bundle) -> None:
    large = [long_clip("one_shot", i, replace(editor.info, size=96)) for i in range(4)]
    videos = {
        name: torch.stack([getattr(clip, name) for clip in large]) for name in ("truth", "answers")
    }
    rows = measure_batch(LongBatch.of(editor, large), "one_shot", videos)
    for what in ("colour", "shape"):
        one, each = (
            torch.tensor(
                [row[f"one_shot_{what}_{arm}"] for row in rows if f"one_shot_{what}_{arm}" in row]
            ).mean()
            for arm in videos
        )
        assert one < 0.25 * each


def test_the_first_shots_answer_in_the_second_is_a_leak(editor: Bundle, clips) -> None:
    (clip, _) = clips["two_shot"]
    batch = LongBatch.of(editor, [clip])
    red = torch.tensor([0.9, 0.1, 0.1]).view(3, 1, 1)
    object_pixels = (clip.scene.source - clip.scene.empty).abs().amax(1, keepdim=True) > 0.02
    painted = torch.where(object_pixels, red, clip.scene.source)
    (measures,) = measure_batch(batch, "two_shot", {"leaky": painted[None]})
    assert measures["two_shot_leak_leaky"] == 1.0 and measures["two_shot_colour_leaky"] < 0.05


def test_the_whole_evaluation_makes_a_record_and_pictures(editor: Bundle) -> None:
    evaluation = evaluate_long(editor, 4, 4)
    record = long_evaluation_record(evaluation, editor, torch.device("cpu"), "command")
    assert (
        len(json.loads(json.dumps(record))["clips"]) == 16
        and record["settings"]["num_segments"] == 6
    )
    assert contact_sheet(evaluation.sheet, [0, 29]).size[0] > 64
    arms = [row.label for row in evaluation.sheet]
    assert arms[1:5] == ["alone", "memory", "led", "fifo"] and arms.count("paper") == 4
    assert markdown_table(evaluation.claims).count("\n") == len(evaluation.claims) + 2


def test_a_model_of_the_first_task_is_refused(editor: Bundle) -> None:
    other = replace(editor, info=replace(editor.info, task="novel_view"))
    with pytest.raises(ValueError, match="wanted a text-guided editor"):
        evaluate_long(other, 3, 3)
    with pytest.raises(ValueError, match="clips got 4 and 3, wanted 4 or more"):
        evaluate_long(editor, 4, 3)


@pytest.mark.parametrize("task", ["long", "novel_view"])
def test_the_task_chooses_the_evaluation_and_passes_the_rest_on(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(long_video_run, "main", lambda words: called.append(("long", words)))
    monkeypatch.setattr(run, "main", lambda words: called.append(("novel_view", words)))
    chosen = ["--task", "long"] if task == "long" else []
    monkeypatch.setattr(sys, "argv", ["evaluation", *chosen, "--output", "x.json"])
    importlib.import_module("memv2v_core.evaluation.__main__").main()
    assert called == [(task, ["--output", "x.json"])]

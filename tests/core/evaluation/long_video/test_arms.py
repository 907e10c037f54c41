"""The arms of the long-video comparison with an untrained editor: they differ in the memories
alone.
"""

import copy
import importlib
import json
from dataclasses import replace

import pytest
import torch

from memv2v_core.builtin import sampler as builtin_sampler
from memv2v_core.builtin.bundle import Bundle
from memv2v_core.builtin.codec import Codec
from memv2v_core.builtin.info import BuiltinInfo
from memv2v_core.cache.entry import Segment
from memv2v_core.evaluation.long_video import run as long_video_run
from memv2v_core.evaluation.long_video.arms import (
    AS_IN_THE_PAPER,
    ClipHost,
    edit_alone,
    edit_by_fifo,
    edit_with_given,
    edit_with_memory,
)
from memv2v_core.evaluation.long_video.clips import FAMILIES, LongClip, long_clip
from memv2v_core.evaluation.long_video.measures import measure_clip
from memv2v_core.evaluation.long_video.run import evaluate_long, long_evaluation_record
from memv2v_core.evaluation.novel_view import run
from memv2v_core.evaluation.report import markdown_table
from memv2v_core.long_edit import settings
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_inputs import MemoryInputs
from memv2v_core.pictures.contact_sheet import contact_sheet
from memv2v_core.retrieval.selection import Retrieval
from memv2v_core.sampling.turn import Turn
from memv2v_core.training.config.model import AdapterOptions, ModelConfig
from memv2v_core.training.network.fresh import build_network, new_adapter_config

pytestmark = pytest.mark.slow

LENGTH = 5
CONFIG = ModelConfig(
    dim=48, num_heads=2, num_layers=2, ffn_dim=48, text_dim=16, freq_dim=16, channels=48,
    used_channels=3, has_source_channels=True, has_rays=False, has_cameras=False, has_text=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def editor() -> Bundle:
    """An untrained editor of LucyEdit's form for 32 x 32 px and windows of 5 frames."""
    torch.manual_seed(0)
    options = AdapterOptions(attention="two_way", has_base_tokenizer=False)
    network = build_network(CONFIG, new_adapter_config(CONFIG, options))
    network.eval().requires_grad_(False)
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
    retrieve = settings.retrieve_by_similarity

    def watched(cache, descriptor, name, segment, k, config):
        found.append((segment, retrieve(cache, descriptor, name, segment, k, config)))
        return found[-1][1]

    monkeypatch.setattr(settings, "retrieve_by_similarity", watched)
    return found


def test_clips_have_the_shots_of_their_family(clips) -> None:
    assert [clip.shots for clip in (clips[family][0] for family in FAMILIES)] == [
        ((0, 30),), ((0, 30),), ((0, 15), (15, 30)), ((0, 10), (10, 20), (20, 30))
    ]  # fmt: skip
    for family in FAMILIES:
        for clip in clips[family]:
            assert clip.num_frames == 30
            assert (
                clip.scene.source.shape
                == clip.truth.shape
                == (
                    30,
                    3,
                    32,
                    32,
                )
            )
            assert (clip.truth - clip.scene.source).abs().max() > 0.1
    visible = clips["away"][0].scene.track.visible
    assert visible[:3].all()
    assert not visible[LENGTH : 4 * LENGTH].any()
    assert visible[-3:].all()


def test_clips_do_not_depend_on_how_many_there_are(editor: Bundle, clips) -> None:
    again = long_clip("two_shot", 1, editor.info)
    assert torch.equal(again.truth, clips["two_shot"][1].truth)
    assert again.instruction == clips["two_shot"][1].instruction
    assert not torch.equal(again.truth, clips["two_shot"][0].truth)
    assert [clips["one_shot"][i].edit_kind for i in range(2)] == ["recolour", "hat"]


def hosts(editor: Bundle, clips: tuple[LongClip, ...]) -> list[ClipHost]:
    return [ClipHost(editor, clip) for clip in clips]


def test_no_two_segments_or_clips_share_noise(editor: Bundle, clips) -> None:
    drawn = [
        host.noise(segment)
        for host in hosts(editor, clips["one_shot"])
        for segment in host.plan.segments
    ]
    flat = torch.stack(drawn).flatten(1)
    assert torch.cdist(flat, flat).add(torch.eye(len(flat)) * 1e9).min() > 1
    (again, other) = (ClipHost(editor, clips[family][0]) for family in ("one_shot", "away"))
    assert torch.equal(again.noise(again.plan.segments[2]), drawn[2])
    assert not torch.equal(other.noise(other.plan.segments[2]), drawn[2])


def test_memories_are_the_clips_own_earlier_segments(editor: Bundle, clips, seen) -> None:
    for host in hosts(editor, clips["one_shot"]):
        seen.clear()
        edited = edit_with_memory(host)
        assert edited.shape == (48, 30, 4, 4)
        for segment, retrieval in seen:
            assert len(retrieval.ranked) == min(segment.idx, settings.MemorySettings().k)
            assert [ranked.is_previous for ranked in retrieval.ranked] == [
                i == 0 for i in range(len(retrieval.ranked))
            ]
            for entry in retrieval.entries:
                assert entry.segment.idx < segment.idx
                span = slice(entry.segment.start, entry.segment.stop)
                assert torch.equal(entry.latent, edited[:, span])
                assert torch.equal(entry.source_latent, host.source[:, span])
        assert torch.equal(edit_with_memory(host, AS_IN_THE_PAPER), edited)


def test_given_edits_are_the_memories_instead_of_the_results(editor: Bundle, clips, seen) -> None:
    host = ClipHost(editor, clips["one_shot"][0])
    given = editor.codec.encode_frames(host.clip.truth)
    edited = edit_with_given(host, given)
    assert [len(retrieval.ranked) for _, retrieval in seen] == [0, 1, 2, 3, 4, 4]
    for _, retrieval in seen:
        for entry in retrieval.entries:
            assert torch.equal(entry.latent, given[:, entry.segment.start : entry.segment.stop])
    assert torch.equal(edited[:, :LENGTH], given[:, :LENGTH])
    assert (edited - given)[:, LENGTH:].abs().amax((0, 2, 3)).min() > 1e-3
    assert not torch.equal(edited, edit_with_memory(host))


def test_the_paper_takes_the_segment_across_the_cut_and_shot_awareness_does_not(
    editor: Bundle, clips, seen
) -> None:
    host = ClipHost(editor, clips["two_shot"][0])
    edit_with_memory(host, AS_IN_THE_PAPER)
    paper = [retrieval for segment, retrieval in seen if segment.idx == 3]
    assert all(found.ranked[0].is_previous and found.entries[0].segment.idx == 2 for found in paper)
    seen.clear()
    edit_with_memory(host)
    aware = [retrieval for segment, retrieval in seen if segment.idx == 3]
    assert not any(ranked.is_previous for found in aware for ranked in found.ranked)


def test_memory_changes_a_segment_and_the_first_has_none(editor: Bundle, clips) -> None:
    for host in hosts(editor, clips["one_shot"]):
        alone, remembered = edit_alone(host), edit_with_memory(host)
        led = edit_alone(host, is_led=True)
        assert torch.equal(led[:, :LENGTH], remembered[:, :LENGTH])
        for segment in host.plan.segments[1:]:
            difference = (alone - remembered)[:, segment.start : segment.stop]
            assert difference.abs().max() > 1e-3


@pytest.fixture
def sampled(
    monkeypatch: pytest.MonkeyPatch,
) -> list[tuple[Turn, MemoryInputs, torch.Tensor]]:
    """Every turn that was sampled, what the DiT was given, and the result."""
    found: list[tuple[Turn, MemoryInputs, torch.Tensor]] = []
    sample = builtin_sampler.BundleSampler.__call__

    def watched(self, turn: Turn, shows_progress: bool = True) -> torch.Tensor:
        result = sample(self, turn, shows_progress)
        found.append((turn, turn.inputs(lambda latent: latent), result))
        return result

    monkeypatch.setattr(builtin_sampler.BundleSampler, "__call__", watched)
    return found


def test_a_segment_without_memory_sees_its_own_keyframe_edited_alone(
    editor: Bundle, clips, sampled
) -> None:
    host = ClipHost(editor, clips["one_shot"][0])
    led = edit_alone(host, is_led=True)
    assert len(sampled) == 2 * 6
    pairs = zip(sampled[::2], sampled[1::2], host.plan.segments, strict=True)
    for (keyframe, bare, edited), (turn, inputs, _), segment in pairs:
        middle = host.source[:, segment.start + 2 : segment.start + 3]
        assert bare.streams == ()
        assert torch.equal(keyframe.source, middle)
        assert torch.equal(turn.source, host.source[:, segment.start : segment.stop])
        (stream,) = inputs.streams
        assert stream.kernel == 2
        assert stream.frame_indices == (LENGTH,)
        assert inputs.merging is None
        assert torch.equal(stream.latent[0, :48], edited)
        assert torch.equal(stream.latent[0, 48:], middle)
    sampled.clear()
    edit_with_memory(host)
    # The first segment was made already.
    assert [len(inputs.streams) for _, inputs, _ in sampled] == [1, 2, 3, 4, 4]

    plain = replace(editor, adapter=copy.copy(editor.adapter))
    plain.adapter.config = replace(editor.adapter.config, has_keyframe=False)
    sampled.clear()
    unled = edit_alone(ClipHost(plain, clips["one_shot"][0]), is_led=True)
    assert all(inputs.streams == () for _, inputs, _ in sampled)
    assert len(sampled) == 6
    assert (led - unled).abs().amax((0, 2, 3)).min() > 1e-3
    assert torch.equal(edit_alone(host), unled)


def test_what_arms_have_in_common_is_sampled_once(editor: Bundle, clips, sampled) -> None:
    host = ClipHost(editor, clips["two_shot"][0])
    edit_alone(host, is_led=True)
    assert len([turn for turn, _, _ in sampled if turn.latent_shape[1] > 1]) == 6
    sampled.clear()
    paper = edit_with_memory(host, AS_IN_THE_PAPER)
    assert len(sampled) == 5  # not the first segment
    assert torch.equal(paper, edit_with_memory(ClipHost(editor, host.clip), AS_IN_THE_PAPER))


def test_fifo_edits_every_frame(editor: Bundle, clips) -> None:
    one, other = (edit_by_fifo(host) for host in hosts(editor, clips["one_shot"]))
    assert one.shape == (48, 30, 4, 4)
    assert one.isfinite().all()
    assert not torch.equal(one, other)


@pytest.mark.parametrize("family", FAMILIES)
def test_right_answers_agree_and_leak_no_more_than_their_colours_do(
    editor: Bundle, family: str
) -> None:
    large = [long_clip(family, i, replace(editor.info, size=96)) for i in range(3)]
    for clip in large:
        measures = measure_clip(clip, ClipHost(editor, clip).plan, {"truth": clip.truth})
        assert measures[f"{family}_colour_truth"] < 0.08
        assert measures[f"{family}_edited_share_truth"] == 1
        assert measures[f"{family}_background_psnr_truth"] > 60
        assert (f"{family}_shape_truth" in measures) is (clip.edit_kind != "recolour")
        assert measures.get(f"{family}_shape_truth", 0.0) < 0.25
        if len(clip.shots) > 1:
            assert measures[f"{family}_leak_truth"] == float(
                measures[f"{family}_leak_distance_truth"] < 0.2
            )


def test_a_perfect_editor_without_memory_differs_much_more_than_one_with(editor: Bundle) -> None:
    large = [long_clip("one_shot", i, replace(editor.info, size=96)) for i in range(4)]
    rows = [
        measure_clip(
            clip, ClipHost(editor, clip).plan, {"truth": clip.truth, "answers": clip.answers}
        )
        for clip in large
    ]
    for what in ("colour", "shape"):
        one, each = (
            torch.tensor(
                [row[f"one_shot_{what}_{arm}"] for row in rows if f"one_shot_{what}_{arm}" in row]
            ).mean()
            for arm in ("truth", "answers")
        )
        assert one < 0.25 * each


def test_the_first_shots_answer_in_the_second_is_a_leak(editor: Bundle, clips) -> None:
    (clip, _) = clips["two_shot"]
    red = torch.tensor([0.9, 0.1, 0.1]).view(3, 1, 1)
    object_pixels = (clip.scene.source - clip.scene.empty).abs().amax(1, keepdim=True) > 0.02
    painted = torch.where(object_pixels, red, clip.scene.source)
    measures = measure_clip(clip, ClipHost(editor, clip).plan, {"leaky": painted})
    assert measures["two_shot_leak_leaky"] == 1.0
    assert measures["two_shot_colour_leaky"] < 0.05


def test_the_whole_evaluation_makes_a_record_and_pictures(editor: Bundle) -> None:
    evaluation = evaluate_long(editor, 4, 4)
    record = long_evaluation_record(evaluation, editor, torch.device("cpu"), "command")
    assert len(json.loads(json.dumps(record))["clips"]) == 16
    assert record["settings"]["num_segments"] == 6
    assert contact_sheet(evaluation.sheet, [0, 29]).size[0] > 64
    arms = [row.label for row in evaluation.sheet]
    assert arms[1:5] == ["alone", "memory", "led", "fifo"]
    assert arms.count("paper") == 4
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
    command = importlib.import_module("memv2v_core.evaluation.__main__")
    assert command.main([*chosen, "--output", "x.json"]) == 0
    assert called == [(task, ["--output", "x.json"])]

"""The edit of a long video, with a host that answers at once: what is made, kept and made again."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from instruments.entry_files import rewrite

from memv2v_core.bases.base_info import BaseInfo
from memv2v_core.cache.entry import MemoryEntry, Segment
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import SavedSession, load_session, save_session
from memv2v_core.clips.segments import plan_segments
from memv2v_core.long_edit.host import SegmentSource
from memv2v_core.long_edit.loop import FinishedEdit, edit_segments
from memv2v_core.long_edit.report import describe_edit, describe_leftovers
from memv2v_core.long_edit.settings import LongEdit, MemorySettings
from memv2v_core.resuming.outcomes import Outcome
from memv2v_core.resuming.settings import RedoSettings
from memv2v_core.retrieval.descriptors import Descriptor
from memv2v_core.sampling.entries import Thumbnail, require_fit
from memv2v_core.sampling.turn import Turn
from memv2v_core.shapes import VaeRatios

NUM_SEGMENTS, LENGTH, CHANNELS, SIDE = 4, 3, 4, 2
BASE = BaseInfo(
    "quick",
    "trained",
    VaeRatios(1, 8, CHANNELS),
    None,
    "zero",
    has_cameras=False,
    source_placement="channels",
    latent_size=(SIDE, SIDE),
    num_frames=LENGTH,
)


class Stopped(Exception):
    """What a user's stop raises."""


class Colour:
    """Describes frames by their mean colour."""

    name = "colour"

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(frames.mean((0, 2, 3)) + 0.1, dim=0)


@dataclass(eq=False)
class QuickHost:
    """Segments of one colour each; an edit is the noise of its seed plus what it saw.

    stop_at: the segment whose sampling the user stops. sampled: (segment, seed) of every sampling.
    saved: the number of entries at every save. told: what was started and finished, in order.
    """

    colours: list[tuple[float, float, float]]
    stop_at: int | None = None
    sampled: list[tuple[int, int]] = field(default_factory=list)
    saved: list[int] = field(default_factory=list)
    told: list[tuple[object, ...]] = field(default_factory=list)

    def interrupted(self) -> None:
        pass

    def read(self, segment: Segment) -> SegmentSource:
        colour = torch.tensor(self.colours[segment.idx]).view(1, 3, 1, 1)
        frames = colour.expand(segment.num_frames, 3, 16, 16)
        return SegmentSource(segment, frames, digest=str(self.colours[segment.idx]))

    def descriptor(self) -> Descriptor:
        return Colour()

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        level = frames.mean((1, 2, 3)).view(1, -1, 1, 1)
        return level.expand(CHANNELS, -1, SIDE, SIDE).clone()

    def started(self, segment: Segment, sees: tuple[int, ...]) -> None:
        self.told.append(("started", segment.idx, sees))

    def finished(self, entry: MemoryEntry, outcome: Outcome) -> None:
        self.told.append((outcome, entry.segment.idx))

    def sample(self, turn: Turn, seed: int, segment: Segment, shows_progress: bool) -> torch.Tensor:
        if segment.idx == self.stop_at:
            raise Stopped
        if shows_progress:
            self.sampled.append((segment.idx, seed))
        noise = torch.randn(turn.latent_shape, generator=torch.Generator().manual_seed(seed))
        return noise + sum(entry.latent.mean() for entry in turn.memories)

    def thumbnail(self, latent: torch.Tensor) -> Thumbnail | None:
        return None

    def require_room(self, cache: MemoryCache, turn: Turn) -> None:
        require_fit(cache, turn)

    def save(self, cache: MemoryCache) -> SavedSession:
        self.saved.append(len(cache))
        return SavedSession(cache, ("the manifest was rebuilt",))


RED, BLUE = (0.9, 0.1, 0.1), (0.1, 0.1, 0.9)


@pytest.fixture
def host() -> QuickHost:
    return QuickHost([RED] * NUM_SEGMENTS)


def edit_of(**changes: object) -> LongEdit:
    plan = plan_segments(NUM_SEGMENTS * LENGTH, LENGTH, 0, 1)
    edit = LongEdit(BASE, plan, "memory", seed=5, settings_hash="settings", prompt="a hat")
    return replace(edit, **changes)


def outcomes(finished: FinishedEdit) -> list[str]:
    return [part.outcome for part in finished.segments]


def test_every_segment_is_saved_before_the_next_is_sampled(host: QuickHost) -> None:
    finished = edit_segments(edit_of(), MemoryCache(), host)
    assert outcomes(finished) == ["new"] * NUM_SEGMENTS
    assert host.saved == [1, 2, 3, 4]
    assert host.sampled == [(0, 5), (1, 6), (2, 7), (3, 8)]
    assert finished.repairs == ("the manifest was rebuilt",)
    first, second, third, _ = finished.entries
    assert first.memory_ids == ()
    assert second.memory_ids == (first.entry_id,)
    assert set(third.memory_ids) == {first.entry_id, second.entry_id}
    assert (third.turn, third.seed, third.prompt, third.num_frames) == (3, 7, "a hat", LENGTH)
    assert third.segment == edit_of().plan.segments[2]


def test_an_unchanged_run_makes_nothing(host: QuickHost) -> None:
    first = edit_segments(edit_of(), MemoryCache(), host)
    again = edit_segments(edit_of(), first.cache, host)
    assert outcomes(again) == ["kept"] * NUM_SEGMENTS
    assert len(host.sampled) == NUM_SEGMENTS
    assert again.cache is first.cache


def test_the_program_is_told_what_each_segment_sees_and_when_it_is_finished(
    host: QuickHost,
) -> None:
    cache = edit_segments(edit_of(), MemoryCache(), host).cache
    assert host.told[:4] == [("started", 0, ()), ("new", 0), ("started", 1, (1,)), ("new", 1)]
    assert [what[0] for what in host.told] == ["started", "new"] * NUM_SEGMENTS
    host.told.clear()
    edit_segments(edit_of(), cache, host)
    assert host.told == [("kept", idx) for idx in range(NUM_SEGMENTS)]


@pytest.mark.parametrize("stop_at", range(NUM_SEGMENTS))
def test_a_stopped_run_resumes_where_it_stopped(host: QuickHost, stop_at: int) -> None:
    whole = edit_segments(edit_of(), MemoryCache(), QuickHost([RED] * NUM_SEGMENTS))
    host.stop_at = stop_at
    kept = MemoryCache()

    def keep(cache: MemoryCache) -> SavedSession:
        nonlocal kept
        kept = cache
        return SavedSession(cache)

    host.save = keep
    with pytest.raises(Stopped):
        edit_segments(edit_of(), kept, host)
    assert len(kept) == stop_at
    host.stop_at = None
    resumed = edit_segments(edit_of(), kept, host)
    assert outcomes(resumed) == ["kept"] * stop_at + ["new"] * (NUM_SEGMENTS - stop_at)
    assert [entry.entry_id for entry in resumed.entries] == [e.entry_id for e in whole.entries]


def test_a_segment_is_made_again_once_for_each_seed_and_what_saw_it_is_marked(
    host: QuickHost,
) -> None:
    first = edit_segments(edit_of(), MemoryCache(), host)
    redo = edit_of(redo=RedoSettings(frozenset({1}), seed=40))
    again = edit_segments(redo, first.cache, host)
    assert outcomes(again) == ["kept", "new", "stale", "stale"]
    assert host.sampled[-1] == (1, 41)
    assert "it saw an edit that was replaced since" in again.segments[2].stale_for
    assert outcomes(edit_segments(redo, again.cache, host)) == ["kept", "kept", "stale", "stale"]
    assert len(again.cache) == NUM_SEGMENTS

    # With the field emptied the new take stays.
    emptied = edit_segments(edit_of(), again.cache, host)
    assert emptied.entries[1].entry_id == again.entries[1].entry_id


def test_stale_segments_are_made_again_with_their_own_noise(host: QuickHost) -> None:
    first = edit_segments(edit_of(), MemoryCache(), host)
    redo = edit_of(redo=RedoSettings(frozenset({0}), seed=40, redoes_stale=True))
    again = edit_segments(redo, first.cache, host)
    assert outcomes(again) == ["new"] * NUM_SEGMENTS
    assert host.sampled[NUM_SEGMENTS:] == [(0, 40), (1, 6), (2, 7), (3, 8)]
    assert outcomes(edit_segments(redo, again.cache, host)) == ["kept"] * NUM_SEGMENTS


def test_a_new_source_makes_its_segment_again_and_marks_what_saw_it(host: QuickHost) -> None:
    first = edit_segments(edit_of(), MemoryCache(), host)
    host.colours[2] = (0.8, 0.2, 0.1)
    again = edit_segments(edit_of(), first.cache, host)
    assert outcomes(again) == ["kept", "kept", "new", "stale"]


def test_other_settings_make_every_segment_again_and_a_pin_stays(host: QuickHost) -> None:
    first = edit_segments(edit_of(), MemoryCache(), host)
    pinned = first.cache.pin(first.entries[2].entry_id)
    again = edit_segments(edit_of(settings_hash="others"), pinned, host)
    assert outcomes(again) == ["new"] * NUM_SEGMENTS
    assert [entry.is_pinned for entry in again.entries] == [False, False, True, False]
    assert len(again.cache) == NUM_SEGMENTS


def test_independent_segments_see_nothing_and_are_not_described(host: QuickHost) -> None:
    finished = edit_segments(edit_of(mode="independent"), MemoryCache(), host)
    assert all(entry.memory_ids == () for entry in finished.entries)
    assert all(entry.source_descriptor is None for entry in finished.entries)


def test_a_new_shot_that_looks_otherwise_sees_nothing_and_one_that_returns_finds_itself() -> None:
    host = QuickHost([RED, RED, BLUE, RED])
    shots = ((0, 6), (6, 9), (9, 12))
    plan = plan_segments(NUM_SEGMENTS * LENGTH, LENGTH, 0, 1, shots)
    finished = edit_segments(edit_of(plan=plan), MemoryCache(), host)
    first, second, third, fourth = finished.entries
    assert third.memory_ids == ()
    assert set(fourth.memory_ids) == {first.entry_id, second.entry_id}
    assert finished.segments[2].memories == ""


def test_k_0_sees_nothing(host: QuickHost) -> None:
    finished = edit_segments(edit_of(memory=MemorySettings(k=0)), MemoryCache(), host)
    assert all(entry.memory_ids == () for entry in finished.entries)


def test_a_base_with_keyframes_edits_the_middle_frame_of_the_first_segment(
    host: QuickHost,
) -> None:
    seen: list[tuple[int, bool]] = []
    sample: Callable[..., torch.Tensor] = host.sample

    def watched(turn: Turn, seed: int, segment: Segment, shows_progress: bool) -> torch.Tensor:
        if segment.idx == 0:
            seen.append((turn.latent_shape[1], shows_progress))
        return sample(turn, seed, segment, shows_progress)

    host.sample = watched
    edit = edit_of(base=replace(BASE, has_keyframe=True))
    finished = edit_segments(edit, MemoryCache(), host)
    assert seen == [(1, False), (LENGTH, True)]
    assert finished.segments[0].memories == "none, led by its keyframe"
    assert finished.entries[0].memory_ids == ()  # the keyframe enters no cache
    assert len(finished.cache) == NUM_SEGMENTS


def test_a_session_of_another_size_is_refused_before_sampling(host: QuickHost) -> None:
    held = edit_segments(edit_of(), MemoryCache(), host).cache
    other = QuickHost([BLUE] * NUM_SEGMENTS)
    other.encode = lambda frames: torch.zeros(CHANNELS, len(frames), 4, 4)
    with pytest.raises(ValueError, match="give this model and size another session"):
        edit_segments(edit_of(), held, other)
    assert other.sampled == []


def test_a_vae_of_another_ratio_is_named(host: QuickHost) -> None:
    host.encode = lambda frames: torch.zeros(CHANNELS, len(frames) + 1, SIDE, SIDE)
    with pytest.raises(ValueError, match="vae got 3 frames and made 4 latent frames"):
        edit_segments(edit_of(), MemoryCache(), host)


def test_the_report_says_what_became_of_every_segment(host: QuickHost) -> None:
    first = edit_segments(edit_of(), MemoryCache(), host)
    redo = edit_of(redo=RedoSettings(frozenset({1}), seed=40))
    again = edit_segments(redo, first.cache, host)
    lines = describe_edit(again.segments).splitlines()
    assert lines[0].startswith("4 segments: 1 new, 1 kept, 2 stale; ")
    assert "segment 1: frames 1 to 3, shot 1" in lines[1]
    assert lines[1].endswith("kept from an earlier run; memories: none")
    assert lines[2].endswith("memories: segment 1 at 1x2x2") or "1x4x4" in lines[2]
    assert "stale: kept, but it saw an edit that was replaced since" in lines[3]
    assert describe_leftovers(again.segments, again.cache) == ()
    assert "also holds 1 entries" in describe_leftovers(again.segments[1:], again.cache)[0]


def test_a_segment_whose_file_broke_is_made_again(host: QuickHost, tmp_path: Path) -> None:
    folder = tmp_path / "room"
    host.save = lambda cache: save_session(cache, folder)
    first = edit_segments(edit_of(), MemoryCache(), host)
    broken = first.entries[1]
    rewrite(
        folder / f"{broken.entry_id}.safetensors",
        tensors={"latent": broken.latent + 1},
        keeps_hashes=True,
    )
    again = edit_segments(edit_of(), load_session(folder).cache, host)
    assert outcomes(again)[:2] == ["kept", "new"]
    assert again.entries[1].entry_id == broken.entry_id
    assert again.entries[1].problem() is None
    assert "made again: " in again.repairs[0]
    assert "the bytes of its latent changed" in again.repairs[0]
    assert load_session(folder).skipped == ()

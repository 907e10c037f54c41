"""The edit of a long video, segment by segment: each is saved before the next one starts.

Nothing is made twice: the result of an earlier run stays as long as everything that decides it
stays the same. The program around the loop is a `Host`.
"""

import time
from dataclasses import dataclass, field
from functools import cached_property

import torch

from ..cache.entry import MemoryEntry, Segment
from ..cache.memory_cache import MemoryCache
from ..cameras.trajectory import static_trajectory
from ..resuming.outcomes import Outcome
from ..resuming.recipe import Recipe, content_hash
from ..resuming.run import ResumingRun, noise_of
from ..retrieval.descriptors import Descriptor
from ..retrieval.segments import SegmentQuery
from ..sampling.entries import finished_entry
from ..sampling.sample import sample_turn
from ..sampling.turn import Turn, checked_turn
from ..shapes import num_latent_frames
from ..tokens.budget import TokenPlan
from .host import Host, SegmentSource
from .recipe import entries_of, entry_made_by, seen_by, without_segment
from .settings import LongEdit


@dataclass(frozen=True, eq=False)
class EditedSegment:
    """A segment's entry, and where it comes from.

    memories: what it saw, in words.
    stale_for: why it is stale; "" where it is not. A new segment is stale where it saw a stale one.
    seconds: time that this run spent on it.
    """

    entry: MemoryEntry
    outcome: Outcome
    memories: str
    stale_for: str
    seconds: float


@dataclass(frozen=True, eq=False)
class FinishedEdit:
    """The cache with every segment, the outcome of each, and what saving had to repair."""

    cache: MemoryCache
    segments: tuple[EditedSegment, ...]
    repairs: tuple[str, ...] = ()

    @property
    def entries(self) -> tuple[MemoryEntry, ...]:
        """The entry of every segment, in the order of the video."""
        return tuple(part.entry for part in self.segments)


def edit_segments(edit: LongEdit, cache: MemoryCache, host: Host) -> FinishedEdit:
    """Every segment of the plan, kept from `cache` where possible, else made and saved at once.

    An interrupt loses only the segment in progress.

    Raises: ValueError for inputs that do not fit the model, and for a cache of another model or
    latent size.
    """
    run = _Run(edit=edit, cache=cache, host=host)
    edited = []
    for segment in edit.plan.segments:
        # Between two segments a stop loses nothing.
        host.interrupted()
        started = time.monotonic()
        entry, outcome, memories, stale_for = run.edited(segment)
        seconds = time.monotonic() - started
        host.finished(entry, outcome)
        edited.append(EditedSegment(entry, outcome, memories, stale_for, seconds))
    return FinishedEdit(run.cache, tuple(edited), tuple(dict.fromkeys(run.repairs)))


@dataclass(eq=False, kw_only=True)
class _Run(ResumingRun):
    """The progress of one run of the loop.

    finished: the entry of each segment so far.
    """

    edit: LongEdit
    host: Host
    finished: dict[int, MemoryEntry] = field(default_factory=dict)

    @cached_property
    def descriptor(self) -> Descriptor:
        return self.host.descriptor()

    def edited(self, segment: Segment) -> tuple[MemoryEntry, Outcome, str, str]:
        """The segment's entry, its outcome, the memories that it saw, and why it is stale."""
        # Step 1: the recipe of this segment now, and the entry that an earlier run made by it.
        source = self.host.read(segment)
        recipe = self._recipe(source)
        entry = self.sound(entry_made_by(self.cache, segment, recipe))
        query = self._query(source, entry)
        plan = self._plan(query)

        # Step 2: keep it, keep it as stale, or make it.
        found = entry
        entry, outcome = self.kept_or_made(
            found,
            _ids(plan),
            self.edit.redo,
            lambda: self._made(source, query, plan, recipe, found),
        )

        # Step 3: report what it saw.
        memories = self._what_it_saw(entry) if outcome == "stale" else _memories_text(plan)
        if plan is not None and not memories and self.edit.base.has_keyframe:
            memories = "none, led by its keyframe"
        stale_for = self._why_stale(entry, plan) if entry.entry_id in self.stale else ""
        self.finished[segment.idx] = entry
        return entry, outcome, memories, stale_for

    def _recipe(self, source: SegmentSource) -> Recipe:
        redo = self.edit.redo
        redo_seed = redo.seed if source.segment.idx in redo.units else None
        return Recipe(content_hash(self.edit.settings_hash, source.digest), redo_seed)

    def _query(self, source: SegmentSource, entry: MemoryEntry | None) -> SegmentQuery:
        if self.edit.mode != "memory":
            return SegmentQuery(source.segment)
        if entry is not None:
            # The recipe says that the source is the same. A GPU may compute it differently in the
            # last bit, so the stored descriptor is used.
            return SegmentQuery(source.segment, entry.source_descriptor, entry.descriptor_name)
        described = self.descriptor(source.true_frames)
        return SegmentQuery(source.segment, described, self.descriptor.name)

    def _plan(self, query: SegmentQuery) -> TokenPlan | None:
        if self.edit.mode != "memory":
            return None
        base = self.edit.base
        earlier = seen_by(self.finished, query.segment, base.model_name)
        return self.edit.memory.plan(earlier, query, base)

    def _made(
        self,
        source: SegmentSource,
        query: SegmentQuery,
        plan: TokenPlan | None,
        recipe: Recipe,
        stale: MemoryEntry | None,
    ) -> MemoryEntry:
        """A new entry in place of all entries of this segment.

        A stale entry is made again with its own noise.
        """
        segment = source.segment
        seed, text = noise_of(self.edit.seed, segment.idx, recipe, stale)

        # Step 1: inputs that do not fit are refused before anything is sampled.
        turn = self._turn(source, plan)
        self.require_room(turn)

        # Step 2: sample, replace the old entries, save.
        self.host.started(segment, _numbers(plan))

        def sampler(turn: Turn, shows_progress: bool = True) -> torch.Tensor:
            return self.host.sample(turn, seed, segment, shows_progress)

        latent = sample_turn(turn, sampler, is_segment=True)
        entry = finished_entry(
            turn,
            latent,
            self.cache,
            seed=seed,
            prompt=self.edit.prompt,
            thumbnail=self.host.thumbnail(latent),
            number=segment.idx + 1,
            query=query,
            recipe=text,
            is_pinned=any(old.is_pinned for old in entries_of(self.cache, segment.idx)),
        )
        return self.saved(without_segment(self.cache, segment.idx).append(entry), entry)

    def _turn(self, source: SegmentSource, plan: TokenPlan | None) -> Turn:
        """The segment as the model takes it.

        A model with cameras gets a static path for source and target.
        """
        base, num_frames = self.edit.base, len(source.frames)
        latent = self.host.encode(source.frames)
        camera = static_trajectory(num_frames, is_assumed=True) if base.has_cameras else None
        turn = checked_turn(base, latent, plan, camera, camera)
        # Another VAE of the same channels would have passed until here.
        wanted = num_latent_frames(num_frames, base.ratios.temporal)
        if latent.shape[1] != wanted:
            raise ValueError(
                f"vae got {num_frames} frames and made {latent.shape[1]} latent frames of them, "
                f"wanted {wanted} as for {base.model_name}; connect that model's VAE"
            )
        return turn

    def _why_stale(self, entry: MemoryEntry, plan: TokenPlan | None) -> str:
        held = {kept.entry_id for kept in self.finished.values()}
        if not held.issuperset(entry.memory_ids):
            return "it saw an edit that was replaced since"
        if self.stale.intersection(entry.memory_ids):
            return "it saw a segment that is stale itself"
        now = _memories_text(plan) or "none"
        return f"made now it would see {now}, as pins or other edits changed the choice"

    def _what_it_saw(self, entry: MemoryEntry) -> str:
        names = {kept.entry_id: f"segment {idx + 1}" for idx, kept in self.finished.items()}
        return ", ".join(
            names.get(entry_id, f"an edit since replaced ({entry_id[:8]})")
            for entry_id in entry.memory_ids
        )


def _ids(plan: TokenPlan | None) -> tuple[str, ...]:
    entries = plan.retrieval.entries if plan is not None else ()
    return tuple(entry.entry_id for entry in entries)


def _numbers(plan: TokenPlan | None) -> tuple[int, ...]:
    """Numbers of the segments that a plan shows, from 1, best first."""
    entries = plan.retrieval.entries if plan is not None else ()
    return tuple(entry.segment.idx + 1 for entry in entries if entry.segment is not None)


def _memories_text(plan: TokenPlan | None) -> str:
    if plan is None:
        return ""
    pairs = zip(plan.retrieval.entries, plan.kernels, strict=True)
    return ", ".join(
        f"segment {entry.segment.idx + 1} at 1x{kernel}x{kernel}"
        for entry, kernel in pairs
        if entry.segment is not None
    )

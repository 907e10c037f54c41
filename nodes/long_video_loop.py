"""The edit of a long video, segment by segment: each is on disk before the next one starts, and is
never made twice.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import comfy.model_management
import comfy.sample
import comfy.utils
import latent_preview
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE

from ..memv2v_core.cache.entry import MemoryEntry, Segment
from ..memv2v_core.cache.memory_cache import MemoryCache
from ..memv2v_core.cameras.trajectory import static_trajectory
from ..memv2v_core.long_edit.recipe import (
    Recipe,
    content_hash,
    entries_of,
    entry_made_by,
    seen_by,
    segment_seed,
    state_of,
    without_segment,
)
from ..memv2v_core.clips.segments import segment_text
from ..memv2v_core.retrieval.descriptors import Descriptor
from ..memv2v_core.sampling.turn import Shot
from ..memv2v_core.shapes import num_latent_frames
from ..memv2v_core.tokens.budget import TokenPlan, plan_tokens
from .clips import Reader, SegmentQuery, SegmentSource, SplitVideo, read_segment
from .conditioning import (
    conditionings,
    empty_latent,
    make_shot,
    memories_of,
    prompt_or_empty,
    with_memory,
)
from .entries import segment_details, turn_entry
from .fifo import sample_fifo_video
from .keyframe import led_by_keyframe
from .recipes import model_parts, vae_parts
from .sampling import remember
from .segment_retrieval import RetrievalSettings

MEMORY, INDEPENDENT, FIFO = "memory", "independent", "fifo"
MODES = (MEMORY, INDEPENDENT, FIFO)

Outcome = Literal["new", "kept", "stale"]
Callback = Callable[[int, torch.Tensor, torch.Tensor, int], None]


@dataclass(frozen=True)
class SamplerSettings:
    """As KSampler's. seed: of the whole video, from which each segment has its own."""

    seed: int
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str


@dataclass(frozen=True)
class MemorySettings:
    """Which memories a segment sees, and how: see DynamicTokenize."""

    retrieval: RetrievalSettings
    unresponsive: str
    memory_range: str

    @property
    def parts(self) -> tuple[object, ...]:
        """All that decides what the model sees of earlier segments."""
        return *self.retrieval.choices, self.unresponsive, self.memory_range

    def plan(self, cache: MemoryCache, query: SegmentQuery, split: SplitVideo) -> TokenPlan:
        """The memories among the entries of `cache`, with the kernels and the merging that
        DynamicTokenize gives.
        """
        retrieval = self.retrieval.retrieve(cache, query, split)
        return plan_tokens(
            retrieval, unresponsive=self.unresponsive, memory_range=self.memory_range
        )


@dataclass(frozen=True)
class RedoSettings:
    """Segments (from 0) to have anew with noise of their own, and whether what saw their old edits
    is redone too.
    """

    segments: frozenset[int]
    seed: int
    redoes_stale: bool


@dataclass(frozen=True, eq=False)
class LongEdit:
    """All that is asked for. fifo_window: latent frames that the FIFO mode sees at once."""

    model: ModelPatcher
    vae: VAE
    positive: list | None
    negative: list | None
    split: SplitVideo
    mode: str
    sampler: SamplerSettings
    memory: MemorySettings
    redo: RedoSettings
    fifo_window: int

    @cached_property
    def settings_hash(self) -> str:
        """Hash of all that decides every segment alike."""
        modes = {MEMORY: self.memory.parts, INDEPENDENT: (), FIFO: (self.fifo_window,)}
        settings = vars(self.sampler)
        if self.mode == FIFO:
            settings = {name: value for name, value in settings.items() if name != "sampler_name"}
        reads_negative = self.sampler.cfg != 1 or self.model.model_options.get(
            "disable_cfg1_optimization", False
        )
        prompts = self.positive, self.negative if reads_negative else self.positive
        return content_hash(
            model_parts(self.model),
            vae_parts(self.vae),
            prompts,
            tuple(settings.values()),
            self.mode,
            modes[self.mode],
        )

    def recipe(self, source: SegmentSource) -> Recipe:
        """What would make this segment now."""
        redo_seed = self.redo.seed if source.segment.idx in self.redo.segments else None
        return Recipe(content_hash(self.settings_hash, source.digest), redo_seed)


@dataclass(frozen=True, eq=False)
class EditedSegment:
    """A segment's entry, and where it comes from. memories: what it saw, in words; of a stale one
    `stale_for` says why it is, as of a new one that saw a stale one."""

    entry: MemoryEntry
    outcome: Outcome
    memories: str
    stale_for: str
    seconds: float


def edit_segments(
    edit: LongEdit, cache: MemoryCache
) -> tuple[MemoryCache, tuple[EditedSegment, ...]]:
    """The cache with every segment in it, on disk where it has a session, and what became of each.

    An interrupt loses the segment at work alone.

    Raises: ValueError for inputs that do not fit the model, and for a cache of another model or
    latent size.
    """
    run = _Run(edit, cache)
    read = edit.split.clip.reader()
    edited = []
    for segment in edit.split.plan.segments:
        comfy.model_management.throw_exception_if_processing_interrupted()
        started = time.monotonic()
        entry, outcome, memories, stale_for = run.edited(segment, read)
        edited.append(
            EditedSegment(entry, outcome, memories, stale_for, time.monotonic() - started)
        )
    return run.cache, tuple(edited)


@dataclass(eq=False)
class _Run:
    """How far one run of the loop is. finished: the entry of each segment so far. stale: ids of
    those kept as such.
    """

    edit: LongEdit
    cache: MemoryCache
    finished: dict[int, MemoryEntry] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)

    @cached_property
    def descriptor(self) -> Descriptor:
        return self.edit.memory.retrieval.load()

    @cached_property
    def callback(self) -> Callback:
        """One progress bar over all segments and steps, with the previews of ComfyUI's own
        samplers.
        """
        total = self.edit.sampler.steps * len(self.edit.split.plan.segments)
        return latent_preview.prepare_callback(self.edit.model, total)

    def edited(self, segment: Segment, read: Reader) -> tuple[MemoryEntry, Outcome, str, str]:
        """The segment's entry, made where none can stay, the memories that it saw, and why it is
        stale.
        """
        source = read_segment(self.edit.split, read, segment)
        recipe = self.edit.recipe(source)
        entry = entry_made_by(self.cache, segment, recipe)
        query = self._query(source, entry)
        plan = self._plan(query)
        state = state_of(entry, _ids(plan), self.stale)
        outcome: Outcome = "kept"
        if state == "stale" and not self.edit.redo.redoes_stale:
            self.stale.add(entry.entry_id)
            outcome = "stale"
        elif state != "done":
            entry = self._made(source, query, plan, recipe, entry)
            outcome = "new"
            if self.stale.intersection(entry.memory_ids):
                self.stale.add(entry.entry_id)
        memories = self._what_it_saw(entry) if outcome == "stale" else _memories_text(plan)
        if plan is not None and not memories and self.edit.split.info.has_keyframe:
            memories = "none, led by its keyframe"
        stale_for = self._why_stale(entry, plan) if entry.entry_id in self.stale else ""
        self.finished[segment.idx] = entry
        return entry, outcome, memories, stale_for

    def _query(self, source: SegmentSource, entry: MemoryEntry | None) -> SegmentQuery:
        if self.edit.mode != MEMORY:
            return SegmentQuery(source.segment)
        if (
            entry is not None
        ):  # its source is the very same, and a GPU may not repeat itself to the last bit
            return SegmentQuery(source.segment, entry.source_descriptor, entry.descriptor_name)
        return self.edit.memory.retrieval.describe(source, self.descriptor)

    def _plan(self, query: SegmentQuery) -> TokenPlan | None:
        if self.edit.mode != MEMORY:
            return None
        earlier = seen_by(self.finished, query.segment, self.edit.split.info.model_name)
        return self.edit.memory.plan(earlier, query, self.edit.split)

    def _made(
        self,
        source: SegmentSource,
        query: SegmentQuery,
        plan: TokenPlan | None,
        recipe: Recipe,
        stale: MemoryEntry | None,
    ) -> MemoryEntry:
        """A new entry in place of those of this segment. A stale one is repeated with its own
        noise.
        """
        edit, segment = self.edit, source.segment
        seed = segment_seed(
            edit.sampler.seed if recipe.redo_seed is None else recipe.redo_seed, segment.idx
        )
        text = str(recipe)
        if stale is not None:
            seed, text = stale.seed, stale.recipe
        shot = encoded_shot(edit, source, plan)
        channels, _, height, width = shot.source_latent.shape
        try:
            self.cache.require_fit(edit.split.info.model_name, (channels, height, width))
        except ValueError as error:
            raise ValueError(f"{error}; here: give this model and size another session") from error
        samples = sample_segment(edit, shot, plan, seed, self._callback_of(segment))
        details = segment_details(query, samples, edit.split.info)
        is_pinned = any(old.is_pinned for old in entries_of(self.cache, segment.idx))
        details |= {"recipe": text, "turn": segment.idx + 1, "is_pinned": is_pinned}
        entry = turn_entry(
            samples, edit.model, shot, edit.split.info, self.cache, seed, plan, **details
        )
        self.cache = replaced(self.cache, entry)
        return entry

    def _callback_of(self, segment: Segment) -> Callback | None:
        if self.edit.mode == FIFO:
            return None
        steps, count = self.edit.sampler.steps, len(self.edit.split.plan.segments)

        def callback(step: int, x0: torch.Tensor, x: torch.Tensor, total: int) -> None:
            self.callback(segment.idx * steps + step, x0, x, steps * count)

        return callback

    def _why_stale(self, entry: MemoryEntry, plan: TokenPlan | None) -> str:
        held = {kept.entry_id for kept in self.finished.values()}
        if not held.issuperset(entry.memory_ids):
            return "it saw an edit that was replaced since"
        if self.stale.intersection(entry.memory_ids):
            return "it saw a segment that is stale itself"
        return (
            f"made now it would see {_memories_text(plan) or 'none'}, as pins or other edits "
            "changed the choice"
        )

    def _what_it_saw(self, entry: MemoryEntry) -> str:
        names = {
            held.entry_id: f"segment {held.segment.idx + 1}" for held in self.finished.values()
        }
        return ", ".join(
            names.get(entry_id, f"an edit since replaced ({entry_id[:8]})")
            for entry_id in entry.memory_ids
        )


def encoded_shot(edit: LongEdit, source: SegmentSource, plan: TokenPlan | None) -> Shot:
    """The segment as the model takes it. A model with cameras is told that none of them moves."""
    info = edit.split.info
    latent = edit.vae.encode(source.frames.movedim(1, -1).contiguous())
    camera = static_trajectory(len(source.frames), is_assumed=True) if info.has_cameras else None
    shot = make_shot(info, {"samples": latent}, plan, camera, camera)
    wanted = num_latent_frames(len(source.frames), info.ratios.temporal)
    if shot.source_latent.shape[1] != wanted:
        raise ValueError(
            f"vae got {len(source.frames)} frames and made {shot.source_latent.shape[1]} latent "
            f"frames of them, wanted {wanted} as for {info.model_name}; connect that model's VAE"
        )
    return shot


def sample_segment(
    edit: LongEdit, shot: Shot, plan: TokenPlan | None, seed: int, callback: Callback | None
) -> torch.Tensor:
    """The finished latent (1, C, T, H, W): the same as MemoryV2VSampler's with these inputs."""
    info, sampler = edit.split.info, edit.sampler
    if edit.mode == FIFO:
        prompts = (prompt_or_empty(prompt, info) for prompt in (edit.positive, edit.negative))
        window, steps, cfg = edit.fifo_window, sampler.steps, sampler.cfg
        source = shot.source_latent
        return sample_fifo_video(
            edit.model, *prompts, source, window, steps, cfg, seed, sampler.scheduler
        ).unsqueeze(0)
    seen = led_by_keyframe(shot, plan, info, lambda keyframe: _sampled(edit, keyframe, None, seed))
    return _sampled(edit, shot, seen, seed, callback)


def _sampled(
    edit: LongEdit, shot: Shot, plan: TokenPlan | None, seed: int, callback: Callback | None = None
) -> torch.Tensor:
    info, sampler = edit.split.info, edit.sampler
    patched = with_memory(edit.model, shot, plan, info)
    positive, negative = conditionings(edit.positive, edit.negative, shot, info)
    latent = empty_latent(shot, plan, info, batch_size=1)["samples"]
    return comfy.sample.sample(
        patched,
        comfy.sample.prepare_noise(latent, seed),
        sampler.steps,
        sampler.cfg,
        sampler.sampler_name,
        sampler.scheduler,
        positive,
        negative,
        latent,
        callback=callback,
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )


def replaced(cache: MemoryCache, entry: MemoryEntry) -> MemoryCache:
    """The cache with `entry` in place of all earlier ones of its segment, on disk where it has a
    session.
    """
    grown, _ = remember(without_segment(cache, entry.segment.idx), entry)
    return grown


def describe_edit(edited: tuple[EditedSegment, ...]) -> str:
    """One line a segment: what it saw and whether it is new."""
    lines = []
    for part in edited:
        what = {
            "new": f"new, {part.seconds:.1f} s"
            + (f", and stale: {part.stale_for}" if part.stale_for else ""),
            "kept": "kept from an earlier run",
            "stale": f"stale: kept, but {part.stale_for}; set stale to redo to make it again",
        }[part.outcome]
        segment, entry_id = segment_text(part.entry.segment), part.entry.entry_id[:8]
        lines.append(f"{segment}, {entry_id}: {what}; memories: {part.memories or 'none'}")
    counts = ", ".join(
        f"{sum(part.outcome == kind for part in edited)} {kind}"
        for kind in ("new", "kept", "stale")
    )
    seconds = sum(part.seconds for part in edited)
    return "\n".join((f"{len(edited)} segments: {counts}; {seconds:.1f} s", *lines))


def describe_leftovers(edited: tuple[EditedSegment, ...], cache: MemoryCache) -> tuple[str, ...]:
    """A line about what a session holds beside these segments, if anything."""
    count = len(cache.entries) - len(edited)
    if count == 0:
        return ()
    return (
        f"the session also holds {count} entries of another split or mode, which are used again if "
        "you go back to it; Memory Cache can forget them",
    )


def _ids(plan: TokenPlan | None) -> tuple[str, ...]:
    return tuple(entry.entry_id for entry in memories_of(plan))


def _memories_text(plan: TokenPlan | None) -> str:
    kernels = plan.kernels if plan is not None else ()
    pairs = zip(memories_of(plan), kernels, strict=True)
    return ", ".join(
        f"segment {entry.segment.idx + 1} at 1x{kernel}x{kernel}" for entry, kernel in pairs
    )

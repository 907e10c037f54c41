"""One clip re-shot along a list of camera paths: each turn is saved before the next one starts.

A turn sees the turns before it that saw what it will see. Nothing is made twice: the result of an
earlier run stays as long as everything that decides it stays the same. The program around the loop
is a `Host`.
"""

import time
from dataclasses import dataclass, field, replace

import torch

from ..cache.entry import MemoryEntry
from ..cache.memory_cache import MemoryCache
from ..resuming.recipe import Recipe, content_hash
from ..resuming.run import ResumingRun, noise_of
from ..sampling.entries import finished_entry
from ..sampling.sample import TurnSampler, sample_turn, sample_without_memory
from ..sampling.turn import Turn, checked_turn
from ..sampling.turn_parts import camera_parts
from ..tokens.budget import TokenPlan
from .entries import entry_made_by, recipe_of, replaced_by, seen_by
from .host import Host, ReshotTurn
from .settings import CameraMove, Reshoot


@dataclass(frozen=True, eq=False)
class FinishedReshoot:
    """The cache with every turn, the outcome of each, and what saving had to repair."""

    cache: MemoryCache
    turns: tuple[ReshotTurn, ...]
    repairs: tuple[str, ...] = ()


def reshoot_clip(reshoot: Reshoot, cache: MemoryCache, host: Host) -> FinishedReshoot:
    """Every turn of the list, kept from `cache` where possible, else made and saved at once.

    An interrupt loses only the turn in progress.

    Raises: ValueError for inputs that do not fit the model, and for a cache of another model or
    latent size.
    """
    run, turns = _Run(reshoot=reshoot, cache=cache, host=host), []
    for number, move in enumerate(reshoot.moves, 1):
        # Between two turns a stop loses nothing.
        host.interrupted()
        started = time.monotonic()
        reshot = run.turn(number, move)
        reshot = replace(reshot, seconds=time.monotonic() - started)
        host.finished(reshot)
        turns.append(reshot)
    if reshoot.also_without_memory:
        # Last: what was asked for is seen before what it is compared with.
        turns = [replace(turn, entry=run.also_without_memory(turn)) for turn in turns]
    return FinishedReshoot(run.cache, tuple(turns), tuple(dict.fromkeys(run.repairs)))


@dataclass(eq=False, kw_only=True)
class _Run(ResumingRun):
    """The progress of one run of the loop.

    made: the entry of each turn so far, by number.
    """

    reshoot: Reshoot
    host: Host
    made: dict[int, MemoryEntry] = field(default_factory=dict)

    def turn(self, number: int, move: CameraMove) -> ReshotTurn:
        """The turn along this path; its seconds are not known yet."""
        # Step 1: the recipe of this turn now, and the entry that an earlier run made by it.
        recipe = self._recipe(number, move)
        entry = self.sound(entry_made_by(self.cache, number, recipe))
        plan = self._plan(move)

        # Step 2: keep it, keep it as stale, or make it.
        found = entry
        entry, outcome = self.kept_or_made(
            found,
            _ids(plan),
            self.reshoot.redo,
            lambda: self._sampled(number, move, plan, recipe, found),
        )

        # Step 3: report what it saw.
        seen = self._what_it_saw(entry) if outcome == "stale" else self._memories_text(plan)
        stale_for = self._why_stale(entry, plan) if entry.entry_id in self.stale else ""
        self.made[number] = entry
        return ReshotTurn(number, move.name, entry, outcome, seen, stale_for, 0.0)

    def also_without_memory(self, reshot: ReshotTurn) -> MemoryEntry:
        """The turn's entry, which also holds the turn without its memories, saved at once."""
        entry, move = reshot.entry, self.reshoot.moves[reshot.number - 1]
        if not entry.lacks_comparison:
            return entry
        self.host.interrupted()
        turn = self._checked(move, self._plan(move))
        # Every turn is made and seen by now: what goes wrong here must not take them away.
        try:
            # It may have been forgotten meanwhile.
            self.cache.get(entry.entry_id)
            self.require_room(turn)
            self.host.compares(reshot.number)
            latent = sample_without_memory(turn, self._sampler(entry.seed))
            grown = entry.beside(latent)
            cache = self.cache.with_content_of(grown)
        except ValueError as error:
            self.repairs.append(f"turn {reshot.number} was not made without memory: {error}")
            return entry
        return self.saved(cache, grown)

    def _recipe(self, number: int, move: CameraMove) -> Recipe:
        reshoot = self.reshoot
        content = content_hash(
            reshoot.settings_hash, camera_parts(move.path), camera_parts(reshoot.source_path)
        )
        is_redone = number - 1 in reshoot.redo.units
        return recipe_of(content, reshoot.redo.seed if is_redone else None)

    def _plan(self, move: CameraMove) -> TokenPlan:
        reshoot = self.reshoot
        earlier = seen_by(self.made, self.cache, len(reshoot.moves), reshoot.base.model_name)
        plan = reshoot.memory.plan(earlier, move.path)
        self.repairs += plan.retrieval.unreadable
        return plan

    def _sampled(
        self,
        number: int,
        move: CameraMove,
        plan: TokenPlan,
        recipe: Recipe,
        stale: MemoryEntry | None,
    ) -> MemoryEntry:
        """A new entry in place of all entries of this turn.

        A stale entry is made again with its own noise.
        """
        reshoot = self.reshoot
        seed, text = noise_of(reshoot.seed, number - 1, recipe, stale)

        # Step 1: inputs that do not fit are refused before anything is sampled.
        turn = self._checked(move, plan)
        self.require_room(turn)

        # Step 2: sample, replace the old entries, save.
        numbers = {entry.entry_id: number for number, entry in self.made.items()}
        self.host.started(number, [numbers[i] for i in _ids(plan) if i in numbers])
        latent = sample_turn(turn, self._sampler(seed))
        entry = finished_entry(
            turn,
            latent,
            self.cache,
            seed=seed,
            prompt=reshoot.prompt,
            thumbnail=self.host.thumbnail(latent),
            number=number,
            recipe=text,
        )
        return self.saved(*replaced_by(self.cache, entry))

    def _checked(self, move: CameraMove, plan: TokenPlan) -> Turn:
        base, source_path = self.reshoot.base, self.reshoot.source_path
        return checked_turn(base, self.host.source(), plan, source_path, move.path)

    def _sampler(self, seed: int) -> TurnSampler:
        def sampler(turn: Turn, shows_progress: bool = True) -> torch.Tensor:
            return self.host.sample(turn, seed, shows_progress)

        return sampler

    def _why_stale(self, entry: MemoryEntry, plan: TokenPlan) -> str:
        held = {kept.entry_id for kept in (*self.made.values(), *self.cache.entries)}
        if not held.issuperset(entry.memory_ids):
            return "it saw a turn that was replaced since"
        if self.stale.intersection(entry.memory_ids):
            return "it saw a turn that is stale itself"
        now = self._memories_text(plan) or "none"
        return f"made now it would see {now}, as pins or other turns changed the choice"

    def _what_it_saw(self, entry: MemoryEntry) -> str:
        return ", ".join(self._name(entry_id) for entry_id in entry.memory_ids)

    def _memories_text(self, plan: TokenPlan) -> str:
        pairs = zip(plan.retrieval.entries, plan.kernels, strict=True)
        return ", ".join(
            f"{self._name(entry.entry_id)} at 1x{kernel}x{kernel}" for entry, kernel in pairs
        )

    def _name(self, entry_id: str) -> str:
        numbers = {entry.entry_id: number for number, entry in self.made.items()}
        if entry_id in numbers:
            return f"turn {numbers[entry_id]}"
        is_held = any(entry.entry_id == entry_id for entry in self.cache.entries)
        kind = "the pinned turn" if is_held else "a turn since replaced"
        return f"{kind} {entry_id[:8]}"


def _ids(plan: TokenPlan) -> tuple[str, ...]:
    return tuple(entry.entry_id for entry in plan.retrieval.entries)

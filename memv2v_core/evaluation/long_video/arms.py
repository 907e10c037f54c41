"""The arms of the long-video comparison.

A held-out clip is edited segment by segment, or by FIFO. Every arm runs the loop that users run
(`long_edit.loop`), with a `Host` that has the built-in model and the clip. All arms start a segment
from the same noise. No two segments share their noise: that alone would make them agree. Latents
are in the DiT's space, which is also the codec's space.

C channels, T latent frames of a segment, N of the clip, H rows and W columns of latents.
"""

from dataclasses import dataclass, field
from functools import cached_property

import torch

from ...bases.base_info import BaseInfo
from ...builtin.bundle import Bundle
from ...builtin.sampler import BundleSampler, sample_video_by_fifo
from ...cache.entry import MemoryEntry, Segment
from ...cache.memory_cache import MemoryCache
from ...cache.storage import SavedSession
from ...clips.segments import SegmentPlan, plan_segments
from ...long_edit.host import SegmentSource
from ...long_edit.loop import FinishedEdit, edit_segments
from ...long_edit.settings import LongEdit, MemorySettings
from ...resuming.outcomes import Outcome
from ...retrieval.descriptors import Descriptor, LightDescriptor
from ...sampling.entries import require_fit
from ...sampling.keyframe import keyframe_of
from ...sampling.turn import Turn
from ...vocabulary import EditMode
from .clips import FIFO_NOISE, SEGMENT_NOISE, LongClip

AS_IN_THE_PAPER = MemorySettings(shot_aware=False)
# No memory, but a plan: a keyframe leads every segment, as it leads first segments with memory.
LED_ALONE = MemorySettings(k=0)
# The inputs of a turn: segment, number of frames, and id, kernel and place of every memory.
Sight = tuple[int, int, tuple[tuple[str, int, bool], ...]]


@dataclass(eq=False)
class ClipHost:
    """One held-out clip and the model that edits it, as the loop's `Host`.

    results: latents (C, T, H, W) sampled so far, by the inputs of their turn. Where arms agree on
    the inputs, they share the result.
    base: the model as memory sees it. num_steps: the model's if None.
    """

    bundle: Bundle
    clip: LongClip
    results: dict[Sight, torch.Tensor] = field(default_factory=dict)
    base: BaseInfo = field(init=False)
    num_steps: int | None = None

    def __post_init__(self) -> None:
        self.base = self.bundle.base_info()
        assert self.bundle.codec.ratios.temporal == 1, "frames and latent frames are one here"

    @cached_property
    def plan(self) -> SegmentPlan:
        """The clip's segments, as long as the model's window."""
        length = self.bundle.info.num_frames
        return plan_segments(self.clip.num_frames, length, 0, 1, self.clip.shots)

    @cached_property
    def context(self) -> torch.Tensor:
        """The instruction (1, L, D) as the model reads it."""
        return self.bundle.encode_prompt([self.clip.instruction]).to(self.bundle.device)

    @cached_property
    def source(self) -> torch.Tensor:
        """The source's latent (C, N, H, W)."""
        return self.bundle.codec.encode_frames(self.clip.scene.source)

    def noise(self, segment: Segment) -> torch.Tensor:
        """Noise (C, T, H, W) of one segment, always drawn on the CPU."""
        shape = self.source[:, segment.start : segment.stop].shape
        return torch.randn(shape, generator=self.clip.generator(SEGMENT_NOISE + segment.idx))

    def interrupted(self) -> None:
        """Nothing: nobody stops an evaluation."""

    def read(self, segment: Segment) -> SegmentSource:
        return SegmentSource(segment, self.clip.scene.source[segment.start : segment.stop])

    def descriptor(self) -> Descriptor:
        return LightDescriptor()

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        return self.bundle.codec.encode_frames(frames)

    def started(self, segment: Segment, sees: tuple[int, ...]) -> None:
        """Nothing: nobody watches an evaluation."""

    def finished(self, entry: MemoryEntry, outcome: Outcome) -> None:
        """Nothing, see `started`."""

    def sample(self, turn: Turn, seed: int, segment: Segment, shows_progress: bool) -> torch.Tensor:
        sight = _sight(turn, segment)
        if sight not in self.results:
            noise = self.noise(segment)
            # A keyframe is sampled from the noise of its frame.
            if turn.latent_shape[1] != noise.shape[1]:
                noise = noise[:, keyframe_of(noise.shape[1])]
            self.results[sight] = self.drawn_by(self.sampler(noise), turn)
        return self.results[sight]

    def sampler(self, noise: torch.Tensor) -> BundleSampler:
        """The sampler of a turn with this noise (C, T, H, W)."""
        return BundleSampler(self.bundle, self.context, lambda _turn: noise, self.num_steps)

    def drawn_by(self, sampler: BundleSampler, turn: Turn) -> torch.Tensor:
        """The finished latent (C, T, H, W) of a turn."""
        return sampler(turn)

    def thumbnail(self, latent: torch.Tensor) -> None:
        return None

    def require_room(self, cache: MemoryCache, turn: Turn) -> None:
        require_fit(cache, turn)

    def save(self, cache: MemoryCache) -> SavedSession:
        return SavedSession(cache)


@dataclass(eq=False)
class GivenHost(ClipHost):
    """A host whose memories are given edits (C, N, H, W).

    Its own results go to `drawn`.
    """

    given: torch.Tensor | None = None
    drawn: dict[int, torch.Tensor] = field(default_factory=dict)

    def sample(self, turn: Turn, seed: int, segment: Segment, shows_progress: bool) -> torch.Tensor:
        # A keyframe is a preparing step, so it is drawn as usual.
        if not shows_progress:
            return super().sample(turn, seed, segment, shows_progress)
        assert self.given is not None, "given edits are what this host remembers"
        given = self.given[:, segment.start : segment.stop]
        # The first answer is given too: there is nothing to remember yet.
        is_first = segment.idx == 0
        drawn = given if is_first else super().sample(turn, seed, segment, shows_progress)
        self.drawn[segment.idx] = drawn
        return given


@dataclass(eq=False)
class FifoHost(ClipHost):
    """A host that edits the whole clip as one segment, by diagonal denoising.

    Frames enter the queue with the noise that the other arms give them.
    """

    def sample(self, turn: Turn, seed: int, segment: Segment, shows_progress: bool) -> torch.Tensor:
        window = self.bundle.info.num_frames
        fresh = torch.cat([self.noise(part) for part in self.plan.segments], dim=1)[None]
        renoise = torch.randn(fresh[0, :, :window].shape, generator=self.clip.generator(FIFO_NOISE))
        # In the order of `sample_video_by_fifo`: first window, its renewed noise, then frame by
        # frame.
        draws = iter([fresh[:, :, :window], renoise[None], *fresh[:, :, window:].split(1, dim=2)])
        return sample_video_by_fifo(self.bundle, turn, self.context, draws)


def edit_clip(host: ClipHost, mode: EditMode, memory: MemorySettings | None = None) -> FinishedEdit:
    """The clip as the node Edit Long Video edits it in this mode."""
    plan = host.plan
    if mode == "fifo":
        # One segment of the whole clip, without any cut.
        plan = plan_segments(plan.num_frames, plan.num_frames, 0, 1)
    edit = LongEdit(host.base, plan, mode, 0, memory or MemorySettings())
    return edit_segments(edit, MemoryCache(), host)


def edit_alone(host: ClipHost, is_led: bool = False) -> torch.Tensor:
    """Every segment without memory, (C, N, H, W): LucyEdit (Ind).

    is_led: whether a keyframe leads each segment.
    """
    finished = edit_clip(host, "memory", LED_ALONE) if is_led else edit_clip(host, "independent")
    return _joined(finished)


def edit_with_memory(host: ClipHost, memory: MemorySettings | None = None) -> torch.Tensor:
    """Every segment with the earlier segments of similar sources as memory, (C, N, H, W)."""
    return _joined(edit_clip(host, "memory", memory))


def edit_with_given(host: ClipHost, given: torch.Tensor) -> torch.Tensor:
    """Every segment with `given` edits (C, N, H, W) as memory, (C, N, H, W).

    The result also starts with the given edit of the first segment.
    """
    host = GivenHost(host.bundle, host.clip, host.results, given=given)
    edit_clip(host, "memory")
    return torch.cat([host.drawn[idx] for idx in sorted(host.drawn)], dim=1)


def edit_by_fifo(host: ClipHost) -> torch.Tensor:
    """The clip (C, N, H, W) by FIFO-Diffusion, without memory: LucyEdit (FIFO)."""
    return _joined(edit_clip(FifoHost(host.bundle, host.clip), "fifo"))


def _joined(finished: FinishedEdit) -> torch.Tensor:
    return torch.cat([entry.latent for entry in finished.entries], dim=1)


def _sight(turn: Turn, segment: Segment) -> Sight:
    # Without a plan there are no memories.
    ranked = turn.plan.retrieval.ranked if turn.plan is not None else ()
    seen = tuple(
        (found.entry.entry_id, kernel, found.is_previous)
        for found, kernel in zip(ranked, turn.kernels, strict=True)
    )
    return segment.idx, turn.latent_shape[1], seen

"""The arms of the long-video comparison: every held-out clip edited segment by segment, or as one
by FIFO.

B rows are clips of one family, which share their plan. All arms start a segment from the same
noise, and no two segments share one: that alone would make them agree. Latents are in the DiT's
space throughout.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch

from ...bases.base_info import BaseInfo, adapted
from ...builtin.bundle import Bundle
from ...cache.entry import MemoryEntry, Segment
from ...cache.memory_cache import MemoryCache
from ...cameras.trajectory import static_trajectory
from ...clips.segments import SegmentPlan, plan_segments
from ...model.memory_inputs import MemoryInputs
from ...model.memory_model import memory_forward, tokenize_clean
from ...retrieval.descriptors import LIGHT, light_descriptor
from ...retrieval.segments import SegmentRetrievalConfig, retrieve_by_similarity
from ...retrieval.selection import Retrieval
from ...sampling.fifo import sample_fifo
from ...sampling.flow_match import sample_euler, shifted_sigmas
from ...sampling.keyframe import keyframe_of, keyframe_plan
from ...sampling.turn import Shot, finished_entry, memory_inputs
from ...tokens.budget import TokenPlan, plan_tokens
from .clips import FIFO_NOISE, SEGMENT_NOISE, LongClip

NUM_MEMORIES = 4  # the most that the built-in editor was trained with
ALL_FRAMES = slice(None)
AS_IN_THE_PAPER = SegmentRetrievalConfig(shot_aware=False)
Rows = tuple[int, ...]
Key = tuple[int, int, tuple[tuple[str, bool], ...], bool]
Retrieve = Callable[[MemoryCache, Segment, torch.Tensor], Retrieval]


@dataclass(frozen=True, eq=False)
class LongBatch:
    """Clips edited together.

    source_latent: (B, C, N, H, W). context: (B, L, D). descriptors: of each segment, (segments, B,
    D).
    finished: latents (C, T, H, W) sampled so far, by segment, row, memories and whether a keyframe
    leads: where arms agree on these, they agree on the result.
    """

    bundle: Bundle
    clips: tuple[LongClip, ...]
    plan: SegmentPlan
    source_latent: torch.Tensor
    context: torch.Tensor
    descriptors: torch.Tensor
    finished: dict[Key, torch.Tensor] = field(default_factory=dict)

    @classmethod
    @torch.no_grad()
    def of(cls, bundle: Bundle, clips: Sequence[LongClip]) -> "LongBatch":
        """The clips planned, encoded and described; all of one family."""
        ratio = bundle.codec.ratios.temporal
        assert ratio == 1, "frames and latent frames are counted as one here"
        device = next(bundle.codec.parameters()).device
        plan = plan_segments(clips[0].num_frames, bundle.info.num_frames, 0, ratio, clips[0].shots)
        sources = torch.stack([clip.scene.source for clip in clips])
        described = [
            torch.stack(
                [light_descriptor(source[segment.start : segment.stop]) for source in sources]
            )
            for segment in plan.segments
        ]
        return cls(
            bundle,
            tuple(clips),
            plan,
            _encode(bundle, sources),
            bundle.encode_prompt([clip.instruction for clip in clips]).to(device),
            torch.stack(described),
        )

    def source(self, segment: Segment) -> torch.Tensor:
        """The source's latents (B, C, T, H, W) of one segment."""
        return self.source_latent[:, :, segment.start : segment.stop]

    def noise(self, segment: Segment) -> torch.Tensor:
        """Noise (B, C, T, H, W) of one segment, drawn for each clip by itself and always on the
        CPU.
        """
        shape = self.source(segment).shape[1:]
        drawn = [
            torch.randn(shape, generator=clip.generator(SEGMENT_NOISE + segment.idx))
            for clip in self.clips
        ]
        return torch.stack(drawn).to(self.source_latent)

    @torch.no_grad()
    def encode(self, videos: torch.Tensor) -> torch.Tensor:
        """Latents (B, C, N, H, W) of videos (B, N, 3, H, W)."""
        return _encode(self.bundle, videos)

    @torch.no_grad()
    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """Videos (B, N, 3, H, W) in [0, 1], on the CPU, decoded segment by segment."""
        parts = [latent[:, :, segment.start : segment.stop] for segment in self.plan.segments]
        video = torch.cat([self.bundle.codec.decode(part) for part in parts], dim=2)
        return ((video + 1) / 2).clamp(0, 1).transpose(1, 2).cpu()


def edit_alone(batch: LongBatch, is_led: bool = False) -> torch.Tensor:
    """Every segment by itself, (B, C, N, H, W): LucyEdit (Ind). is_led: see `edit_by_segments`."""
    return edit_by_segments(
        batch, lambda cache, segment, descriptor: Retrieval(None, ()), is_led=is_led
    )


def edit_with_memory(
    batch: LongBatch,
    config: SegmentRetrievalConfig | None = None,
    given: torch.Tensor | None = None,
) -> torch.Tensor:
    """Every segment with the earlier ones that its source resembles, (B, C, N, H, W), those without
    led by keyframes.

    given: see `edit_by_segments`.
    """

    def retrieve(cache: MemoryCache, segment: Segment, descriptor: torch.Tensor) -> Retrieval:
        return retrieve_by_similarity(cache, descriptor, LIGHT, segment, NUM_MEMORIES, config)

    return edit_by_segments(batch, retrieve, given, is_led=True)


@torch.no_grad()
def edit_by_segments(
    batch: LongBatch, retrieve: Retrieve, given: torch.Tensor | None = None, is_led: bool = False
) -> torch.Tensor:
    """The edited clips (B, C, N, H, W), each segment with the memories that `retrieve` finds in its
    own clip's cache.

    given: (B, C, N, H, W), what caches hold instead of the results; its first segment is the first
    result too. is_led: whether a segment that sees no memory is led by its keyframe, as in Edit
    Long Video, where the editor has it. Rows with memories of the same kernels are sampled
    together.
    """
    caches = [MemoryCache() for _ in batch.clips]
    edited = torch.empty_like(batch.source_latent)
    for segment in batch.plan.segments:
        rows = zip(caches, batch.descriptors[segment.idx], strict=True)
        found = [retrieve(cache, segment, descriptor) for cache, descriptor in rows]
        held = None if given is None else given[:, :, segment.start : segment.stop]
        finished = (
            held
            if held is not None and segment.idx == 0
            else _finish(batch, segment, found, is_led)
        )
        held = finished if held is None else held
        caches = [cache.append(_entry(batch, segment, held, i)) for i, cache in enumerate(caches)]
        edited[:, :, segment.start : segment.stop] = finished
    return edited


@torch.no_grad()
def edit_by_fifo(batch: LongBatch) -> torch.Tensor:
    """The edited clips (B, C, N, H, W) by diagonal denoising, without memory: LucyEdit (FIFO).

    Its queue has as many noise levels as the other arms have steps. Frames enter it with the noise
    that the other arms give them.
    """
    bundle, num_frames = batch.bundle, batch.source_latent.shape[2]
    window = bundle.info.num_frames
    fresh = torch.cat([batch.noise(segment) for segment in batch.plan.segments], dim=2)
    renoise = [clip.generator(FIFO_NOISE) for clip in batch.clips]
    shape = batch.source_latent[:, :, :window].shape[1:]
    draws = iter(
        [
            fresh[:, :, :window],
            torch.stack([torch.randn(shape, generator=generator) for generator in renoise]).to(
                fresh
            ),
            *fresh[:, :, window:].split(1, dim=2),
        ]
    )
    inputs = MemoryInputs(clean_timestep=bundle.adapter.config.clean_timestep)

    def velocity(x: torch.Tensor, timesteps: torch.Tensor, frames: tuple[int, ...]) -> torch.Tensor:
        given = torch.cat((x, batch.source_latent[:, :, list(frames)]), dim=1)
        return memory_forward(
            bundle.backbone, bundle.adapter, given, timesteps, batch.context, inputs
        )

    sigmas = shifted_sigmas(bundle.info.num_steps, bundle.info.shift)
    return torch.cat(
        list(sample_fifo(velocity, lambda count: next(draws), num_frames, window, sigmas)), dim=2
    )


def grouped_inputs(
    bundle: Bundle, segment: Segment, found: Sequence[Retrieval]
) -> tuple[tuple[Rows, MemoryInputs], ...]:
    """Rows whose memories have the same roles and kernels in the same order, with their inputs in
    one batch.

    Kernels and merging are Edit Long Video's own.
    """
    groups: dict[tuple, list[int]] = {}
    inputs = []
    for i, retrieval in enumerate(found):
        plan = plan_tokens(retrieval)
        inputs.append(_inputs_of(bundle, segment, plan))
        alike = tuple(
            (kernel, ranked.is_previous)
            for kernel, ranked in zip(plan.kernels, retrieval.ranked, strict=True)
        )
        groups.setdefault(alike, []).append(i)
    return tuple((tuple(rows), _batched([inputs[i] for i in rows])) for rows in groups.values())


def _inputs_of(bundle: Bundle, segment: Segment, plan: TokenPlan) -> MemoryInputs:
    return memory_inputs(
        Shot(None, None, None), plan, segment.num_frames, base_info(bundle), lambda latent: latent
    )


def base_info(bundle: Bundle) -> BaseInfo:
    """A built-in editor as memory sees it."""
    config, info = bundle.adapter.config, bundle.info
    side = info.size // bundle.codec.ratios.spatial
    base = BaseInfo(
        model_name=info.name,
        mode="trained",
        ratios=bundle.codec.ratios,
        text_width=None,
        clean_timestep=config.clean_timestep,
        has_cameras=config.has_cameras,
        source_placement="channels",
        latent_size=(side, side),
        num_frames=info.num_frames,
    )
    return adapted(base, config, "trained")


def _encode(bundle: Bundle, videos: torch.Tensor) -> torch.Tensor:
    device = next(bundle.codec.parameters()).device
    return bundle.codec.encode(videos.to(device).transpose(1, 2) * 2 - 1)


def _batched(inputs: Sequence[MemoryInputs]) -> MemoryInputs:
    streams = []
    for alike in zip(*(row.streams for row in inputs), strict=True):
        streams.append(replace(alike[0], latent=torch.cat([stream.latent for stream in alike])))
    return replace(inputs[0], streams=tuple(streams))


def _finish(
    batch: LongBatch, segment: Segment, found: Sequence[Retrieval], is_led: bool
) -> torch.Tensor:
    """The finished latents (B, C, T, H, W) of one segment, sampled where no arm before had the same
    memories.
    """
    is_led = is_led and base_info(batch.bundle).has_keyframe
    keys = [_key(segment, i, retrieval, is_led) for i, retrieval in enumerate(found)]
    new = [i for i, key in enumerate(keys) if key not in batch.finished]
    for group, inputs in grouped_inputs(batch.bundle, segment, [found[i] for i in new]):
        rows = tuple(new[i] for i in group)
        if is_led and not inputs.streams:
            inputs = _keyframe_inputs(batch, segment, rows, inputs)
        for i, latent in zip(rows, _sample(batch, segment, rows, inputs), strict=True):
            batch.finished[keys[i]] = latent
    return torch.stack([batch.finished[key] for key in keys])


def _key(segment: Segment, row: int, retrieval: Retrieval, is_led: bool) -> Key:
    memories = tuple((ranked.entry.entry_id, ranked.is_previous) for ranked in retrieval.ranked)
    return segment.idx, row, memories, is_led and not memories


def _keyframe_inputs(
    batch: LongBatch, segment: Segment, rows: Rows, bare: MemoryInputs
) -> MemoryInputs:
    """Their edited keyframes, as what these rows see. bare: what they see without."""
    keyframe, base = keyframe_of(segment.num_frames), base_info(batch.bundle)
    edited = _sample(batch, segment, rows, bare, keyframe)
    inputs = []
    for row, latent in zip(rows, edited, strict=True):
        plan = keyframe_plan(latent, batch.source(segment)[row, :, keyframe], base)
        inputs.append(_inputs_of(batch.bundle, segment, plan))
    return _batched(inputs)


def _sample(
    batch: LongBatch, segment: Segment, rows: Rows, inputs: MemoryInputs, frames: slice = ALL_FRAMES
) -> torch.Tensor:
    bundle, chosen = batch.bundle, list(rows)
    noise, source = (
        batch.noise(segment)[chosen][:, :, frames],
        batch.source(segment)[chosen][:, :, frames],
    )
    context = batch.context[chosen]
    clean = tokenize_clean(bundle.backbone, bundle.adapter, inputs, noise.shape)

    def velocity(x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        given = torch.cat((x, source), dim=1)
        return memory_forward(
            bundle.backbone, bundle.adapter, given, timestep, context, inputs, clean
        )

    return sample_euler(
        velocity, noise, shifted_sigmas(bundle.info.num_steps, bundle.info.shift).to(noise.device)
    )


def _entry(batch: LongBatch, segment: Segment, held: torch.Tensor, row: int) -> MemoryEntry:
    num_frames = segment.num_frames
    return finished_entry(
        held[row],
        static_trajectory(num_frames, is_assumed=True),
        model_name=batch.bundle.info.name,
        mode="trained",
        num_frames=num_frames,
        turn=segment.idx + 1,
        seed=0,
        source_latent=batch.source(segment)[row],
        source_descriptor=batch.descriptors[segment.idx, row],
        descriptor_name=LIGHT,
        segment=segment,
    )

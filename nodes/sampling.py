"""MemoryV2VSampler: one turn in one node, and the cache that grew by it."""

from pathlib import Path

import comfy.samplers
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui

from ..memv2v_core.bases.base_info import BaseInfo
from ..memv2v_core.cache.entry import MemoryEntry
from ..memv2v_core.cache.memory_cache import MemoryCache
from ..memv2v_core.cache.storage import save_session, session_folder
from ..memv2v_core.cameras.trajectory import CameraTrajectory
from ..memv2v_core.sampling.turn import Shot
from ..memv2v_core.tokens.budget import TokenPlan
from .attachment import LoadedAdapter, base_info, with_adapter
from .clips import SegmentQuery
from .conditioning import (
    ADAPTER_INPUT,
    SHARED_INPUTS,
    conditionings,
    describe_turn,
    empty_latent,
    make_shot,
    negative_or_unread,
    with_memory,
)
from .entries import segment_details, turn_entry
from .io_types import CATEGORY, Cache, SegmentSocket
from .keyframe import led_by_keyframe


class MemoryV2VSampler(io.ComfyNode):
    """Samples a turn and remembers it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemoryV2VSampler",
            display_name="Memory-V2V Sampler",
            category=CATEGORY,
            description="Makes one turn and appends it to the cache; wire the cache on to the next "
            "turn. A named session is saved as soon as the turn is finished. The same "
            "latents as Apply Memory with KSampler, but for a segment whose plan holds "
            "no memory: with the built-in editor its middle frame is edited first.",
            inputs=[
                *SHARED_INPUTS,
                Cache.Input(
                    "cache",
                    optional=True,
                    tooltip="Where to append this turn; a new cache in memory if empty.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="Noise of this turn. Every turn denoises independently; give each its "
                    "own seed.",
                ),
                io.Int.Input(
                    "steps",
                    default=12,
                    min=1,
                    max=200,
                    tooltip="Denoising steps; 12 for the built-in model.",
                ),
                io.Float.Input(
                    "cfg",
                    default=1.0,
                    min=0.0,
                    max=30.0,
                    step=0.1,
                    tooltip="1 for the built-in model.",
                ),
                io.Combo.Input(
                    "sampler_name",
                    options=comfy.samplers.SAMPLER_NAMES,
                    default="euler",
                    tooltip="Solver.",
                ),
                io.Combo.Input(
                    "scheduler",
                    options=comfy.samplers.SCHEDULER_NAMES,
                    default="simple",
                    tooltip="Noise levels.",
                ),
                ADAPTER_INPUT,
                SegmentSocket.Input(
                    "segment",
                    optional=True,
                    tooltip="From Dino Segment Retrieve: which segment of a long video this turn "
                    "edits, kept with the result so that Stitch Segments finds it.",
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The finished turn."),
                Cache.Output(display_name="cache", tooltip="The cache with this turn in it."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: list | None = None,
        negative: list | None = None,
        source: dict | None = None,
        plan: TokenPlan | None = None,
        source_camera: CameraTrajectory | None = None,
        target_camera: CameraTrajectory | None = None,
        cache: MemoryCache | None = None,
        adapter: LoadedAdapter | None = None,
        segment: SegmentQuery | None = None,
    ) -> io.NodeOutput:
        from nodes import common_ksampler  # ComfyUI's own, not this package

        model = with_adapter(model, adapter)
        info = base_info(model)
        shot = make_shot(info, source, plan, source_camera, target_camera)
        cache = require_room(
            cache, shot, info, empty_latent(shot, plan, info, batch_size=1)["samples"]
        )
        negative = negative_or_unread(positive, negative, cfg)

        def sample(what: Shot, seen: TokenPlan | None) -> dict[str, torch.Tensor]:
            patched, latent = (
                with_memory(model, what, seen, info),
                empty_latent(what, seen, info, batch_size=1),
            )
            prompts = conditionings(positive, negative, what, info)
            return common_ksampler(
                patched, seed, steps, cfg, sampler_name, scheduler, *prompts, latent
            )[0]

        seen = plan
        if segment is not None:
            seen = led_by_keyframe(
                shot, plan, info, lambda keyframe: sample(keyframe, None)["samples"]
            )
        sampled = sample(shot, seen)
        details = {} if segment is None else segment_details(segment, sampled["samples"], info)
        entry = turn_entry(sampled["samples"], model, shot, info, cache, seed, plan, **details)
        grown, notes = remember(cache, entry)
        text = "\n".join(
            (describe_turn(shot, plan, info), f"turn {entry.turn} is {entry.entry_id[:8]}", *notes)
        )
        return io.NodeOutput(sampled, grown, ui=ui.PreviewText(text))


def require_room(
    cache: MemoryCache | None, shot: Shot, info: BaseInfo, samples: torch.Tensor
) -> MemoryCache:
    """The cache to append to, checked before the sampler spends its time.

    Raises: ValueError when a base with cameras got no path (such a result could not be found
    again), and for a cache of another model or latent size.
    """
    if shot.target_path is None and info.has_cameras:
        raise ValueError(
            "target_camera got nothing, wanted the path of this turn; the cache finds results by "
            "their cameras"
        )
    cache = cache if cache is not None else MemoryCache()
    cache.require_fit(info.model_name, (samples.shape[1], *samples.shape[3:]))
    return cache


def remember(cache: MemoryCache, entry: MemoryEntry) -> tuple[MemoryCache, tuple[str, ...]]:
    """`cache` with `entry`, and what its session had to repair; on disk at once where the cache has
    a session.
    """
    grown = cache.append(entry)
    if grown.session is None:
        return grown, ()
    return grown, save_session(grown, session_folder(sessions_root(), grown.session))


def sessions_root() -> Path:
    """The folder that holds every named session."""
    return Path(folder_paths.get_output_directory()) / "memory_v2v"


NODES = [MemoryV2VSampler]

"""MemoryV2VSampler: one turn in one node, and the cache that grew by it."""

from pathlib import Path

import comfy.samplers
import folder_paths
from comfy_api.latest import io

from ..memv2v_core.cache.entry import MemoryEntry
from ..memv2v_core.cache.memory_cache import MemoryCache
from ..memv2v_core.cache.storage import save_session, session_folder
from ..memv2v_core.sampling.turn import Shot, finished_entry
from .attachment import BaseInfo, base_info
from .conditioning import SHARED_INPUTS, empty_latent, make_shot, prompt_or_empty, with_memory
from .io_types import CATEGORY, Cache


class MemoryV2VSampler(io.ComfyNode):
    """Samples a turn and remembers it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemoryV2VSampler",
            display_name="Memory-V2V Sampler",
            category=CATEGORY,
            description="Makes one turn and appends it to the cache; wire the cache on to the next turn. A named session "
            "is saved as soon as the turn is finished. The same latents as Apply Memory with KSampler.",
            inputs=[
                *SHARED_INPUTS,
                Cache.Input(
                    "cache", optional=True, tooltip="Where to append this turn; a new cache in memory if empty."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="Noise of this turn. Every turn denoises independently; give each its own seed.",
                ),
                io.Int.Input(
                    "steps", default=12, min=1, max=200, tooltip="Denoising steps; 12 for the built-in model."
                ),
                io.Float.Input("cfg", default=1.0, min=0.0, max=30.0, step=0.1, tooltip="1 for the built-in model."),
                io.Combo.Input(
                    "sampler_name", options=comfy.samplers.SAMPLER_NAMES, default="euler", tooltip="Solver."
                ),
                io.Combo.Input(
                    "scheduler", options=comfy.samplers.SCHEDULER_NAMES, default="simple", tooltip="Noise levels."
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
        model,
        seed,
        steps,
        cfg,
        sampler_name,
        scheduler,
        positive=None,
        negative=None,
        source=None,
        plan=None,
        source_camera=None,
        target_camera=None,
        cache=None,
    ) -> io.NodeOutput:
        from nodes import common_ksampler  # ComfyUI's own, not this package

        info = base_info(model)
        cache = cache if cache is not None else MemoryCache()
        shot = make_shot(info, source, plan, source_camera, target_camera)
        latent = empty_latent(shot, plan, info, batch_size=1)
        cache.require_fit(info.model_name, (latent["samples"].shape[1], *latent["samples"].shape[3:]))
        (sampled,) = common_ksampler(
            with_memory(model, shot, plan, info),
            seed,
            steps,
            cfg,
            sampler_name,
            scheduler,
            prompt_or_empty(positive, info),
            prompt_or_empty(negative, info),
            latent,
        )
        entry = turn_entry(sampled["samples"], shot, info, cache, seed)
        return io.NodeOutput(sampled, remember(cache, entry))


def turn_entry(samples, shot: Shot, info: BaseInfo, cache: MemoryCache, seed: int) -> MemoryEntry:
    """The cache entry of a finished turn.

    Raises: ValueError when the turn had no camera path: such a result could not be found again.
    """
    if shot.target_path is None:
        raise ValueError(
            "target_camera got nothing, wanted the path of this turn; the cache finds results by their cameras"
        )
    newest = cache.newest
    return finished_entry(
        samples[0].detach().cpu(),
        shot.target_path,
        model_name=info.model_name,
        mode=info.mode,
        num_frames=shot.target_path.num_frames,
        turn=cache.next_turn,
        seed=seed,
        source_latent=None if shot.source_latent is None else shot.source_latent.cpu(),
        parent_id=newest.entry_id if newest is not None else None,
    )


def remember(cache: MemoryCache, entry: MemoryEntry) -> MemoryCache:
    """`cache` with `entry`; on disk at once where the cache belongs to a named session."""
    grown = cache.append(entry)
    if grown.session is not None:
        save_session(grown, session_folder(sessions_root(), grown.session))
    return grown


def sessions_root() -> Path:
    """The folder that holds every named session."""
    return Path(folder_paths.get_output_directory()) / "memory_v2v"


NODES = [MemoryV2VSampler]

"""Sampling with memory: attached to any native sampler, or a whole turn in one node."""

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui

from ..memv2v_core.cache.memory_cache import MemoryCache
from ..memv2v_core.cameras.trajectory import CameraTrajectory
from ..memv2v_core.long_edit.settings import SamplerSettings
from ..memv2v_core.retrieval.segments import SegmentQuery
from ..memv2v_core.sampling.reuse import ReuseReport
from ..memv2v_core.tokens.budget import TokenPlan
from .host.compat import shows_result
from .host.live.run import LiveRun
from .host.menu import in_menu
from .host.models.attachment import LoadedAdapter, with_adapter
from .host.patch.attention_kernel import describe_attention
from .host.sampling.experts import describe_experts
from .host.sampling.prompt_text import typed_prompt
from .host.sampling.sampler import ComfySampler
from .host.sampling.taken_turn import TurnTaking
from .host.sampling.takes import KEPT, finished_latent, turn_recipe
from .host.sampling.turns import (
    conditionings,
    connected_turn,
    empty_latent,
    negative_or_unread,
    with_memory,
)
from .host.sessions.makers import REPLACE, maker_of
from .host.sessions.saving import require_room
from .host.shared_inputs import (
    ADAPTER_INPUT,
    FAST_ATTENTION_INPUT,
    LOW_NOISE_INPUT,
    MAX_SEED,
    TAKE_INPUT,
    TURN_INPUTS,
    WITHOUT_MEMORY_INPUT,
    sampler_inputs,
)
from .io_types import CacheSocket, SegmentSocket


class ApplyMemory(io.ComfyNode):
    """Memory for any native sampler."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VApplyMemory",
            display_name="Apply Memory",
            **in_menu("MemV2VApplyMemory"),
            description="Lets a model see the source, its memories and every video's camera, for "
            "any native sampler. If nothing is connected, the model is unchanged, bit for bit.",
            inputs=[
                *TURN_INPUTS,
                io.Int.Input(
                    "batch_size",
                    default=1,
                    min=1,
                    max=16,
                    tooltip="Variants made at once, each from different noise.",
                ),
                ADAPTER_INPUT,
                FAST_ATTENTION_INPUT,
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model with memory."),
                io.Conditioning.Output(
                    display_name="positive", tooltip="The prompt, or the model's empty prompt."
                ),
                io.Conditioning.Output(
                    display_name="negative", tooltip="The negative prompt, or the empty prompt."
                ),
                io.Latent.Output(
                    display_name="latent",
                    tooltip="An empty latent of the size and length to sample.",
                ),
            ],
            **shows_result(),
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: list | None = None,
        negative: list | None = None,
        source: dict | None = None,
        plan: TokenPlan | None = None,
        source_camera: CameraTrajectory | None = None,
        target_camera: CameraTrajectory | None = None,
        batch_size: int = 1,
        adapter: LoadedAdapter | None = None,
        fast_attention: bool = True,
    ) -> io.NodeOutput:
        model = with_adapter(model, adapter)
        turn = connected_turn(model, source, plan, source_camera, target_camera)
        return io.NodeOutput(
            with_memory(model, turn, fast_attention=fast_attention),
            *conditionings(positive, negative, turn),
            {"samples": empty_latent(turn, batch_size)},
            ui=ui.PreviewText(turn.describe()),
        )


class MemoryV2VSampler(io.ComfyNode):
    """Samples a turn and remembers it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemoryV2VSampler",
            display_name="Memory-V2V Sampler",
            **in_menu("MemoryV2VSampler"),
            description="Makes one turn and appends it to the cache. Connect the cache to the next "
            "turn. A named session is saved as soon as the turn is finished. The latents are the "
            "same as with Apply Memory and KSampler, with one exception: for a segment without "
            "memories the built-in editor first edits the middle frame.",
            inputs=[
                *TURN_INPUTS,
                CacheSocket.Input(
                    "cache",
                    optional=True,
                    tooltip="Where to append this turn. If it is not connected, a new cache starts "
                    "in the graph.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    control_after_generate=True,
                    tooltip="Noise of this turn. Give each turn a different seed.",
                ),
                *sampler_inputs(
                    steps=12,
                    steps_tooltip="Denoising steps; 12 for the built-in model.",
                    cfg_tooltip="Strength of the prompt; 1 for the built-in model.",
                ),
                ADAPTER_INPUT,
                SegmentSocket.Input(
                    "segment",
                    optional=True,
                    tooltip="From DINO Segment Retrieve: which segment of a long video this turn "
                    "edits. It is stored with the result, so that Stitch Segments finds it.",
                ),
                LOW_NOISE_INPUT,
                FAST_ATTENTION_INPUT,
                TAKE_INPUT,
                WITHOUT_MEMORY_INPUT,
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The finished turn."),
                CacheSocket.Output(display_name="cache", tooltip="The cache with this turn in it."),
            ],
            hidden=[io.Hidden.dynprompt, io.Hidden.unique_id, io.Hidden.extra_pnginfo],
            **shows_result(),
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
        low_noise_model: ModelPatcher | None = None,
        fast_attention: bool = True,
        take: str = REPLACE,
        also_without_memory: bool = False,
    ) -> io.NodeOutput:
        model = with_adapter(model, adapter)
        turn = connected_turn(model, source, plan, source_camera, target_camera)
        # Checked before sampling: a turn that cannot be stored is not made.
        cache = require_room(cache, turn, also_without_memory)
        settings = SamplerSettings(
            seed=seed, steps=steps, cfg=cfg, sampler_name=sampler_name, scheduler=scheduler
        )
        experts = describe_experts(model, low_noise_model, settings)
        negative = negative_or_unread(positive, negative, cfg)

        # A turn that nothing changed since this node made it is not made again.
        maker, prompts = maker_of(cls.hidden, take), (positive, negative)
        recipe = maker and turn_recipe(turn, model, low_noise_model, prompts, settings, segment)
        reports: list[ReuseReport] = []
        live = LiveRun(cls.hidden, model, is_saved=cache.session is not None)
        sampler = ComfySampler(
            model,
            positive,
            negative,
            settings,
            live.callback,
            low_noise_model,
            tell=reports.append,
            fast_attention=fast_attention,
        )
        taken = TurnTaking(
            turn=turn,
            cache=cache,
            model=model,
            sampler=sampler,
            reports=reports,
            live=live,
            segment=segment,
            maker=maker,
            recipe=recipe,
            seed=seed,
            prompt=typed_prompt(cls.hidden),
        ).taken(also_without_memory)
        kernel = describe_attention(model, fast_attention and not turn.is_bare)
        how = (KEPT,) if taken.is_kept else (*experts, *kernel, *taken.reuse)
        text = "\n".join((turn.describe(), *how, taken.name, *taken.notes))
        return io.NodeOutput(finished_latent(taken.latent), taken.cache, ui=ui.PreviewText(text))


NODES = [ApplyMemory, MemoryV2VSampler]

"""The node that decides how many tokens each memory gets, and reports their cost."""

from typing import get_args

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui

from ..memv2v_core.retrieval.selection import Retrieval
from ..memv2v_core.tokens.budget import KERNELS, BudgetConfig, plan_tokens
from ..memv2v_core.tokens.merging import MAX_SHARE, MIN_SHARE
from ..memv2v_core.tokens.reuse import AUTOMATIC, ReuseConfig
from ..memv2v_core.vocabulary import (
    CameraChoice,
    KeptPrecision,
    MemoryRange,
    Pool,
    UnresponsiveChoice,
)
from .host.menu import in_menu
from .host.shared_inputs import (
    MEMORY_FRAMES_INPUT,
    REUSE_INPUTS,
    STRENGTH_INPUT,
    UNRESPONSIVE_CHOICES,
    UNRESPONSIVE_DEFAULT,
)
from .host.shown import after_ready_nodes
from .host.token_cost import cost_text
from .io_types import PlanSocket, RetrievalSocket


class DynamicTokenize(io.ComfyNode):
    """Tokens for every memory, and their cost."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        kernels = [str(kernel) for kernel in KERNELS]
        return io.Schema(
            node_id="DynamicTokenize",
            display_name="Dynamic Tokenize",
            **in_menu("DynamicTokenize"),
            description="Gives the best memories fine tokens (1x4x4) and the others coarse tokens "
            "(1x8x8), and merges frames that the model does not respond to. It shows the cost "
            "before anything runs.",
            inputs=[
                RetrievalSocket.Input("retrieval", tooltip="The ranked memories; may be empty."),
                io.Combo.Input(
                    "top_kernel",
                    options=kernels,
                    default="4",
                    tooltip="For the best memories: how many latent pixels a side become one "
                    "token. 4 is 1x4x4, the paper's. 2 is as fine as the video itself, and slow.",
                ),
                io.Int.Input(
                    "num_top",
                    default=3,
                    min=0,
                    max=64,
                    tooltip="How many memories count as the best; 3 in the paper.",
                ),
                io.Combo.Input(
                    "rest_kernel",
                    options=kernels,
                    default="8",
                    tooltip="The same for the other memories: 8 is 1x8x8, the paper's.",
                ),
                io.Combo.Input(
                    "unresponsive",
                    options=UNRESPONSIVE_CHOICES,
                    default=UNRESPONSIVE_DEFAULT,
                    tooltip="What happens, one third and two thirds through the model, to frames "
                    "that the target hardly attends to. merge: 2x2 tokens become one. discard: "
                    "they leave. keep: all stay. automatic: merge if the model's memory is "
                    "trained, else keep. Without memories nothing is merged.",
                ),
                io.Float.Input(
                    "share",
                    default=0.0,
                    min=0.0,
                    max=MAX_SHARE,
                    step=0.05,
                    advanced=True,
                    tooltip=f"Share of the frames merged each time, {MIN_SHARE} to {MAX_SHARE}. 0 "
                    "is automatic: one half up to three memories, 0.7 at ten. keep does not use "
                    "it.",
                ),
                io.Combo.Input(
                    "pool",
                    options=list(get_args(Pool)),
                    default="conditioning",
                    advanced=True,
                    tooltip="Which frames may be merged. conditioning: source and memories. "
                    "memory: memories only.",
                ),
                io.Combo.Input(
                    "memory_range",
                    options=list(get_args(MemoryRange)),
                    default="own",
                    advanced=True,
                    tooltip="Temporal positions of memories. own: a separate range, as trained. "
                    "source: the source's range, for a base without trained memory.",
                ),
                io.Combo.Input(
                    "camera_conditioning",
                    options=list(get_args(CameraChoice)),
                    default="as_trained",
                    advanced=True,
                    tooltip="Which camera a video's tokens are given. per_video: each video's "
                    "camera (Eq. 17). target: the target's camera, as in ReCamMaster (Eq. 16). "
                    "as_trained: what the loaded weights were trained with.",
                ),
                io.Model.Input(
                    "model", optional=True, tooltip="For the cost only: the model that will run."
                ),
                io.Latent.Input(
                    "source",
                    optional=True,
                    tooltip="For the cost only: the source video, which sets the size.",
                ),
                MEMORY_FRAMES_INPUT,
                *REUSE_INPUTS,
                STRENGTH_INPUT,
            ],
            outputs=[
                PlanSocket.Output(
                    display_name="plan", tooltip="For Apply Memory or Memory-V2V Sampler."
                ),
                io.String.Output(
                    display_name="cost", tooltip="Tokens, FLOPs and memory of one step."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    async def execute(
        cls,
        retrieval: Retrieval,
        top_kernel: str,
        num_top: int,
        rest_kernel: str,
        unresponsive: UnresponsiveChoice,
        share: float,
        pool: Pool,
        memory_range: MemoryRange,
        camera_conditioning: CameraChoice,
        model: ModelPatcher | None = None,
        source: dict | None = None,
        memory_frames: int = 0,
        refresh_every: int = AUTOMATIC,
        kept_precision: KeptPrecision = "full",
        strength: float = 1.0,
    ) -> io.NodeOutput:
        # Whoever plans a turn lets the video of the turn before be decoded and shown first.
        await after_ready_nodes()
        plan = plan_tokens(
            retrieval,
            BudgetConfig(num_top=num_top, top_kernel=int(top_kernel), rest_kernel=int(rest_kernel)),
            unresponsive=unresponsive,
            share=share,
            pool=pool,
            memory_range=memory_range,
            camera_conditioning=camera_conditioning,
            memory_frames=memory_frames,
            reuse=ReuseConfig(refresh_every, kept_precision),
            strength=strength,
        )
        text = cost_text(plan, model, source)
        return io.NodeOutput(plan, text, ui=ui.PreviewText(text))


NODES = [DynamicTokenize]

"""Choosing memories, and deciding how many tokens each one gets."""

import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io, ui

from ..memv2v_core.cache.entry import MemoryEntry
from ..memv2v_core.cache.memory_cache import MemoryCache
from ..memv2v_core.cameras.trajectory import CameraTrajectory
from ..memv2v_core.pictures.retrievals import draw_retrieval
from ..memv2v_core.retrieval.selection import Retrieval as RankedRetrieval
from ..memv2v_core.retrieval.selection import retrieve_by_fov, retrieve_recent
from ..memv2v_core.retrieval.video_fov import VideoFovConfig
from ..memv2v_core.tokens.budget import BudgetConfig, TokenPlan, plan_tokens
from ..memv2v_core.tokens.cost import Cost, DitShape, forward_cost, plan_layout
from ..memv2v_core.tokens.merging import MAX_SHARE, MIN_SHARE
from .attachment import adapter_of, base_info
from .io_types import CATEGORY, Cache, Camera, Plan, Retrieval
from .pictures import PictureAndText

K_INPUT = io.Int.Input(
    "k",
    default=3,
    min=0,
    max=64,
    tooltip="How many memories to use; 0 for none. Pinned turns are always used and count.",
)


class VideoFOVRetrieve(io.ComfyNode):
    """Memories that saw what the new path will see."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VideoFOVRetrieve",
            display_name="VideoFOV Retrieve",
            category=CATEGORY,
            description="Ranks the turns in the cache by how much of the new path's field of view "
            "they saw (the paper's Alg. 1), and shows why. An empty cache gives an "
            "empty retrieval: a first turn has no memory.",
            inputs=[
                Cache.Input("cache", tooltip="The finished turns. May be empty."),
                Camera.Input("camera", tooltip="The path of the turn to come, its target camera."),
                K_INPUT,
                io.Float.Input(
                    "balance",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="The paper's lambda: 1 counts overlap alone, 0 how much of the new "
                    "view is covered.",
                ),
                io.Float.Input(
                    "radius",
                    default=1.0,
                    min=0.001,
                    max=1000.0,
                    step=0.001,
                    tooltip="Radius of the sphere of points, in pose units; matters only when "
                    "cameras move.",
                ),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="Shows a picture of each memory, decoded from its last latent frame. "
                    "The choice needs none.",
                ),
            ],
            outputs=[
                Retrieval.Output(
                    display_name="retrieval",
                    tooltip="The chosen memories, best first, and the others.",
                ),
                io.Image.Output(
                    display_name="why",
                    tooltip="The sphere of directions: yellow outline, what the new path will see; "
                    "in colour, what each memory saw. Below, every memory with its picture "
                    "and score.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        cache: MemoryCache,
        camera: CameraTrajectory,
        k: int,
        balance: float,
        radius: float,
        vae: VAE | None = None,
    ) -> io.NodeOutput:
        config = VideoFovConfig(radius=radius, balance=balance)
        retrieval = retrieve_by_fov(cache, camera, k, config)
        thumbnails = (
            {}
            if vae is None
            else {entry.entry_id: last_frame(vae, entry) for entry in cache.entries}
        )
        picture = draw_retrieval(retrieval, config, thumbnails)[None]
        return io.NodeOutput(
            retrieval, picture, ui=PictureAndText(picture, ranking_text(retrieval), cls)
        )


class RecentRetrieve(io.ComfyNode):
    """The newest turns, where cameras say nothing."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RecentRetrieve",
            display_name="Recent Retrieve",
            category=CATEGORY,
            description="Takes the newest turns of the cache as memories, newest first, for models "
            "without camera weights. Pinned turns are always taken. An empty cache "
            "gives an empty retrieval.",
            inputs=[
                Cache.Input("cache", tooltip="The finished turns. May be empty."),
                K_INPUT,
            ],
            outputs=[
                Retrieval.Output(
                    display_name="retrieval", tooltip="The chosen memories, newest first."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, cache: MemoryCache, k: int) -> io.NodeOutput:
        retrieval = retrieve_recent(cache, k)
        return io.NodeOutput(retrieval, ui=ui.PreviewText(ranking_text(retrieval)))


class DynamicTokenize(io.ComfyNode):
    """Tokens for every memory, and what they cost."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DynamicTokenize",
            display_name="Dynamic Tokenize",
            category=CATEGORY,
            description="Gives the best memories fine tokens (1x4x4) and the others coarse ones "
            "(1x8x8), and merges frames that the model does not respond to. Shows the "
            "cost before anything runs.",
            inputs=[
                Retrieval.Input("retrieval", tooltip="The ranked memories; may be empty."),
                io.Combo.Input(
                    "top_kernel",
                    options=["2", "4", "8"],
                    default="4",
                    tooltip="Latent pixels a side that become one token, for the best memories: 4 "
                    "is 1x4x4, the paper's. 2 is as fine as the video itself, and slow.",
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
                    options=["2", "4", "8"],
                    default="8",
                    tooltip="The same for the other memories: 8 is 1x8x8, the paper's.",
                ),
                io.Combo.Input(
                    "unresponsive",
                    options=["merge", "discard", "keep"],
                    default="merge",
                    tooltip="What happens, one third and two thirds through the model, to frames "
                    "that the target hardly attends to: merge 2x2 tokens into one, discard "
                    "them, or keep all.",
                ),
                io.Float.Input(
                    "share",
                    default=0.0,
                    min=0.0,
                    max=MAX_SHARE,
                    step=0.05,
                    tooltip=f"Share of the frames merged each time, {MIN_SHARE} to {MAX_SHARE}. 0 "
                    "is automatic: one half up to three memories, growing to 0.7 at ten. "
                    "Not used by keep.",
                ),
                io.Combo.Input(
                    "pool",
                    options=["conditioning", "memory"],
                    default="conditioning",
                    tooltip="Which frames may be merged: source and memories, or memories alone.",
                ),
                io.Combo.Input(
                    "memory_range",
                    options=["own", "source"],
                    default="own",
                    tooltip="Temporal positions of memories: their own range as trained, or the "
                    "source's for a base that was never trained with memory.",
                ),
                io.Combo.Input(
                    "camera_conditioning",
                    options=["as_trained", "per_video", "target"],
                    default="as_trained",
                    tooltip="Whose camera a video's tokens are told. per_video: each its own (Eq. "
                    "17). target: ReCamMaster's original (Eq. 16). as_trained: what the "
                    "loaded weights were trained with.",
                ),
                io.Model.Input(
                    "model", optional=True, tooltip="Only for the cost: the model that will run."
                ),
                io.Latent.Input(
                    "source",
                    optional=True,
                    tooltip="Only for the cost: the source video, whose size will run.",
                ),
            ],
            outputs=[
                Plan.Output(display_name="plan", tooltip="For Apply Memory or the sampler."),
                io.String.Output(
                    display_name="cost", tooltip="Tokens, FLOPs and memory of one step."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        retrieval: RankedRetrieval,
        top_kernel: str,
        num_top: int,
        rest_kernel: str,
        unresponsive: str,
        share: float,
        pool: str,
        memory_range: str,
        camera_conditioning: str,
        model: ModelPatcher | None = None,
        source: dict | None = None,
    ) -> io.NodeOutput:
        budget = BudgetConfig(num_top, int(top_kernel), int(rest_kernel))
        plan = plan_tokens(
            retrieval, budget, unresponsive, share, pool, memory_range, camera_conditioning
        )
        text = cost_text(plan, model, source)
        return io.NodeOutput(plan, text, ui=ui.PreviewText(text))


def last_frame(vae: VAE, entry: MemoryEntry) -> torch.Tensor:
    """Picture (h, w, 3) of a memory, from its last latent frame alone: for the eye, not for
    measuring.
    """
    frames = vae.decode(entry.latent[None, :, -1:].float())
    return frames.reshape(-1, *frames.shape[-3:])[-1].cpu()


def ranking_text(retrieval: RankedRetrieval) -> str:
    """One line a memory, best first."""
    lines = []
    for rank, ranked in enumerate((*retrieval.ranked, *retrieval.rejected)):
        verdict = f"rank {rank + 1}" if rank < len(retrieval.ranked) else "not chosen"
        line = (
            f"{verdict}: turn {ranked.entry.turn}  {ranked.entry.entry_id[:8]}  score "
            f"{ranked.score:.3f}"
        )
        if ranked.overlap is not None:
            line += f"  overlap {ranked.overlap:.3f}  containment {ranked.contain:.3f}"
        lines.append(line)
    return "\n".join(lines) or "the cache is empty: this turn has no memory"


def cost_text(plan: TokenPlan, model: ModelPatcher | None, source: dict | None) -> str:
    """The plan in words, with the tokens and the cost of one step as far as size and model are
    known.
    """
    lines = [plan_text(plan)]
    if source is None and not plan.kernels:
        return "\n".join([*lines, "connect source to see how many tokens run"])
    # Tokens depend on the number of blocks through merging alone: thirds of any depth give the
    # same.
    shape = DitShape(1, 1, 3) if model is None else dit_shape(model)
    num_bytes = 2 if model is None else model.model_dtype().itemsize
    has_source = source is not None and (model is None or base_info(model).has_source_tokens)
    cost, plain = plan_costs(plan, source, has_source, shape, num_bytes)
    lines.append(
        f"{cost.tokens_in} tokens enter, {cost.tokens_out} leave the last block ({plain.tokens_in} "
        "without memory)"
    )
    if model is None:
        return "\n".join([*lines, "connect model to see TFLOP and memory"])
    return "\n".join(
        [
            *lines,
            f"{cost.flops / 1e12:.4g} TFLOP a step, {cost.flops / plain.flops:.2f} times a step "
            "without memory",
            f"about {cost.activation_bytes / 2**20:.0f} MiB of activations beside the weights",
        ]
    )


def plan_text(plan: TokenPlan) -> str:
    """Kernels and merging in words."""
    kernels = ", ".join(f"1x{kernel}x{kernel}" for kernel in plan.kernels)
    text = f"memories by rank: {kernels}" if kernels else "no memory"
    if plan.merging is None:
        return f"{text}; nothing merged"
    pool = "source and memory frames" if plan.merging.pool == "conditioning" else "memory frames"
    return f"{text}; {plan.merging.unresponsive} {plan.merging.share:.0%} of the {pool}, twice"


def plan_costs(
    plan: TokenPlan, source: dict | None, has_source: bool, shape: DitShape, bytes_per_value: int
) -> tuple[Cost, Cost]:
    """Cost of one step with the plan, and without memory and merging, for one video of a batch.

    source: tells the size. has_source: whether its tokens are in the sequence.
    """
    entries = plan.retrieval.entries
    latent = source["samples"][0] if source is not None else entries[0].latent
    frames = tuple(entry.latent.shape[1] for entry in entries)
    layout = plan_layout(*latent.shape[1:], has_source, frames, plan.kernels)
    plain = plan_layout(*latent.shape[1:], has_source, (), ())
    return (
        forward_cost(layout, shape, plan.merging, bytes_per_value),
        forward_cost(plain, shape, None, bytes_per_value),
    )


def dit_shape(model: ModelPatcher) -> DitShape:
    """The sizes of a native Wan MODEL that decide its cost."""
    dit, adapter = model.model.diffusion_model, adapter_of(model)
    return DitShape(
        dit.dim,
        dit.ffn_dim,
        len(dit.blocks),
        num_text_tokens=dit.text_len if base_info(model).text_width is None else 1,
        head_dim=dit.dim // dit.num_heads,
        has_adapter=adapter is not None and adapter.config.has_cameras,
        has_mergers=adapter is not None and len(adapter.mergers) > 0,
    )


NODES = [VideoFOVRetrieve, RecentRetrieve, DynamicTokenize]

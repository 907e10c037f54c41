"""Score Turns: the light metrics of evaluations, with a plain verdict."""

import math
from collections.abc import Mapping
from dataclasses import replace

import comfy.model_management
import comfy.utils
import torch
from comfy.sd import VAE
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..memv2v_core.cache.memory_cache import MemoryCache
from ..memv2v_core.cameras.trajectory import CameraTrajectory
from ..memv2v_core.evaluation.turn_scoring.measuring import score_turns
from .host.comparing.measuring import MOST_FRAMES
from .host.comparing.scoring import given_truth, scored_videos
from .host.menu import in_menu
from .host.models.metric_networks import network_loaders, networks_fingerprint
from .host.shown import PictureAndText
from .io_types import CacheSocket, CameraSocket

_MOST_VIDEOS = 16


class ScoreTurns(io.ComfyNode):
    """Metrics of all turns, and what they say in words."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VScoreTurns",
            display_name="Score Turns",
            **in_menu("MemV2VScoreTurns"),
            description="Measures turns with the metrics of papers and says in plain words what "
            "they mean: DINO-F and CLIP-F (how steady each video is), LPIPS (how alike a turn and "
            "the one before look), the exact difference where two turns look at the same place, "
            "and PSNR where the true video is known. A metric whose weights are missing is named "
            "with the way to get them; the others are measured.",
            inputs=[
                io.Boolean.Input(
                    "networks",
                    default=True,
                    tooltip="Measure DINO-F, CLIP-F and LPIPS too. Their weights are read from "
                    "models/dinov2/dinov2-base, models/clip_vision/clip-vit-base-patch32 and "
                    "models/lpips/alexnet; LPIPS also needs the package lpips. Off: geometry and "
                    "PSNR alone, which need no weights and are quick.",
                ),
                io.Int.Input(
                    "newest",
                    default=8,
                    min=0,
                    max=100_000,
                    advanced=True,
                    tooltip="How many of the newest turns are scored; 0 for all. Every turn is "
                    "decoded and kept in memory, and every two are compared.",
                ),
                CacheSocket.Input(
                    "cache",
                    optional=True,
                    tooltip="From Memory Cache or from a sampler; its turns are scored.",
                ),
                io.Vae.Input(
                    "vae", optional=True, tooltip="The model's VAE; it decodes the turns of cache."
                ),
                CameraSocket.Input(
                    "source_camera",
                    optional=True,
                    tooltip="The source's camera. With it the difference counts only what the "
                    "source never showed, where memory matters. Without it all that both turns "
                    "show.",
                ),
                io.Image.Input(
                    "truth",
                    optional=True,
                    tooltip="What the videos should be, such as a Demo Scene along a turn's path. "
                    "PSNR and LPIPS then compare every video with it.",
                ),
                CameraSocket.Input(
                    "truth_camera",
                    optional=True,
                    tooltip="The camera path of truth; with it only turns along the same path are "
                    "compared with truth.",
                ),
                io.Autogrow.Input(
                    "videos",
                    optional=True,
                    tooltip="Further videos to score after the turns, or instead of them, such as "
                    "results without memory. Their cameras are not known. A free socket is always "
                    "left.",
                    template=io.Autogrow.TemplateNames(
                        io.Image.Input("video", optional=True, tooltip="The frames of one video."),
                        names=[f"video_{number}" for number in range(1, _MOST_VIDEOS + 1)],
                        min=1,
                    ),
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="report",
                    tooltip="The verdict, tables of all numbers, and what was not measured and "
                    "why.",
                ),
                io.String.Output(display_name="numbers", tooltip="All numbers, as JSON."),
                io.Float.Output(
                    display_name="mae",
                    tooltip="Mean absolute difference where two turns look at the same place, 0 to "
                    "1, averaged over the pairs; lower is better. If no pair can be compared, "
                    "there is none, and what is connected does not run.",
                ),
                io.Image.Output(display_name="table", tooltip="Verdict and numbers as a picture."),
            ],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, networks: bool = True, **_others: object) -> str:
        # Weights that came since the last run are measured with.
        return networks_fingerprint() if networks else ""

    @classmethod
    def execute(
        cls,
        networks: bool,
        newest: int,
        cache: MemoryCache | None = None,
        vae: VAE | None = None,
        source_camera: CameraTrajectory | None = None,
        truth: torch.Tensor | None = None,
        truth_camera: CameraTrajectory | None = None,
        videos: Mapping[str, torch.Tensor] | None = None,
    ) -> io.NodeOutput:
        stop = comfy.model_management.throw_exception_if_processing_interrupted
        true_video = given_truth(truth, truth_camera)
        # One step per decoded turn, and one for the measurements.
        num_turns = 0 if cache is None else len(cache.entries[-newest:])
        progress = comfy.utils.ProgressBar(num_turns + 1)
        scored, notes = scored_videos(cache, vae, newest, videos or {}, lambda: progress.update(1))
        loaders = network_loaders() if networks else {}
        scores = score_turns(scored, loaders, true_video, source_camera, MOST_FRAMES, stop)
        progress.update(1)
        scores = replace(scores, notes=(*notes, *scores.notes))
        picture = scores.picture[None]
        shown = PictureAndText(picture, scores.text, cls)
        # A number that is none would be shown as such further down.
        mae = ExecutionBlocker(None) if math.isnan(scores.mae) else scores.mae
        return io.NodeOutput(scores.text, scores.numbers, mae, picture, ui=shown)


NODES = [ScoreTurns]

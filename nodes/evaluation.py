"""Scores of a session: do the turns agree where the source never looked?"""

import math

import comfy.model_management
import comfy.utils
import torch
from comfy.sd import VAE
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..memv2v_core.cache.memory_cache import MemoryCache
from ..memv2v_core.cameras.trajectory import CameraTrajectory
from ..memv2v_core.evaluation.session_report import ShownTurn, given_turn, report_session
from .host.clips.decoding import decode_latent
from .host.menu import in_menu
from .host.shown import PictureAndText
from .io_types import CacheSocket, CameraSocket


class ConsistencyReport(io.ComfyNode):
    """Agreement of all turns with each other."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VConsistencyReport",
            display_name="Consistency Report",
            **in_menu("MemV2VConsistencyReport"),
            description="Compares every pair of turns at equal frames, in the region that no "
            "source frame shows; one turn is warped exactly into the other. 0 is perfect "
            "agreement. It is exact for cameras that rotate about one point. Pairs whose cameras "
            "move apart are named and left out.",
            inputs=[
                CacheSocket.Input("cache", tooltip="The turns to compare, two or more."),
                io.Vae.Input("vae", tooltip="The model's VAE; it decodes the turns."),
                CameraSocket.Input(
                    "source_camera",
                    tooltip="The source's camera; only pixels outside all its frames count.",
                ),
                io.Image.Input(
                    "truth",
                    optional=True,
                    tooltip="A video to compare every turn with, such as a Demo Scene along a "
                    "turn's path. Needs truth_camera. mae does not include it.",
                ),
                CameraSocket.Input(
                    "truth_camera", optional=True, tooltip="The camera path of truth."
                ),
            ],
            outputs=[
                io.String.Output(display_name="report", tooltip="Numbers of every pair, as JSON."),
                io.Float.Output(
                    display_name="mae",
                    tooltip="Mean absolute difference, 0 to 1, averaged over the pairs of turns. "
                    "If no pair can be compared, there is none, and what is connected does not "
                    "run.",
                ),
                io.Image.Output(
                    display_name="heat",
                    tooltip="One row per pair: both turns, the warp, and where they differ.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        cache: MemoryCache,
        vae: VAE,
        source_camera: CameraTrajectory,
        truth: torch.Tensor | None = None,
        truth_camera: CameraTrajectory | None = None,
    ) -> io.NodeOutput:
        truth_turn = given_turn(truth, truth_camera)
        stop = comfy.model_management.throw_exception_if_processing_interrupted
        # One step per decoded turn, and one for the comparison.
        turns, progress = [], comfy.utils.ProgressBar(len(cache) + 1)
        for entry in cache.entries:
            stop()
            # Padding is cut off before turns are compared.
            frames = decode_latent(vae, entry.latent)[: entry.num_frames]
            turns.append(ShownTurn(f"turn {entry.turn}", frames, entry.camera))
            progress.update(1)
        report = report_session(cache, turns, source_camera, truth_turn, before_each=stop)
        progress.update(1)
        picture = report.picture[None]
        shown = PictureAndText(picture, report.text, cls)
        # A number that is none would be shown as such further down.
        mae = ExecutionBlocker(None) if math.isnan(report.mae) else report.mae
        return io.NodeOutput(report.text, mae, picture, ui=shown)


NODES = [ConsistencyReport]

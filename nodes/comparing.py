"""Compare Turns: two results in one player with one play head."""

from typing import Any

import torch
from comfy.sd import VAE
from comfy_api.latest import io

from ..memv2v_core.cache.memory_cache import MemoryCache
from ..memv2v_core.cameras.trajectory import CameraTrajectory
from .host.comparing.compare import compare_turns
from .host.comparing.sides import CONNECTED, SOURCE, TURN, WITHOUT_MEMORY, Choice
from .host.menu import in_menu
from .io_types import CacheSocket, CameraSocket

_KINDS = [TURN, SOURCE, CONNECTED, WITHOUT_MEMORY]


def _side(side: str, kind: str, turn: int, newest: str) -> list[io.Input]:
    return [
        io.Combo.Input(
            side,
            options=_KINDS,
            default=kind,
            tooltip=f"The {side} video. turn: a result of the cache. source: the video that was "
            f"edited. {CONNECTED}: {side}_images. {WITHOUT_MEMORY}: the turn as it would be had it "
            "seen no other, where also_without_memory of its sampler or of Re-shoot Video is on.",
        ),
        io.Int.Input(
            f"{side}_turn",
            default=turn,
            min=0,
            max=100_000,
            tooltip=f"Which turn, from 1; 0 for the newest. {newest}",
        ),
    ]


class CompareTurns(io.ComfyNode):
    """Two videos, one play head."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VCompareTurns",
            display_name="Compare Turns",
            **in_menu("MemV2VCompareTurns"),
            description="Shows two of turn, turn without memory, source or any other frames in "
            "one video player with one play head: wipe, side by side, or a heat map of where they "
            "differ. It says in plain words whether they agree where both look at the same place, "
            "for all pairs of turns.",
            inputs=[
                CacheSocket.Input("cache", tooltip="From Memory Cache or from a sampler."),
                io.Vae.Input("vae", tooltip="The model's VAE; it decodes the turns."),
                *_side("first", TURN, 1, "Used where first is turn or without memory."),
                *_side("second", TURN, 0, "Used where second is turn or without memory."),
                io.Float.Input(
                    "frame_rate",
                    default=16.0,
                    min=0.1,
                    max=240.0,
                    step=0.001,
                    tooltip="Frames per second of the player.",
                ),
                io.Boolean.Input(
                    "all_pairs",
                    default=True,
                    tooltip="The report also lists every other pair of turns; each turn is decoded "
                    "once for it.",
                ),
                CameraSocket.Input(
                    "source_camera",
                    optional=True,
                    tooltip="The source's camera. With it only what the source never showed is "
                    "measured, where memory counts. Without it all that both videos show is.",
                ),
                io.Image.Input(
                    "first_images",
                    optional=True,
                    tooltip=f"Frames for first: {CONNECTED}.",
                ),
                io.Image.Input(
                    "second_images",
                    optional=True,
                    tooltip=f"Frames for second: {CONNECTED}.",
                ),
                *(
                    io.String.Input(
                        f"{side}_entry",
                        default="",
                        optional=True,
                        advanced=True,
                        tooltip="Id of the turn as Memory Cache lists it, instead of its number: "
                        "for two takes of one turn. The first characters are enough.",
                    )
                    for side in ("first", "second")
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="report", tooltip="Whether they agree, in plain words."
                ),
                io.Image.Output(
                    display_name="difference",
                    tooltip="The second video, dim and grey, with the differences in colour. One "
                    "picture with the reason where nothing can be measured.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        cache: MemoryCache,
        vae: VAE,
        frame_rate: float,
        all_pairs: bool,
        source_camera: CameraTrajectory | None = None,
        **widgets: Any,
    ) -> io.NodeOutput:
        choices = _choice("first", widgets), _choice("second", widgets)
        compared = compare_turns(cache, vae, choices, source_camera, frame_rate, all_pairs)
        return io.NodeOutput(compared.report, compared.difference, ui=compared.shown)


def _choice(side: str, widgets: dict[str, Any]) -> Choice:
    """What the widgets of one side say."""
    images: torch.Tensor | None = widgets.get(f"{side}_images")
    entry = widgets.get(f"{side}_entry", "").strip()
    return Choice(side, widgets[side], widgets[f"{side}_turn"], entry, images)


NODES = [CompareTurns]

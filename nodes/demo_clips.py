"""A rendered clip of any length with an instruction that has many right answers."""

import comfy.model_management
import comfy.utils
import torch
from comfy_api.latest import io, ui

from ..memv2v_core.synthetic.demo_clips import FRAME_RATE, demo_scenes, shot_spans
from ..memv2v_core.synthetic.edits import TRAINED_KINDS, Edit
from ..memv2v_core.synthetic.rendering import render_world
from ..memv2v_core.synthetic.worlds import World
from ..memv2v_core.training.config import EditDataConfig
from .io_types import CATEGORY

_FRAMES_AT_ONCE = 16
_SIZE = EditDataConfig().size


class DemoLongVideo(io.ComfyNode):
    """A clip to try editing long videos on."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DemoLongVideo",
            display_name="Demo Long Video",
            category=CATEGORY,
            description="Renders a long clip of named objects, of the kind that the built-in "
            "text_edit was trained on (this one it never saw), with an instruction "
            "that leaves open what the result looks like: only memory makes all "
            "segments agree.",
            inputs=[
                io.Int.Input(
                    "seed",
                    default=6,
                    min=0,
                    max=2**20,
                    control_after_generate=io.ControlAfterGenerate.fixed,
                    tooltip="Which objects, backgrounds and answer.",
                ),
                io.Int.Input(
                    "num_frames",
                    default=240,
                    min=1,
                    max=10000,
                    tooltip="Frames; 8 of them are a second.",
                ),
                io.Int.Input(
                    "shots",
                    default=1,
                    min=1,
                    max=3,
                    tooltip="1: one scene. 2: a cut to another scene. 3: another scene, then back "
                    "to the first. An object of the same name is in both scenes, so that "
                    "the instruction fits both.",
                ),
                io.Combo.Input(
                    "instruction",
                    options=list(TRAINED_KINDS),
                    default="hat",
                    tooltip="recolour: give an object a new colour. hat: put a hat on it.",
                ),
                io.Int.Input(
                    "size",
                    default=_SIZE,
                    min=32,
                    max=1024,
                    step=16,
                    optional=True,
                    tooltip=f"Pixels a side; {_SIZE} as text_edit was trained.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="frames", tooltip="The clip to edit."),
                io.String.Output(display_name="instruction", tooltip="The prompt."),
                io.Float.Output(display_name="frame_rate", tooltip="Frames a second."),
                io.Image.Output(
                    display_name="true_edit",
                    tooltip="One right answer, for comparison: every scene has one look from first "
                    "to last frame. A model may choose another.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, seed: int, num_frames: int, shots: int, instruction: str, size: int = _SIZE
    ) -> io.NodeOutput:
        scenes = demo_scenes(seed, shots, instruction)
        source, target = render_shots(scenes, num_frames, size)
        prompt = scenes[0][1].instruction
        cuts = ", ".join(str(span.start + 1) for span in shot_spans(shots, num_frames)[1:])
        text = f"{prompt}\n{num_frames} frames, {FRAME_RATE:g} a second" + (
            f"; new shots at frame {cuts}" if cuts else ""
        )
        return io.NodeOutput(source, prompt, FRAME_RATE, target, ui=ui.PreviewText(text))


def render_shots(
    scenes: tuple[tuple[World, Edit], ...], num_frames: int, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The clip and its true edit (F, H, W, 3), a few frames at a time; the run can be interrupted
    between them.

    Time runs on in a scene that is not seen.
    """
    source, target = torch.empty(2, num_frames, size, size, 3).unbind(0)
    progress = comfy.utils.ProgressBar(num_frames)
    for (world, edit), span in zip(scenes, shot_spans(len(scenes), num_frames), strict=True):
        for first in span[::_FRAMES_AT_ONCE]:
            comfy.model_management.throw_exception_if_processing_interrupted()
            frames = range(first, min(first + _FRAMES_AT_ONCE, span.stop))
            source[frames.start : frames.stop] = render_world(world, frames, size).movedim(1, -1)
            target[frames.start : frames.stop] = render_world(world, frames, size, edit).movedim(
                1, -1
            )
            progress.update(len(frames))
    return source, target


NODES = [DemoLongVideo]

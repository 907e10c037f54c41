"""Procedural clips for trying the pack, with the right result of each edit."""

import comfy.model_management
import comfy.utils
from comfy_api.latest import io, ui

from ..memv2v_core.cameras.trajectory import CameraTrajectory
from ..memv2v_core.synthetic.demo_clips import (
    FRAME_RATE,
    SIZE,
    demo_scenes,
    render_shots,
    shot_spans,
)
from ..memv2v_core.synthetic.demo_solids import film_demo_solids
from ..memv2v_core.synthetic.edits import TRAINED_KINDS, EditKind
from ..memv2v_core.synthetic.panoramas import (
    SceneConfig,
    demo_scene,
    drifting_path,
    render_panorama,
    require_inside,
)
from ..memv2v_core.synthetic.solids.making import demo_solid_scene
from ..memv2v_core.synthetic.solids.paths import drifting_solid_path
from .host.compat import shows_result
from .host.menu import in_menu
from .host.named_files import require_choice
from .io_types import CameraSocket

# Of a scene: shapes painted around one camera centre, or solids that stand and move in space.
ROTATING, DEPTH = "rotating", "depth"


class DemoScene(io.ComfyNode):
    """A procedural scene and its cameras."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VDemoScene",
            display_name="Demo Scene",
            **in_menu("MemV2VDemoScene"),
            description="Renders a procedural scene, of the kind that the built-in novel_view or "
            "novel_view_depth was trained on (training never used this one). Without a camera it "
            "gives the source clip. With a camera it gives the truth that a turn along that path "
            "should match.",
            inputs=[
                io.Int.Input("scene", default=3, min=0, max=2**20, tooltip="Which scene."),
                io.Int.Input(
                    "num_frames", default=9, min=1, max=2000, tooltip="Frames; 9 for these models."
                ),
                io.Int.Input(
                    "size",
                    default=128,
                    min=64,
                    max=1024,
                    step=16,
                    tooltip="Pixels a side; these models were trained at 128.",
                ),
                io.Float.Input(
                    "drift_deg",
                    default=3.0,
                    min=0.0,
                    max=30.0,
                    tooltip="How far the source camera pans, in degrees. With depth it also moves "
                    "to the right, by 0.05 pose units a degree.",
                ),
                CameraSocket.Input(
                    "camera",
                    optional=True,
                    tooltip="Render the truth along this path instead of the source.",
                ),
                io.Combo.Input(
                    "kind",
                    options=[ROTATING, DEPTH],
                    default=ROTATING,
                    optional=True,
                    tooltip=f"{ROTATING}: coloured shapes without depth, for cameras that turn on "
                    f"the spot; novel_view. {DEPTH}: things at many distances, some of them "
                    "moving, for cameras that also move; novel_view_depth.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="frames", tooltip="The clip."),
                CameraSocket.Output(display_name="camera", tooltip="Its exact camera."),
            ],
        )

    @classmethod
    def execute(
        cls,
        scene: int,
        num_frames: int,
        size: int,
        drift_deg: float,
        camera: CameraTrajectory | None = None,
        kind: str = ROTATING,
    ) -> io.NodeOutput:
        if require_choice("kind", kind, (ROTATING, DEPTH)) == DEPTH:
            path = drifting_solid_path(drift_deg, num_frames) if camera is None else camera
            progress = comfy.utils.ProgressBar(path.num_frames)

            def after_each(count: int) -> None:
                comfy.model_management.throw_exception_if_processing_interrupted()
                progress.update(count)

            frames = film_demo_solids(demo_solid_scene(scene), path, size, after_each)
            return io.NodeOutput(frames.movedim(1, -1).contiguous(), path)
        config = SceneConfig()
        path = drifting_path(drift_deg, num_frames, config) if camera is None else camera
        # A scene ends at its edges: a view past them would show stretched pixels.
        if camera is not None:
            require_inside(camera, config)
        frames = render_panorama(demo_scene(scene, config), path, size, size)
        return io.NodeOutput(frames.movedim(1, -1).contiguous(), path)


class DemoLongVideo(io.ComfyNode):
    """A clip for trying the edit of long videos."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VDemoLongVideo",
            display_name="Demo Long Video",
            **in_menu("MemV2VDemoLongVideo"),
            description="Renders a long clip of named objects, of the kind that the built-in "
            "text_edit was trained on (training never used this one), and an instruction that has "
            "many right answers: only memory makes all segments give the same answer.",
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
                    tooltip="Frames; 8 frames are one second.",
                ),
                io.Int.Input(
                    "shots",
                    default=1,
                    min=1,
                    max=3,
                    tooltip="1: one scene. 2: a cut to another scene. 3: another scene, then back "
                    "to the first. Both scenes have an object of the same name, so the "
                    "instruction fits both.",
                ),
                io.Combo.Input(
                    "instruction",
                    options=list(TRAINED_KINDS),
                    default="hat",
                    tooltip="recolour: give an object a new colour. hat: put a hat on an object.",
                ),
                io.Int.Input(
                    "size",
                    default=SIZE,
                    min=32,
                    max=1024,
                    step=16,
                    optional=True,
                    advanced=True,
                    tooltip=f"Pixels a side; text_edit was trained at {SIZE}.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="frames", tooltip="The clip to edit."),
                io.String.Output(display_name="instruction", tooltip="The prompt."),
                io.Float.Output(display_name="frame_rate", tooltip="Frames per second."),
                io.Image.Output(
                    display_name="true_edit",
                    tooltip="One right answer, for comparison: in it every scene has the same "
                    "look from first to last frame. A model may choose another answer.",
                ),
            ],
            **shows_result(),
        )

    @classmethod
    def execute(
        cls, seed: int, num_frames: int, shots: int, instruction: EditKind, size: int = SIZE
    ) -> io.NodeOutput:
        scenes = demo_scenes(seed, shots, instruction)
        progress = comfy.utils.ProgressBar(num_frames)

        def after_each(count: int) -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            progress.update(count)

        source, target = render_shots(scenes, num_frames, size, after_each)
        prompt = scenes[0][1].instruction
        # Frames count from 1 for users; the start of the first shot is no cut.
        cuts = ", ".join(str(span.start + 1) for span in shot_spans(shots, num_frames)[1:])
        text = f"{prompt}\n{num_frames} frames, {FRAME_RATE:g} a second"
        text += f"; new shots at frame {cuts}" if cuts else ""
        return io.NodeOutput(source, prompt, FRAME_RATE, target, ui=ui.PreviewText(text))


NODES = [DemoScene, DemoLongVideo]

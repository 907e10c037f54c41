"""A node that says which base a MODEL of any loader is."""

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui

from .host.compat import shows_result
from .host.menu import in_menu
from .host.models.attachment import describe_model
from .host.models.published import DESCRIBABLE, described
from .host.named_files import require_choice


class DescribeBase(io.ComfyNode):
    """The base of a MODEL, in the user's words."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VDescribeBase",
            display_name="Describe Base",
            **in_menu("MemV2VDescribeBase"),
            description="Says which base a model is, where its weights do not: the files of "
            "Bernini-R look like those of Wan. For models of other loaders (Load Diffusion Model, "
            "GGUF, quantised), and for files whose name says nothing or the wrong thing. Connect "
            "it directly behind the loader.",
            inputs=[
                io.Model.Input(
                    "model", tooltip="A Wan without an adapter and without memory, of any loader."
                ),
                io.Combo.Input(
                    "base",
                    options=list(DESCRIBABLE),
                    tooltip="What the model is. A model of other channels is refused.",
                ),
                io.Boolean.Input(
                    "sets_shift",
                    default=True,
                    tooltip="Set the flow shift of this base, as Load Memory-V2V Model does. Off: "
                    "the model keeps its own, as of a ModelSamplingSD3 node before this one.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model", tooltip="The model, which now counts as this base."
                )
            ],
            **shows_result(),
        )

    @classmethod
    def execute(cls, model: ModelPatcher, base: str, sets_shift: bool) -> io.NodeOutput:
        name = require_choice("base", base, list(DESCRIBABLE))
        model = described(model, name, sets_shift)
        return io.NodeOutput(model, ui=ui.PreviewText("\n".join(describe_model(model))))


NODES = [DescribeBase]

"""Memory adapters from files, for a MODEL from any loader."""

from comfy_api.latest import io, ui

from ..memv2v_core.weights.checkpoint import read_adapter, read_cameras
from ..memv2v_core.weights.detection import detect
from ..memv2v_core.weights.weight_files import read_header, stem_of
from .attachment import LoadedAdapter
from .io_types import CATEGORY, Adapter
from .model_files import FOLDER, file_fingerprint, file_path, weight_files


class LoadMemoryAdapter(io.ComfyNode):
    """An adapter file for a model from another loader."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadMemoryAdapter",
            display_name="Load Memory Adapter",
            category=CATEGORY,
            description="Loads memory weights for a model from any loader (UNETLoader, GGUF, "
            "quantised): connect it to Apply Memory or Memory-V2V Sampler. From a "
            "ReCamMaster checkpoint it takes the camera weights alone; ReCamMaster "
            "also trained the self-attention of its Wan2.1, which a plain Wan base "
            "lacks.",
            inputs=[
                io.Combo.Input(
                    "adapter_name",
                    options=weight_files(FOLDER),
                    tooltip="A memory adapter or a ReCamMaster checkpoint (step20000.ckpt) in "
                    f"models/{FOLDER}.",
                ),
            ],
            outputs=[
                Adapter.Output(
                    display_name="adapter",
                    tooltip="For the adapter input of Apply Memory or Memory-V2V Sampler.",
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, adapter_name: str | None = None) -> str:
        return file_fingerprint(FOLDER, adapter_name) if adapter_name else ""

    @classmethod
    def execute(cls, adapter_name: str) -> io.NodeOutput:
        adapter = load_adapter(adapter_name)
        return io.NodeOutput(adapter, ui=ui.PreviewText(_describe(adapter)))


def load_adapter(name: str) -> LoadedAdapter:
    """The adapter in a file of models/memv2v; of a ReCamMaster checkpoint its camera weights alone.

    Raises: ValueError naming a file that is missing, broken or of another kind.
    """
    path = file_path(FOLDER, name)
    header = read_header(path)
    is_ours = detect(header.shapes, header.metadata).kind == "adapter"
    config, state = read_adapter(path) if is_ours else read_cameras(path)
    state = {
        key: value.clone() for key, value in state.items()
    }  # ComfyUI keeps it; the file may be written anew
    return LoadedAdapter(stem_of(path), config, state, "trained" if is_ours else "training-free")


def _describe(adapter: LoadedAdapter) -> str:
    config = adapter.config
    fitting = (
        f"for a base of {config.num_blocks} blocks of {config.dim} with {config.in_channels} "
        "input channels"
    )
    lines = [f"{adapter.name}, {adapter.mode} mode", fitting]
    if adapter.mode == "training-free":
        lines.append(
            "camera weights alone: memory is not trained, and ReCamMaster's own self-attention "
            "stays in its checkpoint"
        )
    return "\n".join(lines)


NODES = [LoadMemoryAdapter]

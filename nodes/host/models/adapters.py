"""Memory adapters from files, for a MODEL from any loader."""

from ....memv2v_core.weights.checkpoint import read_adapter, read_cameras
from ....memv2v_core.weights.detection import detect
from ....memv2v_core.weights.weight_files import read_header, stem_of
from .attachment import LoadedAdapter
from .files import FOLDER, file_path


def load_adapter(name: str) -> LoadedAdapter:
    """The adapter in a file of models/memv2v; from a ReCamMaster checkpoint its camera weights.

    Raises: ValueError naming a file that is missing, broken or of another kind.
    """
    path = file_path(FOLDER, name)
    header = read_header(path)
    # The content decides, not the name of the file.
    is_ours = detect(header.shapes, header.metadata).kind == "adapter"
    config, state = read_adapter(path) if is_ours else read_cameras(path)
    # Cloned: ComfyUI keeps the weights, and the mapped file may be overwritten.
    state = {key: value.clone() for key, value in state.items()}
    return LoadedAdapter(stem_of(path), config, state, "trained" if is_ours else "training-free")


def describe_adapter(adapter: LoadedAdapter) -> str:
    """The adapter in words: the base it fits, and its limits."""
    config = adapter.config
    text = (
        f"{adapter.name}, {adapter.mode} mode\n"
        f"for a base of {config.num_blocks} blocks of {config.dim} with {config.in_channels} "
        "input channels"
    )
    if adapter.mode == "training-free":
        text += (
            "\ncamera weights alone: memory is not trained, and ReCamMaster's own self-attention "
            "stays in its checkpoint"
        )
    return text

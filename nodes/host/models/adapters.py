"""Memory adapters from files, for a MODEL from any loader."""

from ....memv2v_core.model.adapter import AdapterConfig
from ....memv2v_core.vocabulary import TurnMode
from ....memv2v_core.weights.adapter_file import AdapterFile, TrainingRecord, read_adapter_file
from ....memv2v_core.weights.checkpoint import read_own_adapter
from ....memv2v_core.weights.detection import detect
from ....memv2v_core.weights.reading.boundary import one_line
from ....memv2v_core.weights.weight_files import read_header, stem_of
from .attachment import LoadedAdapter
from .files import FOLDER, file_path

# Characters of each text of a file that a node shows.
_MOST_SHOWN = 300


def load_adapter(name: str) -> LoadedAdapter:
    """The adapter in a file of models/memv2v; from a ReCamMaster checkpoint its camera weights.

    Raises: ValueError naming a file that is missing, broken or of another kind.
    """
    path = file_path(FOLDER, name)
    header = read_header(path)
    # The content decides, not the name of the file.
    is_ours = detect(header.shapes, header.metadata).kind == "adapter"
    file = read_adapter_file(path) if is_ours else AdapterFile(*read_own_adapter(path))
    # Cloned: ComfyUI keeps the weights, and the mapped file may be overwritten.
    state, changes = (
        {key: value.clone() for key, value in tensors.items()}
        for tensors in (file.state, file.base_changes)
    )
    mode: TurnMode = "trained" if is_ours else "training-free"
    return LoadedAdapter(stem_of(path), file.config, state, mode, changes, file.record)


def describe_adapter(adapter: LoadedAdapter) -> str:
    """The adapter in words: the base it fits, its training, and its limits."""
    config = adapter.config
    lines = [
        f"{adapter.name}, {adapter.mode} mode",
        f"for a base of {config.num_blocks} blocks of {config.dim} with {config.in_channels} "
        "input channels",
    ]
    if adapter.record is not None:
        lines += _training_lines(adapter.record)
        lines.append(_changes_line(adapter))
    if adapter.mode == "training-free":
        owner = "SpaceTimePilot" if config.has_frame_times else "ReCamMaster"
        lines.append(
            f"camera weights alone: memory is not trained, and {owner}'s own self-attention stays "
            "in its checkpoint"
        )
    else:
        lines += _setting_lines(config, adapter.record)
    return "\n".join(lines)


def _training_lines(record: TrainingRecord) -> list[str]:
    # Texts of a file: one line each, whatever they hold.
    base, recipe, data, trained = (
        one_line(text, _MOST_SHOWN)
        for text in (record.base, record.recipe, record.data, record.trained)
    )
    return [
        f"trained on {base}: recipe {recipe}, {record.steps} steps",
        f"data: {data}",
        f"trained parts: {trained}",
    ]


def _changes_line(adapter: LoadedAdapter) -> str:
    if not adapter.base_changes:
        return "leaves the base's own weights as they are"
    return f"changes the base's own weights ({len(adapter.base_changes)} tensors)"


def _setting_lines(config: AdapterConfig, record: TrainingRecord | None) -> list[str]:
    """What source and memories were in training."""
    attention = "all tokens see each other"
    if config.attention == "one_way":
        reads = "and the prompt" if config.clean_reads_text else "and no prompt"
        attention = f"source and memories see each other alone, {reads}"
    memories = f"memories in {config.memory_order} order"
    if not config.memories_carry_source:
        memories += ", without their source"
    elif record is not None and record.base_sizes.takes_source_channels:
        memories += ", each beside its source"
    lines = [f"{config.attention.replace('_', '-')} attention: {attention}", memories]
    if config.num_latent_frames is not None:
        lines.append(f"trained with {config.num_latent_frames} latent frames")
    return lines

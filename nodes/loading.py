"""Loading models with memory."""

from pathlib import Path

import comfy.model_sampling
import comfy.sd
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from safetensors import SafetensorError, safe_open

from ..memv2v_core.builtin import bundle
from ..memv2v_core.builtin.codec import RATIOS, Codec
from ..memv2v_core.model.base_info import BaseInfo
from ..memv2v_core.model.checkpoint import read_adapter
from .attachment import attach_adapter
from .builtin_vae import BuiltinFormat, BuiltinVAE
from .io_types import CATEGORY

BUILTIN_PREFIX = "built-in: "
OWN_ADAPTER = "the model's own"
ADAPTER_FOLDER = "memv2v"

# ComfyUI looks for files in folders that packs have registered by the time it asks a node for its inputs.
folder_paths.add_model_folder_path(ADAPTER_FOLDER, str(Path(folder_paths.models_dir) / ADAPTER_FOLDER))


class LoadMemoryV2VModel(io.ComfyNode):
    """A base model with its memory adapter."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadMemoryV2VModel",
            display_name="Load Memory-V2V Model",
            category=CATEGORY,
            description="Loads a model with memory, its flow shift set, and its VAE. The built-in model ships with the "
            "pack: a small demonstration, trained on rotating cameras in procedural scenes; it reads no prompt.",
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=[BUILTIN_PREFIX + name for name in bundle.builtin_names()],
                    tooltip="Which model. Built-in ones need no download.",
                ),
                io.Combo.Input(
                    "adapter",
                    options=[OWN_ADAPTER, *folder_paths.get_filename_list(ADAPTER_FOLDER)],
                    default=OWN_ADAPTER,
                    optional=True,
                    tooltip="Memory weights: those that belong to the model, or a file of your own training in "
                    f"models/{ADAPTER_FOLDER}.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The base with its memory adapter."),
                io.Clip.Output(display_name="clip", tooltip="Text encoder; nothing for models that read no prompt."),
                io.Vae.Output(display_name="vae", tooltip="The VAE whose latents the model and its caches use."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, model_name: str | None = None, adapter: str | None = OWN_ADAPTER) -> str:
        if model_name is None or adapter is None:  # linked: not known yet, and files of the disk are no input
            return ""
        name = model_name.removeprefix(BUILTIN_PREFIX)
        paths = (bundle.dit_path(name), bundle.codec_path(name), adapter_path(name, adapter))
        return " ".join(_fingerprint(path) for path in paths)

    @classmethod
    def execute(cls, model_name: str, adapter: str = OWN_ADAPTER) -> io.NodeOutput:
        name = model_name.removeprefix(BUILTIN_PREFIX)
        model = load_builtin_model(name, adapter_path(name, adapter))
        return io.NodeOutput(model, None, BuiltinVAE(load_codec(bundle.codec_path(name))))


def adapter_path(name: str, adapter: str) -> Path:
    """The file of an adapter chosen in the node, for the built-in model `name`."""
    if adapter == OWN_ADAPTER:
        return bundle.adapter_path(name)
    return Path(folder_paths.get_full_path_or_raise(ADAPTER_FOLDER, adapter))


def load_builtin_model(name: str, adapter: Path | None = None) -> ModelPatcher:
    """The MODEL of the built-in model `name`, adapter attached (its own if None) and flow shift set; fp32.

    Raises: ValueError naming a file that is missing, broken or not what it should be.
    """
    info = bundle.read_info(name)
    model = load_dit(bundle.dit_path(name))
    model.model.latent_format = BuiltinFormat(load_codec(bundle.codec_path(name)))
    config, state = read_adapter(adapter or bundle.adapter_path(name))
    description = BaseInfo(
        model_name=BUILTIN_PREFIX + name,
        mode="trained",
        ratios=RATIOS,
        text_width=info.dit.text_dim,
        clean_timestep=config.clean_timestep,
        has_cameras=True,
        camera_conditioning=config.camera_conditioning,
        latent_size=(info.size // RATIOS.spatial, info.size // RATIOS.spatial),
    )
    state = {key: value.float() for key, value in state.items()}
    return with_shift(attach_adapter(model, config, state, description), info.shift)


def load_dit(path: Path) -> ModelPatcher:
    """The MODEL of a Wan-style DiT file, in fp32 whatever the file stores.

    Raises: ValueError naming the file and what was found in it.
    """
    weights, metadata = read_weights(path)
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    model = comfy.sd.load_diffusion_model_state_dict(weights, model_options={"dtype": torch.float32}, metadata=metadata)
    if model is None:
        raise ValueError(
            f"{path.name} in {path.parent} got {len(found)} tensors, the first named {next(iter(found), 'nothing')!r}, "
            "wanted a Wan DiT; install the pack again, or choose another model"
        )
    _require_weights(path, found, model.model.diffusion_model)
    return model


def load_codec(path: Path) -> Codec:
    """The codec in a file, in fp32.

    Raises: ValueError naming the file and what was found in it.
    """
    weights, _ = read_weights(path)
    codec = Codec()
    _require_weights(path, {name: tuple(tensor.shape) for name, tensor in weights.items()}, codec)
    codec.load_state_dict(weights)
    return codec.eval().requires_grad_(False)


def read_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """All tensors of a safetensors file in fp32, and its metadata.

    Raises: ValueError naming the file, its folder and what that holds.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
            return weights, file.metadata() or {}
    except (SafetensorError, FileNotFoundError) as error:
        held = ", ".join(sorted(other.name for other in path.parent.glob("*.safetensors"))) or "no safetensors file"
        raise ValueError(
            f"{path.name} could not be read ({error}); {path.parent} holds {held}; install the pack again"
        ) from error


def with_shift(model: ModelPatcher, shift: float) -> ModelPatcher:
    """A clone of a flow MODEL that samples with this shift, as the native ModelSamplingSD3 node sets it."""
    clone = model.clone()
    sampling = _ShiftedFlow(clone.model.model_config)
    sampling.set_parameters(shift=shift, multiplier=1000)
    clone.add_object_patch("model_sampling", sampling)
    return clone


class _ShiftedFlow(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
    pass


def _require_weights(path: Path, found: dict[str, tuple[int, ...]], module: torch.nn.Module) -> None:
    """Raise ValueError unless the file held every weight of `module`, at its size."""
    for name, tensor in module.state_dict().items():
        if found.get(name) != tuple(tensor.shape):
            got = f"size {found[name]}" if name in found else "nothing"
            raise ValueError(
                f"{path.name} in {path.parent} got {got} for {name!r}, wanted size {tuple(tensor.shape)}; "
                "install the pack again"
            )


def _fingerprint(path: Path) -> str:
    if not path.exists():
        return "missing"
    status = path.stat()
    return f"{status.st_mtime_ns}-{status.st_size}"


NODES = [LoadMemoryV2VModel]

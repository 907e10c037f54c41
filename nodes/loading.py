"""Nodes that load models with memory, and memory for models of other loaders."""

import comfy.sd
from comfy_api.latest import io, ui

from ..memv2v_core.bases.base_info import BaseInfo
from ..memv2v_core.builtin import bundle
from ..memv2v_core.builtin.info import BUILTIN_PREFIX
from .host.compat import shows_result
from .host.menu import in_menu
from .host.models.adapters import describe_adapter, load_adapter
from .host.models.attachment import base_info, describe_model, with_adapter
from .host.models.builtin import builtin_fingerprint, load_builtin_model, use_of
from .host.models.builtin_text import builtin_clip
from .host.models.builtin_vae import BuiltinVAE
from .host.models.files import FOLDER, file_fingerprint, file_path, weight_files
from .host.models.published import LoadedBase, load_base
from .host.named_files import require_choice, shown_name
from .io_types import AdapterSocket

FOLDER_PREFIX = f"{FOLDER}: "
OWN_ADAPTER = "the model's own"
BASE_FOLDER = "diffusion_models"
# Stands in the list of a folder without files: an empty list would say nothing.
NO_ADAPTER = f"no adapter file in models/{FOLDER}"


class LoadMemoryV2VModel(io.ComfyNode):
    """A base model with its memory adapter."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadMemoryV2VModel",
            display_name="Load Memory-V2V Model",
            **in_menu("LoadMemoryV2VModel"),
            description="Loads a model with memory and sets its flow shift. It takes Wan2.1-T2V, "
            "Bernini-R, ReCamMaster, SpaceTimePilot, Wan2.2-TI2V-5B or LucyEdit Dev from your "
            "model folders, or a built-in demonstration that needs no download: novel_view for "
            "cameras that turn on the spot, novel_view_depth for cameras that also move, text_edit "
            "for instructions such as 'put a hat on the red box', "
            "reference_edit for the same in Bernini-R's form. "
            "Published models run in training-free mode until you add a trained memory adapter. "
            "Load their text encoder and VAE with Load CLIP and Load VAE.",
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=model_names(),
                    tooltip="A built-in model, a file in models/diffusion_models, or a file in "
                    f"models/{FOLDER} (marked '{FOLDER_PREFIX.strip()}'). The type is detected "
                    "from the file.",
                ),
                io.Combo.Input(
                    "adapter",
                    options=[OWN_ADAPTER, *weight_files(FOLDER)],
                    default=OWN_ADAPTER,
                    optional=True,
                    tooltip="Memory weights: the model's own, if its file has any, or a file that "
                    f"you trained, in models/{FOLDER}. A ReCamMaster checkpoint here gives its "
                    "camera weights only.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The base with its memory adapter."),
                io.Clip.Output(
                    display_name="clip",
                    tooltip="The text encoder of a built-in model that reads prompts (text_edit, "
                    "reference_edit). "
                    "Other models give none: novel_view and novel_view_depth read no prompt; "
                    "published models need Load CLIP (umt5_xxl, wan).",
                ),
                io.Vae.Output(
                    display_name="vae",
                    tooltip="The VAE, if the file holds one, as for the built-in models. Other "
                    "models need Load VAE: wan_2.1_vae for Wan2.1, ReCamMaster and SpaceTimePilot, "
                    "wan2.2_vae for Wan2.2 5B and LucyEdit.",
                ),
            ],
            **shows_result(),
        )

    @classmethod
    def fingerprint_inputs(
        cls, model_name: str | None = None, adapter: str | None = OWN_ADAPTER
    ) -> str:
        # A linked value is not known yet, so no file can be checked.
        if model_name is None or adapter is None:
            return ""
        # A file that was replaced under its old name must be loaded again.
        own = "" if adapter == OWN_ADAPTER else file_fingerprint(FOLDER, adapter)
        if model_name.startswith(BUILTIN_PREFIX):
            return builtin_fingerprint(_builtin_name(model_name)) + own
        return file_fingerprint(*_folder_and_name(model_name)) + own

    @classmethod
    def execute(cls, model_name: str, adapter: str = OWN_ADAPTER) -> io.NodeOutput:
        chosen = None if adapter == OWN_ADAPTER else load_adapter(adapter)
        clip, notes = None, []
        if model_name.startswith(BUILTIN_PREFIX):
            name = _builtin_name(model_name)
            codec = bundle.load_codec(name)
            # A built-in model keeps its own adapter unless the user chose another.
            model = load_builtin_model(name, chosen is None, codec)
            vae: comfy.sd.VAE | None = BuiltinVAE(codec)
            clip, notes = builtin_clip(name), [use_of(name, bundle.read_info(name))]
        else:
            loaded = load_base(file_path(*_folder_and_name(model_name)))
            model, vae, notes = loaded.model, loaded.vae, _alike(loaded)
        model = with_adapter(model, chosen)
        lines = [*describe_model(model), *notes]
        # Built-in models bring text encoder and VAE; published files rarely do.
        if vae is None:
            lines.append(_missing_parts(base_info(model)))
        if chosen is not None:
            lines.append(f"adapter: {describe_adapter(chosen)}")
        return io.NodeOutput(model, clip, vae, ui=ui.PreviewText("\n".join(lines)))


class LoadMemoryAdapter(io.ComfyNode):
    """An adapter file for a model from another loader."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VLoadMemoryAdapter",
            display_name="Load Memory Adapter",
            **in_menu("MemV2VLoadMemoryAdapter"),
            description="Loads memory weights for a model from any loader (UNETLoader, GGUF, "
            "quantised). Connect it to Apply Memory or Memory-V2V Sampler. From a ReCamMaster "
            "checkpoint it takes the camera weights only: ReCamMaster also trained the "
            "self-attention of its Wan2.1, and a plain Wan base lacks that.",
            inputs=[
                io.Combo.Input(
                    "adapter_name",
                    options=weight_files(FOLDER) or [NO_ADAPTER],
                    tooltip="A memory adapter or a ReCamMaster checkpoint (step20000.ckpt) in "
                    f"models/{FOLDER}.",
                ),
            ],
            outputs=[
                AdapterSocket.Output(
                    display_name="adapter",
                    tooltip="For the adapter input of Apply Memory or Memory-V2V Sampler.",
                ),
            ],
            **shows_result(),
        )

    @classmethod
    def validate_inputs(cls, adapter_name: str | None) -> bool | str:
        # A linked name is not known yet.
        if adapter_name is None or adapter_name in weight_files(FOLDER):
            return True
        return (
            f"adapter_name got {shown_name(adapter_name)}, wanted a file in models/{FOLDER}; put a "
            "trained adapter or ReCamMaster's step20000.ckpt there, reload the page and choose it"
        )

    @classmethod
    def fingerprint_inputs(cls, adapter_name: str | None = None) -> str:
        if not adapter_name or adapter_name == NO_ADAPTER:
            return ""
        return file_fingerprint(FOLDER, adapter_name)

    @classmethod
    def execute(cls, adapter_name: str) -> io.NodeOutput:
        adapter = load_adapter(adapter_name)
        return io.NodeOutput(adapter, ui=ui.PreviewText(describe_adapter(adapter)))


def model_names() -> list[str]:
    """The choices of the loader: built-in models, then files that may be bases."""
    return [
        *(BUILTIN_PREFIX + name for name in bundle.builtin_names()),
        *weight_files(BASE_FOLDER),
        *(FOLDER_PREFIX + name for name in weight_files(FOLDER)),
    ]


def _builtin_name(model_name: str) -> str:
    return require_choice(
        "model_name", model_name.removeprefix(BUILTIN_PREFIX), bundle.builtin_names()
    )


def _folder_and_name(model_name: str) -> tuple[str, str]:
    if model_name.startswith(FOLDER_PREFIX):
        return FOLDER, model_name.removeprefix(FOLDER_PREFIX)
    return BASE_FOLDER, model_name


def _alike(loaded: LoadedBase) -> list[str]:
    """How a base was told from bases whose files look alike."""
    others = " or ".join(loaded.look_alikes)
    if not others:
        return []
    if loaded.told_by:
        return [
            f"told by {loaded.told_by!r} in the file's name; if it is {others}, say so with "
            "Describe Base"
        ]
    return [f"a file of {others} looks the same; if it is one, say so with Describe Base"]


def _missing_parts(info: BaseInfo) -> str:
    vae = "wan2.2_vae" if info.ratios.channels == 48 else "wan_2.1_vae"
    return f"load its text encoder (umt5_xxl) with Load CLIP and its VAE ({vae}) with Load VAE"


NODES = [LoadMemoryV2VModel, LoadMemoryAdapter]

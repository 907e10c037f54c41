"""Loading models with memory."""

from pathlib import Path

import comfy.sd
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui

from ..memv2v_core.bases.base_info import BaseInfo, adapted
from ..memv2v_core.builtin import bundle
from ..memv2v_core.builtin.info import BuiltinInfo
from ..memv2v_core.builtin.codec import Codec
from ..memv2v_core.weights.checkpoint import read_adapter
from ..memv2v_core.weights.detection import detect
from ..memv2v_core.weights.weight_files import read_header, read_weights
from .adapters import load_adapter
from .attachment import KEY, attach_adapter, base_info, with_adapter
from .bases import load_base, with_shift
from .builtin_text import builtin_clip
from .builtin_vae import BuiltinVAE, builtin_format
from .io_types import CATEGORY
from .model_files import FOLDER, file_fingerprint, file_path, fingerprint, weight_files

BUILTIN_PREFIX = "built-in: "
FOLDER_PREFIX = f"{FOLDER}: "
OWN_ADAPTER = "the model's own"
BASE_FOLDER = "diffusion_models"

_USES = {
    "novel_view": "shows a clip along a camera path; takes no prompt",
    "text_edit": (
        "edits a clip as an instruction says, such as 'put a hat on the red box' or 'give "
        "the blue ball a new colour'; connect clip to CLIP Text Encode"
    ),
}


class LoadMemoryV2VModel(io.ComfyNode):
    """A base model with its memory adapter."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadMemoryV2VModel",
            display_name="Load Memory-V2V Model",
            category=CATEGORY,
            description="Loads a model with memory and sets its flow shift: Wan2.1-T2V, "
            "ReCamMaster, Wan2.2-TI2V-5B or LucyEdit Dev from your model folders, or a "
            "built-in demonstration that needs no download: novel_view for new camera "
            "paths, text_edit for instructions such as 'put a hat on the red box'. "
            "Published models run in training-free mode until a trained memory adapter "
            "is added; load their text encoder and VAE with Load CLIP and Load VAE.",
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=model_names(),
                    tooltip="Which model: built in, or a file in models/diffusion_models or, "
                    f"marked '{FOLDER_PREFIX.strip()}', models/{FOLDER}. What it is gets "
                    "read from the file.",
                ),
                io.Combo.Input(
                    "adapter",
                    options=[OWN_ADAPTER, *weight_files(FOLDER)],
                    default=OWN_ADAPTER,
                    optional=True,
                    tooltip="Memory weights: those in the model's own file, if any, or a file of "
                    f"your own training in models/{FOLDER}. A ReCamMaster checkpoint here "
                    "gives its cameras alone.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The base with its memory adapter."),
                io.Clip.Output(
                    display_name="clip",
                    tooltip="The text encoder of a built-in model that reads prompts, as text_edit "
                    "does. Else nothing: novel_view reads no prompt, published models use "
                    "Load CLIP (umt5_xxl, wan).",
                ),
                io.Vae.Output(
                    display_name="vae",
                    tooltip="The VAE, if the file holds one, as the built-in models' do. Else use "
                    "Load VAE: wan_2.1_vae for Wan2.1 and ReCamMaster, wan2.2_vae for "
                    "Wan2.2 5B and LucyEdit.",
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(
        cls, model_name: str | None = None, adapter: str | None = OWN_ADAPTER
    ) -> str:
        if (
            model_name is None or adapter is None
        ):  # linked: not known yet, and files of the disk are no input
            return ""
        own = "" if adapter == OWN_ADAPTER else file_fingerprint(FOLDER, adapter)
        if model_name.startswith(BUILTIN_PREFIX):
            name = model_name.removeprefix(BUILTIN_PREFIX)
            parts = (bundle.dit_path, bundle.codec_path, bundle.adapter_path, bundle.text_path)
            return fingerprint(*(path(name) for path in parts)) + own
        return file_fingerprint(*_folder_and_name(model_name)) + own

    @classmethod
    def execute(cls, model_name: str, adapter: str = OWN_ADAPTER) -> io.NodeOutput:
        chosen = None if adapter == OWN_ADAPTER else load_adapter(adapter)
        clip, use = None, None
        if model_name.startswith(BUILTIN_PREFIX):
            name = model_name.removeprefix(BUILTIN_PREFIX)
            codec = bundle.load_codec(name)
            model, vae = load_builtin_model(name, chosen is None, codec), BuiltinVAE(codec)
            clip, use = builtin_clip(name), _USES[bundle.read_info(name).task]
        else:
            model, vae = load_base(file_path(*_folder_and_name(model_name)))
        model = with_adapter(model, chosen)
        return io.NodeOutput(model, clip, vae, ui=ui.PreviewText(_describe(model, vae, use)))


def model_names() -> list[str]:
    """What the node offers: built-in models, then files that may be bases."""
    return [
        *(BUILTIN_PREFIX + name for name in bundle.builtin_names()),
        *weight_files(BASE_FOLDER),
        *(FOLDER_PREFIX + name for name in weight_files(FOLDER)),
    ]


def load_builtin_model(
    name: str, has_adapter: bool = True, codec: Codec | None = None
) -> ModelPatcher:
    """The MODEL of the built-in model `name`, flow shift set, its own adapter attached unless it is
    to get another; fp32. `codec`: its VAE where the caller has read it already.

    Raises: ValueError naming a file that is missing, broken or not what it should be.
    """
    shipped = bundle.read_info(name)
    codec = codec or bundle.load_codec(name)
    model = _load_builtin_dit(name, codec)
    info = _builtin_base(name, shipped, codec)
    model.set_attachments(KEY, info)
    if has_adapter:
        model = _with_own_adapter(model, bundle.adapter_path(name), info)
    return with_shift(model, shipped.shift)


def _builtin_base(name: str, shipped: BuiltinInfo, codec: Codec) -> BaseInfo:
    side = shipped.size // codec.ratios.spatial
    return BaseInfo(
        model_name=BUILTIN_PREFIX + name,
        mode="training-free",
        ratios=codec.ratios,
        text_width=shipped.dit.text_dim if shipped.text is None else None,
        clean_timestep="target",
        has_cameras=False,
        source_placement="channels" if shipped.dit.has_source_channels else "sequence",
        latent_size=(side, side),
        num_frames=shipped.num_frames,
    )


def _with_own_adapter(model: ModelPatcher, path: Path, info: BaseInfo) -> ModelPatcher:
    config, state = read_adapter(path)
    state = {key: value.float() for key, value in state.items()}
    return attach_adapter(model, config, state, adapted(info, config, "trained"))


def _load_builtin_dit(name: str, codec: Codec, disable_dynamic: bool = False) -> ModelPatcher:
    path = bundle.dit_path(name)
    header = read_header(path)
    has_source = bundle.read_info(name).dit.has_source_channels
    if (file := detect(header.shapes, header.metadata)).kind != (
        "lucyedit" if has_source else "wan2.1"
    ):
        wanted = "a Wan DiT of LucyEdit's form" if has_source else "a Wan DiT"
        raise ValueError(
            f"{path.name} in {path.parent} is {file.what}, wanted {wanted}; install the pack again"
        )
    weights = {key: value.float() for key, value in read_weights(path).items()}
    options = {"disable_dynamic": True} if disable_dynamic else {}  # older ComfyUIs know neither
    model = comfy.sd.load_diffusion_model_state_dict(
        dict(weights), model_options={"dtype": torch.float32}, metadata=header.metadata, **options
    )
    bundle.require_weights(path, weights, model.model.diffusion_model)
    model.model.latent_format = builtin_format(codec)
    model.cached_patcher_init = (_load_builtin_dit, (name, codec))
    return model


def _folder_and_name(model_name: str) -> tuple[str, str]:
    if model_name.startswith(FOLDER_PREFIX):
        return FOLDER, model_name.removeprefix(FOLDER_PREFIX)
    return BASE_FOLDER, model_name


def _describe(model: ModelPatcher, vae: comfy.sd.VAE | None, use: str | None) -> str:
    info = base_info(model)
    lines = [
        f"{info.model_name}, {info.mode} mode",
        f"flow shift {model.get_model_object('model_sampling').shift:g}",
        "takes camera paths" if info.has_cameras else "no camera weights: takes no camera paths",
    ]
    if use is not None:
        lines.append(use)
    if info.mode == "training-free":
        lines.append("memory works through the base's own weights, nothing of it was trained")
    if vae is None:
        lines.append(
            f"load its text encoder (umt5_xxl) with Load CLIP and its VAE ({_vae_name(info)}) with "
            "Load VAE"
        )
    return "\n".join(lines)


def _vae_name(info: BaseInfo) -> str:
    return "wan2.2_vae" if info.ratios.channels == 48 else "wan_2.1_vae"


NODES = [LoadMemoryV2VModel]

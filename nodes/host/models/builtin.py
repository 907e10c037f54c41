"""The built-in models as MODEL, CLIP and VAE."""

from pathlib import Path

import comfy.sd
import torch
from comfy.model_patcher import ModelPatcher

from ....memv2v_core.bases.base_info import BaseInfo
from ....memv2v_core.builtin import bundle
from ....memv2v_core.builtin.codec import Codec
from ....memv2v_core.builtin.info import BuiltinInfo, builtin_base, with_own_adapter
from ....memv2v_core.weights.checkpoint import read_adapter
from ....memv2v_core.weights.reading.boundary import Fault, reading
from .attachment import KEY, attach_adapter
from .builtin_vae import WHITENING, builtin_format
from .files import fingerprint
from .published import with_shift

# The use of each task, as the loader describes it, and which cameras a shipped model knows.
_USES = {
    "novel_view": "shows a clip along a camera path; takes no prompt",
    "text_edit": (
        "edits a clip as an instruction says, such as 'put a hat on the red box' or 'give "
        "the blue ball a new colour'; connect clip to CLIP Text Encode"
    ),
}
_CAMERAS = {
    "novel_view": "knows cameras that turn on the spot: pan, tilt, roll, sweep; its scenes have no "
    "depth. For cameras that move choose built-in: novel_view_depth",
    "novel_view_depth": "knows cameras that turn and move, such as orbit and dolly, in scenes with "
    "depth and moving things",
}


def use_of(name: str, info: BuiltinInfo) -> str:
    """What the built-in model `name` is for, in words."""
    use = _USES[info.task]
    if name in _CAMERAS:
        use += f"\n{_CAMERAS[name]}"
    if info.dit.stream_identity == "source_id":
        use += "\nhas the form of Bernini-R: reads earlier edits as references, without training"
    return use


def load_builtin_model(
    name: str, has_adapter: bool = True, codec: Codec | None = None
) -> ModelPatcher:
    """The MODEL of the built-in model `name` in fp32, with its flow shift.

    has_adapter: whether its own adapter is attached; False for a model that gets another one.
    codec: its VAE, where the caller has already read it.

    Raises: ValueError naming a file that is missing, broken or of another kind.
    """
    shipped = bundle.read_info(name)
    with reading(bundle.info_path(name), "16 or 48 channels, as Wan's latents have", bundle.REMEDY):
        if shipped.dit.channels not in WHITENING:
            raise Fault(f"has {shipped.dit.channels} channels")
    codec = codec or bundle.load_codec(name)
    model = _load_dit(name, codec)
    info = builtin_base(name, shipped, codec.ratios)
    # Without an adapter the description alone makes it a base.
    model.set_attachments(KEY, info)
    if has_adapter:
        model = _with_own_adapter(model, bundle.adapter_path(name), info, shipped)
    return with_shift(model, shipped.shift)


def builtin_fingerprint(name: str) -> str:
    """Text that changes with the files of the built-in model `name`."""
    parts = (bundle.dit_path, bundle.codec_path, bundle.adapter_path, bundle.text_path)
    return fingerprint(*(path(name) for path in parts))


def _with_own_adapter(
    model: ModelPatcher, path: Path, base: BaseInfo, shipped: BuiltinInfo
) -> ModelPatcher:
    config, state = read_adapter(path)
    info = with_own_adapter(base, config, shipped)
    if not state:
        # A model that reads references with its own weights has nothing beside them.
        bare = model.clone()
        bare.set_attachments(KEY, info)
        return bare
    state = {key: value.float() for key, value in state.items()}
    return attach_adapter(model, config, state, info)


def _load_dit(name: str, codec: Codec, disable_dynamic: bool = False) -> ModelPatcher:
    path, info = bundle.dit_path(name), bundle.read_info(name)
    # fp32: the models are small, and most CPUs are fastest with it.
    weights = {key: value.float() for key, value in bundle.read_dit(name, info).items()}
    # Passed only when wanted: older ComfyUIs do not have this option.
    options = {"disable_dynamic": True} if disable_dynamic else {}
    with reading(path, "a Wan DiT that ComfyUI can build", bundle.REMEDY):
        model = comfy.sd.load_diffusion_model_state_dict(
            dict(weights),
            model_options={"dtype": torch.float32},
            metadata=bundle.comfy_metadata(info),
            **options,
        )
    bundle.require_weights(path, weights, model.model.diffusion_model)
    model.model.latent_format = builtin_format(codec)
    # ComfyUI loads the model again through this function when it needs a fresh copy.
    model.cached_patcher_init = (_load_dit, (name, codec))
    return model

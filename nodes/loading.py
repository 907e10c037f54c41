"""Loading models with memory."""

import comfy.model_sampling
import comfy.sd
import comfy.utils
import torch
from comfy_api.latest import io
from safetensors import safe_open

from ..memv2v_core.builtin import bundle
from ..memv2v_core.builtin.codec import RATIOS
from ..memv2v_core.model.checkpoint import read_adapter
from .attachment import BaseInfo, attach_adapter
from .builtin_vae import BuiltinVAE
from .io_types import CATEGORY

BUILTIN_PREFIX = "built-in: "


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
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The base with its memory adapter."),
                io.Clip.Output(display_name="clip", tooltip="Text encoder; nothing for models that read no prompt."),
                io.Vae.Output(display_name="vae", tooltip="The VAE whose latents the model and its caches use."),
            ],
        )

    @classmethod
    def execute(cls, model_name: str) -> io.NodeOutput:
        name = model_name.removeprefix(BUILTIN_PREFIX)
        return io.NodeOutput(load_builtin_model(name), None, BuiltinVAE(bundle.load_codec(name)))


def load_builtin_model(name: str) -> object:
    """The MODEL of the built-in model `name`, adapter attached and flow shift set; fp32."""
    info = bundle.read_info(name)
    path = bundle.dit_path(name)
    with safe_open(str(path), framework="pt") as file:
        metadata = file.metadata()
    weights = {key: value.float() for key, value in comfy.utils.load_torch_file(str(path)).items()}
    model = comfy.sd.load_diffusion_model_state_dict(weights, model_options={"dtype": torch.float32}, metadata=metadata)
    config, state = read_adapter(bundle.adapter_path(name))
    description = BaseInfo(
        model_name=BUILTIN_PREFIX + name,
        mode="trained",
        ratios=RATIOS,
        text_width=info.dit.text_dim,
        clean_timestep=config.clean_timestep,
        has_cameras=True,
        latent_size=(info.size // RATIOS.spatial, info.size // RATIOS.spatial),
    )
    state = {key: value.float() for key, value in state.items()}
    return with_shift(attach_adapter(model, config, state, description), info.shift)


def with_shift(model: object, shift: float) -> object:
    """A clone of a flow MODEL that samples with this shift, as the native ModelSamplingSD3 node sets it."""

    class ShiftedFlow(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
        pass

    clone = model.clone()
    sampling = ShiftedFlow(clone.model.model_config)
    sampling.set_parameters(shift=shift, multiplier=1000)
    clone.add_object_patch("model_sampling", sampling)
    return clone


NODES = [LoadMemoryV2VModel]

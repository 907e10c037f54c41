"""Turns a training run's checkpoint into the files that ship with the pack."""

import dataclasses
from pathlib import Path

import torch

from ..builtin.bundle import save_bundle
from ..builtin.info import BuiltinInfo, DitConfig
from ..builtin.text_encoder import TextConfig, TextEncoder
from .config import TrainConfig
from .network import adapter_of, build_network
from .trainer import CHECKPOINT_FILE, load_run_codec, run_vocabulary

NUM_SAMPLER_STEPS = 12


def export_run(config: TrainConfig, folder: Path, key: str, name: str) -> None:
    """Write the averaged weights of the run in `folder` as the built-in model `key`.

    name: as shown to users.
    """
    network = build_network(config.model, run_vocabulary(folder))
    state = torch.load(folder / CHECKPOINT_FILE, weights_only=True, map_location="cpu")
    # The average of the weights samples better than the last ones.
    network.load_state_dict(state["average"])
    codec = load_run_codec(folder, config.model)
    text_encoder = network["text"] if config.model.has_text else None
    assert text_encoder is None or isinstance(text_encoder, TextEncoder)
    save_bundle(
        builtin_info(config, name), key, network["dit"], adapter_of(network), codec, text_encoder
    )


def builtin_info(config: TrainConfig, name: str) -> BuiltinInfo:
    """The record that the pack keeps of a model trained with `config`."""
    model = config.model
    data = config.data if config.task == "novel_view" else config.edits
    return BuiltinInfo(
        name=name,
        size=data.size,
        num_frames=data.num_frames,
        task=config.task,
        fov_deg=config.data.scenes.fov_deg if model.has_cameras else None,
        text=TextConfig(dim=model.text_dim) if model.has_text else None,
        shift=config.optim.shift,
        num_steps=NUM_SAMPLER_STEPS,
        dit=DitConfig(
            **{field.name: getattr(model, field.name) for field in dataclasses.fields(DitConfig)}
        ),
    )

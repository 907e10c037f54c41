"""Turns a run's checkpoint into files that the nodes load.

A recipe that trains a whole small model gives a built-in model; a recipe that leaves the base as it
is gives an adapter file.
"""

import dataclasses
from pathlib import Path
from typing import Any

import torch

from ..builtin.bundle import read_info, save_bundle
from ..builtin.info import BuiltinInfo, DitConfig
from ..builtin.text_encoder import TextConfig, TextEncoder
from ..weights.adapter_file import AdapterFile, TrainingRecord, save_adapter_file
from ..weights.base_changes import difference_name
from ..weights.checkpoint import to_native_names
from ..weights.wan_shapes import measured_sizes
from .checkpoints import best_weights, newest_checkpoint, put_weights, read_position
from .config.run import TrainConfig
from .data.prepared_folder import PreparedFolder
from .launch import Built, build
from .network.parts import num_parameters

ADAPTER_FILE = "adapter.safetensors"
NUM_SAMPLER_STEPS = 12


def export_adapter(config: TrainConfig, folder: Path, recipe: str, path: Path) -> Path:
    """Write the adapter of the newest checkpoint of the run in `folder` as one file.

    recipe: its name, for the file's record.

    Raises: ValueError for a run without a checkpoint.
    """
    built, steps = _trained(config, folder)
    adapter, before = built.model.adapter, native_dit(config, folder)
    changes = base_changes(built, config, before)
    # Cameras belong to blocks while a model is trained.
    state = {name: tensor.detach() for name, tensor in adapter.state_dict().items()}
    for i, block in enumerate(built.model.blocks):
        cameras = getattr(block, "cameras", None)
        if cameras is not None:
            state |= {
                f"blocks.{i}.{name}": tensor.detach()
                for name, tensor in cameras.state_dict().items()
            }
    num_frames = None if config.prepared is None else config.prepared.num_frames
    adapter_config = dataclasses.replace(adapter.config, num_latent_frames=num_frames)
    shapes = {name: tuple(tensor.shape) for name, tensor in before.items()}
    record = TrainingRecord.of(
        built.parts.name,
        measured_sizes(shapes, len(built.model.blocks)),
        recipe,
        _data_of(config),
        steps,
        ", ".join(num_parameters(built.weights)),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_adapter_file(path, AdapterFile(adapter_config, state, changes, record))
    return path


def base_changes(
    built: Built, config: TrainConfig, before: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """How training changed the base's weights, by native layer names.

    before: the DiT that the run began with, see `native_dit`.

    Low-rank changes stay low-rank, with alpha / rank in B. Whole weights become their difference to
    the base.

    Raises: ValueError where the recipe trains more of the base than its self-attention.
    """
    own = {name: tensor.detach() for name, tensor in built.weights.items() if ".base." in name}
    if not own:
        return {}
    if config.trained.base is not None:
        raise ValueError(
            "trained got the part base, which no adapter holds, wanted self_attention alone; "
            "export the run as a built-in model with --key, or train without it"
        )
    attention = config.trained.self_attention
    assert attention is not None, "a block's base is trained through it alone"
    if attention.lora_rank is not None:
        scale = attention.lora_alpha / attention.lora_rank
        return {
            _lora_name(name): tensor * (scale if ".lora_B." in name else 1.0)
            for name, tensor in own.items()
        }
    after = to_native_names({_dit_name(name): tensor for name, tensor in own.items()})
    return {
        difference_name(name): tensor.float() - before[name].float()
        for name, tensor in after.items()
    }


def export_run(config: TrainConfig, folder: Path, key: str, name: str) -> None:
    """Write the model of the run in `folder` as the built-in model `key`.

    name: as shown to users.

    Raises: ValueError for a run whose model is no whole small one.
    """
    if config.base.kind == "file":
        raise ValueError(
            f"--key got a run of the published base {config.base.path}, wanted a new or built-in "
            "model; leave --key out and use the run's adapter file"
        )
    if config.trained.lora_rank is not None:
        raise ValueError(
            "--key got a run with low-rank changes, wanted whole weights; leave --key out and use "
            "the run's adapter file"
        )
    built, _ = _trained(config, folder)
    parts, model = built.parts, built.model
    assert parts.codec is not None, "every small model has one"
    _own_blocks(built)
    text = model.text
    assert text is None or isinstance(text, TextEncoder)
    save_bundle(builtin_info(config, name), key, parts.dit, parts.adapter, parts.codec, text)


def builtin_info(config: TrainConfig, name: str) -> BuiltinInfo:
    """The record that the pack keeps of a model trained with `config`."""
    shown: dict[str, Any] = {"name": name, "shift": config.optim.shift}
    if (data := config.scenes or config.worlds) is not None:
        shown |= {"size": data.size, "num_frames": data.num_frames}
    if config.scenes is not None:
        shown["fov_deg"] = config.scenes.scenes.fov_deg
    # Of prepared data nobody knows it, whatever the run began with.
    shown["reach"] = None if config.scenes is None else config.scenes.reach
    # Sizes are the ones of the model that the run began with.
    if config.base.kind == "builtin":
        return dataclasses.replace(read_info(config.base.name), **shown)
    model = config.base.model
    return BuiltinInfo(
        **shown,
        task=config.task,
        text=TextConfig(dim=model.text_dim) if model.has_text else None,
        num_steps=NUM_SAMPLER_STEPS,
        dit=DitConfig(
            **{field.name: getattr(model, field.name) for field in dataclasses.fields(DitConfig)}
        ),
    )


def _trained(config: TrainConfig, folder: Path) -> tuple[Built, int]:
    """The model with the weights of the newest checkpoint, and its steps."""
    newest = newest_checkpoint(folder)
    if newest is None:
        raise ValueError(f"{folder} holds no checkpoint; train first")
    built = build(config, folder)
    put_weights(built.weights, best_weights(newest), newest)
    return built, read_position(newest).step


def native_dit(config: TrainConfig, folder: Path) -> dict[str, torch.Tensor]:
    """The DiT that the run began with, under native names."""
    # In fp8 the self-attention would be rounded, which is frozen here and trained in the run.
    base = dataclasses.replace(config.base, has_fp8=False)
    plain = dataclasses.replace(config.trained, self_attention=None)
    started = build(dataclasses.replace(config, base=base, trained=plain), folder)
    _own_blocks(started)
    return to_native_names(started.parts.dit.state_dict())


def _own_blocks(built: Built) -> None:
    """Give DiT and adapter their blocks back."""
    model = built.model
    for module, part in ((built.parts.dit, "base"), (built.parts.adapter, "cameras")):
        blocks = [getattr(block, part) for block in model.blocks]
        del module.__dict__["blocks"]
        module.blocks = torch.nn.ModuleList(block for block in blocks if block is not None)


def _data_of(config: TrainConfig) -> str:
    if config.prepared is not None:
        header = PreparedFolder.open(config.prepared.folder).header
        return f"{header.dataset}, encoded by {header.encoder}"
    return "procedural scenes" if config.scenes is not None else "procedural worlds"


def _dit_name(name: str) -> str:
    """The diffusers name of a weight `blocks.N.base.REST`."""
    return name.replace(".base.", ".", 1)


def _lora_name(name: str) -> str:
    """The native name of one of peft's two matrices, as `blocks.0.self_attn.q.lora_A.weight`."""
    layer, _, rest = _dit_name(name).partition(".lora_")
    native = next(iter(to_native_names({f"{layer}.weight": 0})))
    return f"{native.removesuffix('.weight')}.lora_{rest.replace('.default', '', 1)}"

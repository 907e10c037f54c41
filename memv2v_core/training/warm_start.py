"""Starts a run with the weights of a built-in model instead of new ones."""

import dataclasses
from pathlib import Path

import torch
from safetensors.torch import save_file

from ..builtin.bundle import load_bundle, read_info
from ..builtin.info import DitConfig
from .checkpoints import CHECKPOINTS, STATE, WEIGHTS, newest_checkpoint
from .codec_trainer import save_codec
from .config.run import TrainConfig
from .launch import VOCABULARY_FILE, build


def start_from_builtin(config: TrainConfig, folder: Path, name: str) -> None:
    """Put the built-in model `name` into a new run's `folder`, for further training.

    Its weights become the checkpoint of step 0; its codec and its vocabulary come along. A folder
    that holds a checkpoint stays unchanged.

    Raises: ValueError naming the first difference, for a model of another task or of other sizes
    than `config`.
    """
    if newest_checkpoint(folder) is not None:
        return
    # Step 1: the weights must fit the configuration.
    info, model = read_info(name), config.base.model
    sizes = [field.name for field in dataclasses.fields(DitConfig)]
    pairs = [("base.kind", "new", config.base.kind), ("task", info.task, config.task)]
    pairs += [
        (f"base.model.{size}", getattr(info.dit, size), getattr(model, size)) for size in sizes
    ]
    for what, got, wanted in pairs:
        if got != wanted:
            raise ValueError(
                f"{name} got {what} {got}, wanted {wanted} as configured; set {what} to {got}"
            )
    # Step 2: codec and vocabulary. Token numbers mean the same only with the same vocabulary.
    bundle = load_bundle(name)
    save_codec(bundle.codec, folder)
    if bundle.text_encoder is not None:
        (folder / VOCABULARY_FILE).write_bytes(bundle.text_encoder.vocabulary)
    # Step 3: a network with these weights. The locator is not stored, so it starts new.
    built = build(config, folder)
    own = {name: weight.detach() for name, weight in built.model.named_parameters()}
    _copy(bundle.backbone.model.state_dict(), "dit", "base", own)
    _copy(bundle.adapter.state_dict(), "adapter", "cameras", own)
    if bundle.text_encoder is not None:
        _copy(bundle.text_encoder.state_dict(), "text", "", own)
    # Step 4: a checkpoint without optimisers; the trainer begins them.
    place = folder / CHECKPOINTS / "step-00000000"
    place.mkdir(parents=True)
    save_file({name: own[name].contiguous() for name in built.weights}, place / WEIGHTS)
    (place / STATE).write_text('{"step": 0, "seconds": 0.0}', encoding="utf-8")


@torch.no_grad()
def _copy(
    state: dict[str, torch.Tensor], whole: str, part: str, own: dict[str, torch.Tensor]
) -> None:
    """Copy a module's state into the weights of a `TrainedModel`.

    whole, part: the names there of everything outside blocks, and inside a block.
    """
    for name, tensor in state.items():
        words = name.split(".")
        inside = part and words[0] == "blocks"
        place = ".".join(("blocks", words[1], part, *words[2:])) if inside else f"{whole}.{name}"
        if place in own:
            own[place].copy_(tensor)

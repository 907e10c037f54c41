"""Begins a run with the weights of a built-in model instead of fresh ones."""

import dataclasses
from pathlib import Path

import torch

from ..builtin.bundle import load_bundle, read_info
from ..builtin.info import DitConfig
from .config import TrainConfig
from .network import build_network
from .trainer import CHECKPOINT_FILE, CODEC_FILE, VOCABULARY_FILE, save_checkpoint, start_run


def start_from_builtin(config: TrainConfig, folder: Path, name: str) -> None:
    """Put the built-in model `name` into a new run's `folder`, to be trained on: its weights as the
    checkpoint of step 0, its codec and its vocabulary. A folder that holds a checkpoint stays as it
    is.

    Raises: ValueError for a model of another task or of other sizes than `config` has, naming the
    first that differs.
    """
    if (folder / CHECKPOINT_FILE).exists():
        return
    info = read_info(name)
    sizes = [field.name for field in dataclasses.fields(DitConfig)]
    pairs = [("task", info.task, config.task)]
    pairs += [
        (f"model.{size}", getattr(info.dit, size), getattr(config.model, size)) for size in sizes
    ]
    for what, got, wanted in pairs:
        if got != wanted:
            raise ValueError(
                f"{name} got {what} {got}, wanted {wanted} as configured; set {what} to {got}"
            )
    folder.mkdir(parents=True, exist_ok=True)
    bundle = load_bundle(name)
    vocabulary = None if bundle.text_encoder is None else bundle.text_encoder.vocabulary
    if vocabulary is not None:
        (folder / VOCABULARY_FILE).write_bytes(vocabulary)
    torch.manual_seed(config.seed)
    network = build_network(config.model, vocabulary)
    network["dit"].load_state_dict(bundle.backbone.model.state_dict())
    network["adapter"].load_state_dict(bundle.adapter.state_dict())
    if bundle.text_encoder is not None:
        network["text"].load_state_dict(bundle.text_encoder.state_dict())
    torch.save(bundle.codec.state_dict(), folder / CODEC_FILE)
    save_checkpoint(start_run(config, network), folder / CHECKPOINT_FILE)

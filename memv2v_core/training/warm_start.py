"""Starts a run with the weights of a built-in model instead of new ones."""

import dataclasses
from pathlib import Path

import torch

from ..builtin.bundle import load_bundle, read_info
from ..builtin.info import DitConfig
from .config import TrainConfig
from .network import build_network
from .trainer import CHECKPOINT_FILE, CODEC_FILE, VOCABULARY_FILE, save_checkpoint, start_run


def start_from_builtin(config: TrainConfig, folder: Path, name: str) -> None:
    """Put the built-in model `name` into a new run's `folder`, for further training.

    Its weights become the checkpoint of step 0; its codec and its vocabulary come along. A folder
    that holds a checkpoint stays unchanged.

    Raises: ValueError naming the first difference, for a model of another task or of other sizes
    than `config`.
    """
    if (folder / CHECKPOINT_FILE).exists():
        return
    # Step 1: the weights must fit the configuration.
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
    # Step 2: the vocabulary. Token numbers mean the same only with the same vocabulary.
    folder.mkdir(parents=True, exist_ok=True)
    bundle = load_bundle(name)
    vocabulary = None if bundle.text_encoder is None else bundle.text_encoder.vocabulary
    if vocabulary is not None:
        (folder / VOCABULARY_FILE).write_bytes(vocabulary)
    # Step 3: a network with these weights. The locator is not stored, so it starts new.
    torch.manual_seed(config.seed)
    network = build_network(config.model, vocabulary)
    network["dit"].load_state_dict(bundle.backbone.model.state_dict())
    network["adapter"].load_state_dict(bundle.adapter.state_dict())
    if bundle.text_encoder is not None:
        network["text"].load_state_dict(bundle.text_encoder.state_dict())
    # Step 4: the codec, then the checkpoint. Its presence says that the folder is complete.
    torch.save(bundle.codec.state_dict(), folder / CODEC_FILE)
    save_checkpoint(start_run(config, network), folder / CHECKPOINT_FILE)

"""Starts a run with the weights of a built-in model instead of new ones."""

import dataclasses
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from ..builtin.bundle import load_bundle, read_info
from ..builtin.info import DitConfig
from ..model.adapter import start_tokens_from_base
from .checkpoints import CHECKPOINTS, STATE, WEIGHTS, newest_checkpoint
from .codec_trainer import CODEC_LOG, save_codec, train_decoder
from .config.run import TrainConfig
from .launch import VOCABULARY_FILE, build
from .network.fresh import new_adapter_config
from .network.parts import part_of, parts_of


def start_from_builtin(config: TrainConfig, folder: Path, name: str) -> None:
    """Put the built-in model `name` into a new run's `folder`, for further training.

    Its weights become the checkpoint of step 0; its codec and its vocabulary come along. Its
    decoder is trained on for `config.decoder_minutes`. A folder that holds a checkpoint stays
    unchanged.

    Raises: ValueError naming the first difference, for a model of another task or of other sizes
    than `config`, and for a part that `config` freezes.
    """
    if newest_checkpoint(folder) is not None:
        return
    # Step 1: the weights must fit the configuration.
    info, bundle, model = read_info(name), load_bundle(name), config.base.model
    adapter = new_adapter_config(model, config.adapter)
    pairs: list[tuple[str, object, object]] = [
        ("base.kind", "new", config.base.kind),
        ("task", info.task, config.task),
    ]
    pairs += [
        (f"base.model.{size.name}", getattr(info.dit, size.name), getattr(model, size.name))
        for size in dataclasses.fields(DitConfig)
    ]
    pairs += [
        (f"base.model.{part}", getattr(bundle.adapter.config, part), getattr(adapter, part))
        for part in ("has_cameras", "has_rays")
    ]
    for what, got, wanted in pairs:
        if got != wanted:
            raise ValueError(
                f"{name} got {what} {got}, wanted {wanted} as configured; set {what} to {got}"
            )
    # Step 2: codec and vocabulary. Token numbers mean the same only with the same vocabulary.
    folder.mkdir(parents=True, exist_ok=True)
    if config.decoder_minutes:
        # Latents stay as the model knows them: only the decoder learns.
        train_decoder(bundle.codec, config, config.decoder_minutes, folder / CODEC_LOG)
    save_codec(bundle.codec, folder)
    if bundle.text_encoder is not None:
        (folder / VOCABULARY_FILE).write_bytes(bundle.text_encoder.vocabulary)
    # Step 3: a network with these weights. The locator is not stored, so it starts new; so does a
    # tokenizer that the model lacks.
    built = build(config, folder)
    own = {name: weight.detach() for name, weight in built.model.named_parameters()}
    _copy(bundle.backbone.model.state_dict(), "dit", "base", own)
    patch = built.model.dit.patch_embedding
    start_tokens_from_base(built.model.adapter, patch.weight, patch.bias)
    _copy(bundle.adapter.state_dict(), "adapter", "cameras", own)
    if bundle.text_encoder is not None:
        _copy(bundle.text_encoder.state_dict(), "text", "", own)
    _require_all_trained(config, own, name)
    # Step 4: a checkpoint without optimisers; the trainer begins them.
    place = folder / CHECKPOINTS / "step-00000000"
    temp = place.with_name(f"writing-{place.name}")
    shutil.rmtree(temp, ignore_errors=True)
    temp.mkdir(parents=True)
    save_file({name: own[name].contiguous() for name in built.weights}, temp / WEIGHTS)
    (temp / STATE).write_text('{"step": 0, "seconds": 0.0}', encoding="utf-8")
    temp.rename(place)


def _require_all_trained(config: TrainConfig, own: dict[str, torch.Tensor], name: str) -> None:
    """Raise ValueError for a part that the recipe freezes: a run stores what it trains alone."""
    parts, has_lora = parts_of(config.trained), config.trained.lora_rank is not None
    for part in sorted({part_of(each) for each in own}):
        if part not in parts or (part == "self_attention" and has_lora):
            raise ValueError(
                f"trained lacks the whole part {part}, wanted every part to begin with {name}; "
                f"train it, or set base to {{kind: builtin, name: {name}}}"
            )


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

"""Runs of the trainer that are so small that a step takes a fraction of a second."""

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from safetensors.torch import load_file

from memv2v_core.strict_yaml import as_values, build
from memv2v_core.training.checkpoints import WEIGHTS, newest_checkpoint
from memv2v_core.training.codec_trainer import train_codec
from memv2v_core.training.config.run import TrainConfig
from memv2v_core.training.launch import Built, new_accelerator, run_recipe
from memv2v_core.training.progress import LOG

# Every part of an adapter is trained, and the DiT's self-attention, as in the paper.
NOVEL_VIEW = """
task: novel_view
base:
  kind: new
  model: {dim: 64, num_heads: 2, num_layers: 3, ffn_dim: 64, text_dim: 8, freq_dim: 16}
adapter: {attention: one_way, has_base_tokenizer: true}
scenes:
  size: 32
  num_frames: 3
  target_frames: 2
  source_frames: 2
  memory_frames: 2
  num_scenes: 3
  first_scenes: 2
  scenes: {num_shapes: 3, panorama_width: 64}
trained:
  cameras: {rate: 0.002}
  projector: {rate: 0.002}
  tokenizers: {rate: 0.002}
  mergers: {rate: 0.002}
  self_attention: {rate: 0.002}
optim:
  {batch_size: 2, rows_at_once: 1, steps: 3, warmup_steps: 2, sigmas: logit_normal, shift: 3.0,
   whole_share: 0.15}
keep: {log_steps: 1, checkpoint_minutes: null}
codec_minutes: 0
seed: 3
"""

# The shipped model is the base; its scenes are small.
BUILTIN = """
task: novel_view
base: {kind: builtin, name: novel_view}
adapter: {attention: one_way, has_base_tokenizer: true}
scenes:
  size: 32
  num_frames: 3
  target_frames: 2
  source_frames: 2
  memory_frames: 2
  num_scenes: 3
  first_scenes: 2
  scenes: {num_shapes: 3, panorama_width: 64}
trained:
  cameras: {rate: 0.01}
  projector: {rate: 0.01}
  tokenizers: {rate: 0.01}
  mergers: {rate: 0.01}
  self_attention: {rate: 0.01}
optim: {batch_size: 1, steps: 3, warmup_steps: 1, sigmas: logit_normal, shift: 3.0}
keep: {log_steps: 1, checkpoint_minutes: null}
"""

# An editor of LucyEdit's form that is trained whole, with its text encoder.
TEXT_EDIT = """
task: text_edit
base:
  kind: new
  model:
    {dim: 64, num_heads: 2, num_layers: 3, ffn_dim: 64, text_dim: 16, freq_dim: 16, channels: 20,
     used_channels: 8, has_source_channels: true, has_rays: false, has_cameras: false,
     has_text: true}
adapter: {attention: two_way, has_base_tokenizer: false}
worlds:
  size: 32
  num_frames: 3
  target_frames: 2
  memory_frames: 2
  num_canvases: 3
  first_canvases: 2
  num_segments: 6
  worlds: {canvas_height: 48}
trained:
  tokenizers: {rate: 0.002}
  mergers: {rate: 0.002}
  self_attention: {rate: 0.002, muon_rate: 0.02}
  base: {rate: 0.002, muon_rate: 0.02}
  text: {rate: 0.002}
  locator: {rate: 0.002}
optim: {batch_size: 2, rows_at_once: 2, steps: 3, warmup_steps: 2, sigmas: logit_normal, shift: 3.0}
keep: {log_steps: 1, checkpoint_minutes: null}
codec_minutes: 0
seed: 3
"""


def recipe(text: str, *changes: str) -> TrainConfig:
    """The run of a YAML text, with changes such as `optim.steps=4`."""
    values = yaml.safe_load(text)
    for change in changes:
        _put(values, change)
    return build(TrainConfig, values, "a test's recipe")


def changed(config: TrainConfig, *changes: str) -> TrainConfig:
    """`config` with changes such as `optim.steps=4`."""
    values = as_values(config)
    for change in changes:
        _put(values, change)
    return build(TrainConfig, values, "a test's recipe")


def accelerator_of(config: TrainConfig, folder: Path) -> Accelerator:
    """A new accelerator on the CPU. Its process holds one at a time."""
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()
    return new_accelerator(config, folder, is_on_cpu=True)


def finished_run(config: TrainConfig, folder: Path) -> Built:
    """The model of a run in `folder` that went to its end in this process."""
    if config.base.kind == "new":
        train_codec(config, folder, torch.device("cpu"))
    return run_recipe(config, folder, accelerator_of(config, folder))


def log_of(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log."""
    return [json.loads(line) for line in (folder / LOG).read_text(encoding="utf-8").splitlines()]


def losses_of(folder: Path) -> dict[int, float]:
    """The loss of each logged step; a step that was repeated counts with its last time."""
    return {line["step"]: line["loss"] for line in log_of(folder) if "loss" in line}


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """The trained weights in a run's newest checkpoint."""
    newest = newest_checkpoint(folder)
    assert newest is not None
    return load_file(newest / WEIGHTS)


def assert_same(one: Any, other: Any) -> None:
    """Bit-equal, through dicts, lists and tensors."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert_same(value, other[key])
    elif isinstance(one, (list, tuple)):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other


def _put(values: dict[str, Any], change: str) -> None:
    key, _, text = change.partition("=")
    *groups, last = key.split(".")
    for group in groups:
        # A part that the recipe leaves out begins with its defaults.
        values[group] = values.get(group) or {}
        values = values[group]
    values[last] = yaml.safe_load(text)

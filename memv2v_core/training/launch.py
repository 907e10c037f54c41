"""A run from its recipe: the model, the examples, and the state to go on from."""

import json
import logging
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.tracking import get_available_trackers

from ..bases.base_info import BaseInfo
from ..builtin.codec import Codec
from ..model.adapter import start_tokens_from_base
from ..model.memory_inputs import MemoryInputs
from ..strict_yaml import as_values, as_yaml
from ..weights.weight_files import DTYPES
from .checkpoints import Position, best_weights, newest_checkpoint, put_weights
from .codec_trainer import load_run_codec
from .config.run import TrainConfig
from .data.ahead import ExamplesAhead
from .data.example import Example, Examples
from .data.own_memories import Editor
from .data.prepared import PreparedExamples
from .data.prepared_folder import PreparedFolder
from .data.rows import Rows
from .data.scenes import SceneExamples
from .data.worlds import WorldExamples
from .network.bases import Parts, build_parts
from .network.fp8 import keep_in_fp8
from .network.module import TrainedModel
from .network.parts import add_lora, freeze_others, parts_of
from .network.residence import Residence
from .optim.average import Average
from .optim.optimizers import build_optimizers
from .optim.precision import attention_for, computing
from .progress import Progress
from .trainer import Run, rows_of, structure_of, train
from .watching import Decode, Watch

log = logging.getLogger(__name__)
RECIPE_FILE, VOCABULARY_FILE = "recipe.yaml", "vocabulary.model"


@dataclass(frozen=True, eq=False)
class Built:
    """A model and its trained weights, before anything wraps them.

    parts: what it was made of.
    """

    parts: Parts
    model: TrainedModel
    weights: dict[str, torch.nn.Parameter]


def build(config: TrainConfig, folder: Path) -> Built:
    """The model of a run on the CPU, with the weights that training starts from.

    folder: of the run; a new model's codec and vocabulary are there.
    """
    torch.manual_seed(config.seed)
    vocabulary = folder / VOCABULARY_FILE
    parts = build_parts(
        config,
        DTYPES[config.optim.precision],
        load_run_codec(config, folder) if config.base.kind == "new" else None,
        vocabulary.read_bytes() if vocabulary.exists() else None,
    )
    add_lora(parts.dit, config.trained)
    model = TrainedModel(parts.dit, parts.adapter, parts.base, parts.text, parts.locator)
    if config.base.start is not None:
        _start_from(model, config.base.start)
    weights = freeze_others(model, config.trained)
    if config.base.has_fp8:
        for block in model.blocks:
            keep_in_fp8(block)
    return Built(parts, model, weights)


def start_run(config: TrainConfig, folder: Path, accelerator: Accelerator) -> tuple[Run, Built]:
    """The run in `folder`, new or at its newest checkpoint.

    Raises: ValueError for a folder whose run trains other weights, or a choice that processes
    cannot share.
    """
    _require_shareable(config, accelerator)
    folder.mkdir(parents=True, exist_ok=True)
    built = build(config, folder)
    model = built.model
    model.set_checkpointing(config.optim.has_checkpointing)
    precision, device = config.optim.precision, accelerator.device
    model.view.attend = attention_for(precision, device)
    model.computing = partial(computing, precision, device)
    optimizers = build_optimizers(built.weights, config.trained, config.optim)
    has_residence = config.optim.resident_blocks is not None
    if config.optim.resident_blocks is not None:
        residence = Residence(list(model.blocks), config.optim.resident_blocks, accelerator.device)
        residence.settle(model)
        model.view.residence = residence
    # Weights that wait in main memory must stay there.
    placement = [not has_residence, *(True for _ in optimizers.each)]
    wrapped, *each = accelerator.prepare(model, *optimizers.each, device_placement=placement)
    own = accelerator.unwrap_model(wrapped)
    # FSDP replaces weights by sharded ones; the names stay.
    weights = {name: weight for name, weight in own.named_parameters() if weight.requires_grad}
    optimizers = type(optimizers)(tuple(opt.optimizer for opt in each), optimizers.rates)
    average = Average(weights, config.optim.ema)
    run = Run(accelerator, wrapped, own, weights, optimizers, average, folder, Position())
    run.resume()
    return run, built


def run_recipe(config: TrainConfig, folder: Path, accelerator: Accelerator) -> Built:
    """Train a recipe to its end in `folder`; the model with its last weights.

    A run that was stopped goes on. Phases follow each other.
    """
    if config.keep.trackers:
        accelerator.init_trackers("memory_v2v", config=_flat(as_values(config)))
    for phase in config.phases:
        # The phase before leaves nothing on the device.
        accelerator.free_memory()
        run, built = start_run(phase, folder, accelerator)
        examples = examples_of(phase, built, accelerator.device, run)
        minutes = phase.optim.minutes
        progress = Progress(
            accelerator, folder, phase.optim.steps, None if minutes is None else 60 * minutes
        )
        watch = Watch(phase, examples, progress, decoder_of(phase, built, accelerator.device))
        if accelerator.is_main_process:
            # The whole recipe: a phase alone would not begin the run again.
            (folder / RECIPE_FILE).write_text(as_yaml(config), encoding="utf-8")
        try:
            train(run, phase, examples, watch)
        finally:
            if isinstance(examples, ExamplesAhead):
                examples.close()
    # Only trackers end here: the processes may have more to do together.
    for tracker in accelerator.trackers:
        tracker.finish()
    return built


def new_accelerator(config: TrainConfig, folder: Path, is_on_cpu: bool) -> Accelerator:
    """accelerate's view of this process; `accelerate launch` and its configuration decide the rest.

    Raises: ValueError for a tracker whose package is not installed.
    """
    available = [str(each) for each in get_available_trackers()]
    for name in config.keep.trackers:
        if name not in available:
            raise ValueError(
                f"trackers got {name!r}, wanted one of {available}, whose packages are installed; "
                "install it, or leave it out"
            )
    return Accelerator(
        cpu=is_on_cpu,
        # The model computes in its precision by itself, the same alone, in DDP and in FSDP2.
        mixed_precision="no",
        log_with=list(config.keep.trackers) or None,
        project_dir=folder,
        # A step without memories gives their tokenizers no gradient.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def examples_of(
    config: TrainConfig,
    built: Built,
    device: torch.device,
    run: Run | None = None,
) -> Examples:
    """The examples that a recipe names.

    run: gives tasks that learn from the model's own results a model to draw with.
    """
    base = built.parts.base
    if config.prepared is not None:
        prepared = PreparedFolder.open(config.prepared.folder)
        return PreparedExamples(config.prepared, prepared, base, device)
    codec = built.parts.codec
    if codec is None:
        raise ValueError(
            "examples got rendered scenes for a published base, wanted a prepared folder: a "
            "published VAE takes minutes for what a step needs; prepare them with dataset kind "
            "procedural"
        )
    num_workers, first_step = config.optim.draw_workers, 0 if run is None else run.position.step
    if num_workers and run is not None:
        make = partial(rendered_examples, config, base, deepcopy(codec).to("cpu"))
        place = run.accelerator.process_index, run.accelerator.num_processes
        plan = partial(_plan_step, config, place)
        own = rendered_examples(config, base, codec.to(device))
        return ExamplesAhead(own, make, plan, num_workers, first_step, device)
    codec = codec.to(device)
    editor = None

    if run is not None:

        def editor(
            given: torch.Tensor,
            timesteps: torch.Tensor,
            prompts: tuple[str, ...],
            inputs: MemoryInputs,
        ) -> torch.Tensor:
            x, source = given.chunk(2, dim=1)
            example = Example(x, inputs, source, prompts)
            return run.model(lambda own: own.velocity(x, timesteps, example))

    return rendered_examples(config, base, codec, editor)


def rendered_examples(
    config: TrainConfig, base: BaseInfo, codec: Codec, editor: Editor | None = None
) -> Examples:
    """The procedural examples that a recipe names, on the codec's device."""
    if config.scenes is not None:
        return SceneExamples(config.scenes, base, codec, config.seed)
    assert config.worlds is not None, "TrainConfig has checked it"
    return WorldExamples(config.worlds, base, codec, config.seed, editor)


def _plan_step(
    config: TrainConfig, place: tuple[int, int], examples: Examples, step: int
) -> tuple[Any, list[Rows]]:
    structure, is_whole = structure_of(config, examples, step)
    return structure, rows_of(config, step, is_whole, place)


def decoder_of(config: TrainConfig, built: Built, device: torch.device) -> Decode | None:
    """From latents to frames, where pictures are wanted and the run has a VAE at hand."""
    if config.keep.sample_steps is None:
        return None
    if built.parts.codec is not None:
        return built.parts.codec.to(device).decode_frames
    if config.prepare is None:
        raise ValueError(
            "sample_steps got a value, but the recipe has no `prepare` to take a VAE from; add it, "
            "or leave sample_steps out"
        )
    from .prepare.encoders.registry import encoder_of

    return encoder_of(config.prepare.encoder).decode_video


def _require_shareable(config: TrainConfig, accelerator: Accelerator) -> None:
    """Raise ValueError for a recipe that the processes of this run cannot share."""
    optim, count = config.optim, accelerator.num_processes
    if accelerator.distributed_type == "DEEPSPEED":
        raise ValueError(
            "accelerate's configuration got DeepSpeed, wanted DDP or FSDP2: checkpoints of "
            "DeepSpeed are not supported; run `accelerate config` again"
        )
    is_sharded = accelerator.distributed_type == "FSDP"
    if is_sharded and not accelerator.is_fsdp2:
        raise ValueError(
            "accelerate's configuration got FSDP of version 1, wanted version 2, which keeps the "
            "names of weights; set fsdp_version to 2"
        )
    if is_sharded and any(part.muon_rate is not None for part in parts_of(config.trained).values()):
        raise ValueError(
            "muon_rate got a value in a run with sharded weights, wanted None: Muon needs whole "
            "matrices; use AdamW's rate alone, or DDP"
        )
    if optim.resident_blocks is not None and count > 1:
        raise ValueError(
            f"resident_blocks got {optim.resident_blocks} in a run of {count} processes, wanted "
            "one process; leave it out and shard the weights with FSDP2"
        )
    for name in ("batch_size", "whole_batch_size"):
        num_rows = getattr(optim, name)
        if num_rows is not None and num_rows % count:
            raise ValueError(
                f"{name} got {num_rows} rows for {count} processes, wanted a multiple of {count}; "
                f"change {name} or the number of processes"
            )


def _start_from(model: TrainedModel, folder: Path) -> None:
    """Begin with the DiT and the cameras of another run.

    Tokenizers and merging convolutions begin as averages before that DiT's embedding, as on any
    base.

    Raises: ValueError for a folder without a checkpoint, or a model of other sizes.
    """
    newest = newest_checkpoint(folder)
    if newest is None:
        raise ValueError(f"base.start got {folder}, which holds no checkpoint; name a run's folder")
    found = {
        name: value
        for name, value in best_weights(newest).items()
        if not name.startswith("adapter.")
    }
    own = dict(model.named_parameters())
    put_weights({name: own[name] for name in found if name in own}, found, newest)
    patch = model.dit.patch_embedding
    start_tokens_from_base(model.adapter, patch.weight, patch.bias)


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested values under names such as `optim/steps`, as trackers take them."""
    if not isinstance(values, dict):
        plain = values if isinstance(values, (int, float, str, bool)) else json.dumps(values)
        return {prefix: plain}
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}/{name}" if prefix else name)
    return found

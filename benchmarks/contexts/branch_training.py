"""Training of a context branch on the built-in novel-view model, by the trainer's own loop.

The branch and the DiT's self-attention learn, as in the paper, or the branch alone; the encoder and
everything else are frozen. N context tokens.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from memv2v_core.context.branch import BranchConfig, ContextBranch, new_branch
from memv2v_core.context.branch_file import BranchRecord, save_branch
from memv2v_core.context.branch_view import BranchView
from memv2v_core.context.encoder import ContextEncoder
from memv2v_core.model.camera_encoder import FrameCameras
from memv2v_core.sampling.inputs import assemble_inputs
from memv2v_core.strict_yaml import build as build_config
from memv2v_core.synthetic.panoramas import FilmedView
from memv2v_core.training.checkpoints import Position
from memv2v_core.training.config.run import TrainConfig
from memv2v_core.training.data.example import Example
from memv2v_core.training.data.rows import Rows
from memv2v_core.training.data.scenes import SceneExamples, SceneRow, SceneStructure
from memv2v_core.training.launch import new_accelerator
from memv2v_core.training.network.bases import Parts, build_parts
from memv2v_core.training.network.module import TrainedModel
from memv2v_core.training.network.parts import part_of
from memv2v_core.training.objective import Noising, flow_matching_loss
from memv2v_core.training.optim.average import Average
from memv2v_core.training.optim.muon import Muon
from memv2v_core.training.optim.optimizers import Optimizers
from memv2v_core.training.progress import Progress
from memv2v_core.training.trainer import Run, train
from memv2v_core.training.watching import Watch

BASE = "novel_view"
# Frames of a memory that every encoder of a branch reads.
NUM_VIEWS = 2
# Of so many other paths through a scene, a step takes the one that looks most where its target
# looks, because the turns that are compared share a side too.
NUM_PATHS = 3
# Rates of AdamW, and of Muon for matrices inside blocks, as in the built-in model's recipe.
RATE, MUON_RATE = 2e-3, 2e-2
# The DiT has learned already. Gates start closed, and a few hundred steps must open them.
SLOW_RATE, GATE_RATE = 2e-4, 3e-2


@dataclass(frozen=True, eq=False)
class ContextExample(Example):
    """An example with context tokens (B, N, width) beside it."""

    tokens: torch.Tensor | None = None


class ContextExamples(SceneExamples):
    """Scenes whose one memory comes as context tokens, and not as a stream.

    encoder: set for one branch after another, so that they share the scenes.
    """

    encoder: ContextEncoder

    def draw(
        self, structure: SceneStructure, rows: Rows, is_held_out: bool = False
    ) -> ContextExample:
        drawn = [self.draw_row(structure, row, is_held_out) for row in rows]
        sources = [row.source for row in drawn if row.source is not None]
        tokens = [
            encoded(self.encoder, most_overlapping(row), row.reference.c2w[0]) for row in drawn
        ]
        targets = [FrameCameras.from_trajectory(row.target.path, row.reference) for row in drawn]
        inputs = assemble_inputs(
            self.base,
            self.config.num_frames,
            [self._video("source", 2, sources, drawn, structure.source_frames)],
            target_cameras=FrameCameras.joined(targets),
            target_frames=structure.target_frames,
        )
        target = self._encode([row.target for row in drawn])
        return ContextExample(target, inputs, tokens=torch.stack(tokens))


class BranchedModel(TrainedModel):
    """The DiT and its adapter beside a context branch, with the trainer's own objective."""

    def __init__(self, parts: Parts, branch: ContextBranch) -> None:
        super().__init__(parts.dit, parts.adapter, parts.base)
        self.branch = branch

    def loss(self, example: Example, noising: Noising) -> torch.Tensor:
        assert isinstance(example, ContextExample)
        assert example.tokens is not None
        view = BranchView(self.view, self.branch, example.tokens)
        return flow_matching_loss(view, self.adapter, example, self.context_of(example), noising)


def most_overlapping(row: SceneRow) -> FilmedView:
    """The memory whose cameras look most where the target's look."""
    ahead = row.target.path.c2w[:, :3, 2].mean(0)

    def closeness(view: FilmedView) -> float:
        return float(view.path.c2w[:, :3, 2].mean(0) @ ahead)

    return max(row.memories, key=closeness)


def encoded(encoder: ContextEncoder, view: FilmedView, origin: torch.Tensor) -> torch.Tensor:
    """Context tokens (N, width) of a memory, with cameras relative to `origin` (4, 4).

    The last frame of each of `NUM_VIEWS` equal parts is read: a pan begins where the source looks.
    """
    num_frames = len(view.frames)
    chosen = tuple((i + 1) * num_frames // NUM_VIEWS - 1 for i in range(NUM_VIEWS))
    path = view.path.frames(chosen)
    path = replace(path, c2w=torch.linalg.inv(origin) @ path.c2w)
    return encoder.encode(view.frames[list(chosen)], path)


def recipe(minutes: float, seed: int) -> TrainConfig:
    """The run of a branch; the trainer's schema has no word for its weights."""
    values: dict[str, Any] = {
        "task": "novel_view",
        "base": {"kind": "builtin", "name": BASE},
        "scenes": {
            **{"target_frames": 2, "source_frames": 2, "memory_frames": NUM_VIEWS},
            **{"first_scenes": 100, "irrelevant_share": 0.0},
            "memory": {
                "counts": [*[0.0] * NUM_PATHS, 1.0],
                **{"drop_source": 0, "merge_probability": 0, "noise": 0},
            },
        },
        "trained": {"self_attention": {"rate": SLOW_RATE}},
        "optim": {
            **{"batch_size": 4, "rows_at_once": 4, "whole_batch_size": 2, "minutes": minutes},
            **{"betas": [0.9, 0.98], "cooldown": 0.8, "warmup_steps": 20},
            **{"sigmas": "logit_normal", "shift": 3.0, "whole_share": 0.0},
        },
        "keep": {"checkpoint_minutes": 1, "num_checkpoints": 1, "log_steps": 50},
        "seed": seed,
    }
    return build_config(TrainConfig, values, "the recipe of a branch")


def optimizers_of(weights: dict[str, nn.Parameter], config: TrainConfig) -> Optimizers:
    """Muon for matrices in the branch's blocks, AdamW for all other weights."""
    groups: dict[float, list[nn.Parameter]] = {RATE: [], SLOW_RATE: [], GATE_RATE: []}
    matrices = []
    for name, parameter in weights.items():
        if not name.startswith("branch."):
            groups[SLOW_RATE].append(parameter)
        elif name.endswith(".gate"):
            groups[GATE_RATE].append(parameter)
        elif name.startswith("branch.blocks.") and name.endswith(".weight") and parameter.ndim == 2:
            matrices.append(parameter)
        else:
            groups[RATE].append(parameter)
    adam = torch.optim.AdamW(
        [{"params": each, "lr": rate} for rate, each in groups.items()],
        betas=config.optim.betas,
        weight_decay=config.optim.weight_decay,
    )
    muon = Muon([{"params": matrices, "lr": MUON_RATE}], weight_decay=config.optim.weight_decay)
    return Optimizers((adam, muon), (tuple(groups), (MUON_RATE,)))


def examples_of(config: TrainConfig) -> ContextExamples:
    """The scenes of all branches."""
    parts = build_parts(config, torch.float32)
    assert config.scenes is not None
    assert parts.codec is not None
    return ContextExamples(config.scenes, parts.base, parts.codec, config.seed)


def trained_branch(
    encoder: ContextEncoder,
    examples: ContextExamples,
    config: TrainConfig,
    folder: Path,
    has_own_attention: bool,
    is_alone: bool,
) -> tuple[BranchedModel, int]:
    """The model with a branch trained in `folder`, and its steps; a stopped run goes on.

    is_alone: the DiT's self-attention stays as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = build_parts(config, torch.float32)
    dit = parts.dit.config
    sizes = BranchConfig(
        encoder.identity,
        encoder.width,
        dit.num_attention_heads * dit.attention_head_dim,
        dit.num_layers,
        dit.ffn_dim,
        has_own_attention,
    )
    model = BranchedModel(parts, new_branch(sizes, config.seed))
    weights = {}
    for name, parameter in model.named_parameters():
        is_trained = name.startswith("branch.") or (
            part_of(name) == "self_attention" and not is_alone
        )
        parameter.requires_grad_(is_trained)
        if is_trained:
            weights[name] = parameter
    accelerator = new_accelerator(config, folder, True)
    optimizers, average = optimizers_of(weights, config), Average(weights, 0.0)
    run = Run(accelerator, model, model, weights, optimizers, average, folder, Position())
    run.resume()
    examples.encoder = encoder
    assert config.optim.minutes is not None
    progress = Progress(accelerator, folder, None, 60 * config.optim.minutes)
    train(run, config, examples, Watch(config, examples, progress, None))
    beside = "" if is_alone else " and the DiT's self-attention, which is in the run's checkpoint"
    record = BranchRecord(
        parts.name, "rendered panoramas", max(1, run.position.step), f"the branch{beside}"
    )
    save_branch(folder / "branch.safetensors", model.branch, record)
    return model.eval().requires_grad_(False), run.position.step

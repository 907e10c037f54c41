"""What is trained and what is frozen, by the names of weights."""

from pathlib import Path

import pytest
import torch
from instruments.training_runs import accelerator_of, changed

from memv2v_core.training.codec_trainer import train_codec
from memv2v_core.training.config.run import TrainConfig
from memv2v_core.training.data.draws import MemoryStructure
from memv2v_core.training.data.example import Example
from memv2v_core.training.data.rows import Rows
from memv2v_core.training.data.scenes import SceneExamples, SceneStructure
from memv2v_core.training.launch import examples_of, start_run
from memv2v_core.training.network.parts import num_parameters, part_of
from memv2v_core.training.progress import Progress
from memv2v_core.training.trainer import train
from memv2v_core.training.watching import Watch

pytestmark = pytest.mark.slow

STEPS = 4
LORA = "trained.self_attention={rate: 0.01, lora_rank: 2, lora_alpha: 4}"


class Forced:
    """Examples whose steps all have memories of every kernel that merge."""

    has_held_out = True

    def __init__(self, examples: SceneExamples) -> None:
        self.examples = examples

    def structure(self, step: int, is_whole: bool, generator: torch.Generator) -> SceneStructure:
        memory = MemoryStructure((2, 4, 8), 0.5, True)
        return SceneStructure(step, memory, (0, 1), (0, 1), ((0, 1), (1, 2), (0, 2)))

    def draw(self, structure: SceneStructure, rows: Rows, is_held_out: bool = False) -> Example:
        return self.examples.draw(structure, rows, is_held_out)


def trained(
    config: TrainConfig, folder: Path
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, float]]:
    """All weights before and after some steps, and the largest gradient that each weight got."""
    train_codec(config, folder, torch.device("cpu"))
    accelerator = accelerator_of(config, folder)
    run, built = start_run(config, folder, accelerator)
    before = {name: weight.detach().clone() for name, weight in run.own.named_parameters()}
    largest: dict[str, float] = {}
    for name, weight in run.own.named_parameters():
        if weight.requires_grad:

            def remember(gradient: torch.Tensor, name: str = name) -> None:
                largest[name] = max(largest.get(name, 0.0), gradient.abs().max().item())

            weight.register_hook(remember)
    examples = examples_of(config, built, accelerator.device, run)
    assert isinstance(examples, SceneExamples)
    forced = Forced(examples)
    progress = Progress(accelerator, folder, STEPS, None)
    train(run, config, forced, Watch(config, forced, progress, None))
    after = {name: weight.detach() for name, weight in run.own.named_parameters()}
    return before, after, largest


@pytest.mark.parametrize("kind", ["full", "lora", "full in bf16", "lora in bf16"])
def test_the_papers_parts_learn_and_all_others_stay_bit_equal(
    tiny_config: TrainConfig, tmp_path: Path, kind: str
):
    """Sec. 4.1: self-attention, projector, camera encoder, tokenizers and merging convolutions."""
    changes = [LORA] if "lora" in kind else []
    if "bf16" in kind:
        changes += ["optim.precision=bf16", "optim.has_checkpointing=true"]
    config = changed(tiny_config, f"optim.steps={STEPS}", *changes)
    before, after, largest = trained(config, tmp_path)
    words = ("cam_encoder", "ray_encoder", "projector", "tokenizers", "mergers")
    words += (".lora_",) if "lora" in kind else (".attn1.",)
    wanted = {name for name in before if any(word in name for word in words)}
    assert largest.keys() == wanted
    assert [name for name in sorted(wanted) if largest[name] == 0] == []
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == wanted
    frozen = sum(before[name].numel() for name in before.keys() - wanted)
    counts: dict[str, int] = {}
    for name in wanted:
        counts[part_of(name)] = counts.get(part_of(name), 0) + before[name].numel()
    print(f"\n{kind}: {len(wanted)} weights learn ({counts}), {frozen} numbers are frozen")


def test_low_rank_changes_begin_without_effect(tiny_config: TrainConfig, tmp_path: Path):
    pytest.importorskip("peft")
    config = changed(tiny_config, LORA)
    train_codec(config, tmp_path, torch.device("cpu"))
    run, built = start_run(config, tmp_path, accelerator_of(config, tmp_path))
    names = {name for name in built.weights if ".lora_B." in name}
    assert len(names) == 3 * 4
    assert all(built.weights[name].abs().max() == 0 for name in names)
    assert {built.weights[n].shape for n in built.weights if ".lora_A." in n} == {(2, 64)}
    assert run.weights.keys() == built.weights.keys()


def test_trained_weights_are_counted_by_part(make):
    counts = num_parameters(make().weights)
    # Per block: q, k, v, o of 64 x 64 with biases, two norms of 64.
    assert counts["self_attention"] == 3 * (4 * (64 * 64 + 64) + 2 * 64)
    assert counts["projector"] == 3 * (64 * 64 + 64)
    assert counts["mergers"] == 2 * (64 * 64 * 4 + 64)
    assert counts["tokenizers"] == sum(64 * 16 * k * k + 64 for k in (2, 4, 8))
    assert counts["cameras"] == 3 * (64 * 12 + 64 + 64 * 42)
    assert "base" not in counts


def test_a_part_that_the_model_lacks_is_refused(make):
    with pytest.raises(ValueError, match="trained got the part text, which this model does not"):
        make("trained.text={rate: 0.001}")


def test_queries_that_read_one_token_are_frozen(make):
    """A softmax over one token is 1: they would get no gradient."""
    weights = make("trained.base={rate: 0.001}").weights
    assert "blocks.0.base.attn2.to_v.weight" in weights
    for silent in ("attn2.to_q.weight", "attn2.to_k.bias", "attn2.norm_k.weight", "norm2.weight"):
        assert f"blocks.0.base.{silent}" not in weights

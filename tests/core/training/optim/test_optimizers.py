import pytest
import torch
from instruments.training_runs import changed

from memv2v_core.training.codec_trainer import train_codec
from memv2v_core.training.config.run import TrainConfig
from memv2v_core.training.config.trained import OptimConfig
from memv2v_core.training.launch import build
from memv2v_core.training.optim.muon import Muon
from memv2v_core.training.optim.optimizers import Optimizers, build_optimizers, rate_factor


@pytest.fixture(scope="module")
def optimizers(
    tiny_config: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Optimizers, dict[int, str]]:
    """Optimisers with two rates of AdamW and one of Muon, and the names of their weights."""
    config = changed(
        tiny_config,
        "trained.base={rate: 0.002, muon_rate: 0.02}",
        "trained.projector={rate: 0.002, muon_rate: 0.02}",
        "trained.cameras={rate: 0.001, muon_rate: 0.02}",
    )
    folder = tmp_path_factory.mktemp("run")
    train_codec(config, folder, torch.device("cpu"))
    weights = build(config, folder).weights
    names = {id(weight): name for name, weight in weights.items()}
    return build_optimizers(weights, config.trained, config.optim), names


def test_muon_gets_the_matrices_of_blocks_and_adam_every_other_weight(
    optimizers: tuple[Optimizers, dict[int, str]],
):
    made, names = optimizers
    adam, muon = made.each
    by_muon = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    by_adam = {names[id(p)] for group in adam.param_groups for p in group["params"]}
    assert isinstance(muon, Muon)
    assert not by_muon & by_adam
    assert by_muon | by_adam == set(names.values())
    assert {"blocks.0.base.ffn.net.2.weight", "blocks.2.cameras.projector.weight"} <= by_muon
    assert {
        "dit.patch_embedding.weight",
        "blocks.0.base.attn1.to_q.weight",
        "blocks.0.cameras.cam_encoder.weight",
        "blocks.0.cameras.ray_encoder.weight",
        "adapter.mergers.0.weight",
    } <= by_adam


def test_every_group_has_the_rate_of_its_parts_times_the_factor(
    optimizers: tuple[Optimizers, dict[int, str]],
):
    made, names = optimizers
    made.set_rates(0.5)
    rates = {
        names[id(weight)]: group["lr"]
        for each in made.each
        for group in each.param_groups
        for weight in group["params"]
    }
    assert rates["blocks.1.cameras.cam_encoder.weight"] == pytest.approx(0.0005)
    assert rates["adapter.tokenizers.2.bias"] == pytest.approx(0.001)
    assert rates["blocks.1.cameras.projector.weight"] == pytest.approx(0.01)


def test_the_rate_warms_up_by_steps_and_falls_with_the_run():
    config = OptimConfig(steps=1, warmup_steps=10, cooldown=0.4)
    assert rate_factor(0.0, 0, config) == pytest.approx(0.1)
    assert rate_factor(0.0, 9, config) == rate_factor(0.6, 500, config) == 1.0
    assert rate_factor(0.8, 500, config) == pytest.approx(0.5)
    assert rate_factor(1.0, 500, config) == rate_factor(3.0, 500, config) == pytest.approx(0.02)


def test_a_run_without_cooldown_ends_at_its_full_rate():
    config = OptimConfig(steps=1, warmup_steps=0, cooldown=0.0)
    assert [rate_factor(progress, 0, config) for progress in (0.0, 0.5, 1.0)] == [1, 1, 1]

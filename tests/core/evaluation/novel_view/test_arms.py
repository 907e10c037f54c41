import pytest
import torch

from memv2v_core.builtin.bundle import Bundle
from memv2v_core.evaluation.novel_view.arms import SceneTurns, sample_arms, sample_detail_arms
from memv2v_core.evaluation.novel_view.scenes import FIRST, SECOND, HeldOutScene


def test_every_memory_changes_turn_2_under_the_same_noise(turns: SceneTurns) -> None:
    arms = sample_arms(turns)
    details = sample_detail_arms(turns, arms)
    seconds = [
        value
        for part in (arms, details)
        for name, value in vars(part).items()
        if name.startswith("second")
    ]
    assert len(seconds) == 8
    for i, one in enumerate(seconds):
        assert one.shape == turns.source.shape
        assert all(not torch.equal(one, other) for other in seconds[:i])


def test_inputs_are_what_training_gives(turns: SceneTurns) -> None:
    memory = turns.memory(turns.source, turns.scene.first)
    inputs = turns.turn(turns.scene.second, (memory,)).inputs(lambda latent: latent)
    source, first = inputs.streams
    assert inputs.clean_timestep == "zero"
    assert inputs.merging is None
    assert (source.role, source.kernel, source.frame_indices) == ("source", 2, (5, 6, 7, 8, 9))
    assert (first.role, first.kernel, first.frame_indices) == ("memory", 4, (10, 11, 12, 13, 14))
    relative = turns.scene.first.path.relative_to(turns.scene.source.path).c2w.float()
    torch.testing.assert_close(first.cameras.c2w[0], relative)


def test_decode_returns_videos_in_range(turns: SceneTurns) -> None:
    video = turns.decode(turns.encode(turns.scene.first))
    assert video.shape == (5, 3, 64, 64)
    assert video.min() >= 0
    assert video.max() <= 1


@pytest.mark.parametrize("purpose", [FIRST, SECOND])
def test_noise_of_a_scene_is_its_own_and_the_same_every_time(
    bundle: Bundle, scenes: tuple[HeldOutScene, ...], turns: SceneTurns, purpose: int
) -> None:
    again, other = (SceneTurns.of(bundle, scene) for scene in (scenes[1], scenes[0]))
    assert torch.equal(again.noise(purpose), turns.noise(purpose))
    assert not torch.equal(other.noise(purpose), turns.noise(purpose))

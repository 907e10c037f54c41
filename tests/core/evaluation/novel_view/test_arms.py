import pytest
import torch

from memv2v_core.evaluation.novel_view.arms import (
    Batch,
    decode,
    encode,
    sample_arms,
    sample_detail_arms,
)
from memv2v_core.evaluation.novel_view.held_out import FIRST, SECOND
from memv2v_core.tokens.merging import MergeConfig


def test_every_memory_changes_turn_2_under_the_same_noise(batch: Batch) -> None:
    arms = sample_arms(batch)
    details = sample_detail_arms(batch, arms)
    seconds = [
        value
        for part in (arms, details)
        for name, value in vars(part).items()
        if name.startswith("second")
    ]
    assert len(seconds) == 8
    for i, one in enumerate(seconds):
        assert one.shape == batch.source_latent.shape
        assert all(not torch.equal(one, other) for other in seconds[:i])


def test_a_scene_is_sampled_alone_as_in_company(batch: Batch) -> None:
    alone = Batch.of(batch.bundle, batch.scenes[1:])
    latents = []
    for some in (batch, alone):
        first = some.sample(lambda scene: scene.first, some.noise(FIRST))
        memory = some.memory(first, lambda scene: scene.first)
        merging = MergeConfig(share=0.5)
        latents.append(
            some.sample(lambda scene: scene.second, some.noise(SECOND), (memory,), merging)[-1]
        )
    torch.testing.assert_close(*latents, rtol=0, atol=1e-4)


def test_inputs_are_what_training_gives(batch: Batch) -> None:
    memory = batch.memory(batch.source_latent, lambda scene: scene.first)
    inputs = batch.inputs([scene.second.path for scene in batch.scenes], (memory,))
    source, first = inputs.streams
    assert inputs.clean_timestep == "zero"
    assert (source.role, source.kernel, source.frame_indices) == ("source", 2, (5, 6, 7, 8, 9))
    assert (first.role, first.kernel, first.frame_indices) == ("memory", 4, (10, 11, 12, 13, 14))
    relative = batch.scenes[1].first.path.relative_to(batch.scenes[1].source.path).c2w.float()
    torch.testing.assert_close(first.cameras.c2w[1], relative)


def test_decode_returns_videos_in_range(batch: Batch) -> None:
    video = decode(batch.bundle, encode(batch.bundle, [scene.first for scene in batch.scenes]))
    assert video.shape == (2, 5, 3, 64, 64)
    assert video.min() >= 0 and video.max() <= 1


@pytest.mark.parametrize("purpose", [FIRST, SECOND])
def test_noise_of_a_scene_does_not_depend_on_its_row(batch: Batch, purpose: int) -> None:
    alone = Batch.of(batch.bundle, batch.scenes[1:])
    assert torch.equal(alone.noise(purpose)[0], batch.noise(purpose)[1])

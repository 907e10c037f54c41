"""A run so small that a step takes a fraction of a second."""

import pytest

from memv2v_core.synthetic.panoramas import SceneConfig
from memv2v_core.training.config import DataConfig, ModelConfig, OptimConfig, TrainConfig


@pytest.fixture(scope="session")
def tiny_config() -> TrainConfig:
    return TrainConfig(
        model=ModelConfig(64, num_heads=2, num_layers=3, ffn_dim=64, text_dim=8, freq_dim=16),
        data=DataConfig(
            size=32,
            num_frames=3,
            target_frames=2,
            source_frames=2,
            memory_frames=2,
            num_scenes=3,
            first_scenes=2,
            scenes=SceneConfig(num_shapes=3, panorama_width=64),
        ),
        optim=OptimConfig(batch_size=2, seconds=4.0, warmup_steps=2, checkpoint_seconds=1e9),
        codec_seconds=0.0,
        seed=3,
    )

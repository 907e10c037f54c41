"""Our forward with a source, two cameras and two playback times against numbers that
SpaceTimePilot's own DiT computed.

At its true sizes with 2 blocks, in fp32 against its float64: off by 1e-5 at most where values
spread by 1.2.
"""

from dataclasses import replace

import pytest
import torch
from instruments.official_dits import (
    TRUE_SIZES,
    Draw,
    build_adapter,
    build_view,
    cameras_of,
    golden,
    normal,
    uniform,
)

from memv2v_core.builtin.info import DitConfig
from memv2v_core.model.adapter import AdapterConfig
from memv2v_core.model.memory_inputs import ConditioningStream, MemoryInputs
from memv2v_core.model.memory_model import memory_forward
from memv2v_core.model.playback_time import latent_frame_times
from memv2v_core.tokens.positions import temporal_indices

SIZES = DitConfig(dim=256, num_heads=2, num_layers=2, ffn_dim=512, text_dim=32, freq_dim=256)
# Moments that no pattern has: forwards, backwards, between frames and standing still.
MOMENTS = (80, 57.5, 3, 40, 41, 12, 12, 0, 79)


def our_inputs(draw: Draw, num_latent: int) -> MemoryInputs:
    num_frames = 4 * num_latent - 3

    def times(moments: tuple[float, ...]) -> torch.Tensor:
        return latent_frame_times(torch.tensor(moments, dtype=torch.float64), num_latent, 4)

    def cameras(name: str, moments: tuple[float, ...]):
        poses = (0.5 * draw(name, (1, num_latent, 12))).float()
        return cameras_of(poses, times(moments))

    source = ConditioningStream(
        "source",
        2,
        draw("source", (1, 16, num_latent, 60, 104)).float(),
        temporal_indices("source", num_latent, num_latent),
        cameras("source poses", tuple(range(num_frames))),
    )
    return MemoryInputs((source,), cameras("poses", MOMENTS[:num_frames]))


def our_output(sizes: DitConfig, draw: Draw, num_latent: int, inputs: MemoryInputs) -> torch.Tensor:
    config = AdapterConfig(
        sizes.dim,
        sizes.num_layers,
        16,
        has_tokenizers=False,
        has_merging=False,
        has_frame_times=True,
    )
    context = draw("context", (1, 8, sizes.text_dim)).float()
    latent = draw("target", (1, 16, num_latent, 60, 104)).float()
    view, adapter = build_view(sizes, draw), build_adapter(config, draw)
    return memory_forward(view, adapter, latent, torch.tensor([437.5]), context, inputs)


def test_a_source_with_its_own_camera_and_times_equals_spacetimepilots_own_dit():
    official = golden("golden_spacetimepilot.json")
    inputs = our_inputs(normal, 3)
    out = our_output(SIZES, normal, 3, inputs)
    assert out.shape == (1, 16, 3, 60, 104)
    values = torch.tensor(official["values"])
    shown = out.flatten()[:: official["stride"]]
    torch.testing.assert_close(shown, values, atol=1e-4, rtol=0)
    assert out.double().mean().item() == pytest.approx(official["mean"], abs=1e-5)
    assert out.double().std().item() == pytest.approx(official["std"], abs=1e-5)


def test_other_moments_of_target_or_source_give_something_else():
    official = golden("golden_spacetimepilot.json")
    values, inputs = torch.tensor(official["values"]), our_inputs(normal, 3)
    (source,) = inputs.streams
    assert inputs.target_cameras is not None
    assert source.cameras is not None
    target_as_source = replace(inputs.target_cameras, times=source.cameras.times)
    source_as_target = replace(source.cameras, times=inputs.target_cameras.times)
    for others in (
        replace(inputs, target_cameras=target_as_source),
        replace(inputs, streams=(replace(source, cameras=source_as_target),)),
    ):
        out = our_output(SIZES, normal, 3, others)
        assert (out.flatten()[:: official["stride"]] - values).abs().max() > 1e-2


@pytest.mark.first
@pytest.mark.slow
def test_at_its_true_sizes_too():
    official = golden("golden_spacetimepilot_full_size.json")
    out = our_output(TRUE_SIZES, uniform, 2, our_inputs(uniform, 2))
    shown = out.flatten()[:: official["stride"]]
    torch.testing.assert_close(shown, torch.tensor(official["values"]), atol=1e-4, rtol=0)
    norms = [out[:, :, frame].double().norm().item() for frame in range(2)]
    assert norms == pytest.approx(official["norms"], rel=1e-5)
    assert out.double().mean().item() == pytest.approx(official["mean"], abs=1e-5)
    assert out.double().std().item() == pytest.approx(official["std"], abs=1e-5)

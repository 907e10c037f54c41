"""Turns on a base that takes a playback time, and on one that takes none."""

from dataclasses import replace

import pytest
import torch

from memv2v_core.bases.base_info import BaseInfo, adapted
from memv2v_core.bases.registry import PUBLISHED
from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cameras.playback import with_playback
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory
from memv2v_core.model.adapter import AdapterConfig
from memv2v_core.model.memory_inputs import MemoryInputs
from memv2v_core.retrieval.selection import RankedEntry, Retrieval
from memv2v_core.sampling.entries import finished_entry
from memv2v_core.sampling.turn import Turn, checked_turn
from memv2v_core.tokens.budget import TokenPlan

NUM_FRAMES, NUM_LATENT = 9, 3


def base_of(kind: str, has_frame_times: bool) -> BaseInfo:
    config = AdapterConfig(
        64, 2, 16, has_tokenizers=False, has_merging=False, has_frame_times=has_frame_times
    )
    return adapted(PUBLISHED[kind].info("m"), config, "training-free")


PILOT, PLAIN = base_of("spacetimepilot", True), base_of("recammaster", False)


def path(playback: str = "", preset: str = "pan_right") -> CameraTrajectory:
    made = make_preset(PresetConfig(preset, 20.0, NUM_FRAMES))
    return with_playback(made, playback) if playback else made


def latent(seed: int) -> torch.Tensor:
    return torch.randn(16, NUM_LATENT, 8, 8, generator=torch.Generator().manual_seed(seed))


def plan_of(*cameras: CameraTrajectory) -> TokenPlan:
    entries = [
        finished_entry(
            Turn(PILOT, target_path=camera), latent(i), MemoryCache(), number=i + 1, seed=i
        )
        for i, camera in enumerate(cameras)
    ]
    ranked = tuple(RankedEntry(entry, 1.0) for entry in entries)
    return TokenPlan(Retrieval(path(), ranked), (2,) * len(entries))


def inputs_of(turn: Turn) -> MemoryInputs:
    return turn.inputs(lambda x: x)


def first_moments(inputs: MemoryInputs) -> list[list[float]]:
    """The first moment of every latent frame: of the target, then of every clean video."""
    cameras = [inputs.target_cameras, *(stream.cameras for stream in inputs.streams)]
    return [each.times[0, :, 0].tolist() for each in cameras]


def test_every_video_has_the_moments_of_its_own_path() -> None:
    plan = plan_of(path("slowmo_first_half"), path())
    turn = checked_turn(PILOT, latent(9), plan, path(preset="tilt_up"), path("reverse"))
    # A path without times, as the source's, plays forward. Memories keep the times of their turn.
    assert first_moments(inputs_of(turn)) == [[8, 7, 3], [0, 1, 5], [0, 1, 3], [0, 1, 5]]
    assert turn.describe().splitlines()[-1] == "the target shows moments 8 to 0 of the source"


def test_a_source_whose_camera_is_unknown_plays_forward() -> None:
    turn = checked_turn(PILOT, latent(9), None, None, path("freeze"))
    assert first_moments(inputs_of(turn)) == [[0, 0, 0], [0, 1, 5]]


def test_a_part_of_a_turn_keeps_the_moments_of_the_whole_source() -> None:
    turn = checked_turn(PILOT, latent(9), None, path(), path("reverse"))
    assert first_moments(inputs_of(turn.of_frames(slice(1, 3)))) == [[4, 3], [4, 5]]


def test_the_entry_of_a_turn_keeps_its_times() -> None:
    (entry,) = plan_of(path("pingpong")).retrieval.entries
    assert entry.camera.times is not None
    assert entry.camera.times.tolist() == [4, 5, 6, 7, 8, 8, 7, 6, 5]


def test_a_base_without_times_gets_none_and_refuses_them() -> None:
    turn = checked_turn(PLAIN, latent(9), None, path(), path())
    inputs = inputs_of(turn)
    assert inputs.target_cameras is not None
    assert inputs.target_cameras.times is None
    with pytest.raises(ValueError, match="target_camera got a playback time, but m has no weights"):
        checked_turn(PLAIN, latent(9), None, path(), path("forward"))
    with pytest.raises(ValueError, match="source_camera got a playback time"):
        checked_turn(PLAIN, latent(9), None, path("reverse"), path())
    memory: MemoryEntry = plan_of(path("reverse")).retrieval.entries[0]
    plan = plan_of(path("reverse"))
    assert memory.model_name == PLAIN.model_name
    turn = checked_turn(PLAIN, latent(9), plan, path(), path())
    with pytest.raises(ValueError, match="the camera path of a memory got a playback time"):
        inputs_of(turn)
    # A base without cameras reads no path at all.
    bare = replace(PLAIN, has_cameras=False)
    assert inputs_of(checked_turn(bare, latent(9), plan)).target_cameras is None

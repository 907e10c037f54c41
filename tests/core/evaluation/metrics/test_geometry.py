"""The metric of pairs is the measure of `consistency`, pair by pair."""

import math

import pytest
import torch

from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix, static_trajectory
from memv2v_core.evaluation.metrics.consistency import turn_disagreement
from memv2v_core.evaluation.metrics.geometry import Geometry
from memv2v_core.evaluation.metrics.metric import Batch
from memv2v_core.synthetic.panoramas import SceneConfig, make_scene, render_panorama

NUM_FRAMES, SIDE = 3, 40
LENS = intrinsics_matrix(0.8660254, 0.8660254)
SOURCE = static_trajectory(NUM_FRAMES, LENS)


def path(motion: str, amplitude: float) -> CameraTrajectory:
    return make_preset(PresetConfig(motion, amplitude, NUM_FRAMES), LENS)


RIGHT, FAR_RIGHT, LEFT = path("pan_right", 30), path("pan_right", 45), path("pan_left", 45)


@pytest.fixture(scope="module")
def films() -> dict[str, torch.Tensor]:
    """A true view along each path."""
    config = SceneConfig(num_shapes=24, panorama_width=384)
    scene = make_scene(config, torch.Generator().manual_seed(5))
    paths = {"right": RIGHT, "far right": FAR_RIGHT, "left": LEFT}
    return {name: render_panorama(scene, path, SIDE, SIDE) for name, path in paths.items()}


@pytest.fixture
def batch(films: dict[str, torch.Tensor]) -> Batch:
    """A pair of true views, and one that shares no place."""
    return Batch(
        videos=torch.stack((films["right"], films["far right"])),
        others=torch.stack((films["far right"], films["left"])),
        cameras=[RIGHT, FAR_RIGHT],
        other_cameras=[FAR_RIGHT, LEFT],
        source_cameras=[SOURCE, SOURCE],
    )


def single(batch: Batch, row: int) -> Batch:
    rows = slice(row, row + 1)
    return Batch(
        videos=batch.videos[rows],
        others=batch.others[rows],
        cameras=batch.cameras[rows],
        other_cameras=batch.other_cameras[rows],
        source_cameras=batch.source_cameras[rows],
    )


def test_true_views_agree_and_views_apart_have_no_value(batch: Batch) -> None:
    measured = Geometry()(batch)
    assert measured.shape == (2, 2)
    assert measured.dtype == torch.float64
    assert measured[0, 0] < 0.02
    assert measured[0, 1] > 25
    assert measured[1].isnan().all()


def test_each_pair_is_measured_as_by_hand_and_as_alone(batch: Batch) -> None:
    by_hand = turn_disagreement(batch.videos[0], RIGHT, batch.others[0], FAR_RIGHT, SOURCE)
    measured = Geometry()(batch)
    assert measured[0].tolist() == [by_hand.mae, by_hand.psnr]
    alone = torch.cat([Geometry()(single(batch, row)) for row in range(2)])
    torch.testing.assert_close(measured, alone, rtol=0, atol=0, equal_nan=True)


def test_a_known_offset_where_the_source_never_looked(films: dict[str, torch.Tensor]) -> None:
    video = films["right"][None] * 0.5
    cameras, source = [RIGHT], [SOURCE]
    far = Batch(video, video + 0.25, None, cameras, cameras, source)
    assert Geometry()(far)[0].tolist() == pytest.approx([0.25, -20 * math.log10(0.25)], abs=1e-4)
    # A source that looked along the same path leaves nothing to invent.
    assert Geometry()(Batch(video, video + 0.25, None, cameras, cameras, cameras)).isnan().all()
    equal = Geometry()(Batch(video, video, None, cameras, cameras, source))[0].tolist()
    assert equal[0] < 1e-6
    assert equal[1] > 100


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("others", "no second turns, wanted pairs"),
        ("cameras", "0 cameras of the first turns for 2 pairs"),
        ("other_cameras", "0 cameras of the second turns for 2 pairs"),
        ("source_cameras", "0 cameras of the source clips for 2 pairs"),
    ],
)
def test_what_is_missing_is_named(batch: Batch, gone: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Geometry()(Batch(**{**vars(batch), gone: None}))


def test_too_few_cameras_and_cameras_that_move_are_refused(batch: Batch) -> None:
    assert Geometry.subject == "pair"
    assert Geometry.needs == {"camera", "source_camera"}
    with pytest.raises(ValueError, match="1 cameras of the second turns for 2 pairs"):
        Geometry()(Batch(**{**vars(batch), "other_cameras": [FAR_RIGHT]}))
    moving = [path("orbit_left", 30)] * 2
    with pytest.raises(ValueError, match="centres got .* pose units apart"):
        Geometry()(Batch(**{**vars(batch), "other_cameras": moving}))

"""DemoScene: a clip and the truth. DemoLongVideo: an instruction that has many right answers."""

import pytest
import torch

from memv2v_core.builtin import bundle
from memv2v_core.cameras.authored import PathSettings, authored_path
from memv2v_core.cameras.trajectory import lens_intrinsics
from memv2v_core.synthetic.demo_clips import demo_scenes
from memv2v_core.synthetic.edits import AMBIGUOUS, TRAINED_KINDS
from memv2v_core.synthetic.outlines import COLOURS, KINDS

CUT = 0.06  # mean change of a pixel from frame to frame; what moves on its own stays far below


@pytest.fixture
def scene(comfy_api):
    """The outputs of Demo Scene: frames and camera."""
    from memory_v2v.nodes.demo import DemoScene

    def run(**changes):
        given = {"scene": 3, "num_frames": 5, "size": 64, "drift_deg": 3.0, **changes}
        return comfy_api.run_node(DemoScene, **given).result

    return run


@pytest.fixture
def clip(comfy_api):
    """The node's outputs."""
    from memory_v2v.nodes.demo import DemoLongVideo

    def run(**changes):
        given = {
            "seed": 3,
            "num_frames": 24,
            "shots": 1,
            "instruction": "hat",
            "size": 48,
            **changes,
        }
        return comfy_api.run_node(DemoLongVideo, **given)

    return run


def cuts(frames: torch.Tensor) -> list[int]:
    change = (frames[1:] - frames[:-1]).abs().mean((1, 2, 3))
    return (1 + torch.nonzero(change > CUT)[:, 0]).tolist()


def test_a_scene_has_no_depth_unless_it_is_asked_for(scene) -> None:
    """Workflows that were saved before the choice stay as they are."""
    frames, camera = scene()
    assert torch.equal(frames, scene(kind="rotating")[0])
    assert float(camera.c2w[:, :3, 3].norm(dim=1).max()) == 0
    deep, moved = scene(kind="depth")
    assert frames.shape == deep.shape == (5, 64, 64, 3)
    assert (frames - deep).abs().mean() > 0.05
    assert moved.c2w[-1, :3, 3].tolist() == pytest.approx([0.15, 0.0, 0.0])
    with pytest.raises(ValueError, match="kind .*'flat'.* wanted"):
        scene(kind="flat")


def test_the_truth_of_a_scene_with_depth_follows_a_camera_that_moves(scene) -> None:
    lens = lens_intrinsics(60.0, 1.0)
    source, drift = scene(kind="depth")
    again, _ = scene(kind="depth", camera=drift)
    assert torch.equal(again, source)
    path = authored_path(PathSettings("orbit_left", 20.0, second_motion="pan_right"), 5, lens)
    truth, camera = scene(kind="depth", camera=path)
    assert camera is path
    # Both begin at the same place and moment.
    assert torch.allclose(truth[0], source[0], atol=1e-5)
    assert (truth[-1] - source[-1]).abs().mean() > 0.05
    with pytest.raises(ValueError, match="away from the scene's centre, wanted 0"):
        scene(camera=path)


def test_a_camera_without_a_free_place_is_refused(scene) -> None:
    far = authored_path(PathSettings("dolly_in", 3.0), 5, lens_intrinsics(60.0, 1.0))
    with pytest.raises(ValueError, match="camera got 3 pose units away .* wanted at most 2"):
        scene(kind="depth", camera=far)


def test_a_clip_comes_with_instruction_rate_and_true_edit(clip) -> None:
    output = clip()
    source, prompt, rate, target = output.result
    assert source.shape == target.shape == (24, 48, 48, 3)
    assert source.is_contiguous()
    assert float(source.min()) >= 0
    assert float(source.max()) <= 1
    assert "hat" in prompt
    assert rate == 8.0
    assert output.ui.as_dict()["text"] == (f"{prompt}\n24 frames, 8 a second",)


@pytest.mark.parametrize("kind", TRAINED_KINDS)
def test_the_true_edit_changes_the_object_and_nothing_else(clip, kind: str) -> None:
    source, prompt, _, target = clip(instruction=kind).result
    changed = (source - target).abs().amax(-1) > 1e-3
    share = changed.float().mean((1, 2))
    assert (share > 0.003).all()
    assert (share < 0.25).all()
    assert prompt in {
        text.format(f"{colour} {name}")
        for text in AMBIGUOUS[kind]
        for colour in COLOURS
        for name in KINDS
    }


@pytest.mark.parametrize(("shots", "wanted"), [(1, []), (2, [12]), (3, [8, 16])])
def test_shots_are_equally_long_and_end_in_cuts(clip, shots: int, wanted: list[int]) -> None:
    output = clip(shots=shots)
    assert cuts(output.result[0]) == wanted
    assert ("new shots at frame 9, 17" in output.ui.as_dict()["text"][0]) == (shots == 3)


def test_a_scene_that_returns_keeps_its_answer_and_the_other_has_its_own() -> None:
    for seed in range(8):
        first, other, again = demo_scenes(seed, 3, "recolour")
        assert first[0] is again[0]
        assert first[1] is again[1]
        assert other[1].colour != first[1].colour
        assert other[0].objects[0].name == first[0].objects[0].name
        assert first[1].is_ambiguous
        assert first[1].object_idx == other[1].object_idx == 0


def test_the_clip_is_the_same_whatever_the_instruction(clip) -> None:
    hat, colour = (clip(shots=2, instruction=kind).result for kind in ("hat", "recolour"))
    assert torch.equal(hat[0], colour[0])
    assert hat[1] != colour[1]
    assert not torch.equal(hat[3], colour[3])


def test_pieces_make_no_difference(clip) -> None:
    whole, part = clip(num_frames=40).result, clip(num_frames=20).result
    assert torch.equal(whole[0][:20], part[0])
    assert torch.equal(whole[3][:20], part[3])


def test_the_same_seed_gives_the_same_clip_and_another_another(clip) -> None:
    first, again, other = clip().result, clip().result, clip(seed=4).result
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[3], again[3])
    assert first[1] == again[1]
    assert (first[0] - other[0]).abs().mean() > 0.02


def test_fewer_frames_than_shots_are_refused(clip) -> None:
    with pytest.raises(ValueError, match="num_frames got 2, wanted at least 3, one a shot"):
        clip(shots=3, num_frames=2)


def test_its_size_is_the_built_in_editors(comfy_api) -> None:
    from memory_v2v.nodes.demo import DemoLongVideo

    sizes = {item.id: item.default for item in DemoLongVideo.define_schema().inputs}
    shipped = {name: bundle.read_info(name) for name in bundle.builtin_names()}
    assert sizes["size"] == 96
    assert all(info.size == 96 for info in shipped.values() if info.task == "text_edit")

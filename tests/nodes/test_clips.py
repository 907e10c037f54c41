"""DemoScene, FitVideo and RestoreVideo: clips that always work, and users' clips there and back."""

from fractions import Fraction
from io import BytesIO

import pytest
import torch

from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.projection import warp_by_rotation
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix

LENS = intrinsics_matrix(0.8660254, 0.8660254)


def scene(comfy_api, **changes):
    from memory_v2v.nodes.demo import DemoScene

    return comfy_api.run_node(
        DemoScene, **{"scene": 3, "num_frames": 3, "size": 64, "drift_deg": 3.0, **changes}
    ).args


def fit(comfy_api, frames: torch.Tensor | None, **changes):
    from memory_v2v.nodes.clips import FitVideo

    clip = {} if frames is None else {"frames": frames}
    sizes = {"num_frames": 5, "width": 32, "height": 32, "temporal_ratio": 1, **changes}
    return comfy_api.run_node(FitVideo, **clip, **sizes).args


def restore(
    comfy_api, frames: torch.Tensor, fitting, timing: str = "every frame", size: str = "model"
):
    from memory_v2v.nodes.clips import RestoreVideo

    return comfy_api.run_node(
        RestoreVideo, frames=frames, fitting=fitting, timing=timing, size=size
    ).args[:3]


@pytest.fixture(scope="module")
def vae(comfy_api):
    from memory_v2v.nodes.loading import LoadMemoryV2VModel

    return comfy_api.run_node(LoadMemoryV2VModel, model_name="built-in: novel_view").args[2]


def file_of(comfy_api, num_frames: int, rate: Fraction, with_audio: bool = True):
    """A real H.264 file of 48 x 80 that gets brighter, with its sound, as LoadVideo gives it."""
    from comfy_api.latest import InputImpl, Types

    images = torch.linspace(0.1, 0.9, num_frames)[:, None, None, None].expand(-1, 48, 80, 3)
    num_samples = round(44100 * num_frames / rate)
    sound = {
        "waveform": torch.sin(torch.arange(num_samples) / 50)[None, None],
        "sample_rate": 44100,
    }
    parts = Types.VideoComponents(
        images=images, audio=sound if with_audio else None, frame_rate=rate
    )
    data = BytesIO()
    InputImpl.VideoFromComponents(parts).save_to(data, format=Types.VideoContainer.MP4)
    return InputImpl.VideoFromFile(data)


def path(motion: str, amplitude: float) -> CameraTrajectory:
    return make_preset(PresetConfig(motion, amplitude, 3), LENS)


def test_scene_is_a_clip_with_its_camera(comfy_api) -> None:
    frames, camera = scene(comfy_api)
    assert frames.shape == (3, 64, 64, 3)
    assert camera.num_frames == 3
    assert torch.equal(camera.c2w[0], torch.eye(4, dtype=torch.float64))
    assert torch.equal(scene(comfy_api)[0], frames)
    assert not torch.equal(scene(comfy_api, scene=4)[0], frames)


def test_a_camera_gives_the_truth_of_the_same_scene(comfy_api) -> None:
    frames, camera = scene(comfy_api)
    asked = path("pan_right", 20.0)
    truth, given = scene(comfy_api, camera=asked)
    assert given is asked
    warped, known = warp_by_rotation(frames.movedim(-1, 1), camera, asked)
    assert ((warped - truth.movedim(-1, 1)).abs() * known).sum() / (3 * known.sum()) < 0.02


def test_a_camera_that_the_scene_cannot_show_is_refused(comfy_api) -> None:
    with pytest.raises(
        ValueError, match="camera got 1 pose units away from the scene's centre, wanted 0"
    ):
        scene(comfy_api, camera=path("dolly_in", 1.0))
    with pytest.raises(ValueError, match="degrees to the side.*wanted at most 110 and 75"):
        scene(comfy_api, camera=path("pan_left", 100.0))


def test_fit_picks_frames_evenly_and_crops_to_the_middle(comfy_api) -> None:
    frames = (torch.arange(9.0) / 8)[:, None, None, None].expand(9, 64, 96, 3).clone()
    frames[:, :, :16] = 9.0  # the margin that a square crop of 96 x 64 cuts away
    fitted, num_frames, report, _ = fit(comfy_api, frames)
    assert fitted.shape == (5, 32, 32, 3)
    assert num_frames == 5
    assert torch.allclose(fitted[:, 0, 16, 0], torch.tensor([0, 0.25, 0.5, 0.75, 1.0]), atol=1e-3)
    assert "9 frames of 96x64: 5 picked evenly" in report
    assert "cropped to 32x32" in report


def test_fit_pads_to_the_ratio_and_says_so(comfy_api) -> None:
    fitted, num_frames, report, _ = fit(
        comfy_api, torch.rand(9, 32, 32, 3), num_frames=6, temporal_ratio=4
    )
    assert fitted.shape[0] == 9
    assert num_frames == 6
    assert torch.equal(fitted[6:], fitted[5:6].expand(3, -1, -1, -1))
    assert "the last frame is held 3 times more" in report


def test_ids_of_earlier_workflows_are_kept(comfy_api) -> None:
    from memory_v2v.nodes.clips import FitVideo

    schema = FitVideo.define_schema()
    assert [item.id for item in schema.inputs][:5] == [
        "frames",
        "num_frames",
        "width",
        "height",
        "temporal_ratio",
    ]
    assert all(item.optional for item in schema.inputs[5:])  # a saved prompt has none of them
    assert [item.display_name for item in schema.outputs] == [
        "frames",
        "num_frames",
        "report",
        "fitting",
    ]


def test_all_frames_of_a_video_come_back_with_its_rate_and_sound(comfy_api) -> None:
    rate = Fraction(30000, 1001)
    source = file_of(comfy_api, 18, rate)
    parts = source.get_components()
    fitted, num_frames, report, fitting = fit(
        comfy_api, None, video=source, mode="all frames", temporal_ratio=4
    )
    assert fitted.shape == (21, 32, 32, 3)
    assert num_frames == 18
    assert "18 frames of 80x48: all kept" in report
    assert "held 3 times more" in report
    video, frames, report = restore(comfy_api, fitted, fitting)
    restored = video.get_components()
    assert torch.equal(frames, fitted[:18])
    assert restored.images is frames
    assert restored.frame_rate == parts.frame_rate
    assert torch.equal(restored.audio["waveform"], parts.audio["waveform"])
    assert "18 frames of 32x32 at 29.97" in report
    assert "with its sound" in report
    assert "3 padded frames cut" in report


def test_a_restored_video_is_saved_with_the_count_rate_and_length_that_came_in(comfy_api) -> None:
    from comfy_api.latest import InputImpl

    source = file_of(comfy_api, 23, Fraction(24))
    fitted, _, _, fitting = fit(
        comfy_api, None, video=source, width=64, height=64, aspect="pad", temporal_ratio=4
    )
    assert len(fitted) == 5
    video, _, report = restore(comfy_api, fitted, fitting, size="original")
    assert "only 5 of 23 frames were edited, held until the next is nearer" in report
    data = BytesIO()
    video.save_to(data, format="mp4")
    before, after = source.get_components(), InputImpl.VideoFromFile(data).get_components()
    assert after.images.shape == before.images.shape == (23, 48, 80, 3)
    assert after.frame_rate == before.frame_rate == 24
    samples = [parts.audio["waveform"].shape[-1] for parts in (before, after)]
    assert abs(samples[0] - samples[1]) <= 1024  # AAC codes 1024 samples at once
    assert (
        float(
            (after.images[::11].mean((1, 2, 3)) - before.images[::11].mean((1, 2, 3))).abs().max()
        )
        < 0.02
    )


def test_edited_frames_alone_keep_the_duration(comfy_api) -> None:
    fitted, _, _, fitting = fit(comfy_api, torch.rand(30, 32, 32, 3), frame_rate=24.0)
    video, frames, report = restore(comfy_api, fitted, fitting, timing="edited frames")
    assert len(frames) == 5
    assert video.get_components().frame_rate == 4
    assert float(video.get_duration()) == 30 / 24
    assert "without sound" in report
    assert "only 5 of 30 frames were edited, at a rate that keeps the duration" in report


def test_rate_and_sound_of_frames_pass_by_widgets(comfy_api) -> None:
    sound = {"waveform": torch.rand(1, 2, 4410), "sample_rate": 44100}
    fitted, _, _, fitting = fit(
        comfy_api, torch.rand(5, 32, 32, 3), frame_rate=30000 / 1001, audio=sound
    )
    parts = restore(comfy_api, fitted, fitting)[0].get_components()
    assert parts.frame_rate == Fraction(30000, 1001)
    assert parts.audio is sound


def test_rate_and_sound_leave_restore_video_for_other_packs(comfy_api) -> None:
    from memory_v2v.nodes.clips import RestoreVideo

    source = file_of(comfy_api, 18, Fraction(30000, 1001))
    fitted, _, _, fitting = fit(comfy_api, None, video=source, mode="all frames")
    *_, rate, audio = comfy_api.run_node(
        RestoreVideo, frames=fitted, fitting=fitting, timing="every frame", size="model"
    ).args
    assert rate == float(source.get_components().frame_rate)
    # The file's sound is a tone of 18 frames; AAC codes 1024 samples at once.
    assert abs(audio["waveform"].shape[-1] - round(44100 * 18 * 1001 / 30000)) <= 1024
    assert audio["waveform"].abs().max() > 0.9
    silent = file_of(comfy_api, 3, Fraction(24), with_audio=False)
    fitted, _, _, fitting = fit(comfy_api, None, video=silent, mode="all frames")
    outputs = comfy_api.run_node(
        RestoreVideo, frames=fitted, fitting=fitting, timing="every frame", size="model"
    ).args
    assert outputs[4] is None


def test_a_rate_that_the_sound_contradicts_is_refused(comfy_api) -> None:
    frames = torch.rand(102, 16, 16, 3)
    sound = {"waveform": torch.zeros(1, 2, round(3.413 * 44100)), "sample_rate": 44100}
    with pytest.raises(
        ValueError,
        match=r"frames got 102 frames, which last 6.38 s at a frame_rate of 16.000, and audio of "
        r"3.41 s, wanted equal lengths; set frame_rate to the clip's own \(29.886 would fit",
    ):
        fit(comfy_api, frames, audio=sound)
    # The sound of a film need not end with its picture to the sample.
    assert fit(comfy_api, frames, audio=sound, frame_rate=30.0)[1] == 5


def test_a_saved_video_carries_its_workflow_and_can_be_another_format(comfy_api, tmp_path) -> None:
    import av

    fitted, _, _, fitting = fit(comfy_api, torch.rand(5, 32, 32, 3), frame_rate=24.0)
    video = restore(comfy_api, fitted, fitting)[0]
    video.save_to(str(tmp_path / "a.mp4"), metadata={"prompt": {"1": 2}, "note": "text"}, crf=30)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.metadata["prompt"] == '{"1": 2}'
        assert container.metadata["note"] == "text"
    video.save_to(str(tmp_path / "b.mp4"))
    assert (tmp_path / "b.mp4").stat().st_size > (tmp_path / "a.mp4").stat().st_size
    # What is not H.264 is ComfyUI's business, which says that it cannot.
    with pytest.raises(ValueError, match="Only H264"):
        video.save_to(str(tmp_path / "c.mp4"), codec="vp9")


def test_report_names_what_the_crop_lost_and_odd_sides(comfy_api) -> None:
    fitted, _, _, fitting = fit(comfy_api, torch.rand(5, 33, 75, 3))
    _, frames, report = restore(comfy_api, fitted, fitting, size="original")
    assert frames.shape == (5, 33, 33, 3)
    assert "shows 33x33 of the original's 75x33" in report
    assert "odd sides need 4:4:4" in report


def test_the_clip_comes_from_exactly_one_input(comfy_api) -> None:
    video = file_of(comfy_api, 2, Fraction(24), with_audio=False)
    with pytest.raises(ValueError, match="frames and video are not connected, wanted one"):
        fit(comfy_api, None)
    with pytest.raises(ValueError, match="frames and video are both connected, wanted one"):
        fit(comfy_api, torch.rand(2, 32, 32, 3), video=video)
    with pytest.raises(ValueError, match="audio is connected beside a video"):
        fit(comfy_api, None, video=video, audio={"waveform": torch.rand(1, 1, 9), "sample_rate": 9})


def test_the_chain_adds_no_colour_shift_to_the_codecs_own(comfy_api, vae) -> None:
    with torch.inference_mode():
        frames, _ = scene(comfy_api, size=128)
        fitted, _, _, fitting = fit(comfy_api, frames, num_frames=3, width=64, height=64)
        decoded = comfy_api.nodes.VAEDecode().decode(
            vae, comfy_api.nodes.VAEEncode().encode(vae, fitted)[0]
        )[0]
        own = (decoded - fitted).mean((0, 1, 2))
        _, restored, _ = restore(comfy_api, decoded, fitting, size="original")
    shift = (restored - frames).mean((0, 1, 2))
    assert restored.shape == frames.shape
    assert float((shift - own).abs().max()) * 255 < 0.25
    assert float(own.abs().max()) * 255 < 2.0


def test_tiled_decode_of_a_long_clip_agrees_and_never_holds_it_whole(
    comfy_api, vae, monkeypatch
) -> None:
    sizes = []
    decode = vae.first_stage_model.decode
    monkeypatch.setattr(
        vae.first_stage_model,
        "decode",
        lambda latent: sizes.append(latent.shape[2:]) or decode(latent),
    )
    tiles = {"tile_size": 64, "overlap": 32, "temporal_size": 32, "temporal_overlap": 8}
    with torch.inference_mode():
        frames, _ = scene(comfy_api, num_frames=5, drift_deg=15.0)
        latent = comfy_api.nodes.VAEEncode().encode(vae, frames)[0]["samples"]
        long = {"samples": latent.repeat(1, 1, 40, 1, 1)}
        plain = comfy_api.nodes.VAEDecode().decode(vae, {"samples": latent})[0].repeat(40, 1, 1, 1)
        (tiled,) = comfy_api.nodes.VAEDecodeTiled().decode(vae, long, **tiles)
        assert tiled.shape == plain.shape == (200, 64, 64, 3)
        assert float((tiled - plain).abs().max()) < 1e-5
        assert max(size[0] for size in sizes) == 32
        wide = {"samples": latent[:, :, :2].repeat(1, 1, 1, 2, 2)}
        plain = comfy_api.nodes.VAEDecode().decode(vae, wide)[0]
        sizes.clear()
        (tiled,) = comfy_api.nodes.VAEDecodeTiled().decode(vae, wide, **tiles)
    assert len(sizes) > 1
    assert max(size[1] * size[2] for size in sizes) == 8 * 8
    difference = (tiled - plain).abs() * 255
    assert float(difference.mean()) < 0.5
    assert float(difference.max()) < 16

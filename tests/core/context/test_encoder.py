"""What every encoder refuses, and the video VAE as an encoder."""

from collections.abc import Callable

import pytest
import torch

from memv2v_core.builtin.bundle import Bundle, load_bundle
from memv2v_core.context.encoder import require_clip, require_tokens
from memv2v_core.context.vae import VideoVaeEncoder
from memv2v_core.model.camera_encoder import FrameCameras, ray_features
from memv2v_core.shapes import VaeRatios


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle("novel_view")


@pytest.fixture
def vae(bundle: Bundle) -> VideoVaeEncoder:
    return VideoVaeEncoder("a codec", bundle.codec.encode_frames, bundle.codec.ratios)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[0], r"shape \(3, 16, 16\), wanted \(frames, 3, height, width\)"),
        (lambda x: x.transpose(0, 1), "wanted .frames, 3, height, width."),
        (lambda x: (255 * x).byte(), "type torch.uint8, wanted floats"),
        (lambda x: x * 2 - 1, "got frames from -"),
        (lambda x: x * torch.nan, "got frames from nan to nan, wanted finite numbers"),
        (lambda x: x[:4], "got 5 cameras for 4 frames, wanted one a frame"),
    ],
)
def test_frames_that_are_no_clip_are_refused(
    make_clip: Callable, make_path: Callable, change: Callable, message: str
):
    with pytest.raises(ValueError, match=message):
        require_clip("it", change(make_clip()), make_path())


def test_tokens_of_another_width_or_without_numbers_are_refused():
    tokens = torch.rand(3, 4)
    assert require_tokens("it", tokens, 4) is tokens
    with pytest.raises(ValueError, match=r"shape \(3, 4\), wanted \(N, 5\)"):
        require_tokens("it", tokens, 5)
    with pytest.raises(ValueError, match="gave NaN or infinity"):
        require_tokens("it", tokens / 0, 4)


def test_the_vae_gives_patches_of_latents_beside_their_rays(
    bundle: Bundle, vae: VideoVaeEncoder, make_clip: Callable, make_path: Callable
):
    clip, path = make_clip(3, 32, 48), make_path(3, aspect=1.5)
    tokens = vae.encode(clip, path)
    latent = bundle.codec.encode_frames(clip)
    assert latent.shape == (16, 3, 4, 6)
    assert tokens.shape == (3 * 2 * 3, vae.width)
    # Frame 1, row 1, column 2.
    patch = latent[:, 1, 2:4, 4:6].flatten()
    number = 1 * 6 + 1 * 3 + 2
    torch.testing.assert_close(tokens[number, : 16 * 4], patch)
    cameras = FrameCameras(path.c2w[None].float(), path.intrinsics[None].float())
    rays = ray_features(cameras, 2, 3, 2, 4, 6)[0]
    torch.testing.assert_close(tokens[:, 16 * 4 :], rays)


def test_the_vae_refuses_what_every_encoder_refuses(
    vae: VideoVaeEncoder, make_clip: Callable, make_path: Callable
):
    with pytest.raises(ValueError, match="the video VAE got 4 cameras"):
        vae.encode(make_clip(3, 32, 32), make_path(4))


def test_a_vae_that_shrinks_time_gets_the_camera_of_each_latent_frame(
    make_clip: Callable, make_path: Callable
):
    def shrink(frames: torch.Tensor) -> torch.Tensor:
        """One latent frame for the first frame, then one for four; 8 pixels a side."""
        return torch.nn.functional.avg_pool2d(frames[::4], 8).transpose(0, 1)

    vae = VideoVaeEncoder("an average", shrink, VaeRatios(4, 8, 3))
    clip, path = make_clip(5, 32, 40), make_path(5, aspect=1.25)
    tokens = vae.encode(clip, path)
    # Five columns of latents are padded to six.
    assert tokens.shape == (2 * 2 * 3, vae.width)
    chosen = path.frames((0, 4))
    cameras = FrameCameras(chosen.c2w[None].float(), chosen.intrinsics[None].float())
    torch.testing.assert_close(tokens[:, 3 * 4 :], ray_features(cameras, 2, 3, 2, 4, 5)[0])
    with pytest.raises(ValueError, match="num_frames got 4, wanted 4"):
        vae.encode(clip[:4], make_path(4, aspect=1.25))

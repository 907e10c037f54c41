"""LVSM beside numbers of the official code, its files, and what its scene depends on."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix
from memv2v_core.context.lvsm import LvsmConfig, LvsmNetwork
from memv2v_core.context.lvsm_encoder import (
    LvsmEncoder,
    beside_mean_camera,
    new_lvsm,
    pluecker_rays,
    read_lvsm,
    spread_frames,
    square_views,
)
from memv2v_core.weights.weight_files import write_safetensors

GOLDEN = json.loads(Path(__file__).with_name("golden_lvsm.json").read_text(encoding="utf-8"))
TINY = LvsmConfig(
    dim=32, head_dim=16, num_layers=2, num_latents=6, patch=4, size=16, has_decoder=True
)


@pytest.fixture(scope="module")
def network() -> LvsmNetwork:
    """The weights of the golden file's recipe."""
    made = LvsmNetwork(TINY)
    with torch.no_grad():
        for n, (_, each) in enumerate(sorted(made.named_parameters())):
            i = torch.arange(each.numel(), dtype=torch.float64)
            wave = torch.sin(0.37 * n + 1.7 * i).reshape(each.shape)
            each.copy_(1 + 0.2 * wave if each.ndim == 1 else wave / each.shape[-1] ** 0.5)
    return made.eval().requires_grad_(False)


@pytest.fixture
def path(make_path: Callable) -> CameraTrajectory:
    """The cameras of the golden file's recipe."""
    return replace(make_path(3), intrinsics=intrinsics_matrix(0.9, 1.1).expand(3, 3, 3).clone())


@pytest.fixture
def images() -> torch.Tensor:
    i = torch.arange(3 * 3 * 16 * 16, dtype=torch.float64)
    return (0.5 + 0.5 * torch.sin(0.11 * i)).reshape(3, 3, 16, 16).float()


def test_its_scene_and_its_picture_are_the_official_ones(
    network: LvsmNetwork, path: CameraTrajectory, images: torch.Tensor
):
    assert sorted(network.state_dict()) == GOLDEN["names"]
    rays = pluecker_rays(beside_mean_camera(path), 16)[None]
    scene = network.scene(images[None], rays)
    torch.testing.assert_close(scene[0], torch.tensor(GOLDEN["scene"]), atol=1e-5, rtol=0)
    picture = network.render(scene, rays[:, 2:])[0, 0, :, ::5, ::5].flatten()
    torch.testing.assert_close(picture, torch.tensor(GOLDEN["picture"]), atol=1e-5, rtol=0)


def test_the_published_sizes_are_the_defaults():
    with torch.device("meta"):
        shapes = {n: tuple(each.shape) for n, each in LvsmNetwork(LvsmConfig()).named_parameters()}
    assert shapes["n_light_field_latent"] == (3072, 768)
    assert shapes["image_tokenizer.1.weight"] == (768, 9 * 8 * 8)
    assert shapes["transformer_encoder.11.attn.to_qkv.weight"] == (2304, 768)
    assert shapes["transformer_encoder.0.mlp.mlp.0.weight"] == (3072, 768)
    assert len(shapes) == 2 + 12 * 8


def test_the_order_of_views_means_nothing_and_their_cameras_do(
    network: LvsmNetwork, make_clip: Callable, make_path: Callable
):
    encoder, clip, cameras = LvsmEncoder(network, "by the recipe"), make_clip(3), make_path(3)
    tokens = encoder.encode(clip, cameras)
    assert tokens.shape == (6, encoder.width) == (6, 32)
    turned = encoder.encode(clip.flip(0), cameras.frames((2, 1, 0)))
    torch.testing.assert_close(turned, tokens, atol=1e-5, rtol=0)
    assert (encoder.encode(clip.flip(0), cameras) - tokens).abs().max() > 1e-3


def test_a_whole_movement_of_the_world_changes_only_given_poses(
    network: LvsmNetwork, make_clip: Callable, make_path: Callable
):
    clip, cameras = make_clip(3), make_path(3)
    moved = replace(cameras, c2w=cameras.c2w[1] @ cameras.c2w)
    for poses, is_same in (("mean_camera", True), ("given", False)):
        encoder = LvsmEncoder(network, "by the recipe", poses)
        change = (encoder.encode(clip, moved) - encoder.encode(clip, cameras)).abs().max()
        assert (change < 1e-4) == is_same


def test_cameras_of_one_centre_keep_their_scale(make_path: Callable):
    cameras = make_path(5)
    still = cameras.c2w.clone()
    still[:, :3, 3] = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    turned = beside_mean_camera(replace(cameras, c2w=still))
    assert turned.c2w[:, :3, 3].abs().max() < 1e-12
    # The middle of an even turn is the mean camera.
    torch.testing.assert_close(turned.c2w[2], torch.eye(4, dtype=torch.float64))
    walked = beside_mean_camera(cameras)
    assert walked.c2w[:, :3, 3].abs().max().item() == pytest.approx(1 / 1.35)


def test_rays_are_a_moment_and_a_unit_direction(make_path: Callable):
    cameras = make_path(3)
    moment, direction = pluecker_rays(cameras, 8).double().split(3, dim=1)
    torch.testing.assert_close(direction.norm(dim=1), torch.ones(3, 8, 8).double())
    # Orthogonal to its direction, and the same for every point of the ray.
    assert (moment * direction).sum(1).abs().max() < 1e-6
    point = cameras.c2w[:, :3, 3, None, None] + 2.5 * direction
    torch.testing.assert_close(
        torch.linalg.cross(point, direction, dim=1), moment, atol=1e-6, rtol=0
    )


def test_views_are_the_middle_square_and_its_cameras(make_clip: Callable, make_path: Callable):
    clip, cameras = make_clip(2, 16, 24), make_path(2, aspect=1.5)
    square, told = square_views(clip, cameras, 16)
    assert torch.equal(square, clip[..., 4:20])
    # A focal length of 0.9 widths of 24 pixels is 1.35 widths of 16.
    torch.testing.assert_close(told.intrinsics[0], intrinsics_matrix(1.35, 1.35))
    small, _ = square_views(clip, cameras, 8)
    torch.testing.assert_close(small.mean((2, 3)), square.mean((2, 3)), atol=0.02, rtol=0)


def test_few_views_are_the_first_the_last_and_those_between(
    network: LvsmNetwork, make_clip: Callable, make_path: Callable
):
    clip, cameras = make_clip(5), make_path(5)
    few = LvsmEncoder(network, "by the recipe", num_views=2)
    every = LvsmEncoder(network, "by the recipe")
    wanted = every.encode(clip[[0, 4]], cameras.frames((0, 4)))
    assert torch.equal(few.encode(clip, cameras), wanted)
    assert few.identity != every.identity


def test_frames_are_spread_over_the_video():
    assert spread_frames(9, 3) == (0, 4, 8)
    assert spread_frames(9, 1) == (0,)
    assert spread_frames(3, 5) == spread_frames(3, None) == (0, 1, 2)
    with pytest.raises(ValueError, match="num_views got 0, wanted at least 1"):
        spread_frames(9, 0)


@pytest.mark.parametrize("form", ["trainer", "bare", "parallel", "safetensors"])
def test_files_of_every_form_are_read(
    network: LvsmNetwork, images: torch.Tensor, path: CameraTrajectory, tmp_path: Path, form: str
):
    state = dict(network.state_dict())
    # Losses of training lie in the published file too.
    state["loss_computer.perceptual.weight"] = torch.zeros(2)
    if form == "safetensors":
        file = tmp_path / "lvsm.safetensors"
        write_safetensors(file, state, {})
    else:
        file = tmp_path / "scene_encoder_decoder_256.pt"
        if form == "parallel":
            state = {f"module.{name}": each for name, each in state.items()}
        content = state if form == "bare" else {"model": state, "fwdbwd_pass_step": 7}
        torch.save(content, file)
    for has_decoder in (False, True):
        again = read_lvsm(file, has_decoder, size=16)
        assert again.config == replace(TINY, has_decoder=has_decoder)
        tokens = LvsmEncoder(again, "a file").encode(images, path)
        assert torch.equal(tokens, LvsmEncoder(network, "a file").encode(images, path))
        # The decoder makes no difference to the scene.
        identity = LvsmEncoder(network, "a file").identity
        assert LvsmEncoder(again, "a file").identity == identity


def test_other_files_are_named(network: LvsmNetwork, tmp_path: Path):
    file = tmp_path / "scene_decoder_only_256.pt"
    state = dict(network.state_dict())
    latents = state.pop("n_light_field_latent")
    torch.save({"model": state}, file)
    with pytest.raises(ValueError, match="a decoder-only LVSM has no scene latents, wanted"):
        read_lvsm(file, size=16)
    torch.save({"model": {**state, "n_light_field_latent": latents / 0}}, file)
    with pytest.raises(ValueError, match="'n_light_field_latent' that are NaN or infinite"):
        read_lvsm(file, size=16)
    del state["transformer_encoder.1.attn.fc.weight"]
    torch.save({"model": {**state, "n_light_field_latent": latents}}, file)
    with pytest.raises(ValueError, match=r"no tensor 'transformer_encoder\.1\.attn\.fc\.weight'"):
        read_lvsm(file, size=16)
    torch.save({"model": {"x": Path("/")}}, file)
    with pytest.raises(ValueError, match="holds more than tensors and plain values"):
        read_lvsm(file)
    with pytest.raises(ValueError, match="the file is not there"):
        read_lvsm(tmp_path / "missing.pt")


def test_equal_seeds_make_equal_networks_whose_deep_blocks_start_small():
    first, second, other = (new_lvsm(TINY, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    name = "transformer_encoder.{}.attn.to_qkv.weight"
    assert not torch.equal(first[name.format(0)], other[name.format(0)])
    spreads = [first[name.format(i)].std().item() for i in range(2)]
    assert spreads == pytest.approx([0.02 / 2**0.5, 0.02 / 4**0.5], rel=0.1)


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="dim got 30, wanted a multiple of 16"):
        LvsmConfig(dim=30, head_dim=16)
    with pytest.raises(ValueError, match="size got 250, wanted a multiple of 8"):
        LvsmConfig(size=250)

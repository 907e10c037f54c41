"""LVSM as a context encoder: views and cameras as it wants them, and its files of weights.

F frames, H rows, W columns.
"""

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F

from ..bases.published import Shapes
from ..cameras.projection import SHARED_CENTRE_TOLERANCE, pixel_rays
from ..cameras.trajectory import CameraTrajectory
from ..weights.reading.boundary import Fault, quoted, reading
from ..weights.reading.finite import require_finite, require_floats
from ..weights.reading.tensor_sizes import require_exact
from ..weights.weight_files import SAFETENSORS_SUFFIXES, read_weights
from .encoder import require_clip, require_tokens
from .lvsm import IMAGE_CHANNELS, RAY_CHANNELS, LvsmConfig, LvsmNetwork, start_lvsm

# Poses relative to the mean camera at a fixed scale, as the published weights want them, or as the
# caller gives them.
Poses = Literal["mean_camera", "given"]
WANTED = "an LVSM with a scene encoder (scene_encoder_decoder_256.pt)"
# The farthest centre lies at 1 / 1.35 of a unit, as in LVSM's training.
_SCENE_SCALE = 1.35
_ENCODER_BLOCK = "transformer_encoder."
# The scene encoder's names; the decoder changes no scene latent.
_ENCODER = ("image_tokenizer.", "n_light_field_latent", _ENCODER_BLOCK)
_HASH_DIGITS = 12


@dataclass(frozen=True, eq=False)
class LvsmEncoder:
    """Scene latents of a frozen LVSM.

    weights: where the weights come from, in words. poses: the cameras that the weights want.
    num_views: how many frames are read, spread evenly; None reads all.
    """

    network: LvsmNetwork
    weights: str
    poses: Poses = "mean_camera"
    num_views: int | None = None

    @cached_property
    def identity(self) -> str:
        config = self.network.config
        views = "all frames" if self.num_views is None else f"{self.num_views} frames"
        return (
            f"LVSM {config.num_latents}x{config.dim}, {self.weights}, "
            f"{_hash_of(self.network.state_dict())}, {self.poses}, {views}"
        )

    @property
    def width(self) -> int:
        return self.network.config.dim

    @torch.no_grad()
    def encode(self, frames: torch.Tensor, cameras: CameraTrajectory) -> torch.Tensor:
        """Scene latents (num_latents, width).

        Raises: ValueError as `require_clip`.
        """
        require_clip("LVSM", frames, cameras)
        chosen = spread_frames(len(frames), self.num_views)
        size, like = self.network.config.size, self.network.n_light_field_latent
        images, told = square_views(frames[list(chosen)], cameras.frames(chosen), size)
        if self.poses == "mean_camera":
            told = beside_mean_camera(told)
        rays = pluecker_rays(told, size)
        tokens = self.network.scene(images[None].to(like), rays[None].to(like))[0].float()
        return require_tokens("LVSM", tokens, self.width)


def spread_frames(num_frames: int, count: int | None) -> tuple[int, ...]:
    """`count` of the frames 0 to num_frames - 1, first and last included; None is all of them.

    Raises: ValueError for a count below 1.
    """
    if count is not None and count < 1:
        raise ValueError(f"num_views got {count}, wanted at least 1; leave it out for all frames")
    if count is None or count >= num_frames:
        return tuple(range(num_frames))
    places = torch.linspace(0, num_frames - 1, count) if count > 1 else torch.zeros(1)
    return tuple(places.round().long().tolist())


def square_views(
    frames: torch.Tensor, cameras: CameraTrajectory, size: int
) -> tuple[torch.Tensor, CameraTrajectory]:
    """The middle square of frames (F, 3, H, W) as (F, 3, size, size), and its cameras."""
    height, width = frames.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = frames[..., top : top + side, left : left + side].clamp(0, 1)
    if side != size:
        square = F.interpolate(square, (size, size), mode="bilinear", antialias=True)
    return square, cameras.cropped_to(1.0)


def beside_mean_camera(cameras: CameraTrajectory) -> CameraTrajectory:
    """The same path relative to its mean camera, scaled so that every centre is inside 1 / 1.35.

    Cameras that share one centre keep their scale (our choice: there is nothing to scale).
    """
    c2w = cameras.c2w  # (F, 4, 4)
    mean = torch.eye(4, dtype=c2w.dtype)
    down, forward = (F.normalize(c2w[:, :3, axis].mean(0), dim=0) for axis in (1, 2))
    right = F.normalize(torch.linalg.cross(down, forward), dim=0)
    # Mean directions are not quite orthogonal: forward counts, and down follows.
    mean[:3, :3] = torch.stack((right, torch.linalg.cross(forward, right), forward), dim=1)
    mean[:3, 3] = c2w[:, :3, 3].mean(0)
    relative = torch.linalg.inv(mean) @ c2w
    farthest = relative[:, :3, 3].abs().max()
    if farthest > SHARED_CENTRE_TOLERANCE:
        relative[:, :3, 3] /= _SCENE_SCALE * farthest
    return replace(cameras, c2w=relative)


def pluecker_rays(cameras: CameraTrajectory, size: int) -> torch.Tensor:
    """Pluecker coordinates (F, 6, size, size) float32 of all pixels: moment, then direction."""
    direction = pixel_rays(cameras.c2w, cameras.intrinsics, size, size)  # (F, H, W, 3)
    centre = cameras.c2w[:, None, None, :3, 3].expand_as(direction)
    moment = torch.linalg.cross(centre, direction)
    return torch.cat((moment, direction), dim=-1).movedim(-1, 1).float()


def read_lvsm(path: Path, has_decoder: bool = False, size: int = 256) -> LvsmNetwork:
    """The LVSM in a file: the published .pt, or its weights as safetensors.

    size: pixels per side of the views that the weights were trained for; no weight tells it.

    Raises: ValueError naming a file that is missing, broken, or no LVSM of this form.
    """
    with reading(path, WANTED, "download it again"):
        found = _weights_in(path)
        config = _config_of({name: tuple(each.shape) for name, each in found.items()}, size)
        config = replace(config, has_decoder=has_decoder)
        with torch.device("meta"):
            network = LvsmNetwork(config)
        wanted = {name: tuple(each.shape) for name, each in network.state_dict().items()}
        # The decoder and the losses of training have no place in an encoder.
        state = {name: tensor for name, tensor in found.items() if name in wanted}
        require_exact({name: tuple(each.shape) for name, each in state.items()}, wanted)
        require_floats(state)
        require_finite(state)
    network.load_state_dict({name: each.float() for name, each in state.items()}, assign=True)
    return network.eval().requires_grad_(False)


def new_lvsm(config: LvsmConfig, seed: int) -> LvsmNetwork:
    """An LVSM with fresh weights; the same seed gives the same weights."""
    network = LvsmNetwork(config)
    start_lvsm(network, torch.Generator().manual_seed(seed))
    return network


def _weights_in(path: Path) -> dict[str, torch.Tensor]:
    """The tensors by name; a trainer's file has them under "model"."""
    if path.suffix.lower() in SAFETENSORS_SUFFIXES:
        return read_weights(path)
    try:
        content: Any = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    except pickle.UnpicklingError as error:
        raise Fault("holds more than tensors and plain values") from error
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        content = content["model"]
    if not isinstance(content, dict):
        raise Fault(f"holds {quoted(content)}")
    weights = {name: each for name, each in content.items() if isinstance(each, torch.Tensor)}
    # DistributedDataParallel puts its own name before every key.
    return {name.removeprefix("module."): each for name, each in weights.items()}


def _config_of(shapes: Shapes, size: int) -> LvsmConfig:
    """Sizes from the shapes of the weights.

    Raises: Fault for weights of another model.
    """
    latents, tokenizer = shapes.get("n_light_field_latent"), shapes.get("image_tokenizer.1.weight")
    norm = shapes.get(f"{_ENCODER_BLOCK}0.attn.q_norm.weight")
    if latents is None or tokenizer is None or norm is None:
        missing = next(
            name
            for name, shape in (
                ("n_light_field_latent", latents),
                ("image_tokenizer.1.weight", tokenizer),
                (f"{_ENCODER_BLOCK}0.attn.q_norm.weight", norm),
            )
            if shape is None
        )
        raise Fault(f"has no tensor {quoted(missing)}; a decoder-only LVSM has no scene latents")
    numbers = [name.split(".")[1] for name in shapes if name.startswith(_ENCODER_BLOCK)]
    layers = 1 + max(int(number) for number in numbers if number.isdigit())
    patch = round((tokenizer[1] / (IMAGE_CHANNELS + RAY_CHANNELS)) ** 0.5)
    if len(latents) != 2 or patch**2 * (IMAGE_CHANNELS + RAY_CHANNELS) != tokenizer[1]:
        raise Fault("has latents or an image tokenizer of no LVSM")
    try:
        return LvsmConfig(latents[1], norm[0], layers, latents[0], patch, size)
    except ValueError as error:
        raise Fault(str(error)) from error


def _hash_of(state: Mapping[str, torch.Tensor]) -> str:
    """A short hash of the scene encoder's weights."""
    digest = hashlib.sha256()
    for name in sorted(each for each in state if each.startswith(_ENCODER)):
        digest.update(name.encode())
        digest.update(state[name].detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:_HASH_DIGITS]

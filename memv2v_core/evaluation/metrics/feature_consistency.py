"""DINO-F and CLIP-F: how alike the frames of one video are to a network that knows pictures.

F frames, D width of a feature.

The paper reports "cross-frame DINO/CLIP similarity" (Sec. 4.3 and Tab. 3, arXiv:2601.16296v2) and
leaves open which pairs of frames it compares. So each network has two columns: the mean over
neighbouring frames, and the mean over all pairs. The paper's values, 0.68 to 0.87, are low for
neighbours. The paper also leaves the sizes of the networks open. Our choice: the base models.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from ...weights.reading.boundary import Fault, quoted, reading
from .metric import Batch, Column, Need, Subject
from .weights_folder import PublicPart, find_weights, network_identity

DINO = PublicPart("dinov2-base", "facebook/dinov2-base", 346)
# This repository has no safetensors file in its main branch.
CLIP = PublicPart(
    name="clip-vit-base-patch32",
    source="openai/clip-vit-base-patch32",
    megabytes=605,
    weight_files=("model.safetensors", "pytorch_model.bin"),
)
FRAMES_AT_ONCE = 16
# Only training uses DINOv2's mask token.
_MASK_KEY = "embeddings.mask_token"


class _FeatureConsistency(ABC):
    """Cosine similarity of frame features within one video, in float64.

    NaN for a video of one frame, and for a video with values that are no numbers.
    """

    columns: tuple[Column, ...]
    subject: Subject = "video"
    needs: frozenset[Need] = frozenset()

    def __init__(self, network: Any, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device)
        self.identity = network_identity(self.network)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> torch.Tensor:
        """(B, 2) float64: over neighbouring frames, and over all pairs of frames."""
        return torch.stack([self._similarities(video) for video in batch.videos])

    @abstractmethod
    def frame_features(self, frames: torch.Tensor) -> torch.Tensor:
        """Features (F, D) of frames (F, 3, H, W) of bytes; a few frames at a time."""

    def _similarities(self, video: torch.Tensor) -> torch.Tensor:
        # Rounding to bytes would turn NaN into a colour.
        if len(video) < 2 or not video.isfinite().all():
            return torch.full((2,), torch.nan, dtype=torch.float64)
        features = [
            self.frame_features(_bytes(piece)).double().cpu()
            for piece in video.split(FRAMES_AT_ONCE)
        ]
        directions = F.normalize(torch.cat(features), dim=-1)  # (F, D)
        return torch.stack((neighbour_similarity(directions), pair_similarity(directions)))


class DinoF(_FeatureConsistency):
    """Similarity of the CLS token after DINOv2's last layer norm.

    weights: the folder that holds the folder `dinov2-base`.

    Raises: ValueError for weights that are missing, broken or not those of a DINOv2.
    """

    columns: tuple[Column, ...] = (Column("DINO-F neighbours"), Column("DINO-F all pairs"))

    def __init__(self, weights: Path, device: torch.device | str = "cpu") -> None:
        from transformers import BitImageProcessor, Dinov2Model
        from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

        super().__init__(_load(Dinov2Model, weights, DINO, "dinov2"), device)
        # As preprocessor_config.json of facebook/dinov2-base. All else is the class's default.
        self.processor = BitImageProcessor(
            size={"shortest_edge": 256},
            crop_size={"height": 224, "width": 224},
            image_mean=IMAGENET_DEFAULT_MEAN,
            image_std=IMAGENET_DEFAULT_STD,
        )

    def frame_features(self, frames: torch.Tensor) -> torch.Tensor:
        """CLS tokens (F, D)."""
        pixels = self.processor(frames, return_tensors="pt")["pixel_values"].to(self.device)
        # Token 0 is the CLS token: it describes the whole picture.
        return self.network(pixel_values=pixels).last_hidden_state[:, 0]


class ClipF(_FeatureConsistency):
    """Similarity of CLIP's image embeddings, after the projection.

    weights: the folder that holds the folder `clip-vit-base-patch32`.

    Raises: ValueError for weights that are missing, broken or not those of a CLIP.
    """

    columns: tuple[Column, ...] = (Column("CLIP-F neighbours"), Column("CLIP-F all pairs"))

    def __init__(self, weights: Path, device: torch.device | str = "cpu") -> None:
        from transformers import CLIPImageProcessor, CLIPModel

        super().__init__(_load(CLIPModel, weights, CLIP, "clip"), device)
        # Its defaults are preprocessor_config.json of openai/clip-vit-base-patch32.
        self.processor = CLIPImageProcessor()

    def frame_features(self, frames: torch.Tensor) -> torch.Tensor:
        """Image embeddings (F, D)."""
        pixels = self.processor(frames, return_tensors="pt")["pixel_values"].to(self.device)
        # `image_embeds` before their division by length. CLIPModel gives them only with a text.
        pooled = self.network.vision_model(pixel_values=pixels).pooler_output
        return self.network.visual_projection(pooled)


def neighbour_similarity(directions: torch.Tensor) -> torch.Tensor:
    """Mean cosine of each frame and the next one.

    directions: (F, D) of length 1, F at least 2.
    """
    return (directions[1:] * directions[:-1]).sum(-1).mean()


def pair_similarity(directions: torch.Tensor) -> torch.Tensor:
    """Mean cosine of all pairs of two different frames.

    directions: (F, D) of length 1, F at least 2.
    """
    # |sum|^2 holds each pair twice, and each frame with itself. So no F x F matrix is made.
    count = len(directions)
    own = directions.square().sum()
    return (directions.sum(0).square().sum() - own) / (count * (count - 1))


def _bytes(frames: torch.Tensor) -> torch.Tensor:
    """Frames as a video file holds them.

    The processors take pictures of bytes and clamp what the bicubic filter makes of them only
    there. The CPU keeps their result equal on every device.
    """
    return (frames * 255).round().clamp(0, 255).to("cpu", torch.uint8)


def _load(kind: Any, weights: Path, part: PublicPart, model_type: str) -> Any:
    """A network of transformers in evaluation mode, in float32.

    Raises: ValueError for weights that are missing, broken or of another network.
    """
    from transformers import AutoConfig

    path = find_weights(weights, part)
    remedy = f"download {path.name} and config.json from {part.source} ({part.megabytes} MB)"
    with reading(path.with_name("config.json"), f"the description of {part.name}", remedy):
        config = AutoConfig.from_pretrained(path.parent, local_files_only=True)
        if config.model_type != model_type:
            raise Fault(f"describes a {quoted(config.model_type)} model")
    with reading(path, f"the weights of {part.name}", remedy):
        # Tensors of a wrong size are collected, not raised: the error below names the remedy.
        network, found = kind.from_pretrained(
            path.parent,
            local_files_only=True,
            use_safetensors=path.suffix == ".safetensors",
            torch_dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        # transformers fills missing weights with random numbers.
        lacking = {*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])}
        if lacking := lacking - {_MASK_KEY}:
            raise Fault(f"lacks {len(lacking)} of its tensors, such as {min(lacking)}")
    return network.eval().requires_grad_(False)

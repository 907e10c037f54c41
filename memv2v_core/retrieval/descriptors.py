"""One vector that says what a clip shows, so that segments can be compared by their sources.

F frames, C channels, H rows, W columns, D width of the descriptor.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from safetensors import SafetensorError

LIGHT = "built-in light"
DINO_NAMES = ("dinov2-base", "dinov2-small", "dinov2-large")
DESCRIPTOR_NAMES = (LIGHT, *DINO_NAMES)

# Which DINOv2 a model is, by the width of its embedding.
_DINO_WIDTHS = {384: "dinov2-small", 768: "dinov2-base", 1024: "dinov2-large"}
# The largest sizes that a config.json may state; DINOv2's giant has 1536 and 40.
_DINO_MOST = {
    "hidden_size": 4096,
    "num_hidden_layers": 100,
    "num_attention_heads": 64,
    "mlp_ratio": 16,
    "image_size": 4096,
    "patch_size": 64,
    "num_channels": 16,
}
_MOST_REASON_CHARS = 400
# Sizes of model.safetensors.
_DINO_SIZES = {"dinov2-small": "88 MB", "dinov2-base": "346 MB", "dinov2-large": "1.2 GB"}
_MASK_KEY = "embeddings.mask_token"
_DINO_FILES = ("config.json", "model.safetensors")
# DINOv2's own preparation of pictures.
_DINO_SHORTEST_PX, _DINO_CROP_PX = 256, 224
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_FRAMES_AT_ONCE = 8

# See `default_min_similarity`.
_LIGHT_MIN_SIMILARITY, _DINO_MIN_SIMILARITY = 0.75, 0.5

# The light descriptor: size of pictures, bins of colours, cells and directions of edges, and the
# brightness of a medium grey.
_LIGHT_PX = 64
_BRIGHTNESS_BINS, _CHROMA_BINS = 5, 9
_CELLS, _EDGE_BINS = 4, 8
_MEAN_BRIGHTNESS = 0.4
# Shares of the cosine: which colours, where the colours are, which edges.
_PART_WEIGHTS = (1.0, 0.2, 0.2)


class Descriptor(Protocol):
    """Makes descriptors: frames (F, C, H, W) in 0..1 to (D,) float32.

    name: stored with every descriptor.
    """

    name: str

    def __call__(self, frames: torch.Tensor) -> torch.Tensor: ...


class LightDescriptor:
    """`light_descriptor` with its name.

    It needs no download. It knows colours and edges but no objects.
    """

    name = LIGHT

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        """The clip's descriptor (D,)."""
        return light_descriptor(frames)


class DinoDescriptor:
    """DINOv2's CLS embedding, averaged over all frames of a clip.

    source: a folder, or a name to download.

    Raises: ValueError for a folder that holds no DINOv2 model, or only a part of one.
    Source: App. C.2 and Alg. 2, arXiv:2601.16296v2.
    """

    def __init__(self, source: Path | str, device: torch.device | str = "cpu") -> None:
        from transformers import AutoConfig, Dinov2Model

        is_local = isinstance(source, Path)
        config = AutoConfig.from_pretrained(source, local_files_only=is_local)
        if config.model_type != "dinov2":
            raise ValueError(
                f"{source} holds a {config.model_type!r} model, wanted 'dinov2'; download "
                "facebook/dinov2-base into it"
            )
        _require_dino_sizes(source, config)
        self.name = _DINO_WIDTHS.get(config.hidden_size, f"dinov2-{config.hidden_size}")
        self.device = torch.device(device)
        # Tensors of a wrong size are collected, not raised: the error below names the remedy.
        model, found = Dinov2Model.from_pretrained(
            source,
            local_files_only=is_local,
            use_safetensors=True,
            torch_dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        # transformers fills missing weights with random numbers. Only training uses the mask token.
        wrong = {*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])} - {
            _MASK_KEY
        }
        if wrong:
            raise ValueError(
                f"{source} lacks {len(wrong)} weights of the DINOv2 that its config.json "
                f"describes, {min(wrong)} among them; put both files of the same model there, from "
                "facebook/dinov2-base"
            )
        self.model = model.to(self.device).eval().requires_grad_(False)

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        """The clip's descriptor (D,) on the CPU.

        frames: (F, C, H, W) in 0..1; they pass through the model a few at a time.
        """
        # Summed in float64, so that a long clip loses no digits.
        total = torch.zeros(self.model.config.hidden_size, dtype=torch.float64)
        for piece in frames.split(_FRAMES_AT_ONCE):
            hidden = self.model(pixel_values=dino_pixels(piece.to(self.device))).last_hidden_state
            # Token 0 is the CLS token: it describes the whole picture.
            total += hidden[:, 0].double().sum(dim=0).cpu()
        return (total / frames.shape[0]).float()


def _require_dino_sizes(source: Path | str, config: Any) -> None:
    """Raise ValueError for sizes that no DINOv2 has, before a model of these sizes is made."""
    for name, most in _DINO_MOST.items():
        value = getattr(config, name, None)
        if type(value) is not int or not 1 <= value <= most:
            raise ValueError(
                f"{source} has {str(value)[:40]} for {name} in config.json, wanted 1 to {most}; "
                "download facebook/dinov2-base into it"
            )


def load_descriptor(
    name: str,
    folders: Sequence[Path],
    device: torch.device | str = "cpu",
    may_download: bool = False,
    how_to_allow: str = "allow the download",
) -> Descriptor:
    """The descriptor of this name.

    folders: where DINOv2 may lie; each is searched for a folder of its name.
    may_download: take missing weights from huggingface.co, into its usual cache.
    how_to_allow: what the user does for that, in words.

    Raises: ValueError for an unknown name and for missing weights; the text says where to put them.
    """
    if name == LIGHT:
        return LightDescriptor()
    if name not in DINO_NAMES:
        raise ValueError(f"descriptor got {name!r}, wanted one of {', '.join(DESCRIPTOR_NAMES)}")
    repo = f"facebook/{name}"
    found = next((path for path in _dino_folders(name, folders) if _is_dino_folder(path)), None)
    if found is None and not may_download:
        raise ValueError(
            f"{name} is missing; put {' and '.join(reversed(_DINO_FILES))} of "
            f"https://huggingface.co/{repo} ({_DINO_SIZES[name]}) into "
            f"{_wanted_folder(name, folders)}, or choose {LIGHT!r}, or let the node download "
            f"{repo} ({_DINO_SIZES[name]}) from huggingface.co: {how_to_allow}"
        )
    # A broken download, a wrong model and missing weights get one text with the remedy.
    try:
        descriptor = DinoDescriptor(repo if found is None else found, device)
    except (OSError, ValueError, SafetensorError, TypeError, LookupError, _strict_error()) as error:
        # The text of other programs may hold parts of the file, without an end.
        reason = " ".join(str(error).split())[:_MOST_REASON_CHARS]
        where = f"https://huggingface.co/{repo}" if found is None else str(found)
        raise ValueError(
            f"{name} could not be read from {where} ({reason}); put "
            f"{' and '.join(reversed(_DINO_FILES))} of https://huggingface.co/{repo} into "
            f"{_wanted_folder(name, folders)}"
        ) from error
    # A folder named dinov2-base may hold another size. Its name would be stored with the wrong
    # vectors.
    if descriptor.name != name:
        raise ValueError(
            f"{found} holds {descriptor.name}, wanted {name}; rename the folder or replace its "
            "files"
        )
    return descriptor


def _strict_error() -> type[Exception]:
    """The class of a setting of a wrong type in config.json, in versions that check types."""
    # transformers has imported the module, where it uses one.
    errors = sys.modules.get("huggingface_hub.errors")
    return getattr(errors, "StrictDataclassError", ValueError)


def default_min_similarity(descriptor_name: str) -> float:
    """The cosine from which on two clips count as views of one place.

    Light: measured on pieces of 53 realistic clips. 97 % of the pairs from one clip lie above it,
    and 1 % of the pairs from two clips.
    DINOv2: our choice, not measured. CLS embeddings of unrelated pictures mostly have a cosine
    below 0.3, embeddings of one place mostly above 0.6.
    """
    return _LIGHT_MIN_SIMILARITY if descriptor_name == LIGHT else _DINO_MIN_SIMILARITY


def light_descriptor(frames: torch.Tensor) -> torch.Tensor:
    """Which colours a clip has, where they are, and which edges: (D,) float32 of length 1.

    frames: (F, 3, H, W) in 0..1, of any size. The descriptor is the mean over all frames.
    """
    # Step 1: three parts per frame, summed over the clip.
    totals: list[torch.Tensor] | None = None
    for piece in frames.split(_FRAMES_AT_ONCE):
        size = (_LIGHT_PX, _LIGHT_PX)
        small = F.interpolate(
            piece.float(), size, mode="bilinear", antialias=True, align_corners=False
        ).clamp_(0, 1)
        parts = [
            part.sum(dim=0)
            for part in (_colour_histogram(small), _colour_layout(small), _edge_histogram(small))
        ]
        totals = (
            parts
            if totals is None
            else [total + part for total, part in zip(totals, parts, strict=True)]
        )
    assert totals is not None, "split gives at least one piece"
    # Step 2: the root keeps a few common bins from deciding the cosine alone. All edge counts are
    # positive, so their mean is taken off: else any two clips look alike.
    histogram, layout, edges = (total / frames.shape[0] for total in totals)
    edges = edges.sqrt() - edges.sqrt().mean()
    # Step 3: parts of length sqrt(weight), so that each adds its weight to the cosine.
    weighted = [
        weight**0.5 * F.normalize(part, dim=0)
        for weight, part in zip(_PART_WEIGHTS, (histogram.sqrt(), layout, edges), strict=True)
    ]
    return F.normalize(torch.cat(weighted), dim=0).cpu()


def _opponents(pictures: torch.Tensor) -> torch.Tensor:
    """Three channels of pictures (F, 3, H, W), same shape.

    Brightness in 0..1, red against green in -1..1, yellow against blue in -1..1.
    """
    red, green, blue = pictures.unbind(dim=1)
    return torch.stack(((red + green + blue) / 3, red - green, (red + green) / 2 - blue), dim=1)


def _colour_histogram(pictures: torch.Tensor) -> torch.Tensor:
    """Share (F, bins) of every colour.

    The bins are narrow near grey, where most colours lie.
    """
    brightness, *chroma = _opponents(pictures).flatten(2).unbind(dim=1)  # each (F, H*W)
    # The signed root spreads the colours near grey over more bins.
    first, second = (_tents(value.sign() * value.abs().sqrt(), _CHROMA_BINS) for value in chroma)
    bright = _tents(2 * brightness - 1, _BRIGHTNESS_BINS)  # (F, H*W, bins)
    return torch.einsum("fnl,fni,fnj->flij", bright, first, second).flatten(1) / brightness.shape[1]


def _tents(values: torch.Tensor, num_bins: int) -> torch.Tensor:
    """Weights (..., num_bins) of the bins over -1..1 that a value falls between.

    The weights of a value sum to 1. They change smoothly, so a small change of light moves no count
    from one bin to another at once.
    """
    centres = torch.linspace(-1, 1, num_bins, device=values.device)
    return (1 - (values[..., None] - centres).abs() * (num_bins - 1) / 2).clamp(min=0)


def _colour_layout(pictures: torch.Tensor) -> torch.Tensor:
    """Mean colour (F, 3 * cells) of every cell of a coarse grid; 0 for a medium grey."""
    cells = _opponents(F.adaptive_avg_pool2d(pictures, _CELLS))  # (F, 3, cells, cells)
    brightness, chroma = cells[:, :1] - _MEAN_BRIGHTNESS, 2 * cells[:, 1:]
    return torch.cat((brightness, chroma), dim=1).flatten(1)


def _edge_histogram(pictures: torch.Tensor) -> torch.Tensor:
    """Strength (F, bins * cells) of edges of every direction in every cell."""
    grey = pictures.mean(dim=1, keepdim=True)  # (F, 1, H, W)
    sobel = grey.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
    gradient = F.conv2d(grey, torch.stack((sobel, sobel.T))[:, None])  # (F, 2, H, W)
    # Modulo pi: an edge from dark to light equals an edge from light to dark.
    angle = torch.atan2(gradient[:, 1:], gradient[:, :1]) % torch.pi  # (F, 1, H, W), in [0, pi)
    directions = torch.arange(_EDGE_BINS, device=grey.device) * torch.pi / _EDGE_BINS
    apart = (angle - directions[:, None, None]).abs()  # (F, directions, H, W)
    # An edge counts for the two directions that it lies between.
    share = (1 - torch.minimum(apart, torch.pi - apart) * _EDGE_BINS / torch.pi).clamp(min=0)
    return F.adaptive_avg_pool2d(share * gradient.norm(dim=1, keepdim=True), _CELLS).flatten(1)


def dino_pixels(frames: torch.Tensor) -> torch.Tensor:
    """Frames (F, 3, H, W) in 0..1 as DINOv2 takes them: (F, 3, 224, 224).

    The shortest side becomes 256, the centre 224x224 is cut out, and ImageNet's statistics
    normalise it.
    """
    rows, columns = frames.shape[-2:]
    shortest = min(rows, columns)
    size = (_DINO_SHORTEST_PX * rows // shortest, _DINO_SHORTEST_PX * columns // shortest)
    resized = F.interpolate(
        frames.float(), size, mode="bicubic", antialias=True, align_corners=False
    ).clamp_(0, 1)
    top, left = (size[0] - _DINO_CROP_PX) // 2, (size[1] - _DINO_CROP_PX) // 2
    cropped = resized[..., top : top + _DINO_CROP_PX, left : left + _DINO_CROP_PX]
    mean, std = cropped.new_tensor(_IMAGENET_MEAN), cropped.new_tensor(_IMAGENET_STD)
    return (cropped - mean[:, None, None]) / std[:, None, None]


def _dino_folders(name: str, folders: Sequence[Path]) -> list[Path]:
    return [path for folder in folders for path in (folder / name, folder / "facebook" / name)]


def _is_dino_folder(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _DINO_FILES)


def _wanted_folder(name: str, folders: Sequence[Path]) -> str:
    return str(folders[0] / name) if folders else f"a folder named {name}"

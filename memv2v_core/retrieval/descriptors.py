"""One vector for what a clip shows, so that segments of a long video can be compared by their
sources.

F frames, C channels, H W rows and columns, D width of the descriptor.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from safetensors import SafetensorError

LIGHT = "built-in light"
DINO_NAMES = ("dinov2-base", "dinov2-small", "dinov2-large")
DESCRIPTOR_NAMES = (LIGHT, *DINO_NAMES)

_DINO_WIDTHS = {384: "dinov2-small", 768: "dinov2-base", 1024: "dinov2-large"}
_MASK_KEY = "embeddings.mask_token"
_DINO_FILES = ("config.json", "model.safetensors")
_DINO_SHORTEST_PX, _DINO_CROP_PX = 256, 224
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_FRAMES_AT_ONCE = 8

_LIGHT_MIN_SIMILARITY, _DINO_MIN_SIMILARITY = 0.75, 0.5

_LIGHT_PX = 64
_BRIGHTNESS_BINS, _CHROMA_BINS = 5, 9
_CELLS, _EDGE_BINS = 4, 8
_MEAN_BRIGHTNESS = 0.4
_PART_WEIGHTS = (1.0, 0.2, 0.2)  # shares of the cosine: which colours, where, which edges


class Descriptor(Protocol):
    """What makes descriptors: frames (F, C, H, W) in 0..1 to (D,) float32; `name` is kept with
    every descriptor.
    """

    name: str

    def __call__(self, frames: torch.Tensor) -> torch.Tensor: ...


class LightDescriptor:
    """`light_descriptor` under its name: needs no download, knows colours and edges but no
    objects."""

    name = LIGHT

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        """The clip's descriptor (D,)."""
        return light_descriptor(frames)


class DinoDescriptor:
    """DINOv2's CLS embedding, averaged over all frames of a clip. `source` is a folder, or a name
    to download.

    Raises: ValueError for a folder that holds no DINOv2 model, or not all of one.
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
        self.name = _DINO_WIDTHS.get(config.hidden_size, f"dinov2-{config.hidden_size}")
        self.device = torch.device(device)
        model, found = Dinov2Model.from_pretrained(
            source,
            local_files_only=is_local,
            use_safetensors=True,
            torch_dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        # transformers would make up what is missing; the mask is of the training alone.
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
        """The clip's descriptor (D,) on the CPU; frames (F, C, H, W) in 0..1 pass through the model
        a few at a time.
        """
        total = torch.zeros(self.model.config.hidden_size, dtype=torch.float64)
        for piece in frames.split(_FRAMES_AT_ONCE):
            hidden = self.model(pixel_values=dino_pixels(piece.to(self.device))).last_hidden_state
            total += hidden[:, 0].double().sum(dim=0).cpu()
        return (total / frames.shape[0]).float()


def load_descriptor(
    name: str,
    folders: Sequence[Path],
    device: torch.device | str = "cpu",
    may_download: bool = False,
) -> Descriptor:
    """The descriptor of this name. DINOv2 is looked for in each of `folders`, in a folder of its
    name.

    may_download: take missing weights from huggingface.co, into its usual cache.

    Raises: ValueError for an unknown name and for missing weights, which says what to put where.
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
            f"https://huggingface.co/{repo} into {_wanted_folder(name, folders)}, allow the "
            f"download, or choose {LIGHT!r}"
        )
    try:
        descriptor = DinoDescriptor(repo if found is None else found, device)
    except (OSError, ValueError, SafetensorError) as error:
        where = f"https://huggingface.co/{repo}" if found is None else str(found)
        raise ValueError(
            f"{name} could not be read from {where} ({error}); put "
            f"{' and '.join(reversed(_DINO_FILES))} of https://huggingface.co/{repo} into "
            f"{_wanted_folder(name, folders)}"
        ) from error
    if descriptor.name != name:
        raise ValueError(
            f"{found} holds {descriptor.name}, wanted {name}; rename the folder or replace its "
            "files"
        )
    return descriptor


def default_min_similarity(descriptor_name: str) -> float:
    """The cosine from which on two clips count as views of one place.

    Light: of pieces of 53 realistic clips 97 % of those from one clip lie above it, 1 % of those
    from two. DINOv2, our choice, not measured: CLS embeddings of unrelated pictures are mostly
    below 0.3, of one place mostly above 0.6.
    """
    return _LIGHT_MIN_SIMILARITY if descriptor_name == LIGHT else _DINO_MIN_SIMILARITY


def light_descriptor(frames: torch.Tensor) -> torch.Tensor:
    """Which colours a clip has, where, and which edges: (D,) float32 of length 1. Frames (F, 3, H,
    W) in 0..1, of any size; the mean of all."""
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
    histogram, layout, edges = (total / frames.shape[0] for total in totals)
    edges = edges.sqrt() - edges.sqrt().mean()
    weighted = [
        weight**0.5 * F.normalize(part, dim=0)
        for weight, part in zip(_PART_WEIGHTS, (histogram.sqrt(), layout, edges), strict=True)
    ]
    return F.normalize(torch.cat(weighted), dim=0).cpu()


def _opponents(pictures: torch.Tensor) -> torch.Tensor:
    """Brightness in 0..1, red against green and yellow against blue in -1..1, of (F, 3, H, W)."""
    red, green, blue = pictures.unbind(dim=1)
    return torch.stack(((red + green + blue) / 3, red - green, (red + green) / 2 - blue), dim=1)


def _colour_histogram(pictures: torch.Tensor) -> torch.Tensor:
    """Share (F, bins) of every colour; the bins are narrow near grey, where most colours lie."""
    brightness, *chroma = _opponents(pictures).flatten(2).unbind(dim=1)
    first, second = (_tents(value.sign() * value.abs().sqrt(), _CHROMA_BINS) for value in chroma)
    bright = _tents(2 * brightness - 1, _BRIGHTNESS_BINS)
    return torch.einsum("fnl,fni,fnj->flij", bright, first, second).flatten(1) / brightness.shape[1]


def _tents(values: torch.Tensor, num_bins: int) -> torch.Tensor:
    """Weights (..., num_bins) of the bins over -1..1 that a value falls between; they sum to 1."""
    centres = torch.linspace(-1, 1, num_bins, device=values.device)
    return (1 - (values[..., None] - centres).abs() * (num_bins - 1) / 2).clamp(min=0)


def _colour_layout(pictures: torch.Tensor) -> torch.Tensor:
    """Mean colour (F, 3 * cells) of every cell of a coarse grid, 0 for a middling grey."""
    cells = _opponents(F.adaptive_avg_pool2d(pictures, _CELLS))
    brightness, chroma = cells[:, :1] - _MEAN_BRIGHTNESS, 2 * cells[:, 1:]
    return torch.cat((brightness, chroma), dim=1).flatten(1)


def _edge_histogram(pictures: torch.Tensor) -> torch.Tensor:
    """How strong edges of every direction are in every cell (F, bins * cells)."""
    grey = pictures.mean(dim=1, keepdim=True)
    sobel = grey.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
    gradient = F.conv2d(grey, torch.stack((sobel, sobel.T))[:, None])  # (F, 2, H, W)
    angle = torch.atan2(gradient[:, 1:], gradient[:, :1]) % torch.pi
    directions = torch.arange(_EDGE_BINS, device=grey.device) * torch.pi / _EDGE_BINS
    apart = (angle - directions[:, None, None]).abs()
    share = (1 - torch.minimum(apart, torch.pi - apart) * _EDGE_BINS / torch.pi).clamp(min=0)
    return F.adaptive_avg_pool2d(share * gradient.norm(dim=1, keepdim=True), _CELLS).flatten(1)


def dino_pixels(frames: torch.Tensor) -> torch.Tensor:
    """Frames (F, 3, H, W) in 0..1 as DINOv2 takes them: shortest side 256, centre 224x224,
    ImageNet's statistics.
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

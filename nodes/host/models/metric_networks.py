"""The networks of metrics: found in ComfyUI's model folders, loaded once, moved by ComfyUI.

Nothing is downloaded: what is missing is named with its source, its size and its folder.
"""

import importlib.util
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import comfy.model_management
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher

from ....memv2v_core.evaluation.metrics.feature_consistency import CLIP, DINO, ClipF, DinoF
from ....memv2v_core.evaluation.metrics.lpips import ALEXNET, PACKAGE, Lpips
from ....memv2v_core.evaluation.metrics.metric import Batch, Metric
from ....memv2v_core.evaluation.metrics.weights_folder import PublicPart
from ....memv2v_core.evaluation.turn_scoring.measuring import Loader
from ....memv2v_core.evaluation.turn_scoring.report import NETWORKS, NetworkName
from .files import DESCRIPTOR_FOLDER, fingerprint

LPIPS_FOLDER = "lpips"
folder_paths.add_model_folder_path(LPIPS_FOLDER, str(Path(folder_paths.models_dir) / LPIPS_FOLDER))

Network = DinoF | ClipF | Lpips
# Each network's class, its files, and the model folder where an artist keeps their like.
_NETWORKS: dict[NetworkName, tuple[Callable[[Path], Network], PublicPart, str]] = {
    "DINO-F": (DinoF, DINO, DESCRIPTOR_FOLDER),
    "CLIP-F": (ClipF, CLIP, "clip_vision"),
    "LPIPS": (Lpips, ALEXNET, LPIPS_FOLDER),
}


class _OnDevice:
    """A metric whose network ComfyUI brings to its device, and takes away when others need room."""

    def __init__(self, metric: Network) -> None:
        self.metric = metric
        self.identity, self.columns = metric.identity, metric.columns
        self.subject, self.needs = metric.subject, metric.needs
        self.patcher = ModelPatcher(
            # ComfyUI writes a device on the module, which networks of transformers refuse.
            torch.nn.ModuleList([metric.network]),
            load_device=comfy.model_management.get_torch_device(),
            offload_device=comfy.model_management.unet_offload_device(),
        )

    def __call__(self, batch: Batch) -> torch.Tensor:
        """(B, len(columns)) float64; raises as the metric does."""
        # These networks know no weights that stay behind and are cast when they are used.
        comfy.model_management.load_models_gpu([self.patcher], force_full_load=True)
        self.metric.device = self.patcher.load_device
        return self.metric(batch)


def network_loaders() -> dict[NetworkName, Loader]:
    """What loads each network. It raises ValueError naming the files that are missing."""
    return {name: partial(_load, name) for name in NETWORKS}


def networks_fingerprint() -> str:
    """A text that changes when files or the package of a network come, go or change."""
    folders = [_folder_of(name) for name in NETWORKS]
    return " ".join(_status(*each) for each in zip(NETWORKS, folders, strict=True))


def _load(name: NetworkName) -> Metric:
    """The metric of this name.

    Raises: ValueError for missing or broken files, and for the missing package lpips.
    """
    if name == "LPIPS" and not _has_lpips():
        raise ValueError(
            f"the package lpips is not installed; run {sys.executable} -m pip install {PACKAGE}, "
            "and start ComfyUI again"
        )
    folder = _folder_of(name)
    return _loaded(name, folder, _status(name, folder))


# One of each kind. A changed file is read again.
@lru_cache(maxsize=len(_NETWORKS))
def _loaded(name: NetworkName, folder: Path, _status: str) -> Metric:
    make = _NETWORKS[name][0]
    # A node runs in inference mode; what it makes there cannot leave it.
    with torch.inference_mode(False):
        return _OnDevice(make(folder))


def _folder_of(name: NetworkName) -> Path:
    """The model folder that holds the network's own folder; the first one where none does."""
    _, part, kind = _NETWORKS[name]
    folders = [Path(path) for path in folder_paths.get_folder_paths(kind)]
    return next((path for path in folders if (path / part.name).is_dir()), folders[0])


def _status(name: NetworkName, folder: Path) -> str:
    part = _NETWORKS[name][1]
    paths = [folder / part.name / file for file in (*part.weight_files, *part.other_files)]
    package = f" {_has_lpips()}" if name == "LPIPS" else ""
    return f"{folder} {fingerprint(*paths)}{package}"


def _has_lpips() -> bool:
    return importlib.util.find_spec("lpips") is not None

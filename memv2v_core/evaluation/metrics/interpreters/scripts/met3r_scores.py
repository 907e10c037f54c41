"""MEt3R of pairs of pictures by its authors' package, in an environment that has it."""

import hashlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch


def start(settings: dict[str, Any]) -> tuple[Callable[..., dict[str, Any]], dict[str, Any]]:
    """What answers requests, and a hash of the code, which has no version that counts."""
    package, inside = import_module("met3r"), import_module("met3r.met3r")
    # The name of a repository on the Hub, or a folder: the package passes it on as it is.
    inside.backbone_to_weights["mast3r"] = settings["mast3r"]
    network = package.MEt3R(
        img_size=settings["size"],
        use_norm=True,
        backbone="mast3r",
        feature_backbone="dino16",
        feature_backbone_weights="mhamilton723/FeatUp",
        upsampler="featup",
        distance="cosine",
        freeze=True,
    ).to(settings["device"])

    def answer(request: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        scores, overlaps = [], []
        pairs = torch.from_numpy(arrays["pairs"])  # (N, 2, 3, S, S) in -1..1
        with torch.no_grad():
            for piece in pairs.split(request["at_once"]):
                score, mask = network(images=piece.to(settings["device"]), return_overlap_mask=True)
                scores += score.flatten().tolist()
                overlaps += mask.float().flatten(1).mean(1).tolist()
        return {"scores": scores, "overlaps": overlaps}

    code = Path(str(inside.__file__)).read_bytes()
    return answer, {"version": hashlib.sha256(code).hexdigest()}

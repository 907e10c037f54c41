"""Cameras of the frames of a video by the package depth-anything-3, in an environment with it."""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np


def start(settings: dict[str, Any]) -> tuple[Callable[..., dict[str, Any]], dict[str, Any]]:
    """What answers requests, and the version of the package."""
    model = import_module("depth_anything_3.api").DepthAnything3(model_name=settings["model"])
    # The package's own `from_pretrained` leaves missing weights at random numbers. Its networks
    # share tensors, which a file holds once: safetensors knows them.
    missing, _ = import_module("safetensors.torch").load_model(
        model, settings["weights"], strict=False
    )
    if missing:
        raise RuntimeError(
            f"{settings['weights']} lacks {len(missing)} tensors of {settings['model']}, such as "
            f"{min(missing)}"
        )
    model = model.to(settings["device"]).eval()

    def answer(request: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        found = model.inference(list(arrays["frames"]), process_res=request["size"])
        return {"w2c": np.asarray(found.extrinsics, np.float64)[:, :3].tolist()}

    return answer, {"version": version("depth-anything-3")}

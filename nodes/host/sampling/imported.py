"""A turn that other nodes made, taken into the memory."""

from comfy.model_patcher import ModelPatcher

from ....memv2v_core.cache.entry import MemoryEntry
from ....memv2v_core.cache.memory_cache import MemoryCache
from ....memv2v_core.cameras.trajectory import CameraTrajectory
from ....memv2v_core.sampling.entries import finished_entry
from ....memv2v_core.sampling.turn import Turn
from ....memv2v_core.shapes import num_latent_frames, padded_num_frames
from ..models.attachment import base_info
from .turns import one_video


def imported_entry(
    cache: MemoryCache,
    latent: dict,
    camera: CameraTrajectory | None,
    model: ModelPatcher | None,
    source: dict | None,
) -> MemoryEntry:
    """A turn that other nodes made, as an entry.

    Raises: ValueError when the model or the camera is missing, or when they do not fit the latent.
    """
    if model is None or camera is None:
        missing = "model" if model is None else "camera"
        raise ValueError(
            f"{missing} is not connected, wanted the {missing} of the latent to append; connect it"
        )
    info = base_info(model)
    made = one_video("latent", latent, info)
    original = None if source is None else one_video("source", source, info).detach().cpu()
    ratio = info.ratios.temporal
    wanted = num_latent_frames(padded_num_frames(camera.num_frames, ratio), ratio)
    # A camera per pixel frame is retrieved later: a wrong count would shift every view.
    if made.shape[1] != wanted:
        num_frames = (made.shape[1] - 1) * ratio + 1
        raise ValueError(
            f"camera got {camera.num_frames} frames, wanted {num_frames}: the latent has "
            f"{made.shape[1]} latent frames; set num_frames of the path to {num_frames}"
        )
    turn = Turn(info, original, target_path=camera)
    return finished_entry(turn, made, cache, seed=0, mode="imported")

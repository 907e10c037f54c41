"""The sizes of the videos that a step shows, in latents."""

from dataclasses import dataclass

from ...shapes import VaeRatios, num_latent_frames
from ..config.run import TrainConfig
from ..data.prepared_folder import INDEX, REMEDY, PreparedFolder


@dataclass(frozen=True)
class ClipSizes:
    """Latents of one row: their rows and columns, and the frames of each kind of video."""

    height: int
    width: int
    target_frames: int
    source_frames: int
    memory_frames: int


@dataclass(frozen=True)
class Clips:
    """What the steps of a run show.

    whole: whole clips. part: some frames of each; None where every step shows whole clips.
    part_share: share of the steps with parts, where progress is counted in steps.
    origin: where the sizes come from, in words.
    """

    whole: ClipSizes
    origin: str
    part: ClipSizes | None = None
    part_share: float = 0.0


def clips_of(config: TrainConfig, ratios: VaeRatios) -> Clips:
    """The clips of a run.

    ratios: of the base's VAE.

    Raises: ValueError where neither the prepared folder nor `prepare` gives a size.
    """
    if config.prepared is not None:
        return _prepared(config, ratios)
    if config.scenes is not None:
        scenes, side = config.scenes, config.scenes.size // ratios.spatial
        part = ClipSizes(
            side, side, scenes.target_frames, scenes.source_frames, scenes.memory_frames
        )
        num_frames = scenes.num_frames
    else:
        assert config.worlds is not None, "TrainConfig has checked it"
        worlds, side = config.worlds, config.worlds.size // ratios.spatial
        part = ClipSizes(
            side, side, worlds.target_frames, worlds.target_frames, worlds.memory_frames
        )
        num_frames = worlds.num_frames
    whole = ClipSizes(side, side, num_frames, num_frames, num_frames)
    optim = config.optim
    part_share = (1 - optim.whole_share) * min(1.0, optim.whole_from)
    return Clips(whole, "drawn as the recipe says", part if part_share > 0 else None, part_share)


def _prepared(config: TrainConfig, ratios: VaeRatios) -> Clips:
    assert config.prepared is not None
    path, prepare = config.prepared.folder, config.prepare
    if (path / INDEX).exists():
        folder = PreparedFolder.open(path)
        sizes = [video.latent_size for item in folder.items for video in item.videos]
        if not sizes:
            raise ValueError(f"{path} holds no video; {REMEDY} again")
        _, num_frames, height, width = sizes[0]
        origin = f"prepared folder {path}"
    elif prepare is not None:
        num_frames = num_latent_frames(prepare.num_frames, ratios.temporal)
        height, width = prepare.height // ratios.spatial, prepare.width // ratios.spatial
        origin = (
            f"{prepare.num_frames} frames of {prepare.height} x {prepare.width}, as `prepare` "
            f"says, for {path} is not there"
        )
    else:
        raise ValueError(
            f"prepared.folder got {path}, which is not there, and the recipe has no `prepare` that "
            f"gives a size; add it, or {REMEDY}"
        )
    num_frames = min(num_frames, config.prepared.num_frames or num_frames)
    return Clips(ClipSizes(height, width, num_frames, num_frames, num_frames), origin)

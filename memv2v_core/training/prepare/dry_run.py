"""What would be prepared, without loading a model or decoding a clip."""

import logging
from collections.abc import Sequence

from .config import PrepareConfig
from .encoders.registry import encoder_of
from .fitting import fit_cameras
from .readers.clips import read_header
from .readers.raw import RawItem, RawVideo
from .readers.registry import reader_of
from .run import require_sizes
from .selection import Shard, select_items, split_of

_LOG = logging.getLogger(__name__)
_NUM_ROWS = 3
_MOST_BROKEN = 20
_MOST_CHARS = 60


def describe(config: PrepareConfig, shard: Shard) -> int:
    """Log counts, the first items and those that are known to be broken; the number of good ones.

    Raises: ValueError for a configuration that fits no data.
    """
    reader = reader_of(config)
    items = shard.of(select_items(config, reader.items()))
    _LOG.info("%s, for %s", config.dataset.title, reader.task)
    _log_encoder(config)
    _LOG.info("%dx%d pixels, %d frames", config.width, config.height, config.num_frames)
    good, broken = _sorted_out(items)
    splits = [split_of(item.name, config.held_out_share) for item in good]
    _LOG.info(
        "%d items: %d to train, %d held out, %d broken",
        len(items),
        splits.count("train"),
        splits.count("held_out"),
        len(broken),
    )
    for item in good[:_NUM_ROWS]:
        _LOG.info("%s (%s)", item.name, split_of(item.name, config.held_out_share))
        for video in item.videos():
            _LOG.info("  %s", _row(config, video))
    for name, reason in broken[:_MOST_BROKEN]:
        _LOG.info("broken: %s: %s", name, reason)
    if len(broken) > _MOST_BROKEN:
        _LOG.info("and %d more", len(broken) - _MOST_BROKEN)
    return len(good)


def _log_encoder(config: PrepareConfig) -> None:
    try:
        encoder = encoder_of(config.encoder)
        require_sizes(config, encoder)
    except ValueError as error:
        # The data may be looked at before its models are downloaded.
        _LOG.info("encoder: not ready: %s", error)
        return
    ratios = encoder.ratios
    _LOG.info(
        "encoder: %s; latents of %d channels, 1/%d in time, 1/%d in space; text width %s",
        encoder.name,
        ratios.channels,
        ratios.temporal,
        ratios.spatial,
        encoder.text_width or "none",
    )


def _sorted_out(items: Sequence[RawItem]) -> tuple[list[RawItem], list[tuple[str, str]]]:
    """Items whose files are there, and names and faults of the others."""
    good, broken = [], []
    for item in items:
        try:
            item.videos()
        except ValueError as error:
            broken.append((item.name, str(error)))
        else:
            good.append(item)
    return good, broken


def _row(config: PrepareConfig, video: RawVideo) -> str:
    """Name, frames, size, cameras and caption of a video, or its fault."""
    aspect, words = config.width / config.height, [f"{video.role} {video.name}:"]
    try:
        if video.path is not None:
            header = read_header(video.path)
            words.append(f"{header.num_frames} frames of {header.width}x{header.height},")
            aspect = header.width / header.height
        if video.count_segments is not None:
            words.append(f"{video.count_segments()} segments,")
        words.append(_camera_words(config, video, aspect))
    except ValueError as error:
        return " ".join([*words, f"broken: {error}"])
    caption = video.caption
    shown = caption if len(caption) <= _MOST_CHARS else f"{caption[:_MOST_CHARS]}..."
    return " ".join([*words, repr(shown) if shown else "no caption"])


def _camera_words(config: PrepareConfig, video: RawVideo, aspect: float) -> str:
    if video.cameras is None:
        return "no cameras,"
    path = video.cameras(aspect)
    # With a ratio of 1 all cameras of the clip are checked.
    lens = fit_cameras(path, config.num_frames, 1, config.width / config.height).intrinsics[0]
    assumed = ", assumed to be at rest" if path.is_assumed else ""
    return f"{path.num_frames} cameras (fx {lens[0, 0]:.3f}, fy {lens[1, 1]:.3f}{assumed}),"

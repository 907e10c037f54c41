"""Preparing a data set: text first, then the clips, item by item.

A finished item has a record and is never made again. Items that fail are listed and tried again at
the next run.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ...shapes import num_latent_frames
from ..data.prepared_folder import PreparedHeader
from ..data.prepared_writing import PreparedWriter
from .config import PrepareConfig
from .encoders.protocol import Encoder
from .encoders.registry import encoder_of
from .item import ItemPreparer
from .readers.raw import RawItem, Reader
from .readers.registry import reader_of
from .report import BrokenItems, Progress, log_broken
from .selection import Shard, select_items
from .settings_file import require_same_settings

_LOG = logging.getLogger(__name__)
# Wan's and the built-in DiTs see patches of 2 x 2 latent pixels.
_PATCH = 2


@dataclass(frozen=True)
class Outcome:
    """What one run did.

    num_prepared: items of this run. broken: names and reasons of this run.
    num_items: in the folder now, of all runs.
    """

    num_prepared: int
    broken: dict[str, str]
    num_items: int


def prepare(config: PrepareConfig, shard: Shard) -> Outcome:
    """Prepare the items of one process.

    Raises: ValueError for a configuration that fits no data, no encoder or no old folder.
    """
    reader, encoder = reader_of(config), encoder_of(config.encoder)
    require_sizes(config, encoder)
    header = header_of(config, reader, encoder)
    items = shard.of(select_items(config, reader.items()))
    require_same_settings(config, header)
    writer, broken_items = PreparedWriter(config.output, header), BrokenItems(config.output)
    writer.remove_unfinished()
    todo = [item for item in items if not writer.is_finished(item.name)]
    _LOG.info("%d items, %d of them to be prepared", len(items), len(todo))
    # Step 1: all texts, so that the text encoder and the VAE are never in memory together.
    _prepare_text(todo, encoder, writer)
    # Step 2: the clips.
    if todo:
        encoder.load_vae()
    preparer, progress = ItemPreparer(config, encoder, writer), Progress("items", len(todo))
    broken: dict[str, str] = {}
    for item in todo:
        try:
            preparer.prepare(item)
        except ValueError as error:
            broken[item.name] = str(error)
            broken_items.add(item.name, str(error))
        else:
            broken_items.remove(item.name)
        progress.step(item.name in broken)
    # Step 3: what all processes have made so far.
    num_items = len(writer.write_index())
    broken_items.write_list()
    log_broken(broken)
    return Outcome(len(todo) - len(broken), broken, num_items)


def header_of(config: PrepareConfig, reader: Reader, encoder: Encoder) -> PreparedHeader:
    """What holds for every item of the folder."""
    return PreparedHeader(
        reader.task, config.dataset.title, encoder.name, encoder.ratios, encoder.text_width
    )


def require_sizes(config: PrepareConfig, encoder: Encoder) -> None:
    """Raise ValueError for a size that the VAE and the DiT's patches do not divide."""
    grid = encoder.ratios.spatial * _PATCH
    for name in ("height", "width"):
        value = getattr(config, name)
        if value % grid:
            raise ValueError(
                f"{name} got {value}, wanted a multiple of {grid} for {encoder.name}, such as "
                f"{max(1, round(value / grid)) * grid}"
            )
    num_latent_frames(config.num_frames, encoder.ratios.temporal)


def captions_of(items: Sequence[RawItem]) -> tuple[str, ...]:
    """Every caption of the items once, the empty one first; broken items have none."""
    found = {"": None}
    for item in items:
        try:
            found |= {video.caption: None for video in item.videos()}
        except ValueError:
            # Its fault is reported when it is prepared.
            continue
    return tuple(found)


def _prepare_text(items: Sequence[RawItem], encoder: Encoder, writer: PreparedWriter) -> None:
    if encoder.text_width is None:
        return
    todo = [caption for caption in captions_of(items) if not writer.has_text(caption)]
    progress = Progress("captions", len(todo))
    for caption in todo:
        (tokens,) = encoder.encode_text([caption])
        writer.write_text(caption, tokens)
        progress.step()
    encoder.free_text()

"""The reader of each kind of data set."""

from ..config import (
    FolderOptions,
    MultiCamVideoOptions,
    PrepareConfig,
    ProceduralOptions,
    SenoritaOptions,
)
from .folder import FolderReader
from .multicam_video import MultiCamVideoReader
from .procedural import ProceduralReader
from .raw import ClipSize, Reader
from .senorita import SenoritaReader


def reader_of(config: PrepareConfig) -> Reader:
    """The reader of the data that `config` names.

    Raises: ValueError for options that do not fit the clips' size.
    """
    dataset = config.dataset
    clip = ClipSize(config.num_frames, config.height, config.width)
    if dataset.kind == "procedural":
        return ProceduralReader(dataset.procedural or ProceduralOptions(), clip, config.seed)
    assert dataset.root is not None, "checked by DatasetConfig"
    if dataset.kind == "multicam_video":
        options = dataset.multicam_video or MultiCamVideoOptions()
        return MultiCamVideoReader(dataset.root, options, clip)
    if dataset.kind == "senorita":
        return SenoritaReader(dataset.root, dataset.senorita or SenoritaOptions(), clip)
    return FolderReader(dataset.root, dataset.folder or FolderOptions(), clip)

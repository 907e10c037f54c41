"""ComfyUI as the program around the edit of a long video."""

from dataclasses import dataclass
from functools import cached_property

import comfy.model_management
import torch
from comfy_api.latest import Input, io

from ....memv2v_core.bases.base_info import BaseInfo
from ....memv2v_core.cache.entry import MemoryEntry, Segment
from ....memv2v_core.cache.memory_cache import MemoryCache
from ....memv2v_core.clips.fitting import restore_frames
from ....memv2v_core.long_edit.host import SegmentSource
from ....memv2v_core.long_edit.recipe import hash_settings
from ....memv2v_core.long_edit.settings import MemorySettings
from ....memv2v_core.resuming.outcomes import Outcome
from ....memv2v_core.retrieval.descriptors import Descriptor, load_descriptor
from ....memv2v_core.sampling.turn import Turn
from ....memv2v_core.shapes import num_latent_frames, padded_num_frames
from ....memv2v_core.vocabulary import EditMode
from ..clips.segments import SplitVideo, read_segment
from ..clips.stitching import EarlyVideo
from ..footage.reading import Reader
from ..live.run import LiveRun
from ..models.downloads import how_to_allow, machine_allows_download
from ..models.files import descriptor_folders
from ..sampling.comfy_run import ComfyRun
from ..sampling.fifo import sample_fifo_video
from ..sampling.fingerprints import models_parts, vae_parts
from ..sampling.turns import negative_or_unread, required_prompts, source_latent
from ..sessions.clip_names import session_for
from ..sessions.saving import open_cache
from ..shown import teller


def comfy_descriptor(name: str, asks_download: bool) -> Descriptor:
    """The extractor that compares sources, on ComfyUI's device.

    asks_download: whether the node asks for a download of missing weights; this machine must allow
    it too.

    Raises: ValueError naming the files that are missing, and how to get them.
    """
    device = comfy.model_management.get_torch_device()
    # The settings are read only where a node asks.
    may_download = asks_download and machine_allows_download()
    return load_descriptor(name, descriptor_folders(), device, may_download, how_to_allow())


def checked_negative(
    info: BaseInfo, positive: list | None, negative: list | None, cfg: float
) -> list | None:
    """The negative prompt of an edit whose prompts the model can read.

    Raises: ValueError for a prompt that the model needs and lacks, and for one that it cannot read.
    """
    if positive is not None and info.text_width is not None:
        raise ValueError(
            f"positive got a prompt, but {info.model_name} reads none; choose a model that edits "
            "by words, such as 'built-in: text_edit' in Load Memory-V2V Model"
        )
    negative = negative_or_unread(positive, negative, cfg)
    required_prompts(positive, negative, info)
    return negative


def open_session(
    session: str,
    hidden: io.HiddenHolder | None,
    video: Input.Video | None,
    images: torch.Tensor | None,
    split: SplitVideo,
) -> tuple[MemoryCache, tuple[str, ...]]:
    """The session of an edit, the one of the clip where the user named none, with notes about it.

    hidden: see `first_use_notes`.

    Raises: ValueError for a name that cannot be a folder name.
    """
    ratios, (height, width) = split.info.ratios, split.fitting(1).size
    shape = ratios.channels, height // ratios.spatial, width // ratios.spatial
    name, named = session_for(session, video, images, split.info.model_name, shape)
    teller(hidden)(named)
    cache, notes = open_cache(name, hidden)
    return cache, (*named, *_wordless_note(split.info), *notes)


def _wordless_note(info: BaseInfo) -> tuple[str, ...]:
    """A line where the model cannot be told what to edit."""
    if info.text_width is None:
        return ()
    return (
        f"{info.model_name} reads no prompt: it shows the clip as it is; to edit it by words, "
        "choose 'built-in: text_edit' in Load Memory-V2V Model",
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class ComfyHost(ComfyRun):
    """The `Host` behind Edit Long Video.

    asks_download: whether the node asks for a download of missing DINOv2 weights.
    window: pixel frames that the FIFO mode sees at once; 0 takes the model's own window.
    live: tells the page. result: the video, written while segments end.
    """

    split: SplitVideo
    mode: EditMode
    memory: MemorySettings
    asks_download: bool
    live: LiveRun
    result: EarlyVideo
    window: int = 0

    def settings_hash(self) -> str:
        """Hash of everything that decides all segments in the same way."""
        return hash_settings(
            models_parts(self.model, self.low_noise_model),
            vae_parts(self.vae),
            self.read_prompts,
            self.sampler,
            self.mode,
            self.memory.parts(self.split.info),
            self._fifo_window,
        )

    def read(self, segment: Segment) -> SegmentSource:
        """The segment's source frames, fitted to the model."""
        return read_segment(self.split, self._read, segment)

    def descriptor(self) -> Descriptor:
        """The extractor that compares sources."""
        return comfy_descriptor(self.memory.descriptor, self.asks_download)

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """The latent (C, T, H, W) of frames (F, 3, H, W).

        Raises: ValueError for a VAE that does not make video latents of this model.
        """
        samples = self.vae.encode(frames.movedim(1, -1).contiguous())
        return source_latent({"samples": samples}, self.split.info)

    def started(self, segment: Segment, sees: tuple[int, ...]) -> None:
        """Tell the page which segment is sampled now, and what it sees."""
        self.live.started(segment.idx + 1, sees)

    def finished(self, entry: MemoryEntry, outcome: Outcome) -> None:
        """Decode the segment once, for the page and for the result."""
        frames, segment = self.result.add(entry), entry.segment
        assert segment is not None, "every entry of an edit is a segment's"
        if frames is not None:
            frames = frames[: segment.num_frames]
            # Without the bars that fitted the clip to the model.
            frames = restore_frames(frames, self.split.fitting(len(frames)), True, False)
        shown = 0 if segment.idx == 0 else self.split.plan.segments[segment.idx - 1].stop
        self.live.finished(
            segment.idx + 1,
            outcome,
            frames=frames,
            frame_rate=self.split.clip.times.rate,
            latent=entry.latent if frames is None else None,
            num_shown_before=max(shown - segment.start, 0),
        )

    def sample(
        self, turn: Turn, seed: int, _segment: Segment, shows_progress: bool
    ) -> torch.Tensor:
        """The finished latent (C, T, H, W) of a turn."""
        if self.mode == "fifo":
            return self._sampled_by_fifo(turn, seed)
        return self.sampled(turn, seed, shows_progress, self.live.callback)

    def _sampled_by_fifo(self, turn: Turn, seed: int) -> torch.Tensor:
        settings = self.sampler
        assert turn.source is not None, "the loop encodes every segment"
        return sample_fifo_video(
            self.model,
            *required_prompts(self.positive, self.negative, turn.base),
            turn.source,
            window=self._fifo_window,
            steps=settings.steps,
            cfg=settings.cfg,
            seed=seed,
            scheduler=settings.scheduler,
            callback=self.live.callback,
        )

    @property
    def _fifo_window(self) -> int:
        ratio = self.split.info.ratios.temporal
        window = self.window or padded_num_frames(self.split.info.num_frames, ratio)
        return num_latent_frames(window, ratio)

    @cached_property
    def _read(self) -> Reader:
        return self.split.clip.reader()

"""Long clips as a built-in editor edits them: a clip of a suite is one edited video.

All methods edit the same held-out clips and start each segment from the same noise.
"""

from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

import torch

from ...builtin.bundle import Bundle, load_bundle, read_info
from ...clips.clip_files import write_clip
from ...long_edit.settings import MemorySettings
from ..long_video.arms import ClipHost, FifoHost, edit_clip
from ..long_video.clips import FAMILIES, NUM_SEGMENTS, LongClip, long_clip
from ..metrics.segment_looks import SegmentedScene
from ..suites.methods import EditedConfig, MethodConfig
from ..suites.suite import Suite
from .recipes import FRAME_RATE, LOSSLESS, long_clip_name, models_of, now_s, write_seconds


class EditMaker:
    """Edits the long clips of a suite."""

    def __init__(self, suite: Suite, device: torch.device) -> None:
        self.suite = suite
        self.bundle = cache(lambda name: load_bundle(name, device))

    def check(self) -> None:
        if self.suite.seeds != (0,):
            raise ValueError(
                f"seeds got {list(self.suite.seeds)}, wanted [0]: a long clip has one noise a "
                "segment; leave seeds out"
            )
        for method in self.suite.methods:
            if method.edited is None:
                continue
            base = self.bundle(method.edited.builtin).base_info()
            if method.edited.arm == "fifo" and base.has_source_tokens:
                raise ValueError(
                    f"{method.name} got arm fifo for {method.edited.builtin}, whose source takes "
                    "tokens; wanted a model that takes it on the channel axis, such as text_edit"
                )

    def make(self, method: MethodConfig, clip: str, seed: int, files: list[Path]) -> None:
        config = method.edited
        assert config is not None, "a suite with families edits with all its methods"
        assert seed == 0, "`check` lets no other seed pass"
        bundle = self.bundle(config.builtin)
        known = known_clip(config.builtin, clip)
        start = now_s(bundle.device)
        latent = _edited(bundle, config, known)
        seconds = now_s(bundle.device) - start
        write_clip(files[0], bundle.codec.decode_frames(latent), FRAME_RATE, LOSSLESS)
        write_seconds(files[0], self.suite, method, [seconds], bundle.device)


def scene_of(suite: Suite, clip: str) -> SegmentedScene:
    """What is known about a clip of a suite with families.

    Raises: ValueError for methods whose models have windows or sizes of their own.
    """
    models = models_of(suite)
    shapes = {(info.num_frames, info.size) for info in map(read_info, models)}
    if len(shapes) > 1:
        raise ValueError(
            f"methods got the models {models} of different windows or sizes, wanted one shape; "
            "score them in suites of their own"
        )
    known = known_clip(models[0], clip)
    length = known.num_frames // NUM_SEGMENTS
    segments = tuple((i * length, (i + 1) * length) for i in range(NUM_SEGMENTS))
    return SegmentedScene(known.scene, segments, known.world_of_segment, known.has_open_shape)


# Making and measuring ask for one clip after the other, each a few times in a row.
@lru_cache(maxsize=2)
def known_clip(builtin: str, clip: str) -> LongClip:
    """The held-out clip of this name, at the size and window of a built-in model."""
    family = next(each for each in FAMILIES if clip == long_clip_name(each, int(clip[-3:])))
    return long_clip(family, int(clip[-3:]), read_info(builtin))


def _edited(bundle: Bundle, config: EditedConfig, clip: LongClip) -> torch.Tensor:
    """The edited clip (C, N, H, W)."""
    kind = FifoHost if config.arm == "fifo" else ClipHost
    host = kind(bundle, clip, num_steps=config.steps)
    if config.order is not None:
        host.base = replace(host.base, memory_order=config.order)
    memory = MemorySettings(
        unresponsive=config.unresponsive,
        memory_frames=config.memory_frames,
        k=config.k,
        recent_first=config.recent_first,
        shot_aware=config.shot_aware,
    )
    finished = edit_clip(host, config.arm, memory)
    return torch.cat([entry.latent for entry in finished.entries], dim=1)

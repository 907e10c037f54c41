"""Memories for a segment of a long video: the edits of those earlier segments whose sources look
like its own.
"""

from dataclasses import dataclass, replace

import comfy.model_management
from comfy_api.latest import io

from ..memv2v_core.cache.entry import Segment
from ..memv2v_core.cache.memory_cache import MemoryCache
from ..memv2v_core.pictures.segments import draw_segments
from ..memv2v_core.clips.segments import segment_text
from ..memv2v_core.retrieval.descriptors import DESCRIPTOR_NAMES, LIGHT, Descriptor, load_descriptor
from ..memv2v_core.retrieval.segments import SegmentRetrievalConfig, retrieve_by_similarity
from ..memv2v_core.retrieval.selection import Retrieval
from .clips import SegmentQuery, SegmentSource, SplitVideo, read_segment
from .io_types import CATEGORY, Cache, Segments, SegmentSocket
from .io_types import Retrieval as RetrievalSocket
from .model_files import descriptor_folders
from .pictures import PictureAndText

RETRIEVAL_INPUTS = [
    io.Int.Input(
        "k",
        default=4,
        min=0,
        max=64,
        tooltip="How many memories to use, pinned ones first, then the segment just before; 0 for "
        "none.",
    ),
    io.Combo.Input(
        "descriptor",
        options=list(DESCRIPTOR_NAMES),
        default=LIGHT,
        tooltip="What sources are compared by. dinov2-base is the paper's, from "
        f"models/dinov2/dinov2-base. '{LIGHT}' needs no download and knows colours and "
        "edges, but no objects.",
    ),
    io.Boolean.Input(
        "recent_first",
        default=True,
        tooltip="The segment just before ranks first, whatever it shows, as in the paper. Its "
        "tokens are the finest anyway.",
    ),
    io.Boolean.Input(
        "shot_aware",
        default=True,
        tooltip="Segments of another shot count only where their sources are alike, so that an "
        "edit does not leak over a cut, and a shot that comes back finds itself. Off: the "
        "paper's ranking.",
    ),
    io.Float.Input(
        "min_similarity",
        default=0.0,
        min=0.0,
        max=1.0,
        step=0.01,
        tooltip="With shot_aware: how alike the sources must be, 0 to 1. 0 is the descriptor's own "
        "value.",
    ),
    io.Boolean.Input(
        "allow_download",
        default=False,
        tooltip="Fetch missing DINOv2 weights from huggingface.co (350 MB for dinov2-base).",
    ),
]


class DinoSegmentRetrieve(io.ComfyNode):
    """Memories that show what this segment shows."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DinoSegmentRetrieve",
            display_name="DINO Segment Retrieve",
            category=CATEGORY,
            description="Takes one segment of a long video and ranks the earlier ones by how alike "
            "their sources are (the paper's Alg. 2), the one just before it first. The "
            "first segment has no memory.",
            inputs=[
                Segments.Input("segments", tooltip="From Split Segments."),
                io.Int.Input(
                    "index", default=1, min=1, max=100_000, tooltip="Which segment, counted from 1."
                ),
                Cache.Input(
                    "cache",
                    tooltip="The segments edited so far, from the sampler of the segment before.",
                ),
                *RETRIEVAL_INPUTS,
            ],
            outputs=[
                RetrievalSocket.Output(display_name="retrieval", tooltip="For Dynamic Tokenize."),
                io.Image.Output(
                    display_name="frames",
                    tooltip="The segment at the model's size, for VAE Encode; its last frame is "
                    "held until the VAE takes the count.",
                ),
                SegmentSocket.Output(
                    display_name="segment", tooltip="For the sampler, which keeps it."
                ),
                io.Image.Output(
                    display_name="why",
                    tooltip="The segment, and every earlier one with its similarity.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        segments: SplitVideo,
        index: int,
        cache: MemoryCache,
        k: int,
        descriptor: str,
        recent_first: bool,
        shot_aware: bool,
        min_similarity: float,
        allow_download: bool,
    ) -> io.NodeOutput:
        chosen = segment_at(segments, index)
        settings = RetrievalSettings(
            k, descriptor, recent_first, shot_aware, min_similarity, allow_download
        )
        source = read_segment(segments, segments.clip.reader(), chosen)
        query = settings.describe(source, settings.load())
        retrieval = settings.retrieve(cache, query, segments)
        frames = source.frames.movedim(1, -1).contiguous()
        picture = draw_segments(retrieval, chosen, frames[len(frames) // 2])[None]
        text = segment_ranking_text(chosen, retrieval)
        return io.NodeOutput(
            retrieval, frames, query, picture, ui=PictureAndText(picture, text, cls)
        )


@dataclass(frozen=True)
class RetrievalSettings:
    """How memories are chosen for a segment. min_similarity: 0 for the descriptor's own."""

    k: int
    descriptor: str
    recent_first: bool
    shot_aware: bool
    min_similarity: float
    may_download: bool

    @property
    def choices(self) -> tuple[object, ...]:
        """All that decides which memories are chosen."""
        return self.k, self.descriptor, self.recent_first, self.shot_aware, self.min_similarity

    def load(self) -> Descriptor:
        """The extractor of descriptors.

        Raises: ValueError naming the files to download where they are missing.
        """
        device = comfy.model_management.get_torch_device()
        return load_descriptor(self.descriptor, descriptor_folders(), device, self.may_download)

    def describe(self, source: SegmentSource, descriptor: Descriptor) -> SegmentQuery:
        """The segment and what its true frames look like."""
        return SegmentQuery(source.segment, descriptor(source.true_frames), descriptor.name)

    def retrieve(self, cache: MemoryCache, query: SegmentQuery, split: SplitVideo) -> Retrieval:
        """The memories for the segment. A base whose source has tokens has no range of its own for
        the one before.
        """
        config = SegmentRetrievalConfig(
            self.recent_first, self.shot_aware, self.min_similarity or None
        )
        found = retrieve_by_similarity(
            cache, query.descriptor, query.descriptor_name, query.segment, self.k, config
        )
        if not split.info.has_source_tokens:
            return found
        ranked, rejected = (
            tuple(replace(candidate, is_previous=False) for candidate in part)
            for part in (found.ranked, found.rejected)
        )
        return Retrieval(found.query, ranked, rejected)


def segment_at(split: SplitVideo, index: int) -> Segment:
    """The segment of this number, from 1.

    Raises: ValueError when there are not so many.
    """
    segments = split.plan.segments
    if index > len(segments):
        raise ValueError(
            f"index got {index}, wanted 1 to {len(segments)}, the segments of this video; lower it"
        )
    return segments[index - 1]


def segment_ranking_text(segment: Segment, retrieval: Retrieval) -> str:
    """The segment, and one line a memory, best first."""
    lines = [segment_text(segment)]
    for rank, found in enumerate((*retrieval.ranked, *retrieval.rejected)):
        verdict = f"rank {rank + 1}" if rank < len(retrieval.ranked) else "not chosen"
        previous = ", the segment before" if found.is_previous else ""
        lines.append(
            f"{verdict}: segment {found.entry.segment.idx + 1}  {found.entry.entry_id[:8]}  "
            f"similarity {found.score:.3f}{previous}"
        )
    return (
        "\n".join(lines)
        if len(lines) > 1
        else f"{lines[0]}\nno earlier segment: edited without memory"
    )


NODES = [DinoSegmentRetrieve]

"""Nodes that choose memories."""

from comfy.sd import VAE
from comfy_api.latest import io, ui

from ..memv2v_core.cache.memory_cache import MemoryCache
from ..memv2v_core.cameras.trajectory import CameraTrajectory
from ..memv2v_core.long_edit.settings import MemorySettings
from ..memv2v_core.pictures.retrievals import draw_retrieval, drawn_candidates
from ..memv2v_core.pictures.segments import draw_segments
from ..memv2v_core.retrieval.segments import SegmentQuery, describe_ranking
from ..memv2v_core.retrieval.selection import Retrieval, retrieve_by_fov, retrieve_recent
from ..memv2v_core.retrieval.video_fov import VideoFovConfig, radius_remark
from .host.clips.decoding import last_frame
from .host.clips.segments import SplitVideo, read_segment
from .host.long_edit.host import comfy_descriptor
from .host.menu import in_menu
from .host.shared_inputs import K_INPUT, SEGMENT_RETRIEVAL_INPUTS
from .host.shown import PictureAndText
from .io_types import (
    CacheSocket,
    CameraSocket,
    RetrievalSocket,
    SegmentSocket,
    SegmentsSocket,
)


class VideoFOVRetrieve(io.ComfyNode):
    """Memories that saw the view of the new path."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VideoFOVRetrieve",
            display_name="VideoFOV Retrieve",
            **in_menu("VideoFOVRetrieve"),
            description="Ranks the turns in the cache by how much of the new path's field of view "
            "they saw (the paper's Alg. 1), and shows why. An empty cache gives an empty "
            "retrieval: a first turn has no memory.",
            inputs=[
                CacheSocket.Input("cache", tooltip="The finished turns. May be empty."),
                CameraSocket.Input("camera", tooltip="The target camera of the next turn."),
                K_INPUT,
                io.Float.Input(
                    "balance",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    advanced=True,
                    tooltip="The paper's lambda: 1 counts the overlap only, 0 counts only how much "
                    "of the new view is covered.",
                ),
                io.Float.Input(
                    "radius",
                    default=1.0,
                    min=0.001,
                    max=1000.0,
                    step=0.001,
                    advanced=True,
                    tooltip="About the distance of what you film, in pose units: the radius of the "
                    "sphere of points. 4 fits novel_view_depth. It does not matter while cameras "
                    "only rotate.",
                ),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="Shows a picture of each memory, decoded from its last latent frame. "
                    "The choice does not need it.",
                ),
            ],
            outputs=[
                RetrievalSocket.Output(
                    display_name="retrieval",
                    tooltip="The chosen memories, best first, and the others.",
                ),
                io.Image.Output(
                    display_name="why",
                    tooltip="The sphere of directions. Yellow outline: what the new path will see. "
                    "Colours: what each memory saw. Below: every memory with its picture and "
                    "score.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        cache: MemoryCache,
        camera: CameraTrajectory,
        k: int,
        balance: float,
        radius: float,
        vae: VAE | None = None,
    ) -> io.NodeOutput:
        config = VideoFovConfig(radius=radius, balance=balance)
        retrieval = retrieve_by_fov(cache, camera, k, config)
        # Pictures are for the eye; the choice needs no VAE. Only rows that are drawn are decoded.
        drawn = [found.entry for found in drawn_candidates(retrieval)] if vae is not None else []
        thumbnails = {
            entry.entry_id: last_frame(vae, entry.latent)
            for entry in drawn
            if entry.problem() is None
        }
        picture = draw_retrieval(retrieval, config, thumbnails)[None]
        notes = (*_assumed_cameras(retrieval), *_left_radius(retrieval, camera, radius))
        text = "\n".join((retrieval.describe(), *notes))
        return io.NodeOutput(retrieval, picture, ui=PictureAndText(picture, text, cls))


def _assumed_cameras(retrieval: Retrieval) -> tuple[str, ...]:
    """A line about turns whose camera is not known."""
    candidates = (*retrieval.ranked, *retrieval.rejected)
    count = sum(found.entry.camera.is_assumed for found in candidates)
    if count == 0:
        return ()
    return (
        f"{count} of {len(candidates)} turns have no camera path and count as static, as those of "
        "a model without camera weights (Wan, Bernini-R, LucyEdit); for such a model use Recent "
        "Retrieve",
    )


def _left_radius(retrieval: Retrieval, camera: CameraTrajectory, radius: float) -> tuple[str, ...]:
    """A line about a radius that is still the default where cameras move."""
    candidates = (*retrieval.ranked, *retrieval.rejected)
    remark = radius_remark([camera, *(found.entry.camera for found in candidates)], radius)
    return (remark,) if remark else ()


class RecentRetrieve(io.ComfyNode):
    """The newest turns, for models without cameras."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MemV2VRecentRetrieve",
            display_name="Recent Retrieve",
            **in_menu("MemV2VRecentRetrieve"),
            description="Takes the newest turns of the cache as memories, newest first, for models "
            "without camera weights. Pinned turns are always taken. An empty cache gives an empty "
            "retrieval.",
            inputs=[
                CacheSocket.Input("cache", tooltip="The finished turns. May be empty."),
                K_INPUT,
            ],
            outputs=[
                RetrievalSocket.Output(
                    display_name="retrieval", tooltip="The chosen memories, newest first."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, cache: MemoryCache, k: int) -> io.NodeOutput:
        retrieval = retrieve_recent(cache, k)
        return io.NodeOutput(retrieval, ui=ui.PreviewText(retrieval.describe()))


class DinoSegmentRetrieve(io.ComfyNode):
    """Memories with the same content as this segment."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DinoSegmentRetrieve",
            display_name="DINO Segment Retrieve",
            **in_menu("DinoSegmentRetrieve"),
            description="Takes one segment of a long video and ranks the earlier segments by how "
            "alike their sources are (the paper's Alg. 2). The previous segment comes first. The "
            "first segment has no memory.",
            inputs=[
                SegmentsSocket.Input("segments", tooltip="From Split Segments."),
                io.Int.Input(
                    "index", default=1, min=1, max=100_000, tooltip="Which segment, from 1."
                ),
                CacheSocket.Input(
                    "cache",
                    tooltip="The segments edited so far, from the sampler of the previous segment.",
                ),
                *SEGMENT_RETRIEVAL_INPUTS,
            ],
            outputs=[
                RetrievalSocket.Output(display_name="retrieval", tooltip="For Dynamic Tokenize."),
                io.Image.Output(
                    display_name="frames",
                    tooltip="The segment at the model's size, for VAE Encode. The last frame is "
                    "repeated until the VAE takes the count.",
                ),
                SegmentSocket.Output(
                    display_name="segment", tooltip="For the sampler, which stores it."
                ),
                io.Image.Output(
                    display_name="why",
                    tooltip="The segment, and every earlier segment with its similarity.",
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
        chosen = segments.segment(index)
        settings = MemorySettings(
            k=k,
            descriptor=descriptor,
            recent_first=recent_first,
            shot_aware=shot_aware,
            min_similarity=min_similarity,
        )
        # Only this segment is decoded; its descriptor ignores the held frames.
        source = read_segment(segments, segments.clip.reader(), chosen)
        describe = comfy_descriptor(descriptor, allow_download)
        query = SegmentQuery(chosen, describe(source.true_frames), describe.name)
        retrieval = settings.retrieve(cache, query, segments.info)
        frames = source.frames.movedim(1, -1).contiguous()
        picture = draw_segments(retrieval, chosen, frames[len(frames) // 2])[None]
        shown = PictureAndText(picture, describe_ranking(chosen, retrieval), cls)
        return io.NodeOutput(retrieval, frames, query, picture, ui=shown)


NODES = [VideoFOVRetrieve, RecentRetrieve, DinoSegmentRetrieve]

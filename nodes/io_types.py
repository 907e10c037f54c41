"""Socket types of this pack, what travels on each, and inputs that several nodes share."""

from comfy_api.latest import io

Camera = io.Custom("MEMV2V_CAMERA")  # memv2v_core.cameras.trajectory.CameraTrajectory
Cache = io.Custom("MEMV2V_CACHE")  # memv2v_core.cache.memory_cache.MemoryCache
Retrieval = io.Custom("MEMV2V_RETRIEVAL")  # memv2v_core.retrieval.selection.Retrieval
Plan = io.Custom("MEMV2V_PLAN")  # memv2v_core.tokens.budget.TokenPlan
Adapter = io.Custom(
    "MEMV2V_ADAPTER"
)  # an adapter file's weights, for a MODEL from any other loader
Fitting = io.Custom("MEMV2V_FITTING")  # nodes.video.FittedClip
Segments = io.Custom("MEMV2V_SEGMENTS")  # nodes.clips.SplitVideo
SegmentSocket = io.Custom("MEMV2V_SEGMENT")  # nodes.clips.SegmentQuery

CATEGORY = "Memory-V2V"


def rate_and_sound_of(frames: str) -> list[io.Input]:
    """What a clip must be told beside the input `frames`, which a video would bring."""
    return [
        io.Float.Input(
            "frame_rate",
            default=16.0,
            min=0.1,
            max=1000.0,
            step=0.001,
            optional=True,
            tooltip=f"Frames a second of `{frames}`. A video brings its own.",
        ),
        io.Audio.Input(
            "audio", optional=True, tooltip=f"Sound of `{frames}`. A video brings its own."
        ),
    ]

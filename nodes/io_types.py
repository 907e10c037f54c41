"""Socket types of this pack. The comment above each names the type of its values."""

from comfy_api.latest import io

CATEGORY = "Memory-V2V"

# memv2v_core.cameras.trajectory.CameraTrajectory
CameraSocket = io.Custom("MEMV2V_CAMERA")

# memv2v_core.cache.memory_cache.MemoryCache
CacheSocket = io.Custom("MEMV2V_CACHE")

# Of a STRING that names a session: web/bank/ shows it as a list of the sessions on disk, in which a
# new name can be typed. Without that page it is a plain text field.
SESSION_LIST = {"widgetType": "MEMV2V_SESSION"}

# memv2v_core.retrieval.selection.Retrieval
RetrievalSocket = io.Custom("MEMV2V_RETRIEVAL")

# memv2v_core.tokens.budget.TokenPlan
PlanSocket = io.Custom("MEMV2V_PLAN")

# host.models.attachment.LoadedAdapter, the weights of an adapter file, for a MODEL of any loader
AdapterSocket = io.Custom("MEMV2V_ADAPTER")

# host.clips.fitted.FittedClip
FittingSocket = io.Custom("MEMV2V_FITTING")

# host.clips.segments.SplitVideo
SegmentsSocket = io.Custom("MEMV2V_SEGMENTS")

# memv2v_core.retrieval.segments.SegmentQuery
SegmentSocket = io.Custom("MEMV2V_SEGMENT")

# A dict of tensors; ComfyUI's nodes_depth_anything_3.py lists its keys.
GeometrySocket = io.Custom("DA3_GEOMETRY")

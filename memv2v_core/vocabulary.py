"""Words that several rooms choose among: each list of choices stands here once."""

from typing import Literal

# What a video is to the model. "previous": of a long video the segment before the target.
Role = Literal["target", "source", "previous", "memory"]

# How the model that made a turn knows memory. "imported": made by other nodes, so unknown.
TurnMode = Literal["trained", "training-free", "imported"]

# What the segments of a long video see: earlier edits, nothing, or each other at rising noise.
EditMode = Literal["memory", "independent", "fifo"]

# What a built-in model does.
Task = Literal["novel_view", "text_edit"]

# The timestep that clean tokens are told.
CleanTimestep = Literal["zero", "target"]

# Whose camera the tokens of a clean video are told: its own (Eq. 17) or the target's (Eq. 16).
CameraConditioning = Literal["per_video", "target"]

# The same as a choice of the user; "as_trained" leaves it to the base's weights.
CameraChoice = Literal["as_trained", "per_video", "target"]

# Where a base takes its source: as tokens of the sequence, or on the target's channel axis.
SourcePlacement = Literal["sequence", "channels"]

# Temporal indices of memories: a range of their own (App. D.1), or the source's.
MemoryRange = Literal["own", "source"]

# Temporal order of a memory's frames, as the weights were trained (Fig. 16).
MemoryOrder = Literal["forward", "reversed"]

# Frames that may be merged: source and memories together, or memories alone.
Pool = Literal["conditioning", "memory"]

# What happens to frames that the target hardly attends to (Fig. 8).
Unresponsive = Literal["merge", "discard", "keep"]

# The same as a choice of the user; "automatic" merges where the model's memory is trained.
UnresponsiveChoice = Literal["automatic", "merge", "discard", "keep"]

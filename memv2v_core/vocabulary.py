"""Words that several rooms choose among. Each list of choices stands here once."""

from typing import Literal

# The role of a video in one turn. "reference" is a clean video that the user gave beside the
# source, "previous" the segment before the target in a long video.
Role = Literal["target", "source", "reference", "previous", "memory"]

# How the model that made a turn knows memory. "imported": other nodes made it, so it is unknown.
TurnMode = Literal["trained", "training-free", "imported"]

# What the segments of a long video see: earlier edits, nothing, or each other at rising noise.
EditMode = Literal["memory", "independent", "fifo"]

# What a built-in model does.
Task = Literal["novel_view", "text_edit"]

# Which timestep clean tokens get: 0, or the timestep of the target.
CleanTimestep = Literal["zero", "target"]

# Which camera the tokens of a clean video get: the camera of the video (Eq. 17) or of the target
# (Eq. 16).
CameraConditioning = Literal["per_video", "target"]

# The same choice in a node; "as_trained" takes what the base's weights were trained with.
CameraChoice = Literal["as_trained", "per_video", "target"]

# Which tokens clean tokens attend to: all tokens, or clean tokens alone. The target sees all.
Attention = Literal["two_way", "one_way"]

# Where a base takes its source: as tokens of the sequence, or on the channel axis of the target.
SourcePlacement = Literal["sequence", "channels"]

# How a base tells clean videos apart: each has its range of temporal indices (App. D.1), or all
# count from 0 and each has a number of its own, which turns its tokens (Bernini).
StreamIdentity = Literal["temporal_ranges", "source_id"]

# Temporal indices of memories: a separate range (App. D.1), or the range of the source.
MemoryRange = Literal["own", "source"]

# Temporal order of a memory's indices, as the weights were trained (Fig. 16).
MemoryOrder = Literal["forward", "reversed"]

# Frames that may be merged: source and memories together, or memories alone.
Pool = Literal["conditioning", "memory"]

# What happens to the tokens of frames that the target hardly attends to (Fig. 8).
Unresponsive = Literal["merge", "discard", "keep"]

# The same choice in a node; "automatic" merges where the model's memory is trained.
UnresponsiveChoice = Literal["automatic", "merge", "discard", "keep"]

# How kept keys and values of clean tokens are stored: as computed, or in 8 bits.
KeptPrecision = Literal["full", "fp8"]

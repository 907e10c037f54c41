"""LucyEdit Dev: a Wan2.2-5B that edits. Its source lies beside the target on the channel axis."""

from .published import WAN22_RATIOS, PublishedBase

# flow_shift of its scheduler_config.json, and ModelSamplingSD3 in DecartAI's ComfyUI workflow.
LUCYEDIT = PublishedBase(
    "lucyedit",
    "LucyEdit (Wan2.2 {size})",
    96,
    48,
    shift=5.0,
    ratios=WAN22_RATIOS,
    source_placement="channels",
)

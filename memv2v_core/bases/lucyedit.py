"""LucyEdit Dev: a Wan2.2-5B that edits. Its source lies beside the target on the channel axis."""

from .published import PublishedBase

# flow_shift of its scheduler_config.json, and ModelSamplingSD3 in DecartAI's ComfyUI workflow.
LUCYEDIT = PublishedBase(
    "lucyedit", "LucyEdit", "Wan2.2", "TI2V", 96, 48, shift=5.0, source_placement="channels"
)

"""Bernini-R: an editor on Wan that was trained to read several clean videos beside the target.

Clean latents are tokens after the target. Every video counts its frames from 0; a number of its
own, 1 for the source and 2, 3, ... for references, turns its tokens. Its files have the keys and
shapes of its Wan, so the word in their names tells them.
Source: ByteDance's Bernini-R, its config (shift, switch_dit_boundary, max_trained_src_id), and
ComfyUI's `context_latents`.
"""

from .published import PublishedBase

# The 14B is two DiTs on Wan2.2-A14B: one for high noise, one for low noise.
BERNINI = PublishedBase(
    "bernini",
    "Bernini-R (Wan {size})",
    16,
    16,
    shift=3.0,
    titles=(("1.3B", "Bernini-R (Wan2.1 1.3B)"), ("14B", "Bernini-R (Wan2.2 A14B)")),
    stream_identity="source_id",
    max_source_id=5,
    word="bernini",
    expert_boundary=0.875,
)

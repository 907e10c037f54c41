"""Wan's own text-to-video models."""

from .published import WAN22_RATIOS, PublishedBase

# ComfyUI's shift for every Wan2.1; Wan's README says 8 to 12 for the 1.3B. Wan2.1's 14B and both
# halves of Wan2.2's A14B have the same keys and shapes, so their title names neither. The boundary
# is that of wan_t2v_A14B.py.
WAN21 = PublishedBase(
    "wan2.1",
    "Wan2.1 T2V {size}",
    16,
    16,
    shift=8.0,
    titles=(("14B", "Wan T2V 14B"),),
    expert_boundary=0.875,
)

# sample_shift of Wan2.2's wan_ti2v_5B.py.
WAN22_5B = PublishedBase("wan2.2-5b", "Wan2.2 TI2V {size}", 48, 48, shift=5.0, ratios=WAN22_RATIOS)

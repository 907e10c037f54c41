"""Wan's own text-to-video models."""

from .published import PublishedBase

# ComfyUI's shift for every Wan2.1; Wan's README says 8 to 12 for the 1.3B.
WAN21 = PublishedBase("wan2.1", "", "Wan2.1", "T2V", 16, 16, shift=8.0)

# sample_shift of Wan2.2's wan_ti2v_5B.py.
WAN22_5B = PublishedBase("wan2.2-5b", "", "Wan2.2", "TI2V", 48, 48, shift=5.0)

"""How large a clip and its parts may be.

What a file states is compared with these before anything is made of that size: 89 bytes of GIF can
state 64 million pixels.
"""

# 8K, of cinema and of television, either way round.
MAX_PIXELS = 8192 * 4352
# Pixels of the frames that are held as floats at once: four of 4K, one of 8K.
CHUNK_PIXELS = 4 * 3840 * 2160
MAX_SAMPLE_RATE, MAX_CHANNELS = 768_000, 64
# Boxes of an MP4 file that are looked at: some hours of a live stream.
MAX_BOXES = 1_000_000

"""How large a camera file and its parts may be.

Every size that a file states is compared with one of these before anything is made of that size.
Our choice: several times what the programs behind the formats write.
"""

# JSON needs up to twenty times its size in memory. A transforms.json of 14,400 frames has 17 MiB.
MAX_JSON_BYTES = 32 * 2**20
# COLMAP's text also lists the points of every picture.
MAX_TEXT_BYTES = 128 * 2**20
MAX_LINES = 100_000
# Cameras in a file, and frames from its first to its last camera.
MAX_FRAMES = 20_000
# Values of a matrix or of a list of lens coefficients, and the lists around them.
MAX_VALUES = 64
# Digits of a number in a name, of a frame or of a picture.
MAX_DIGITS = 18
# Characters of a picture's name.
MAX_NAME = 512
# Places in the file's unit; focal lengths and centres in picture sizes.
MAX_DISTANCE = 1e12
MIN_FOCAL, MAX_FOCAL, MAX_CENTRE = 1e-4, 1e5, 1e4

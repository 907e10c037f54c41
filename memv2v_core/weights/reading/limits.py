"""The largest numbers that a file of weights may state. All are far above real models.

The largest model in view is a Wan of 14B in fp32: 57 GB, 1,100 tensors, up to 200 shards.
"""

# Tensors of one file, and of a whole set of shards.
MAX_TENSORS = 50_000
# Characters of a tensor's name, and axes of a tensor.
MAX_NAME_CHARS = 512
MAX_AXES = 8
# Characters of a text that describes a training.
MAX_SENTENCE_CHARS = 4_096
MAX_SHARDS = 999

# The header of a safetensors file. A tensor takes about 150 bytes of it.
MAX_HEADER_BYTES = 16 * 2**20
# A description beside the weights, such as a configuration.
MAX_JSON_BYTES = 2**20
MAX_JSON_DEPTH = 32
# A tensor of five axes takes fifteen.
MAX_JSON_VALUES = 1_500_000
# Digits of a number in JSON: more than any 64-bit number has.
MAX_JSON_DIGITS = 32

# A file of torch: the list of its records, and the pickle that names its tensors.
MAX_ZIP_RECORDS = 60_000
MAX_ZIP_LIST_BYTES = 16 * 2**20
MAX_PICKLE_BYTES = 16 * 2**20
MAX_PICKLE_STEPS = 4_000_000
# How often the tensors may use one byte of their file. Tied weights use it twice.
MAX_SHARED_USE = 2

# Sizes of a model in a configuration.
MAX_WIDTH = 65_536
MAX_BLOCKS = 1_000
MAX_HEADS = 1_024
MAX_CHANNELS = 4_096
MAX_SIDE_PX = 16_384
MAX_FRAMES = 100_000
MAX_STEPS = 10_000
MAX_TEXT_TOKENS = 16_384
# The vocabulary inside a text encoder.
MAX_VOCABULARY_BYTES = 64 * 2**20

# Characters of a file's own text in a message, and of a whole reason.
MAX_QUOTED_CHARS = 80
MAX_REASON_CHARS = 600

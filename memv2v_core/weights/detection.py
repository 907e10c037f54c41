"""What a file of weights holds.

The answer is detected from the file's keys and shapes. Where two published bases look alike, a word
in the file's name decides.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..bases.published import DitSizes, PublishedBase, Shapes
from ..bases.recammaster import RECAMMASTER
from ..bases.registry import ALL_MARKS, PUBLISHED, base_of
from .reading.boundary import quoted

# Format 2 adds changes of the base's weights and a record of the training.
ADAPTER_FORMAT = "memory-v2v-adapter-1"
ADAPTER_FORMAT_2 = "memory-v2v-adapter-2"
# Where a converted file says which base it is.
SOURCE_KEY = "memory_v2v_source"
Layout = Literal["native", "diffusers"]

WANTED_BASE = (
    "a Wan DiT: Wan2.1-T2V (wan2.1_t2v_1.3B_bf16.safetensors), Bernini-R, ReCamMaster "
    "(step20000.ckpt), SpaceTimePilot (SpacetimePilot_1.3B_v1.ckpt), "
    "Wan2.2-TI2V-5B or LucyEdit Dev (lucy-edit-dev-cui-fp16.safetensors)"
)

# Programs put different prefixes before the keys of a DiT; "" is Wan's own layout.
_PREFIXES = (
    "",
    "model.diffusion_model.",
    "diffusion_model.",
    "model.",
    "dit.",
    "transformer.",
    "model.model.",
    "net.",
)
# (layout, a tensor outside the blocks, a layer inside the blocks); only this layout has them.
_LAYOUTS: tuple[tuple[Layout, str, str], ...] = (
    ("native", "head.modulation", "self_attn.q"),
    ("diffusers", "condition_embedder.time_proj.weight", "attn1.to_q"),
)
# (width, channels, frames, rows, columns) of the patch embedding.
_PATCH_AXES = 5
# Names of the published (width, number of blocks).
_SIZES = {(1536, 30): "1.3B", (5120, 40): "14B", (3072, 30): "5B"}

# (key that only this kind has, what it is), in native names, then in diffusers' names.
_OTHER_WANS = (
    ("vace_patch_embedding.weight", "a Wan VACE model"),
    ("control_adapter.conv.weight", "a Wan Fun camera-control model"),
    ("casual_audio_encoder.encoder.final_linear.weight", "a Wan S2V model"),
    ("audio_proj.audio_proj_glob_1.layer.bias", "a Wan HuMo model"),
    ("face_adapter.fuser_blocks.0.k_norm.weight", "a Wan Animate model"),
    ("patch_embedding_mask.weight", "a SCAIL-2 model"),
    ("patch_embedding_pose.weight", "a SCAIL model"),
    ("patch_embedding_global.weight", "a WanDancer model"),
    ("ref_conv.weight", "a Wan Fun control model"),
    ("img_emb.proj.0.bias", "a Wan image-to-video model"),
    ("blocks.0.cross_attn.k_img.weight", "a Wan image-to-video model"),
    ("blocks.0.attn2.add_k_proj.weight", "a Wan image-to-video model"),
)
# (pattern in a key, what it is, what to do with it); the first match counts.
_FOREIGN = (
    ("lora", "a LoRA", "load it with a LoRA loader behind this node"),
    (r"\.diff(_b)?$", "a LoRA", "load it with a LoRA loader behind this node"),
    (r"control_model\.", "a ControlNet", "this pack works on Wan"),
    ("controlnet_", "a ControlNet", "this pack works on Wan"),
    (r"input_blocks\.0\.0\.", "a Stable Diffusion checkpoint", "this pack edits video"),
    (r"double_blocks\.", "a Flux or Hunyuan model", "this pack works on Wan"),
    (r"transformer_blocks\.", "a DiT of another family", "this pack works on Wan"),
    (r"joint_blocks\.", "a Stable Diffusion 3 model", "this pack works on Wan"),
    (r"\.SelfAttention\.q\.", "a text encoder", "load it with Load CLIP, type wan"),
    (r"token_embedding\.", "a text encoder", "load it with Load CLIP, type wan"),
    (r"text_model\.", "a text encoder", "load it with Load CLIP"),
    (r"embed_tokens\.", "a language model", "it belongs in models/text_encoders"),
    (r"(^|\.)visual\.", "an image encoder", "it belongs in models/clip_vision"),
    (r"vision_model\.", "an image encoder", "it belongs in models/clip_vision"),
    (r"decoder\.", "a VAE", "load it with Load VAE"),
)


@dataclass(frozen=True)
class WeightFile:
    """What a file holds.

    kind: the kind of a published base, or "adapter", "cameras" (from ReCamMaster, without a DiT),
    "unsupported".
    what: the content in words, with an article where it is no base.
    remedy: what to do with a file that is no base.
    sizes, layout, prefix: of the DiT in the file; the prefix precedes every key.
    word: the word in the file's name that decided between bases that look alike; "" where the
    weights did.
    """

    kind: str
    what: str
    remedy: str = ""
    sizes: DitSizes | None = None
    layout: Layout = "native"
    prefix: str = ""
    word: str = ""

    def model_name(self, stem: str) -> str:
        """The base's name in caches.

        It is the name of the published model, not of its file. Weights of other sizes are the
        user's own, so the name adds `stem`, the file name without its ending.
        """
        assert self.sizes is not None
        if _size_name(self.sizes):
            return self.what
        return f"{self.what}, {stem}"


def detect(
    shapes: Shapes, metadata: Mapping[str, str] | None = None, path: Path | None = None
) -> WeightFile:
    """What a file with these tensors and safetensors metadata is.

    path: of the file. Its name, and the names of two folders above, may tell bases that look alike.
    It never raises: an unknown file is described as such.
    """
    # Step 1: our adapters name their format, of any version.
    if (metadata or {}).get("format", "").startswith(ADAPTER_FORMAT.rstrip("0123456789")):
        return WeightFile("adapter", "a memory adapter", "choose it as the adapter")
    # Step 2: a Wan DiT, under any prefix, in either layout.
    for prefix in _PREFIXES:
        if f"{prefix}patch_embedding.weight" in shapes:
            for layout, marker, block in _LAYOUTS:
                if prefix + marker in shapes and f"{prefix}blocks.0.{block}.weight" in shapes:
                    return _wan(shapes, layout, prefix, _name_of(path, metadata or {}))
    # Step 3: cameras without a DiT. A file with both is a DiT and was found above.
    for prefix in _PREFIXES:
        if all(f"{prefix}blocks.0.{mark}.weight" in shapes for mark in RECAMMASTER.marks):
            # Nobody publishes these alone, and without times they are another encoder.
            if _marks(shapes, prefix) != RECAMMASTER.marks:
                return WeightFile(
                    "unsupported",
                    "camera weights with a playback time and without a DiT",
                    "choose the whole file of SpaceTimePilot",
                )
            return WeightFile(
                "cameras",
                "camera weights without a DiT",
                "choose them as the adapter",
                prefix=prefix,
            )
    # Step 4: files that users often choose by mistake.
    for pattern, what, remedy in _FOREIGN:
        if any(re.search(pattern, name) for name in shapes):
            return WeightFile("unsupported", what, remedy)
    first = next(iter(shapes), "nothing")
    return WeightFile(
        "unsupported",
        f"{len(shapes)} tensors, the first named {quoted(first)}",
        "choose another file",
    )


def require_base(file: WeightFile, name: str) -> None:
    """Raise ValueError unless a file called `name` holds a base that this pack works on."""
    if file.kind not in PUBLISHED:
        raise ValueError(f"{name} is {file.what}, wanted {WANTED_BASE}; {file.remedy}")


def _name_of(path: Path | None, metadata: Mapping[str, str]) -> str:
    # A folder in diffusers' layout names the model, not its files. A file that we converted says
    # what it was.
    names = [] if path is None else path.parts[-3:]
    return "/".join([*names, metadata.get(SOURCE_KEY, "")])


def _wan(shapes: Shapes, layout: Layout, prefix: str, name_of_file: str) -> WeightFile:
    # Step 1: Wans with extra inputs. Some have the sizes of a plain Wan, so they go first.
    sizes = _sizes(shapes, layout, prefix)
    if sizes is None:
        return WeightFile(
            "unsupported", "a Wan DiT whose tensors have no sizes", "download it again"
        )
    for name, what in _OTHER_WANS:
        if prefix + name in shapes:
            remedy = (
                "its extra inputs have no place beside memory, so choose a text-to-video "
                "model or LucyEdit"
            )
            return WeightFile("unsupported", what, remedy, sizes, layout, prefix)
    # Step 2: the published base with these channels and marks.
    marks = _marks(shapes, prefix)
    base = base_of(sizes, marks, name_of_file)
    if base is None:
        extra = f" and weights of {' and '.join(sorted(marks))}" if marks else ""
        channels = f"{sizes.in_channels} input and {sizes.out_channels} output channels"
        remedy = (
            "choose one by its channels: text-to-video models have 16 or 48 of both, LucyEdit 96 "
            "and 48, image-to-video models 36 and 16"
        )
        what = f"a Wan DiT of {channels}{extra}"
        return WeightFile("unsupported", what, remedy, sizes, layout, prefix)
    # Step 3: its name.
    return WeightFile(base.kind, title_of(base, sizes), "", sizes, layout, prefix, base.word)


def _marks(shapes: Shapes, prefix: str) -> frozenset[str]:
    """The layers that tell a base, of those that the first block has."""
    first = f"{prefix}blocks.0."
    return frozenset(
        mark for mark in ALL_MARKS if any(key.startswith(f"{first}{mark}.") for key in shapes)
    )


def _sizes(shapes: Shapes, layout: Layout, prefix: str) -> DitSizes | None:
    """None where a tensor has too few axes to have a size."""
    head, output = (
        ("head.modulation", "head.head")
        if layout == "native"
        else ("scale_shift_table", "proj_out")
    )
    patch = shapes[f"{prefix}patch_embedding.weight"]
    probe = "self_attn.q" if layout == "native" else "attn1.to_q"
    num_blocks = 0
    while f"{prefix}blocks.{num_blocks}.{probe}.weight" in shapes:
        num_blocks += 1
    out = shapes.get(f"{prefix}{output}.weight", (0,))
    width = shapes.get(prefix + head, patch[:1])
    if len(patch) != _PATCH_AXES or 0 in patch or not out or not width:
        return None
    # The head gives one value per output channel and place in a patch.
    patch_volume = patch[2] * patch[3] * patch[4]
    return DitSizes(width[-1], num_blocks, patch[1], out[0] // patch_volume)


def title_of(base: PublishedBase, sizes: DitSizes) -> str:
    """A base of these sizes in words. Unpublished sizes are described by their numbers."""
    return base.title_of(_size_name(sizes) or f"{sizes.num_blocks} blocks of {sizes.dim}")


def _size_name(sizes: DitSizes) -> str | None:
    return _SIZES.get((sizes.dim, sizes.num_blocks))

"""The network of a run: a new small one, a built-in one, or a published base."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...builtin.info import DitConfig
from ...vocabulary import Attention, CameraConditioning, CleanTimestep, MemoryOrder

BaseKind = Literal["new", "builtin", "file"]
# Bases that recipes name, for costs before any file is there.
BaseSize = Literal["wan2.1-1.3b", "wan2.1-14b", "recammaster", "wan2.2-5b", "lucyedit"]


@dataclass(frozen=True)
class ModelConfig(DitConfig):
    """Sizes of a new DiT and its helpers.

    has_rays: per-token rays beside poses (departs from the paper).
    has_cameras: whether its adapter has cameras.
    has_text: whether a text encoder, as wide as `text_dim`, is trained with it.
    text_from: the built-in model whose text encoder it begins with; "" begins a new one.
    """

    has_rays: bool = True
    has_cameras: bool = True
    has_text: bool = False
    text_from: str = ""

    def __post_init__(self) -> None:
        if self.text_from and not self.has_text:
            raise ValueError(
                f"text_from got {self.text_from} with has_text false, wanted has_text true; set "
                "it, or leave text_from out"
            )


@dataclass(frozen=True)
class BaseConfig:
    """Where the DiT and its first adapter come from.

    kind: "new" makes a small DiT of `model`'s sizes; "builtin" takes the built-in model `name`;
    "file" takes a published base.
    size: which base `file` is, for costs before it is there.
    path: the DiT: a file of weights, or a folder in diffusers' layout.
    adapter: an adapter file to train on; None begins one that leaves the base unchanged.
    start: the folder of a run whose DiT and cameras a new network begins with.
    has_fp8: frozen weights of the DiT's blocks are kept in fp8, with a scale a row.
    """

    kind: BaseKind = "new"
    name: str = ""
    size: BaseSize | None = None
    path: Path | None = None
    adapter: Path | None = None
    start: Path | None = None
    model: ModelConfig = ModelConfig()
    has_fp8: bool = False

    def __post_init__(self) -> None:
        if self.kind == "builtin" and not self.name:
            raise ValueError("kind got builtin without a name; add name: novel_view or text_edit")
        if self.kind == "file" and self.path is None:
            raise ValueError("kind got file without a path; add path: FILE OR FOLDER")


@dataclass(frozen=True)
class AdapterOptions:
    """How memory enters the DiT; stored with the adapter.

    attention: "one_way" lets clean tokens attend to clean tokens alone; "two_way" is the paper's.
    clean_timestep: which timestep clean tokens get. clean_reads_text: whether they read the prompt.
    camera_conditioning: "per_video" is Eq. 17, "target" is Eq. 16.
    memory_order: "reversed" where training's memories come after the target (App. D.2).
    memories_carry_source: for editors: whether a memory is the edit beside its source.
    has_rays: rays of a new adapter (departs from the paper).
    has_base_tokenizer: whether the 1x2x2 tokenizer of clean tokens is learned.

    Our choice: one-way attention at timestep 0 is the default, because keys and values of clean
    tokens then stay the same at every step.
    """

    attention: Attention = "one_way"
    clean_timestep: CleanTimestep = "zero"
    clean_reads_text: bool = True
    camera_conditioning: CameraConditioning = "per_video"
    memory_order: MemoryOrder = "forward"
    memories_carry_source: bool = True
    has_rays: bool = False
    has_base_tokenizer: bool = True

    def __post_init__(self) -> None:
        if self.attention == "two_way" and not self.clean_reads_text:
            raise ValueError(
                "clean_reads_text got false with attention two_way, where it saves nothing; "
                "set it to true, or attention to one_way"
            )

"""What is prepared, how, and where to: the key `prepare` of a recipe, or a file of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Literal, TypeVar

from ...strict_yaml import build
from ...synthetic.edits import TRAINED_KINDS, EditKind
from ...synthetic.panoramas import SceneConfig
from ...synthetic.worlds import WorldConfig
from ...vocabulary import Task
from ..config.recipes import recipe_path, recipe_values

DatasetKind = Literal["multicam_video", "senorita", "folder", "procedural"]
EncoderKind = Literal["built_in", "wan"]
Precision = Literal["fp32", "bf16", "fp16"]

Config = TypeVar("Config")

# Procedural data has this many ranges of seeds.
MAX_SEEDS = 256


@dataclass(frozen=True)
class MultiCamVideoOptions:
    """captions: a table `file_name,text`, beside the scenes or anywhere; None: no captions."""

    captions: Path | None = Path("metadata.csv")


@dataclass(frozen=True)
class SenoritaOptions:
    """Which edits of Senorita-2M are read.

    lists: the JSON lists, beside the folders of videos; empty takes every updated_data_*.json.
    instruction: which of the two texts of an edit is its caption.
    extended: folder of the edits that `prepare extend` lengthened; None: none.
    """

    lists: tuple[str, ...] = ()
    instruction: Literal["instruction", "enhanced_instruction"] = "enhanced_instruction"
    extended: Path | None = None


@dataclass(frozen=True)
class FolderOptions:
    """How a plain folder is read.

    layout: a folder a scene with its views, or clips with their edits.
    captions: whether a view without a text is broken; an edit needs one always.
    unknown_cameras: a view without cameras is broken, or counts as filmed by a camera at rest.
    fov_deg: horizontal angle of view for camera files without a lens; 0 takes the default lens.
    drop_repeats: leave out frames of a view that repeat the frame before, as a change of rate makes
    them.
    extended: folder of the edits that `prepare extend` lengthened; None: those beside the clips.
    """

    layout: Literal["views", "edits"] = "views"
    captions: Literal["required", "optional"] = "required"
    unknown_cameras: Literal["broken", "static"] = "broken"
    fov_deg: float = 0.0
    drop_repeats: bool = False
    extended: Path | None = None


@dataclass(frozen=True)
class ProceduralOptions:
    """The drawn scenes or edits that the built-in models learnt from.

    num_items: scenes or edits. num_views: of a scene, the source included.
    num_segments: of an edit, one after the other, each with its source.
    extended_frames: frames after those of an edit, for its extension; 0: none.
    """

    task: Task = "novel_view"
    num_items: int = 100
    num_views: int = 4
    num_segments: int = 1
    extended_frames: int = 0
    kinds: tuple[EditKind, ...] = TRAINED_KINDS
    scenes: SceneConfig = field(default_factory=SceneConfig)
    worlds: WorldConfig = field(default_factory=WorldConfig)


@dataclass(frozen=True)
class DatasetConfig:
    """The data that is read.

    root: its folder; procedural data has none.
    name: how adapters call it in their record; empty takes the folder's name.
    names: a text file; only items that it names, one a line, are prepared. None: all.
    multicam_video, senorita, folder, procedural: options of the kind that is read.
    """

    kind: DatasetKind
    root: Path | None = None
    name: str = ""
    names: Path | None = None
    multicam_video: MultiCamVideoOptions | None = None
    senorita: SenoritaOptions | None = None
    folder: FolderOptions | None = None
    procedural: ProceduralOptions | None = None

    def __post_init__(self) -> None:
        for kind in ("multicam_video", "senorita", "folder", "procedural"):
            if kind != self.kind and getattr(self, kind) is not None:
                raise ValueError(f"kind got {self.kind!r} and options of {kind!r}; delete them")
        if (self.root is None) != (self.kind == "procedural"):
            wanted = "no root" if self.root else "root, the folder of the data"
            raise ValueError(f"kind {self.kind!r} wanted {wanted}; correct it")

    @property
    def title(self) -> str:
        """Name and kind of the data."""
        name = self.name or (self.root.resolve().name if self.root else "")
        return f"{name} ({self.kind})" if name else self.kind


@dataclass(frozen=True)
class EncoderConfig:
    """What makes latents and text tokens.

    model: name of the built-in model, for the kind built_in.
    folder: Wan in diffusers' layout, with vae/, text_encoder/ and tokenizer/.
    vae: another VAE: a diffusers folder, or one file as ComfyUI uses it. None: that of `folder`.
    has_text: whether text tokens are made; the kind built_in always makes them.
    precision, text_precision: of the VAE and of the text encoder of the kind wan.
    is_tiled: the VAE encodes in tiles, for a GPU with little memory; latents differ slightly.
    device: such as "cpu" or "cuda:1"; "auto" takes the GPU of this process where there is one.
    """

    kind: EncoderKind
    model: str = ""
    folder: Path | None = None
    vae: Path | None = None
    has_text: bool = True
    precision: Precision = "fp32"
    text_precision: Precision = "bf16"
    is_tiled: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.kind == "built_in" and (not self.model or self.folder or self.vae):
            raise ValueError("kind 'built_in' wanted model alone, such as novel_view; correct it")
        if self.kind == "wan" and self.model:
            raise ValueError(f"kind 'wan' got model {self.model!r}, wanted folder; correct it")
        if self.kind == "wan" and self.folder is None and (self.has_text or self.vae is None):
            raise ValueError(
                "kind 'wan' got no folder, wanted a diffusers folder, or vae and has_text: false; "
                "add it"
            )


@dataclass(frozen=True)
class PrepareConfig:
    """One prepared folder.

    output: the folder. height, width, num_frames: of every clip, in pixels and frames.
    held_out_share: of the items, chosen by their names alone; training never sees them.
    seed: of procedural data, and of the choice that `limit` makes.
    limit: how many items are prepared, by chance; None: all.
    """

    output: Path
    dataset: DatasetConfig
    encoder: EncoderConfig
    height: int = 480
    width: int = 832
    num_frames: int = 81
    held_out_share: float = 0.02
    seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        for name in ("height", "width", "num_frames", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} got {value}, wanted at least 1")
        if not 0 <= self.held_out_share < 1:
            raise ValueError(f"held_out_share got {self.held_out_share}, wanted 0 to below 1")
        if not 0 <= self.seed < MAX_SEEDS:
            raise ValueError(f"seed got {self.seed}, wanted 0 to {MAX_SEEDS - 1}")


def load_prepare_config(path: Path, changes: Sequence[str] = ()) -> PrepareConfig:
    """The configuration in a YAML file of its own, or under the key `prepare` of a recipe.

    Raises: ValueError naming the file and the place of a key or value that is wrong.
    """
    return load_part(PrepareConfig, "prepare", path, changes)


def load_part(kind: type[Config], key: str, path: Path, changes: Sequence[str] = ()) -> Config:
    """A `kind` of the values under `key` in a YAML file, or of the whole file where it has none.

    path: of a file, or the name of a recipe that ships with the pack.
    changes: to the file's values, as `prepare.limit=100`.

    Raises: ValueError naming the file and the place of a key or value that is wrong.
    """
    values, name = recipe_values(path, changes), recipe_path(path).name
    if key in values:
        return build(kind, values[key], f"{name}: {key}")
    assert is_dataclass(kind)
    own = {field.name for field in fields(kind)}
    if not own & values.keys():
        raise ValueError(f"{name} got no key {key!r}, wanted it; see docs/training_data.md")
    return build(kind, values, name)

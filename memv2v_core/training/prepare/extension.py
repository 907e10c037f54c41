"""Edited clips, lengthened forward: the videos that long editing is trained on.

The paper (App. D.2) keeps the 33 frames of each target clip, lets FramePack generate 200 frames
after them, and draws memories from these. It gives no settings. Our choice: the F1 weights, which
go forward; the clip's text as prompt, its first frame as image, all its latents as the past.

FramePack was trained at 30 frames a second. Other clips get one new frame for one frame as well, so
things may move at another pace there. A text that is an instruction ("make it snow") says less to
FramePack than one that describes the edited video.

It never ran with the real weights: look at the first clips before you lengthen thousands. Computed,
not measured: 480x832 needs about 80 PFLOP a clip, some minutes on a large GPU.

F frames, H rows, W columns.
"""

import hashlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, Protocol

import torch

from ...atomic_files import make_folder, write_atomically
from ...clips.clip_files import read_frames, write_clip
from ...clips.fitting import fit_frames, plan_fitting
from ...strict_yaml import as_yaml

# Of HunyuanVideo's VAE, and the grid of its latents times FramePack's patches.
_TEMPORAL_RATIO, _GRID_PX = 4, 16
_SETTINGS_FILE, _NUM_SHOWN = "extension.yaml", 5
# What a model folder must hold, and where it comes from.
_PARTS = {
    "transformer_folder": ("lllyasviel/FramePack_F1_I2V_HY_20250503", "config.json"),
    "hunyuan_folder": (
        "hunyuanvideo-community/HunyuanVideo",
        "model_index.json vae scheduler text_encoder text_encoder_2 tokenizer tokenizer_2",
    ),
    "image_encoder_folder": ("lllyasviel/flux_redux_bfl", "image_encoder feature_extractor"),
}
log = logging.getLogger(__name__)

DtypeName = Literal["bfloat16", "float16", "float32"]


@dataclass(frozen=True)
class ExtensionConfig:
    """Which clips are lengthened, and how.

    clips_folder: edited clips `NAME.mp4` with their texts `NAME.txt`, in any depth.
    output_folder: gets the lengthened clips and their texts, under the same names.
    transformer_folder: FramePack-F1.
    hunyuan_folder: HunyuanVideo, for its VAE and text encoders; `transformer` in it is not read.
    image_encoder_folder: SigLIP.
    num_clip_frames: frames that are kept of each clip, from its first on; 4 n + 1.
    num_new_frames, latent_window, num_steps, guidance: see `FramePackSettings`.
    seed: of all clips. Each has its own, made of this one and of its name.
    size: (rows, columns) to which clips are scaled and cropped, multiples of 16; their own if not
    given, which large clips may have no memory for.
    crf: of the written files, see `write_clip`.
    transformer_dtype, dtype: precision of FramePack, and of everything else.
    device: such as "cuda:1"; "auto" is the GPU of this process, as `accelerate launch` counts them.
    offload: "model" keeps one model at a time on the GPU, of which FramePack takes 26 GB; "none"
    keeps all of them there.
    has_tiling: the VAE works in tiles.
    """

    clips_folder: Path
    output_folder: Path
    transformer_folder: Path
    hunyuan_folder: Path
    image_encoder_folder: Path
    num_clip_frames: int = 33
    num_new_frames: int = 200
    latent_window: int = 9
    num_steps: int = 25
    guidance: float = 10.0
    seed: int = 0
    size: tuple[int, int] | None = None
    crf: float = 10.0
    transformer_dtype: DtypeName = "bfloat16"
    dtype: DtypeName = "float16"
    device: str = "auto"
    offload: Literal["model", "none"] = "model"
    has_tiling: bool = True

    def __post_init__(self) -> None:
        """Raises: ValueError for numbers that do not fit."""
        for name in ("num_clip_frames", "num_new_frames", "latent_window", "num_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} got {getattr(self, name)}, wanted at least 1")
        if (self.num_clip_frames - 1) % _TEMPORAL_RATIO:
            raise ValueError(
                f"num_clip_frames got {self.num_clip_frames}, wanted 4 n + 1, such as 33"
            )
        if self.size is not None and any(side < 1 or side % _GRID_PX for side in self.size):
            raise ValueError(f"size got {self.size}, wanted multiples of {_GRID_PX}")
        if self.output_folder.resolve().is_relative_to(self.clips_folder.resolve()):
            raise ValueError(
                f"output_folder got {self.output_folder} inside of clips_folder, wanted another "
                "folder: its clips would be lengthened again"
            )


class ClipExtender(Protocol):
    """Anything that lengthens clips."""

    def extend(self, frames: torch.Tensor, prompt: str, seed: int) -> torch.Tensor:
        """`frames` (F, 3, H, W) in 0..1, and new frames after them."""
        ...


@dataclass(frozen=True)
class ExtensionReport:
    """What a run, or one shard of it, did.

    num_clips: of the whole folder. num_own: of this shard.
    num_finished: that were lengthened before. num_extended: now.
    broken: name and error of each clip that was passed over.
    """

    num_clips: int
    num_own: int
    num_finished: int
    num_extended: int = 0
    broken: tuple[tuple[str, str], ...] = ()


def extend_clips(
    config: ExtensionConfig,
    shard: tuple[int, int] = (0, 1),
    dry_run: bool = False,
    load: Callable[[ExtensionConfig], ClipExtender] | None = None,
) -> ExtensionReport:
    """Lengthen every clip of a folder that is not finished, and log how it goes.

    Clips that cannot be used are named and passed over. A run that was ended goes on where it was.

    shard: (i, n) takes every n-th clip from the i-th on, in the order of their names. The files do
    not depend on it.
    dry_run: only log what would be done, and load no weights.
    load: makes what lengthens the clips; FramePack if not given.

    Raises: ValueError for missing weights or clips, and for an output folder that was made with
    other settings.
    """
    index, num_shards = shard
    if not 0 <= index < num_shards:
        raise ValueError(f"shard got {index} of {num_shards}, wanted 0 to {num_shards - 1}")
    names = _clip_names(config.clips_folder)
    own = names[index::num_shards]
    todo = [name for name in own if not _output(config, name).exists()]
    num_finished = len(own) - len(todo)
    log.info(
        "%d clips, %d of them in shard %d of %d: %d finished, %d to lengthen by %d frames",
        *(len(names), len(own), index, num_shards, num_finished, len(todo)),
        config.num_new_frames,
    )
    _require_same_settings(config)
    if dry_run or not todo:
        _log_plan(config, todo)
        return ExtensionReport(len(names), len(own), num_finished)
    extender = (load or load_extender)(config)
    _write_settings(config)
    broken = _extend_all(config, todo, extender)
    return ExtensionReport(len(names), len(own), num_finished, len(todo) - len(broken), broken)


def clip_seed(config: ExtensionConfig, name: str) -> int:
    """The seed of a clip: it depends on nothing but its name and the configuration's seed."""
    digest = hashlib.sha256(f"{config.seed}/{name}".encode()).digest()
    # Generators take 63 bits everywhere.
    return int.from_bytes(digest[:8], "big") >> 1


def load_extender(config: ExtensionConfig) -> ClipExtender:
    """FramePack with the weights in the three folders. Nothing is downloaded.

    Raises: ValueError naming every folder that is missing or not whole, and where it comes from.
    """
    if lacks := _lacks(config):
        raise ValueError("; ".join(lacks))
    # Diffusers takes long to import, and a dry run needs none of it.
    from .framepack import FramePackExtender, FramePackSettings, load_pipeline

    try:
        pipeline = load_pipeline(
            config.transformer_folder,
            config.hunyuan_folder,
            config.image_encoder_folder,
            getattr(torch, config.transformer_dtype),
            getattr(torch, config.dtype),
        )
    except OSError as error:
        raise ValueError(f"weights cannot be loaded: {error}; download them again") from error
    if config.has_tiling:
        pipeline.vae.enable_tiling()
    device = device_of(config.device)
    if config.offload == "model" and device.type != "cpu":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.to(device)
    return FramePackExtender(
        pipeline,
        FramePackSettings(
            config.num_new_frames, config.latent_window, config.num_steps, config.guidance
        ),
    )


def device_of(name: str) -> torch.device:
    """The device that the configuration names; "auto" is the GPU of this process."""
    return torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if name == "auto" else name)


def _lacks(config: ExtensionConfig) -> list[str]:
    """What each model folder lacks, in words."""
    lacks = []
    for key, (source, names) in _PARTS.items():
        folder: Path = getattr(config, key)
        if absent := [name for name in names.split() if not (folder / name).exists()]:
            lacks.append(
                f"{key} got {folder} without {', '.join(absent)}, wanted the files of {source}; "
                f"download them: hf download {source} --local-dir {folder}"
            )
    return lacks


def _clip_names(folder: Path) -> list[str]:
    """Names of all clips, such as "snow/0001", in order."""
    names = sorted(
        path.relative_to(folder).with_suffix("").as_posix()
        for path in folder.rglob("*.mp4")
        # Some systems put files of their own beside ours.
        if not path.name.startswith(".")
    )
    if not names:
        raise ValueError(f"clips_folder got {folder} without clips, wanted NAME.mp4 and NAME.txt")
    return names


def _output(config: ExtensionConfig, name: str) -> Path:
    return config.output_folder / f"{name}.mp4"


def _extend_all(
    config: ExtensionConfig, todo: list[str], extender: ClipExtender
) -> tuple[tuple[str, str], ...]:
    """Lengthen the clips; gives name and error of each that was passed over."""
    broken: list[tuple[str, str]] = []
    start = time.monotonic()
    for num_done, name in enumerate(todo, 1):
        try:
            _extend_one(config, name, extender)
        except ValueError as error:
            broken.append((name, str(error)))
            log.warning("%s is passed over: %s", name, error)
        # Broken clips cost next to nothing.
        seconds = (time.monotonic() - start) / max(1, num_done - len(broken))
        left = _duration(seconds * (len(todo) - num_done))
        log.info("%d of %d, %.0f s a clip, %s left", num_done, len(todo), seconds, left)
    if broken:
        log.warning("%d passed over: %s", len(broken), ", ".join(name for name, _ in broken))
    return tuple(broken)


def _extend_one(config: ExtensionConfig, name: str, extender: ClipExtender) -> None:
    prompt = _prompt_of(config, name)
    clip = read_frames(config.clips_folder / f"{name}.mp4", config.num_clip_frames)
    frames = clip.frames
    if config.size is not None:
        own_size = frames.shape[-2], frames.shape[-1]
        fitting = plan_fitting(len(frames), own_size, config.size, None, _TEMPORAL_RATIO, "crop")
        frames = fit_frames(frames, fitting)
    longer = extender.extend(frames, prompt, clip_seed(config, name))
    output = _output(config, name)
    make_folder(output.parent)
    # The video comes last: where it is, the clip is finished.
    write_atomically(output.with_suffix(".txt"), prompt.encode())
    write_clip(output, longer, clip.rate, config.crf)


def _prompt_of(config: ExtensionConfig, name: str) -> str:
    path = config.clips_folder / f"{name}.txt"
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); write the clip's text there") from error


def _log_plan(config: ExtensionConfig, todo: list[str]) -> None:
    for name in todo[:_NUM_SHOWN]:
        try:
            prompt = _prompt_of(config, name)
        except ValueError as error:
            prompt = f"passed over: {error}"
        log.info(
            "%s -> %s, seed %d: %s", name, _output(config, name), clip_seed(config, name), prompt
        )
    for lack in _lacks(config) if todo else ():
        log.warning(lack)


def _settings_text(config: ExtensionConfig) -> str:
    """What the lengthened clips depend on, as YAML."""
    places = ("clips_folder", "output_folder", *_PARTS, "device", "offload")
    return as_yaml(
        {f.name: getattr(config, f.name) for f in fields(config) if f.name not in places}
    )


def _write_settings(config: ExtensionConfig) -> None:
    make_folder(config.output_folder)
    write_atomically(config.output_folder / _SETTINGS_FILE, _settings_text(config).encode())


def _require_same_settings(config: ExtensionConfig) -> None:
    path = config.output_folder / _SETTINGS_FILE
    if path.exists() and path.read_text(encoding="utf-8") != _settings_text(config):
        raise ValueError(
            f"{path} shows other settings than the configuration; use them, or another "
            "output_folder"
        )


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"

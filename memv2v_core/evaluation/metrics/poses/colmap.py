"""Cameras by structure from motion, with pycolmap: incremental mapping, or global (GLOMAP's).

What it needs: a scene that stands still and a camera that moves. Where the camera only turns,
there is no parallax, and no depth or position can be found. What pycolmap 4.2.1 does with such a
clip: incremental mapping finds no first pair and returns nothing. Global mapping mostly returns all
frames, with a handful of points. In runs on rendered clips most rotations came out within 0.4
degrees, those of one clip wrong by 19. Positions never mean anything there, and still a video that
ignored the translation it was asked for got a TransErr of 43 %, where a camera that never moves has
61 %.

Our choice: a frame counts as posed only where it sees `MIN_POINTS` points, the number that
incremental mapping asks for before it adds a frame. Clips of a still or a turning camera are
therefore reported with no posed frames, and RotErr of a path of pure rotation needs another
estimator.

Little parallax: incremental mapping starts from two frames whose rays meet at 16 degrees, or at 4
where it finds none; global mapping needs 1 degree and gets less exact.

Frames become PNG files, 8 bits a channel, in a temporary folder. Everything runs on the CPU.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

import torch

from .estimator import EstimatedPoses, no_poses

Mapping = Literal["incremental", "global"]
# What COLMAP's incremental mapper asks for before it adds a frame (abs_pose_min_num_inliers).
MIN_POINTS = 30
# Two frames agree with almost any pose; a third one confirms it.
MIN_FRAMES = 3
_MIN_VERSION = (4, 2)
_INSTALL = "run pip install 'pycolmap>=4.2' (38 MB to load, 134 MB on disk)"
# Focal lengths and centres of one lens differ by less, in image sizes.
_SAME_LENS = 1e-6
# glog's FATAL: a clip that cannot be reconstructed is an answer here, and COLMAP calls it an error.
_LOG_LEVEL = 3


@dataclass(frozen=True)
class ColmapConfig:
    """How pycolmap reconstructs a clip; all other options are COLMAP's own.

    mapping: incremental adds frame after frame; global solves for all rotations, then for all
    positions. Their results may differ: measure with both.
    max_exhaustive_frames: clips up to this length match every pair of frames; longer ones match
    each frame with its 10 followers and with those at distances 2, 4, 8, ..., 512.
    seed: of every random choice; the same clip and seed give the same poses with one thread.
    num_threads: more than 1 is faster, and results may then differ from run to run.

    Raises: ValueError naming the first bad value.
    """

    mapping: Mapping = "incremental"
    max_exhaustive_frames: int = 100
    seed: int = 0
    num_threads: int = 1

    def __post_init__(self) -> None:
        if self.mapping not in get_args(Mapping):
            raise ValueError(
                f"mapping got {self.mapping!r}, wanted one of {list(get_args(Mapping))}; pass one"
            )
        for name, least in (("max_exhaustive_frames", 0), ("seed", 0), ("num_threads", 1)):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name} got {value}, wanted at least {least}; raise it")


class ColmapEstimator:
    """Finds cameras by structure from motion: a `PoseEstimator`.

    Raises: ValueError when pycolmap is not installed or too old.
    """

    def __init__(self, config: ColmapConfig | None = None) -> None:
        self.config = config or ColmapConfig()
        self._pycolmap = _load_pycolmap()
        self.identity = f"pycolmap {self._pycolmap.__version__} {self.config}"

    def __call__(self, video: torch.Tensor, intrinsics: torch.Tensor | None) -> EstimatedPoses:
        """The cameras of a video (F, 3, H, W) in 0..1; no posed frames where COLMAP finds no model.

        intrinsics: (F, 3, 3) normalised, the same in all frames, and kept as they are. None lets
        COLMAP find one focal length for square pixels and a centred lens.

        Where COLMAP finds several models that it cannot join, the one with most frames counts.

        Raises: ValueError for another shape, and for a lens that changes.
        """
        if video.ndim != 4 or video.shape[1] != 3:
            raise ValueError(
                f"the video got shape {tuple(video.shape)}, wanted (F, 3, H, W); pass one RGB video"
            )
        lens = None if intrinsics is None else _shared_lens(intrinsics)
        if len(video) < MIN_FRAMES:
            return no_poses(len(video))
        with tempfile.TemporaryDirectory() as name, self._quiet():
            folder = Path(name)
            self._write_frames(video, folder)
            self._extract_features(folder, lens, *video.shape[-2:])
            self._match(folder, len(video))
            models = self._map(folder, lens is not None)
        # Dictionaries keep COLMAP's order, so a tie always has the same winner.
        posed = [_posed_frames(model) for model in models.values()]
        best = max(posed, key=len, default={})
        return _as_estimate(best, len(video)) if len(best) >= MIN_FRAMES else no_poses(len(video))

    def _write_frames(self, video: torch.Tensor, folder: Path) -> None:
        (folder / "frames").mkdir()
        pixels = (video.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().contiguous()
        for frame_idx, frame in enumerate(pixels):
            bitmap = self._pycolmap.Bitmap.from_array(frame.numpy())
            bitmap.write(folder / "frames" / f"{frame_idx:06d}.png")

    def _extract_features(
        self, folder: Path, lens: torch.Tensor | None, height: int, width: int
    ) -> None:
        colmap = self._pycolmap
        colmap.set_random_seed(self.config.seed)
        reader = colmap.ImageReaderOptions()
        reader.camera_model = "SIMPLE_PINHOLE"
        if lens is not None:
            # COLMAP's pixel centres lie at +0.5, as ours do.
            fx, cx = (lens[0, [0, 2]] * width).tolist()
            fy, cy = (lens[1, [1, 2]] * height).tolist()
            reader.camera_model = "PINHOLE"
            reader.camera_params = f"{fx!r},{fy!r},{cx!r},{cy!r}"
        extraction = colmap.FeatureExtractionOptions()
        extraction.use_gpu = False
        extraction.num_threads = self.config.num_threads
        colmap.extract_features(
            folder / "database.db",
            folder / "frames",
            camera_mode=colmap.CameraMode.SINGLE,
            reader_options=reader,
            extraction_options=extraction,
            device=colmap.Device.cpu,
        )

    def _match(self, folder: Path, num_frames: int) -> None:
        colmap = self._pycolmap
        matching = colmap.FeatureMatchingOptions()
        matching.use_gpu = False
        matching.num_threads = self.config.num_threads
        verification = colmap.TwoViewGeometryOptions()
        verification.ransac.random_seed = self.config.seed
        is_short = num_frames <= self.config.max_exhaustive_frames
        match = colmap.match_exhaustive if is_short else colmap.match_sequential
        match(
            folder / "database.db",
            matching_options=matching,
            verification_options=verification,
            device=colmap.Device.cpu,
        )

    def _map(self, folder: Path, is_lens_known: bool) -> dict[int, Any]:
        """COLMAP's models by number; empty where it finds none."""
        colmap = self._pycolmap
        database, model = folder / "database.db", folder / "model"
        model.mkdir()
        if self.config.mapping == "incremental":
            options = self._incremental_options(is_lens_known)
            return colmap.incremental_mapping(database, folder / "frames", model, options)
        if not is_lens_known:
            # The global mapper keeps the relative poses of the database, made with a guessed lens.
            calibration = colmap.ViewGraphCalibrationOptions()
            calibration.random_seed = self.config.seed
            colmap.calibrate_view_graph(database, calibration)
        options = self._global_options(is_lens_known)
        return colmap.global_mapping(database, folder / "frames", model, options)

    def _incremental_options(self, is_lens_known: bool) -> Any:
        options = self._pycolmap.IncrementalPipelineOptions()
        # The pipeline hands these three on to its mapper and its triangulation.
        options.num_threads = self.config.num_threads
        options.random_seed = self.config.seed
        options.ba_refine_focal_length = not is_lens_known
        options.min_model_size = MIN_FRAMES
        options.extract_colors = False
        return options

    def _global_options(self, is_lens_known: bool) -> Any:
        options = self._pycolmap.GlobalPipelineOptions()
        mapper = options.mapper
        options.num_threads = mapper.num_threads = self.config.num_threads
        for part in (
            options,
            mapper,
            mapper.rotation_averaging,
            mapper.global_positioning,
            mapper.retriangulation,
        ):
            part.random_seed = self.config.seed
        mapper.global_positioning.use_gpu = mapper.bundle_adjustment.ceres.use_gpu = False
        mapper.bundle_adjustment.refine_focal_length = not is_lens_known
        options.min_model_size = MIN_FRAMES
        return options

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """COLMAP without its log, which runs to thousands of lines a clip."""
        logging = self._pycolmap.logging
        before = logging.minloglevel
        logging.minloglevel = _LOG_LEVEL
        try:
            yield
        finally:
            logging.minloglevel = before


def _load_pycolmap() -> ModuleType:
    try:
        import pycolmap
    except ModuleNotFoundError as error:
        raise ValueError(
            f"structure from motion needs the package pycolmap, which is not installed; {_INSTALL}"
        ) from error
    version = tuple(int(part) for part in pycolmap.__version__.split(".")[:2])
    if version < _MIN_VERSION:
        raise ValueError(
            f"pycolmap got version {pycolmap.__version__}, wanted 4.2 or newer; {_INSTALL}"
        )
    return pycolmap


def _shared_lens(intrinsics: torch.Tensor) -> torch.Tensor:
    """The one lens (3, 3) of all frames (F, 3, 3).

    Raises: ValueError for a lens that changes.
    """
    change = float((intrinsics - intrinsics[0]).abs().max())
    if change > _SAME_LENS:
        raise ValueError(
            f"intrinsics got a change of {change:.3g} image sizes between frames, wanted one lens "
            f"for all (at most {_SAME_LENS:g}); measure a path without zoom"
        )
    return intrinsics[0].cpu()


def _posed_frames(model: Any) -> dict[int, torch.Tensor]:
    """The camera-to-world matrices (3, 4) of the frames that see enough points, by frame index."""
    return {
        int(Path(image.name).stem): torch.from_numpy(image.cam_from_world().inverse().matrix())
        for image in model.images.values()
        if image.has_pose and image.num_points3D >= MIN_POINTS
    }


def _as_estimate(posed: dict[int, torch.Tensor], num_frames: int) -> EstimatedPoses:
    empty = no_poses(num_frames)
    for frame_idx, c2w in posed.items():
        empty.c2w[frame_idx, :3] = c2w
        empty.is_posed[frame_idx] = True
    return empty

"""The camera convention of the whole project, and the value that carries a camera path.

OpenCV camera-to-world matrices: +X right, +Y down, +Z forward. Angles are in radians. Intrinsics
are divided by image size, so a resized video keeps its cameras. Pixel centres lie at +0.5. The
folder `formats` converts every other convention.
"""

import math
from dataclasses import dataclass, replace

import torch

# 24 mm on a 23.76 mm wide sensor cropped to 832 x 480. Our choice: the paper fixes one matrix of
# its training set.
SENSOR_WIDTH_MM = 23.76
DEFAULT_FX = 24 / SENSOR_WIDTH_MM
DEFAULT_ASPECT = 832 / 480
DEFAULT_FY = DEFAULT_FX * DEFAULT_ASPECT
DEFAULT_FOV_DEG = math.degrees(2 * math.atan(0.5 / DEFAULT_FX))
# Cameras differ by less where a picture was only scaled: sizes are whole numbers.
_SAME_ASPECT = 0.01


def default_intrinsics(num_frames: int) -> torch.Tensor:
    """Normalised intrinsics (F, 3, 3) float64 for unknown lenses: fx 1.010, fy 1.751, centred."""
    return intrinsics_matrix(DEFAULT_FX, DEFAULT_FY, 0.5, 0.5).expand(num_frames, 3, 3).clone()


def intrinsics_matrix(fx: float, fy: float, cx: float = 0.5, cy: float = 0.5) -> torch.Tensor:
    """One normalised intrinsic matrix (3, 3) float64.

    fx, cx: focal length and centre in image widths. fy, cy: the same in image heights.
    """
    return torch.tensor([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]], dtype=torch.float64)


def lens_intrinsics(
    fov_deg: float, aspect: float, clip_aspect: float | None = None
) -> torch.Tensor:
    """Normalised intrinsics (3, 3) of a lens with square pixels that sees `fov_deg` across.

    fov_deg: horizontal angle of view; 0 means the default lens.
    aspect: width divided by height of the picture; the default lens has its own.
    clip_aspect: the same of a known clip; wins over both.
    """
    if fov_deg == 0:
        fov_deg, aspect = DEFAULT_FOV_DEG, DEFAULT_ASPECT
    aspect = clip_aspect or aspect
    focal = 0.5 / math.tan(math.radians(fov_deg) / 2)
    return intrinsics_matrix(focal, focal * aspect)


@dataclass(frozen=True, eq=False)
class CameraTrajectory:
    """The camera of every pixel frame of one video.

    c2w: (F, 4, 4) float64, OpenCV camera-to-world.
    intrinsics: (F, 3, 3) float64, normalised by image size.
    is_assumed: True when the camera is unknown and assumed to stand still; reports and nodes say
    so.
    times: (F,) float64, which moment of the source each frame shows, in the source's pixel frames
    from 0: a path in space and time. None is 0, 1, 2, ..., the source as it plays.

    Raises: ValueError for wrong shapes, for numbers that are not finite, and for moments before
    the source.
    """

    c2w: torch.Tensor
    intrinsics: torch.Tensor
    is_assumed: bool = False
    times: torch.Tensor | None = None

    def __post_init__(self) -> None:
        num_frames = self.c2w.shape[0]
        if self.c2w.ndim != 3 or self.c2w.shape[1:] != (4, 4) or num_frames == 0:
            raise ValueError(
                f"c2w got shape {tuple(self.c2w.shape)}, wanted (F, 4, 4) with F >= 1; pass one "
                "matrix a frame"
            )
        if self.intrinsics.shape != (num_frames, 3, 3):
            raise ValueError(
                f"intrinsics got shape {tuple(self.intrinsics.shape)}, wanted ({num_frames}, 3, "
                "3); pass one matrix a frame"
            )
        # float64: relative poses of a long path would lose digits in float32.
        object.__setattr__(self, "c2w", self.c2w.to(torch.float64))
        object.__setattr__(self, "intrinsics", self.intrinsics.to(torch.float64))
        for name, value in (("c2w", self.c2w), ("intrinsics", self.intrinsics)):
            bad = (~torch.isfinite(value)).flatten(1).any(1).nonzero().flatten().tolist()
            if bad:
                raise ValueError(
                    f"{name} got NaN or infinity in frame {bad[0]}, wanted finite numbers; repair "
                    "the camera file"
                )
        if self.times is not None:
            object.__setattr__(self, "times", _checked_times(self.times, num_frames))

    @property
    def num_frames(self) -> int:
        return self.c2w.shape[0]

    def frames(self, indices: tuple[int, ...]) -> "CameraTrajectory":
        """The cameras of the given pixel frames, in that order.

        Raises: ValueError when the path is too short for them.
        """
        if max(indices) >= self.num_frames:
            raise ValueError(
                f"the camera path got {self.num_frames} frames, wanted at least "
                f"{max(indices) + 1}; make the path as long as the video or resample it"
            )
        idx = list(indices)
        # Without times the frames are those of a clip that was cut in the same way: its first
        # frame is moment 0 again.
        times = None if self.times is None else self.times[idx]
        return replace(self, c2w=self.c2w[idx], intrinsics=self.intrinsics[idx], times=times)

    def moments(self) -> torch.Tensor:
        """Which moment of the source each frame shows, (F,) float64."""
        if self.times is not None:
            return self.times
        return torch.arange(self.num_frames, dtype=torch.float64)

    def cropped_to(self, aspect: float) -> "CameraTrajectory":
        """The same cameras for the middle part of the picture that has the given aspect.

        aspect: width divided by height. Pixels count as square, so the old picture's aspect is
        fy / fx. The path itself comes back where the aspect is the old one within 1 %.
        """
        old = self.intrinsics[:, 1, 1] / self.intrinsics[:, 0, 0]  # (F,)
        if ((old / aspect - 1).abs() < _SAME_ASPECT).all():
            return self
        # The share of the old width and height that is left: one of them is 1.
        width = (aspect / old).clamp(max=1.0)
        height = (old / aspect).clamp(max=1.0)
        intrinsics = self.intrinsics.clone()
        for axis, share in ((0, width), (1, height)):
            intrinsics[:, axis, axis] /= share
            intrinsics[:, axis, 2] = 0.5 + (intrinsics[:, axis, 2] - 0.5) / share
        return replace(self, intrinsics=intrinsics)

    def relative_to(self, reference: "CameraTrajectory") -> "CameraTrajectory":
        """This path seen from the first camera of `reference`.

        Every frame becomes inverse(reference[0]) @ c2w.
        """
        return replace(self, c2w=torch.linalg.inv(reference.c2w[0]) @ self.c2w)


def _checked_times(times: torch.Tensor, num_frames: int) -> torch.Tensor:
    """`times` in float64, one finite moment a frame."""
    if times.shape != (num_frames,):
        raise ValueError(
            f"times got shape {tuple(times.shape)}, wanted ({num_frames},); pass one moment a frame"
        )
    times = times.to(torch.float64)
    bad = times[~(torch.isfinite(times) & (times >= 0))]
    if len(bad):
        raise ValueError(
            f"times got {bad[0].item():g} as a moment, wanted finite numbers from 0, the source's "
            "first frame; make the playback again"
        )
    return times


def static_trajectory(
    num_frames: int, intrinsics: torch.Tensor | None = None, is_assumed: bool = False
) -> CameraTrajectory:
    """A camera at the origin that never moves.

    intrinsics: (3, 3) normalised; None takes the default lens.
    """
    c2w = torch.eye(4, dtype=torch.float64).repeat(num_frames, 1, 1)
    lens = (
        default_intrinsics(num_frames)
        if intrinsics is None
        else intrinsics.expand(num_frames, 3, 3).clone()
    )
    return CameraTrajectory(c2w, lens, is_assumed)


def require_length(trajectory: CameraTrajectory, num_frames: int, what: str) -> None:
    """Raise ValueError unless the path has exactly `num_frames` cameras."""
    if trajectory.num_frames != num_frames:
        raise ValueError(
            f"the camera path of the {what} got {trajectory.num_frames} frames, wanted "
            f"{num_frames}; set num_frames of the path to {num_frames}"
        )


def pose_vectors(trajectory: CameraTrajectory, reference: CameraTrajectory) -> torch.Tensor:
    """The 12 numbers [R|t], row by row, of every frame, (F, 12) float32.

    Poses are relative to the first frame of `reference`.

    Source: App. D.1, arXiv:2601.16296v2; ReCamMaster's get_relative_pose.
    Our choice: the reference is the *source* video's first frame, as ReCamMaster trains.
    """
    relative = trajectory.relative_to(reference).c2w
    return relative[:, :3, :].reshape(-1, 12).to(torch.float32)

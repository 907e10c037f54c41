"""What a token knows about its camera and its moment.

Poses: 12 numbers [R|t] per frame, for the linear encoder of ReCamMaster and the paper. Rays: our
option, the direction of every single token.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..cameras.trajectory import CameraTrajectory
from ..tokens.tokenizers import BASE_KERNEL

NUM_POSE_VALUES = 12
RAY_FREQUENCIES = (1.0, 2.0, 4.0, 8.0, 16.0)
# Direction with sines and cosines, two differences, moment.
NUM_RAY_FEATURES = 3 * (1 + 2 * len(RAY_FREQUENCIES)) + 6 + 3


@dataclass(frozen=True, eq=False)
class FrameCameras:
    """Cameras of the latent frames of one video, for every row of a batch.

    They are relative to the source's first frame.

    c2w: (B, T, 4, 4). intrinsics: (B, T, 3, 3) normalised.
    times: (B, T, R), which moment of the source each of the R pixel frames of a latent frame shows,
    in the source's pixel frames. The first latent frame of a video holds one pixel frame, so its
    other moments are NaN. None where the base takes no playback time.
    All float32; with B = 1 all rows share them.
    """

    c2w: torch.Tensor
    intrinsics: torch.Tensor
    times: torch.Tensor | None = None

    @classmethod
    def from_trajectory(
        cls, trajectory: CameraTrajectory, reference: CameraTrajectory
    ) -> "FrameCameras":
        """Cameras (1, T, ...) of a path that has one camera per latent frame."""
        # Relative in float64, then rounded.
        relative = trajectory.relative_to(reference)
        return cls(relative.c2w[None].float(), relative.intrinsics[None].float())

    @classmethod
    def joined(cls, rows: Sequence["FrameCameras"]) -> "FrameCameras":
        """The cameras of all rows as one batch.

        Every row has the same number of frames.
        """
        return cls(
            torch.cat([row.c2w for row in rows]),
            torch.cat([row.intrinsics for row in rows]),
            _joined_times([row.times for row in rows], dim=0),
        )

    @classmethod
    def concatenated(cls, videos: Sequence["FrameCameras"]) -> "FrameCameras":
        """The cameras of all frames of all videos, one video after the other.

        A video without a batch of its own is shared by all rows.
        """
        rows = max(video.c2w.shape[0] for video in videos)
        c2w = [video.c2w.expand(rows, -1, -1, -1) for video in videos]
        intrinsics = [video.intrinsics.expand(rows, -1, -1, -1) for video in videos]
        times = [
            None if video.times is None else video.times.expand(rows, -1, -1) for video in videos
        ]
        return cls(torch.cat(c2w, dim=1), torch.cat(intrinsics, dim=1), _joined_times(times, dim=1))

    def poses(self) -> torch.Tensor:
        """[R|t] row by row, (B, T, 12): the cam_v of App. D.1."""
        return self.c2w[:, :, :3].flatten(2)

    def frames(self, indices: Sequence[int]) -> "FrameCameras":
        """The cameras of these frames, in the given order."""
        chosen = list(indices)
        times = None if self.times is None else self.times[:, chosen]
        return FrameCameras(self.c2w[:, chosen], self.intrinsics[:, chosen], times)

    def to(self, device: torch.device) -> "FrameCameras":
        times = None if self.times is None else self.times.to(device)
        return FrameCameras(self.c2w.to(device), self.intrinsics.to(device), times)


def _joined_times(times: Sequence[torch.Tensor | None], dim: int) -> torch.Tensor | None:
    given = [each for each in times if each is not None]
    assert len(given) in (0, len(times)), "either every video has a playback time or none"
    return torch.cat(given, dim=dim) if given else None


def ray_features(
    cameras: FrameCameras, rows: int, columns: int, kernel: int, height: int, width: int
) -> torch.Tensor:
    """Features of the ray through every token of a video, (B, T * rows * columns, 42).

    - The unit direction through the token's centre, and its sines and cosines at 5 frequencies.
    - The change of direction across one base token, to the right and downwards.
    - The moment, camera centre x direction.

    `height` and `width` are the latent's. Padded tokens lie outside the image and keep their exact
    ray.

    Departs from the paper: each token of the paper gets only the pose of its video's frame (Eq.
    17).
    """
    # Step 1: token centres in image coordinates, and the way from image to world space.
    centre_y = (torch.arange(rows) + 0.5) * kernel / height
    centre_x = (torch.arange(columns) + 0.5) * kernel / width
    y, x = torch.meshgrid(centre_y, centre_x, indexing="ij")  # each (rows, columns)
    image = torch.stack((x, y, torch.ones_like(x)), dim=-1).reshape(-1, 3).to(cameras.c2w)
    step = torch.tensor(
        [BASE_KERNEL / width, BASE_KERNEL / height], dtype=image.dtype, device=image.device
    )
    to_world = (cameras.c2w[..., :3, :3] @ torch.linalg.inv(cameras.intrinsics)).mT.unsqueeze(
        2
    )  # (B, T, 1, 3, 3)
    # Step 2: directions, and their differences to the neighbouring base token.
    direction = _directions(image, to_world)  # (B, T, rows*columns, 3)
    right = _directions(image + F.pad(step[:1], (0, 2)), to_world) - direction
    down = _directions(image + F.pad(step[1:], (1, 1)), to_world) - direction
    # Step 3: the moment places the ray in space; directions alone cannot tell a moved camera.
    moment = torch.linalg.cross(cameras.c2w[:, :, None, :3, 3].expand_as(direction), direction)
    phase = torch.cat([direction * frequency for frequency in RAY_FREQUENCIES], dim=-1)
    # Differences of neighbours are small; / 0.1 brings them near the size of the other features.
    features = (direction, phase.sin(), phase.cos(), right / 0.1, down / 0.1, moment)
    return torch.cat(features, dim=-1).flatten(1, 2)


def _directions(image: torch.Tensor, to_world: torch.Tensor) -> torch.Tensor:
    return F.normalize((image[:, None] @ to_world).squeeze(-2), dim=-1)

"""Whether two turns agree where both had to invent, by exact geometry."""

from collections.abc import Sequence

import torch

from ...cameras.trajectory import CameraTrajectory
from .consistency import turn_disagreement
from .metric import Batch, Column, Need, Subject


class Geometry:
    """Difference of two turns where both look and the source never looked.

    The first turn of a pair is warped into the second one's view and compared at equal frames. The
    warp is exact, as it needs no depth; so all cameras must rotate about one centre.
    """

    identity = "warp by rotation"
    columns: tuple[Column, ...] = (
        Column("Unseen MAE", is_better_high=False),
        Column("Unseen PSNR", "dB"),
    )
    subject: Subject = "pair"
    needs: frozenset[Need] = frozenset({"camera", "source_camera"})

    def __call__(self, batch: Batch) -> torch.Tensor:
        """(B, 2) float64: mean absolute difference in 0..1, and PSNR in dB.

        NaN where a pair shares no such place; the PSNR of equal turns is infinite.

        Raises: ValueError without second turns or cameras, for cameras that do not rotate about one
        centre, and for shapes and lengths that differ.
        """
        if batch.others is None:
            raise ValueError("geometry got no second turns, wanted pairs; pass two turns of a clip")
        rows = []
        for video, other, camera, other_camera, source_camera in zip(
            batch.videos,
            batch.others,
            _required(batch, batch.cameras, "cameras of the first turns"),
            _required(batch, batch.other_cameras, "cameras of the second turns"),
            _required(batch, batch.source_cameras, "cameras of the source clips"),
            strict=True,
        ):
            result = turn_disagreement(video, camera, other, other_camera, source_camera)
            rows.append([result.mae, result.psnr])
        return torch.tensor(rows, dtype=torch.float64)


def _required(
    batch: Batch, cameras: Sequence[CameraTrajectory] | None, what: str
) -> Sequence[CameraTrajectory]:
    count = 0 if cameras is None else len(cameras)
    if cameras is None or count != len(batch.videos):
        raise ValueError(
            f"geometry got {count} {what} for {len(batch.videos)} pairs, wanted one a pair; name "
            "the camera paths, or leave geometry out"
        )
    return cameras

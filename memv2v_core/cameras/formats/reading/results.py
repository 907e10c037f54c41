"""What a user says about a camera file, and what a reader gives back."""

from dataclasses import dataclass

import torch

from ...trajectory import CameraTrajectory

DEFAULT_MAX_GAP = 10
_MOST_SHOWN = 40


@dataclass(frozen=True, eq=False)
class ImportSettings:
    """What a camera file may leave open.

    camera: which path of a file with several; files with one path do not use it.
    aspect: width divided by height of the clip; None where nobody knows it.
    lens: (3, 3) normalised, the lens of a known camera, for files without a lens.
    fov_deg: horizontal angle of view for files without a lens; 0 means the default lens.
    max_gap: how many frames in sequence may lack a camera; they are interpolated.

    Raises: ValueError for numbers out of range.
    """

    camera: str = ""
    aspect: float | None = None
    lens: torch.Tensor | None = None
    fov_deg: float = 0.0
    max_gap: int = DEFAULT_MAX_GAP

    def __post_init__(self) -> None:
        if self.aspect is not None and not 0.05 <= self.aspect <= 20:
            raise ValueError(
                f"aspect got {self.aspect}, wanted 0.05 to 20; divide the clip's width by its "
                "height"
            )
        if not 0 <= self.fov_deg < 180:
            raise ValueError(
                f"fov_deg got {self.fov_deg}, wanted 0 to below 180; 0 takes the default lens"
            )
        if self.max_gap < 0:
            raise ValueError(f"max_gap got {self.max_gap}, wanted at least 0; 0 refuses every gap")


@dataclass(frozen=True, eq=False)
class ImportedCameras:
    """One path of a camera file.

    trajectory: every frame between the first and the last one of the file.
    notes: sentences on what was assumed or interpolated; empty where the file says everything.
    is_numbered: the file gives each camera the number of its frame.
    """

    trajectory: CameraTrajectory
    notes: tuple[str, ...] = ()
    is_numbered: bool = False


def shown_setting(text: str) -> str:
    """A typed text as an error repeats it: on one line, and not longer than a name."""
    shown = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
    return repr(shown)

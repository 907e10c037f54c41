"""How long a video took to make, as its maker wrote it down."""

import torch

from .metric import Batch, Column, Need, Subject


class Seconds:
    """Seconds that a video took to make.

    For what a built-in model made: of sampling alone. For what a workflow made: of the whole run by
    the number of its videos, with loading where the server had to load. A time belongs to a
    machine: compare methods that were made one after another on the same one.
    """

    identity = "seconds as written beside the videos"
    columns: tuple[Column, ...] = (Column("time", "s", is_better_high=False),)
    subject: Subject = "video"
    needs: frozenset[Need] = frozenset({"time"})

    def __call__(self, batch: Batch) -> torch.Tensor:
        """(B, 1) float64.

        Raises: ValueError without times.
        """
        if batch.seconds is None or len(batch.seconds) != len(batch.videos):
            raise ValueError(
                "seconds got videos without times, wanted a JSON file beside the first turn, of "
                'its name and with "seconds": [one a turn]; write it, or leave the metric out'
            )
        return torch.tensor(batch.seconds, dtype=torch.float64)[:, None]

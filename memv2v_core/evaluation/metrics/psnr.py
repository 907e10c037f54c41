"""PSNR of each video against what it should be."""

import torch

from .metric import Batch, Column, Need, Subject


class Psnr:
    """PSNR in dB for values in 0..1; infinite where a video equals its truth.

    Our choice: the squared error is averaged over all frames before the logarithm. The mean of one
    PSNR a frame would be infinite as soon as one frame is equal.
    """

    identity = "PSNR over the whole video"
    columns: tuple[Column, ...] = (Column("PSNR", "dB"),)
    subject: Subject = "video"
    needs: frozenset[Need] = frozenset({"truth"})

    def __call__(self, batch: Batch) -> torch.Tensor:
        """(B, 1) float64.

        Raises: ValueError without truths, or for truths of another shape.
        """
        truths = required_truths(batch, "PSNR")
        errors = [
            # Frame by frame: a whole video in float64 takes much memory.
            torch.stack(
                [
                    (frame.double() - true.double()).square().mean()
                    for frame, true in zip(video, truth, strict=True)
                ]
            ).mean()
            for video, truth in zip(batch.videos, truths, strict=True)
        ]
        # Values span [0, 1], so the peak is 1.
        return -10 * torch.stack(errors)[:, None].log10().cpu()


def required_truths(batch: Batch, metric: str) -> torch.Tensor:
    """The truths of a batch, of its videos' shape.

    Raises: ValueError naming the metric that needs them.
    """
    if batch.truths is None:
        raise ValueError(f"{metric} got no truths, wanted one a video; pass what each should be")
    if batch.truths.shape != batch.videos.shape:
        raise ValueError(
            f"{metric} got truths {tuple(batch.truths.shape)} for videos "
            f"{tuple(batch.videos.shape)}, wanted one shape (videos, frames, 3, height, width); "
            "bring both to one size and length"
        )
    return batch.truths

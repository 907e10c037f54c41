"""MEt3R: whether two turns of one clip show the same scene, through its authors' package.

MASt3R finds where the points of two pictures lie, both pictures' DINO features are moved into the
first one's view, and MEt3R is 1 less their cosine similarity where both views overlap. So it needs
no cameras, and depends on the order of the turns: the earlier turn is the first picture.

Our choices, where the paper (Sec. 4.3 and Tab. 2, arXiv:2601.16296v2) only says that turns are
compared: both turns at equal frame indices 0, 4, 8 and so on (`every`), and the mean over those
pairs of frames. Pictures are the largest centred square, resized to 256 pixels with antialiasing,
as MASt3R assumes square pixels.

Two pictures that overlap nowhere have a MEt3R of exactly 0 in the package, which would count as
perfect. Here such a pair of frames is left out of the mean. The share of the picture that overlaps
is a column of its own: read it beside MEt3R, since turns that share little are compared on little.

The package is on no registry: `dev.py metrics met3r --checkout FOLDER` takes the user's checkout.
It needs FeatUp and PyTorch3D besides, which the user builds; FeatUp builds with CUDA alone.

What was run: the authors' code with MASt3R's (in a smaller size), DINO's and FeatUp's, on a CPU,
with random numbers as weights; small Python stood in for the compiled PyTorch3D and AdaptiveConv.
Nobody ran it here with those two or with the published weights.

Source: Asim et al., arXiv:2501.06336; met3r/met3r.py of mohammadasim98/met3r, version 1.0.1.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .interpreters.worker import Worker
from .metric import Batch, Column, Need, Subject
from .vbench import DINO_CODE
from .weights_folder import PublicPart, files_identity, find_all_weights

NAME = "met3r"
SCRIPT = "met3r_scores.py"
SIZE_PX = 256
PAIRS_AT_ONCE = 4
MAST3R = PublicPart(
    "mast3r-vitl-512-metric", "naver/MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric", 2755
)
DINO_S16 = PublicPart(
    name="dino-vits16",
    source="https://dl.fbaipublicfiles.com/dino/dino_deitsmall16_pretrain/"
    "dino_deitsmall16_pretrain.pth",
    megabytes=87,
    weight_files=("dino_deitsmall16_pretrain.pth",),
    other_files=(),
)
FEATUP = PublicPart(
    name="featup-dino16",
    source="https://marhamilresearch4.blob.core.windows.net/feature-upsampling-public/pretrained/"
    "dino16_jbu_stack_cocostuff.ckpt, and hubconf.py from https://github.com/mhamilton723/FeatUp",
    megabytes=None,
    weight_files=("dino16_jbu_stack_cocostuff.ckpt",),
    other_files=("hubconf.py",),
)
PARTS = (MAST3R, DINO_CODE, DINO_S16, FEATUP)


class Met3r:
    """Dissimilarity of two turns after a warp by MASt3R: 0 for equal ones, and lower is better.

    weights: the folder that holds the folders of `PARTS`.
    every: frames from one compared pair to the next, from 1; the first frames are always compared.

    Raises: ValueError for missing weights, for a missing Python, for `every` below 1, and where its
    script ends.
    """

    columns: tuple[Column, ...] = (
        Column("MEt3R", is_better_high=False),
        Column("MEt3R overlap", "%"),
    )
    subject: Subject = "pair"
    needs: frozenset[Need] = frozenset()

    def __init__(self, weights: Path, device: torch.device | str = "cpu", every: int = 4) -> None:
        if every < 1:
            raise ValueError(f"every got {every}, wanted at least 1; raise it")
        self.every = every
        paths = find_all_weights(weights, PARTS)
        mast3r, dino_code, dino, featup = (path.resolve() for path in paths)
        settings: dict[str, Any] = {
            "device": str(device),
            "size": SIZE_PX,
            "mast3r": str(mast3r.parent),
            "hub": {
                "repositories": {
                    "facebookresearch/dino": str(dino_code.parent),
                    "mhamilton723/FeatUp": str(featup.parent),
                },
                "files": {dino.name: str(dino), featup.name: str(featup)},
                # A checkpoint of PyTorch Lightning holds its settings, too.
                "pickled": [featup.name],
            },
        }
        self.worker = Worker(NAME, SCRIPT, settings)
        self.identity = (
            f"met3r {self.worker.facts['version']}, mast3r and dino16 at {SIZE_PX}, equal frames, "
            f"every {every}, {files_identity(paths)}"
        )

    def __call__(self, batch: Batch) -> torch.Tensor:
        """(B, 2) float64: MEt3R, and the overlap in percent, as means over pairs of frames.

        MEt3R is NaN where no pair of frames overlaps. Both are NaN for turns with values that are
        no numbers.

        Raises: ValueError without second turns, and where the script ends.
        """
        if batch.others is None:
            raise ValueError("MEt3R got no second turns, wanted pairs; pass two turns of a clip")
        rows = [self._pair(*pair) for pair in zip(batch.videos, batch.others, strict=True)]
        return torch.tensor(rows, dtype=torch.float64).reshape(-1, len(self.columns))

    def _pair(self, first: torch.Tensor, second: torch.Tensor) -> tuple[float, float]:
        pairs = frame_pairs(first, second, self.every)
        if not np.isfinite(pairs).all():
            return torch.nan, torch.nan
        reply = self.worker.ask({"at_once": PAIRS_AT_ONCE}, {"pairs": pairs})
        scores, overlaps = np.array(reply["scores"]), np.array(reply["overlaps"])
        if scores.shape != (len(pairs),) or overlaps.shape != (len(pairs),):
            raise ValueError(
                f"MEt3R got {len(scores)} scores for {len(pairs)} pairs of frames, wanted one "
                "each; its package is another than the one named in the docstring"
            )
        seen = overlaps > 0
        score = float(scores[seen].mean()) if seen.any() else torch.nan
        return score, 100 * float(overlaps.mean())


def frame_pairs(first: torch.Tensor, second: torch.Tensor, every: int) -> np.ndarray:
    """Pairs of pictures (N, 2, 3, 256, 256) in -1..1, float32, of two videos (F, 3, H, W) in 0..1.

    N = ceil(F / every): frames 0, every, 2 every and so on of both.
    """
    pairs = torch.stack((first[::every], second[::every]), 1)  # (N, 2, 3, H, W)
    rows, columns = pairs.shape[-2:]
    side = min(rows, columns)
    top, left = (rows - side) // 2, (columns - side) // 2
    squares = pairs[..., top : top + side, left : left + side].flatten(0, 1).float()
    sized = F.interpolate(
        squares, (SIZE_PX, SIZE_PX), mode="bilinear", align_corners=False, antialias=True
    )
    return (2 * sized.unflatten(0, (-1, 2)) - 1).clamp(-1, 1).cpu().numpy()

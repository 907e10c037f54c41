"""LPIPS of each video against what it should be, through the package lpips."""

import warnings
from pathlib import Path

import torch

from ...weights.reading.boundary import reading
from ...weights.weight_files import read_weights
from .metric import Batch, Column, Need, Subject
from .psnr import required_truths
from .weights_folder import PublicPart, find_weights, network_identity

PACKAGE = "lpips==0.1.4"
# The package brings its own linear layers (6 KB); the trunk is torchvision's.
ALEXNET = PublicPart(
    name="alexnet",
    source="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    megabytes=244,
    weight_files=("alexnet-owt-7be5be79.pth",),
    other_files=(),
)
# Of each side: the trunk pools twice.
LEAST_PX = 31
FRAMES_AT_ONCE = 8


class Lpips:
    """Learned perceptual distance to the truth, averaged over frames; 0 for equal videos.

    Our choice: AlexNet as trunk and version 0.1 of the linear layers, the package's own default. We
    take the package of its authors. torchmetrics has the same network, but its public class
    downloads the trunk.

    weights: the folder that holds the folder `alexnet`.

    Raises: ValueError for a missing package, and for weights that are missing or not AlexNet's.
    Source: Zhang et al., arXiv:1801.03924.
    """

    columns: tuple[Column, ...] = (Column("LPIPS", is_better_high=False),)
    subject: Subject = "video"
    needs: frozenset[Need] = frozenset({"truth"})

    def __init__(self, weights: Path, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.network = _network(find_weights(weights, ALEXNET)).to(self.device)
        self.identity = network_identity(self.network)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> torch.Tensor:
        """(B, 1) float64.

        Raises: ValueError without truths, for truths of another shape, and for small frames.
        """
        truths = required_truths(batch, "LPIPS")
        rows, columns = batch.videos.shape[-2:]
        if min(rows, columns) < LEAST_PX:
            raise ValueError(
                f"LPIPS got frames of {columns}x{rows} pixels, wanted at least {LEAST_PX} a side; "
                "resize the videos, or leave LPIPS out"
            )
        pairs = zip(batch.videos, truths, strict=True)
        return torch.stack([self._distance(*pair) for pair in pairs])[:, None]

    def _distance(self, video: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        pieces = zip(video.split(FRAMES_AT_ONCE), truth.split(FRAMES_AT_ONCE), strict=True)
        distances = [
            # `normalize` brings 0..1 to the -1..1 that the network takes.
            self.network(*(piece.to(self.device) for piece in pair), normalize=True).flatten()
            for pair in pieces
        ]
        return torch.cat(distances).double().mean().cpu()


def _network(path: Path) -> torch.nn.Module:
    """The package's network in evaluation mode, with the trunk of this file."""
    try:
        import lpips
    except ImportError as error:
        raise ValueError(
            f"LPIPS needs the package lpips ({error}); run pip install {PACKAGE}"
        ) from error
    with warnings.catch_warnings():
        # The package states torchvision's arguments in their old form.
        warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
        # `pnet_rand` leaves the trunk at random numbers, where the package would download it.
        network = lpips.LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False)
    stored = read_weights(path, lambda name: name.startswith("features."))
    wanted = "torchvision's AlexNet"
    with reading(path, wanted, f"download it from {ALEXNET.source}"):
        # The package keeps the layers' numbers: features.3.weight became slice2.3.weight.
        trunk = {
            name: stored["features." + name.split(".", 1)[1]] for name in network.net.state_dict()
        }
        network.net.load_state_dict(trunk)
    return network.eval().requires_grad_(False)
